package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/mask"
	"wherry/platform"
)

func TestNextflowGetsWhatWasLaunched(t *testing.T) {
	t.Parallel()
	s := spec(t)
	s.ParamsJSON, s.EnvConfigText = `{"a": 1}`, "process.cpus = 1"
	l := &s.Launch
	l.ConfigText, l.Revision, l.ConfigProfiles, l.MainScript = "process.cpus = 2", "v1", []string{"a", "b"}, "x.nf"
	l.PullLatest, l.StubRun, l.Resume, l.SessionID = true, true, true, "4c58124a-4e7e-4565-8f9d-2561ac936f1b"
	s.Environment = []platform.Env{{Name: "COLOUR", Value: "blue and green"}}
	s.EnvPreRun, l.PreRunScript = "export FROM_ENV=1", "export FROM_LAUNCH=$((FROM_ENV + 1))"
	l.PostRunScript = `echo "after: $NXF_EXIT_STATUS"`
	p := newFakePortal(t, s)
	_, ended := p.start(t.Context(), `printf '%s\n' "args: $*"; cat params.json environment.config launch.config; echo
		echo "env: $COLOUR, $FROM_LAUNCH, $TOWER_WORKFLOW_ID, $TOWER_WORKSPACE_ID, $NXF_CACHE_DIR, ${WHERRY_AGENT_CLAIM_TOKEN:-none}"; pwd; echo bad >&2; exit 3`, nil)
	must(t, finish(t, ended))
	contains(t, "the output", p.output(), "args: -log .nextflow.log run nextflow-io/hello -name brisk_thames -work-dir "+l.WorkDir,
		"-c environment.config -c launch.config", "-r v1", "-profile a,b", "-main-script x.nf", "-params-file params.json", "-latest", "-stub-run", "-resume 4c58124a",
		`{"a": 1}`, "process.cpus = 1process.cpus = 2", "env: blue and green, 2, run1, 7, "+l.WorkDir+"/.nextflow, none", "/launch\n", "bad\n", "after: 3\n")
	if end := p.ended(); end == nil || end.ExitCode == nil || *end.ExitCode != 3 || end.Signal != "" {
		t.Errorf("%+v", end)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	want := []string{platform.StepAgentUp, platform.StepFilesWritten, platform.StepPreRun, platform.StepNextflow, platform.StepNextflowEnded, platform.StepPostRun, platform.StepKept, platform.StepReported}
	if fmt.Sprint(p.steps) != fmt.Sprint(want) {
		t.Errorf("steps %v, want %v", p.steps, want)
	}
}

func TestAPortalThatComesAndGoesGetsEverythingOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 2))
			p := newFakePortal(t, spec(t))
			p.fault = func(n int, path string) string {
				switch x := random.IntN(10); {
				case x < 2:
					return "refuse"
				case x < 4:
					return "lose"
				}
				return ""
			}
			dir, ended := p.start(t.Context(), `for i in $(seq 1 300); do echo "line $i"; [ $((i % 30)) = 0 ] && sleep 0.1; done; seq 1 100000; printf 'no newline'`, nil)
			must(t, finish(t, ended))
			want, err := os.ReadFile(filepath.Join(dir, "stdout.log"))
			must(t, err)
			if got := p.output(); got != string(want) || len(want) < 500_000 {
				t.Errorf("the portal has %d bytes, the machine %d", len(got), len(want))
			}
			if end := p.ended(); end == nil || *end.ExitCode != 0 {
				t.Errorf("%+v", end)
			}
		})
	}
}

func TestWhyARunNeverBegan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*platform.Spec, *Config)
		want   string
	}{
		"no Nextflow":             {func(_ *platform.Spec, c *Config) { c.Nextflow = "/nothing/nextflow" }, "was not found on the machine"},
		"no work directory":       {func(s *platform.Spec, _ *Config) { s.Launch.WorkDir = "/proc/nothing/work" }, "The work directory cannot be made"},
		"a pre-run script fails":  {func(s *platform.Spec, _ *Config) { s.Launch.PreRunScript = "echo why >&2; false" }, "The pre-run script ended with exit status 1"},
		"a pre-run script leaves": {func(s *platform.Spec, _ *Config) { s.EnvPreRun = "exit 4" }, "The pre-run script ended with exit status 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t)
			var cfg Config
			c.change(&s, &cfg)
			p := newFakePortal(t, s)
			_, ended := p.start(t.Context(), "echo must not run", func(real *Config) {
				if cfg.Nextflow != "" {
					real.Nextflow = cfg.Nextflow
				}
			})
			must(t, finish(t, ended))
			if end := p.ended(); end == nil || !strings.Contains(end.Reason, c.want) || end.ExitCode != nil {
				t.Errorf("%+v, want %q", end, c.want)
			}
			if strings.Contains(p.output(), "must not run") {
				t.Error("Nextflow ran")
			}
		})
	}
}

