package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"wherry/mask"
	"wherry/platform"
)

// asTool makes the test binary a Studio's tool: a program of its own, as on a machine.
const asTool = "WHERRY_TEST_AS_TOOL"

// asAgent makes it an agent.
const asAgent = "WHERRY_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asTool) != "":
		tool()
		return
	case os.Getenv(asAgent) != "":
		os.Unsetenv(asAgent)
		cfg, err := ConfigFromEnv()
		if err == nil {
			err = Run(context.Background(), cfg)
		}
		fmt.Fprintln(os.Stderr, "agent:", err)
		return
	}
	os.Exit(m.Run())
}

// tool serves HTTP as tools do. What it is told in asTool makes it odd.
func tool() {
	how := os.Getenv(asTool)
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	fmt.Printf("up: %s\n", strings.Join(os.Args[1:], " "))
	switch {
	case strings.Contains(how, "fails"):
		fmt.Fprintln(os.Stderr, "a module is missing")
		os.Exit(3)
	case strings.Contains(how, "does not serve"):
		return
	case strings.Contains(how, "silent"):
		select {}
	case strings.Contains(how, "loses its port") && os.Mkdir("tried", 0o755) == nil:
		fmt.Fprintln(os.Stderr, "OSError: [Errno 98] Address already in use")
		os.Exit(1)
	case strings.Contains(how, "listens elsewhere") && os.Mkdir("tried", 0o755) == nil:
		select {} // somebody else will be heard at its port
	case strings.Contains(how, "kernels"):
		startKernel()
	case strings.Contains(how, "busy"):
		go func() {
			for {
			}
		}()
	case strings.Contains(how, "runs samtools"):
		said, err := exec.Command("samtools").CombinedOutput()
		fmt.Println(string(said), err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("WHERRY_STUDIO_PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
	mux.HandleFunc("/end", func(http.ResponseWriter, *http.Request) { asked <- syscall.SIGUSR1 })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked with:", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
	})
	go http.Serve(l, mux)
	if <-asked == syscall.SIGUSR1 {
		return // it ends by itself
	}
	if strings.Contains(how, "stubborn") {
		fmt.Println("it will not end")
		select {}
	}
	_ = os.WriteFile("last.txt", []byte("last words\n"), 0o644)
	fmt.Println("it ends")
}

// startKernel starts a process in a session of its own, as Jupyter does with its kernels.
func startKernel() {
	kernel := exec.Command("sleep", "1000")
	kernel.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := kernel.Start(); err != nil {
		panic(err)
	}
	fmt.Printf("kernel: %d\n", kernel.Process.Pid)
}

// studioSpec is a session on the portal's own host whose tool is this test binary.
func studioSpec(t *testing.T, how string) platform.Spec {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	return platform.Spec{WorkspaceID: 7, Launch: platform.Launch{WorkDir: filepath.Join(t.TempDir(), "work")},
		Environment: []platform.Env{{Name: asTool, Value: "tool " + how}, {Name: "COLOUR", Value: "blue"}},
		Studio: &platform.StudioSpec{StudioID: platform.NewID(), SessionID: platform.NewID(), Name: "my studio", URL: "https://a.studios.example", Token: "hush-hush",
			Template: platform.StudioTemplate{ID: "test", Name: "Test tool", Image: "example.org/tool:1", Port: 8888, Ready: "/ready",
				HostCommand: []string{self, "--port", "${PORT}", "--dir", "${WORKSPACE}", "--url", "${URL}", "--studio", "${STUDIO}"},
				Environment: map[string]string{"TOOL_TOKEN": "${TOKEN}", "COLOUR": "red"}, Authorization: "token ${TOKEN}"}}}
}

// startStudio runs a session until it ends.
func (p *fakePortal) startStudio(change func(*Config)) (workspace string, ended <-chan error) {
	_, ended = p.start(p.t.Context(), "", func(c *Config) {
		c.Grace, c.DockerWait = 10*time.Second, time.Millisecond
		if change != nil {
			change(c)
		}
		if c.Place != nil {
			workspace = filepath.Join(c.Dir, diskFolder, "workspace")
		} else {
			workspace = filepath.Join(c.Dir, "workspace")
		}
	})
	return workspace, ended
}

func (p *fakePortal) has(step string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.steps, step)
}

func (p *fakePortal) checkpoints() []platform.CheckpointReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.kept)
}

