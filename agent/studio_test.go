package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"wherry/platform"
)

// asTool makes the test binary a Studio's tool: a program of its own, as on a machine.
const asTool = "WHERRY_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		tool()
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
	case strings.Contains(how, "silent"):
		select {}
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

// ask asks a running tool something, at the port that it printed.
func (p *fakePortal) ask(path string) string {
	p.t.Helper()
	_, rest, _ := strings.Cut(p.output(), "up: --port ")
	port, _, _ := strings.Cut(rest, " ")
	resp, err := http.Get("http://127.0.0.1:" + port + path)
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
	contains(t, "the log", p.output(), "--dir "+workspace+" --url https://a.studios.example --studio "+s.Studio.StudioID, "asked with: token hush-hush")
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

	second := again(s, kept[0].ID)
	p2 := newFakePortal(t, second)
	workspace, ended = p2.startStudio(nil)
	until(t, "the tool is ready", func() bool { return p2.has(platform.StepToolReady) })
	text, err := os.ReadFile(filepath.Join(workspace, "deep", "notes.txt"))
	if err != nil || string(text) != "my notes" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(workspace, "last.txt")); err != nil || string(text) != "last words\n" {
		t.Errorf("what the tool wrote when it was asked to end: %q, %v", text, err)
	}
	if !p2.has(platform.StepRestored) {
		t.Errorf("steps %v", p2.steps)
	}
	p2.ask("/end")
	must(t, finish(t, ended))
	if end := p2.ended(); end == nil || end.ExitCode == nil || *end.ExitCode != 0 || end.Cancelled {
		t.Errorf("%+v", end)
	}
	var file platform.KeptEndFile
	text, err = os.ReadFile(filepath.Join(s.Launch.WorkDir, second.KeptFolder(), platform.KeptEnd))
	must(t, err)
	must(t, json.Unmarshal(text, &file))
	if kept := p2.checkpoints(); len(kept) != 0 || len(file.Checkpoints) != 0 {
		t.Errorf("nothing was changed, and there are checkpoints %+v, %+v", kept, file.Checkpoints)
	}
}
