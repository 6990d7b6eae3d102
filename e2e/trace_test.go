package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// TestARunLooksTheSameWithAndWithoutThePlugin launches examples both ways and compares all that pages show of them. Their
// configuration asks for a trace of its own, and for the plugin, too.
func TestARunLooksTheSameWithAndWithoutThePlugin(t *testing.T) {
	t.Parallel()
	if plugins == "" {
		t.Skip("SKIPPED: the nf-tower plugin is not at hand (WHERRY_TEST_NF_PLUGINS)")
	}
	with, without := newPortal(t, true), newPortal(t, false)
	for _, c := range []struct {
		example, params string
		state           platform.RunState
	}{
		{"crossing", "passengers: [heron, otter]", platform.RunSucceeded},
		{"leak", "boats: [severn]", platform.RunFailed},
	} {
		a, b := with.seen(c.example, c.params), without.seen(c.example, c.params)
		if a != b {
			t.Errorf("%s\n--- with the plugin:\n%s\n--- without:\n%s", c.example, a, b)
		}
		if !strings.HasPrefix(a, string(c.state)) {
			t.Errorf("%s: %s, want %s", c.example, a, c.state)
		}
	}
}

// seen launches an example, waits for its end, and tells what can be seen of it, without what differs from run to run.
func (p *portal) seen(example, params string) string {
	p.t.Helper()
	m, err := p.db.Member(p.t.Context(), 1, "lab", "rivers")
	var e platform.ComputeEnv
	if err != nil {
		m = p.member()
		e = p.computeEnv(m)
	} else {
		envs, err := p.db.ComputeEnvs(p.t.Context(), m.Workspace.ID)
		must(p.t, err)
		e = envs[0]
	}
	r := p.wait(p.launch(m, e, platform.Launch{Pipeline: p.example(example), ParamsText: params,
		ConfigText: "trace.enabled = true\ntrace.fields = 'name'\ntower.enabled = true\n"}).ID, 90*time.Second)
	report, _, _ := strings.Cut(strings.ReplaceAll(r.ErrorReport, p.data, "DATA"), "Work dir:")
	lines := []string{fmt.Sprintf("%s %q\n%s", r.State, strings.ReplaceAll(r.ErrorMessage, p.data, "DATA"), strings.TrimSpace(report))}
	lines = append(lines, fmt.Sprintf("session %v, began %v, exit status %d, command line %v", r.SessionID != "", !r.Begun.IsZero(), *r.ExitStatus, strings.HasPrefix(r.CommandLine, "nextflow") || strings.Contains(r.CommandLine, "/nextflow ")))
	var workflow struct {
		ProjectName, WorkDir, RunName string
		Params                        map[string]any
		Nextflow                      struct{ Version string }
	}
	must(p.t, json.Unmarshal(r.Workflow, &workflow))
	lines = append(lines, fmt.Sprint(workflow.Nextflow.Version, " ", strings.ReplaceAll(workflow.WorkDir, p.data, "DATA"), " ", workflow.RunName == r.Name))
	for _, pp := range r.Progress.Processes {
		lines = append(lines, fmt.Sprintf("%s: %d succeeded, %d failed, %d running", pp.Name, pp.Succeeded, pp.Failed, pp.Running))
	}
	tasks, _, err := p.db.Tasks(p.t.Context(), r.ID, db.TaskFilter{Limit: 100})
	must(p.t, err)
	var shown []string
	for _, t := range tasks {
		full := t.Submit != nil && t.Start != nil && t.Complete != nil && t.Duration != nil && t.Realtime != nil && strings.HasPrefix(t.Workdir, p.data) && t.NativeID != nil
		shown = append(shown, fmt.Sprintf("%s %s of %s, exit %d, attempt %d, %d cpus, told in full: %v, used: %v\n%s", t.Status, t.Name, t.Process, *t.Exit, t.Attempt, *t.CPUs, full, t.PeakRSS != nil, t.Script))
	}
	slices.Sort(shown)
	return strings.Join(append(lines, shown...), "\n")
}