func TestCancelAsksFirstAndThenForces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, output, signal string }{
		"Nextflow obeys":          {`trap 'echo stopping tasks; exit 143' TERM; echo up; while :; do sleep 0.05; done`, "stopping tasks", "terminated"},
		"Nextflow does not obey":  {`trap '' TERM; echo up; while :; do sleep 0.05; done`, "", ""},
		"a task does not obey":    {`trap 'exit 143' TERM; (trap '' TERM; echo up; while :; do sleep 0.05; done) & while :; do sleep 0.05; done`, "", "terminated"},
		"the pre-run script runs": {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t)
			s.Launch.PostRunScript = "echo after"
			if c.script == "" {
				s.Launch.PreRunScript = "echo up; sleep 1000"
			}
			p := newFakePortal(t, s)
			dir, ended := p.start(t.Context(), c.script, nil)
			until(t, "Nextflow is up", func() bool { return strings.Contains(p.output(), "up\n") })
			close(p.cancel)
			must(t, finish(t, ended))
			end := p.ended()
			if end == nil || !end.Cancelled || end.Signal != c.signal {
				t.Errorf("%+v", end)
			}
			contains(t, "the output", p.output(), c.output)
			if strings.Contains(p.output(), "after") {
				t.Error("the post-run script ran")
			}
			if left := processesIn(t, dir); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// processesIn lists the processes whose working folder is the launch folder.
func processesIn(t *testing.T, dir string) (list []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	must(t, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, dir) {
			stat, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "stat"))
			if !strings.Contains(string(stat), ") Z ") {
				list = append(list, filepath.Dir(link))
			}
		}
	}
	return list
}

func TestNobodyWantsTheWorkAnyMore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happen func(p *fakePortal, parent chan struct{})
		want   string
	}{
		"the portal says that it is over": {func(p *fakePortal, _ chan struct{}) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.over = true
		}, ErrOver.Error()},
		"the supervisor died": {func(_ *fakePortal, parent chan struct{}) { close(parent) }, "supervisor"},
		"the portal is gone for good": {func(p *fakePortal, _ chan struct{}) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.fault = func(int, string) string { return "refuse" }
		}, "was not heard for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, parent := newFakePortal(t, spec(t)), make(chan struct{})
			dir, ended := p.start(t.Context(), "echo up; while :; do sleep 0.05; done", func(cfg *Config) {
				cfg.ParentGone, cfg.Lifetime = parent, 2*time.Second
			})
			until(t, "Nextflow is up", func() bool { return strings.Contains(p.output(), "up\n") })
			c.happen(p, parent)
			if err := finish(t, ended); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			until(t, "no process is left", func() bool { return len(processesIn(t, dir)) == 0 }) // they were killed a moment ago
		})
	}
}

func TestAClaimThatIsRefusedEndsTheAgent(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, spec(t))
	_, ended := p.start(t.Context(), "echo must not run", func(cfg *Config) { cfg.ClaimToken = "stolen" })
	var refused *refusal
	if err := finish(t, ended); !errors.As(err, &refused) || refused.status != http.StatusConflict {
		t.Errorf("%v", err)
	}
}

func TestSecretsAreInTheEnvironmentAndInNoFile(t *testing.T) {
	t.Parallel()
	s := spec(t)
	s.Secrets = map[string]string{"DB_PASSWORD": "hush-hush"}
	p := newFakePortal(t, s)
	dir, ended := p.start(t.Context(), `[ "$DB_PASSWORD" = "hush-hush" ] && echo it is there`, nil)
	must(t, finish(t, ended))
	contains(t, "the output", p.output(), "it is there")
	for _, root := range []string{dir, s.Launch.WorkDir} {
		must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Base(path) == "nextflow" {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "hush-hush") || strings.Contains(string(text), p.key) {
				t.Errorf("a secret is in %s", path)
			}
			return err
		}))
	}
}

func TestProgressThatWaitsIsMerged(t *testing.T) {
	t.Parallel()
	s := newSpool(nil, "run1", nil)
	s.add(traceCall{Name: "begin", Body: json.RawMessage(`{}`)})
	for i := range 1000 {
		s.add(traceCall{Name: "progress", Body: fmt.Appendf(nil, `{"tasks":[{"taskId":%d,"n":%d}],"progress":{"running":%d}}`, i%3, i, i)})
	}
	s.add(traceCall{Name: "complete", Body: json.RawMessage(`{}`)})
	if len(s.waiting) != 3 {
		t.Fatalf("%d calls wait", len(s.waiting))
	}
	var merged struct {
		Tasks    []struct{ TaskID, N int }
		Progress struct{ Running int }
	}
	must(t, json.Unmarshal(s.waiting[1].Body, &merged))
	if len(merged.Tasks) != 3 || merged.Tasks[0].N != 999 || merged.Progress.Running != 999 {
		t.Errorf("%+v", merged)
	}
}

func TestTheRelayKnowsItsOwnTokenOnly(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, spec(t))
	portal := newPortal(Config{PortalURL: p.URL})
	p.key = portal.key
	spool, steps := newSpool(portal, "run1", nil), newSteps(portal, mask.New())
	r, err := startRelay("nf-tower@1.9.3", "relay-token", "run1", "http://watch", spool, steps)
	must(t, err)
	call := func(token string) int {
		req, err := http.NewRequest(http.MethodPut, r.url()+"/trace/run1/progress", strings.NewReader(`{"tasks":[]}`))
		must(t, err)
		req.SetBasicAuth("@token", token)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	if a, b := call("guess"), call(r.token()); a != http.StatusUnauthorized || b != http.StatusOK {
		t.Errorf("%d and %d", a, b)
	}
	r.finish(platform.EndReport{})
	spool.finish()
	must(t, spool.run(context.Background()))
	if fmt.Sprint(p.trace) != "[progress]" {
		t.Errorf("%v", p.trace)
	}
}
