package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// TestVariablesReachNextflowAndTasks sets one variable for the Nextflow process, one for tasks, and one for both.
func TestVariablesReachNextflowAndTasks(t *testing.T) {
	t.Parallel()
	p := newPortal(t, false)
	m := p.member()
	e := platform.ComputeEnv{WorkspaceID: m.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: filepath.Join(p.data, "work"), Status: platform.ComputeEnvAvailable}
	e.Config.SetEnvironment([]platform.Env{{Name: "OF_HEAD", Value: "oars"}, {Name: "OF_BOTH", Value: "rope"}},
		[]platform.Env{{Name: "OF_TASKS", Value: `it's $HOME "now" \ then`}, {Name: "OF_BOTH", Value: "rope"}})
	must(t, e.Clean())
	must(t, p.db.AddComputeEnv(t.Context(), &e))
	dir := filepath.Join(p.data, "variables")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "main.nf"), []byte(`
process SHOW {
    output: stdout
    script: 'printenv OF_TASKS OF_BOTH'
}
workflow { println "head: ${System.getenv('OF_HEAD')} ${System.getenv('OF_BOTH')} ${System.getenv('OF_TASKS')}"; SHOW | view }
`), 0o644))
	r := p.launch(m, e, platform.Launch{Pipeline: dir})
	if r = p.wait(r.ID, time.Minute); r.State != platform.RunSucceeded {
		t.Fatalf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	out := p.output(r.ID, platform.LogOutput)
	for _, want := range []string{"head: oars rope null", `it's $HOME "now" \ then` + "\nrope"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not have %q:\n%s", want, out)
		}
	}
}