// again is the spec of the next session of a Studio, which begins with a checkpoint.
func again(s platform.Spec, checkpoint string) platform.Spec {
	next := *s.Studio
	next.SessionID, next.Restore = platform.NewID(), &platform.CheckpointRef{StudioID: next.StudioID, CheckpointID: checkpoint}
	s.Studio = &next
	return s
}

// toolPort is the port that the tool was told; empty: it did not print it yet.
func (p *fakePortal) toolPort() string {
	_, rest, _ := strings.Cut(p.output(), "up: --port ")
	port, _, _ := strings.Cut(rest, " ")
	return port
}

// ask asks a running tool something.
func (p *fakePortal) ask(path string) string {
	p.t.Helper()
	resp, err := http.Get("http://127.0.0.1:" + p.toolPort() + path)
	must(p.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(p.t, err)
	return string(text)
}

func TestASessionRunsItsToolAndKeepsItsWork(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(nil)
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	until(t, "the log is here", func() bool { return strings.Contains(p.output(), "answers.\n") })
	contains(t, "the log", p.output(), "--dir "+workspace+" --url https://a.studios.example --studio "+s.Studio.StudioID, "asked with: token "+mask.Shown)
	contains(t, "the environment", p.ask("/env"), "\nCOLOUR=blue\n", "TOOL_TOKEN=hush-hush", "WHERRY_STUDIO_TOKEN=hush-hush", "WHERRY_STUDIO_WORKSPACE="+workspace,
		"WHERRY_STUDIO_NAME=my studio", "WHERRY_STUDIO_URL=https://a.studios.example")
	must(t, os.MkdirAll(filepath.Join(workspace, "deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(workspace, "deep", "notes.txt"), []byte("my notes"), 0o640))
	close(p.cancel)
	must(t, finish(t, ended))
	end := p.ended()
	if end == nil || !end.Cancelled || end.Reason != "" || end.ExitCode != nil {
		t.Errorf("%+v", end)
	}
	kept := p.checkpoints()
	if len(kept) != 1 || !kept[0].Final || kept[0].Files != 2 || kept[0].Size == 0 {
		t.Fatalf("checkpoints %+v", kept)
	}
	var list []platform.CheckpointReport
	text, err := os.ReadFile(filepath.Join(s.Launch.WorkDir, s.KeptFolder(), platform.KeptCheckpointList))
	must(t, err)
	if err := json.Unmarshal(text, &list); err != nil || !slices.Equal(list, kept) {
		t.Errorf("written down for a portal that did not hear are %+v, %v", list, err)
	}

	second := again(s, kept[0].ID)
	p2 := newFakePortal(t, second)
	workspace, ended = p2.startStudio(nil)
	until(t, "the tool is ready", func() bool { return p2.has(platform.StepToolReady) })
	text, err = os.ReadFile(filepath.Join(workspace, "deep", "notes.txt"))
	if err != nil || string(text) != "my notes" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(workspace, "last.txt")); err != nil || string(text) != "last words\n" {
		t.Errorf("what the tool wrote when it was asked to end: %q, %v", text, err)
	}
	if !p2.has(platform.StepRestored) {
		t.Errorf("steps %v", p2.steps)
	}
	until(t, "the tool's port is told", func() bool { return p2.toolPort() != "" })
	p2.ask("/end")
	must(t, finish(t, ended))
	if end := p2.ended(); end == nil || end.ExitCode == nil || *end.ExitCode != 0 || end.Cancelled {
		t.Errorf("%+v", end)
	}
	var file platform.KeptEndFile
	text, err = os.ReadFile(filepath.Join(s.Launch.WorkDir, second.KeptFolder(), platform.KeptEnd))
	must(t, err)
	must(t, json.Unmarshal(text, &file))
	if kept := p2.checkpoints(); len(kept) != 0 || exists(filepath.Join(s.Launch.WorkDir, second.KeptFolder(), platform.KeptCheckpointList)) {
		t.Errorf("nothing was changed, and there are checkpoints %+v", kept)
	}
}

func TestWhyASessionNeverBegan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*platform.StudioSpec, *fakePlace) (inCloud bool)
		want   string
	}{
		"the command is not there": {func(s *platform.StudioSpec, _ *fakePlace) bool {
			s.Template.Name, s.Template.HostCommand = "JupyterLab", []string{"no-such-jupyter", "lab"}
			return false
		}, "The command no-such-jupyter was not found on the portal's host. Install JupyterLab there, or choose an AWS environment."},
		"it is a container alone": {func(s *platform.StudioSpec, _ *fakePlace) bool {
			s.Template.HostCommand = nil
			return false
		}, "Test tool is run as a container, and this environment runs tools as processes of the portal's host. Choose an AWS environment."},
		"the tool never answers": {func(s *platform.StudioSpec, _ *fakePlace) bool {
			return false
		}, "The Studio's tool did not answer within 2 seconds."},
		"there is no such checkpoint": {func(s *platform.StudioSpec, _ *fakePlace) bool {
			s.Restore = &platform.CheckpointRef{StudioID: s.StudioID, CheckpointID: platform.NewID()}
			return true
		}, "The kept work could not be brought back: "},
		"data cannot be mounted on this host": {func(s *platform.StudioSpec, _ *fakePlace) bool {
			s.Mounts = []platform.StudioMountSpec{{StudioMount: platform.StudioMount{Name: "reads", URI: "s3://bucket/reads"}}}
			return false
		}, "the portal's host does not have the command mount-s3. Install Mountpoint for Amazon S3 there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			how := ""
			if name == "the tool never answers" {
				how = "silent"
			}
			s, place := studioSpec(t, how), newFakePlace(t)
			inCloud := c.change(s.Studio, place)
			p := newFakePortal(t, s)
			_, ended := p.startStudio(func(cfg *Config) {
				cfg.ReadyLimit = 2 * time.Second
				if inCloud {
					cfg.Place = place
				}
			})
			must(t, finish(t, ended))
			if end := p.ended(); end == nil || !strings.Contains(end.Reason, c.want) {
				t.Errorf("%+v, want %q", end, c.want)
			}
			if kept := p.checkpoints(); len(kept) > 0 {
				t.Errorf("it kept %+v", kept)
			}
		})
	}
}

func TestAToolThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, studioSpec(t, "fails"))
	_, ended := p.startStudio(nil)
	must(t, finish(t, ended))
	end := p.ended()
	if end == nil || end.ExitCode == nil || *end.ExitCode != 3 || end.Reason != "Test tool ended with exit status 3." {
		t.Fatalf("%+v", end)
	}
	contains(t, "the report", end.ErrorReport, "a module is missing")
	if p.has(platform.StepToolReady) || !p.has(platform.StepToolEnded) {
		t.Errorf("steps %v", p.steps)
	}
}

func TestAToolThatEndsBeforeItAnsweredHasFailed(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, studioSpec(t, "does not serve"))
	_, ended := p.startStudio(nil)
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || end.Reason != "Test tool ended before it answered at its port." || !strings.Contains(end.ErrorReport, "up: ") {
		t.Errorf("%+v", end)
	}
}

func TestHowToolsEnd(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"exit 0":        "",
		"exit 2":        "Tool ended with exit status 2.",
		"exit 137":      "Tool ended with exit status 137. The machine may have had too little memory.",
		"kill -TERM $$": "Tool was stopped by a signal (terminated).",
		"kill -KILL $$": "Tool was stopped by a signal (killed). The machine may have had too little memory.",
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		_ = cmd.Run() // how it ends is what is asked for
		end := howItEnded("Tool", cmd.ProcessState)
		if end.Reason != want || (end.ExitCode == nil) != strings.HasPrefix(script, "kill") {
			t.Errorf("%s: %+v", script, end)
		}
	}
}

func TestAToolWhosePortIsTakenGetsAnother(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"loses its port", "listens elsewhere"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newFakePortal(t, studioSpec(t, how))
			_, ended := p.startStudio(nil)
			if how == "listens elsewhere" {
				until(t, "the tool is up", func() bool { return p.toolPort() != "" })
				l, err := net.Listen("tcp", "127.0.0.1:"+p.toolPort())
				must(t, err)
				go http.Serve(l, http.NotFoundHandler())
				defer l.Close()
			}
			until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
			until(t, "its log is here", func() bool { return strings.Contains(p.output(), "answers.\n") })
			contains(t, "the log", p.output(), "was taken by another program. The tool is started again on another port.\n")
			if n := strings.Count(p.output(), "up: "); n != 2 {
				t.Errorf("the tool was started %d times", n)
			}
			close(p.cancel)
			must(t, finish(t, ended))
			if end := p.ended(); end == nil || !end.Cancelled {
				t.Errorf("%+v", end)
			}
		})
	}
}
