package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// The test binary plays the program: as supervisor it is the real one, as agent it does what a test asks for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "machine":
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			err := Supervise(ctx)
			stop()
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			os.Exit(0)
		case "agent":
			os.Exit(testAgent())
		}
	}
	os.Exit(m.Run())
}

// testAgent runs the script that the test named in place of the portal's address, and waits for it.
func testAgent() int {
	script := os.Getenv("WHERRY_AGENT_PORTAL_URL")
	f, err := os.OpenFile(filepath.Join(os.Getenv("WHERRY_AGENT_DIR"), "agents"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(f, os.Getpid())
	f.Close()
	cmd := exec.Command("bash", "-c", script)
	if err := cmd.Run(); err != nil {
		return 7
	}
	return 0
}

var noEnv platform.ComputeEnv

func newLocal(t *testing.T) *Local {
	t.Helper()
	l := New(Config{Dir: t.TempDir(), Command: []string{os.Args[0], "machine"}})
	t.Cleanup(func() {
		list, _ := l.List(context.Background(), noEnv)
		for _, i := range list {
			_ = l.Terminate(context.Background(), noEnv, platform.Machine{ID: i.MachineID})
		}
	})
	return l
}

// start starts a machine whose agent runs a script.
func start(t *testing.T, l *Local, id, script string) string {
	t.Helper()
	instance, err := l.Start(t.Context(), noEnv, request(id, script))
	must(t, err)
	return instance.InstanceID
}

func request(id, script string) cloud.StartRequest {
	return cloud.StartRequest{MachineID: id, PortalURL: script, ClaimToken: "the-claim-token", Lifetime: time.Minute}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func status(t *testing.T, l *Local, id string) cloud.Instance {
	t.Helper()
	i, err := l.Describe(t.Context(), noEnv, platform.Machine{ID: id})
	must(t, err)
	return i
}

func agents(l *Local, id string) int {
	text, _ := os.ReadFile(l.folder(id).path("agents"))
	return strings.Count(string(text), "\n")
}

func TestAMachineRunsItsAgentAndEndsWithIt(t *testing.T) {
	t.Parallel()
	l, id := newLocal(t), platform.NewID()
	if s := status(t, l, id); s.Status != cloud.StatusGone {
		t.Errorf("before it is started: %+v", s)
	}
	start(t, l, id, "sleep 0.2; exit 3")
	until(t, "running", func() bool { return status(t, l, id).Status == cloud.StatusRunning })
	until(t, "gone", func() bool { return status(t, l, id).Status == cloud.StatusGone })
	if s := status(t, l, id); s.Reason != "the agent ended with exit status 7" {
		t.Errorf("%+v", s)
	}
	start(t, l, id, "sleep 100")
	time.Sleep(300 * time.Millisecond)
	if n := agents(l, id); n != 1 {
		t.Errorf("a machine that has ended was started again: %d agents", n)
	}
}

func TestStartingTwiceStartsOnce(t *testing.T) {
	t.Parallel()
	l, id := newLocal(t), platform.NewID()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := l.Start(context.Background(), noEnv, request(id, "sleep 100")); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _, _ = l.Describe(context.Background(), noEnv, platform.Machine{ID: id}) })
	}
	wg.Wait()
	until(t, "an agent runs", func() bool { return agents(l, id) > 0 })
	time.Sleep(300 * time.Millisecond)
	if n := agents(l, id); n != 1 {
		t.Errorf("%d agents", n)
	}
}

// TestTerminateEndsEveryProcess, however it tries to get away.
func TestTerminateEndsEveryProcess(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"a plain child":                 "sleep 1000 & wait",
		"one in a session of its own":   "setsid sleep 1000 & wait; sleep 1000",
		"a daemon":                      "(setsid sleep 1000 &) ; sleep 1000",
		"one that ignores SIGTERM":      "trap '' TERM; while :; do sleep 0.1; done",
		"one without its environment":   "env -i sleep 1000 & wait",
		"a daemon without environment":  "(env -i setsid sleep 1000 &) ; sleep 1000",
		"one that starts ever new ones": "while :; do (setsid sleep 50 &); sleep 0.01; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, id := newLocal(t), platform.NewID()
			instance := start(t, l, id, script)
			until(t, "a sleep runs", func() bool { return len(mark(id).List()) >= 4 })
			list, err := l.List(t.Context(), noEnv)
			if err != nil || len(list) != 1 || list[0].InstanceID != instance {
				t.Errorf("%v, %v", list, err)
			}
			must(t, l.Terminate(t.Context(), noEnv, platform.Machine{ID: id, InstanceID: instance}))
			if left := mark(id).List(); len(left) > 0 {
				t.Errorf("left: %+v", left)
			}
			if s := status(t, l, id); s.Status != cloud.StatusGone {
				t.Errorf("%+v", s)
			}
			must(t, l.Terminate(t.Context(), noEnv, platform.Machine{ID: id, InstanceID: instance}))
		})
	}
}

func TestTerminateComesBeforeStart(t *testing.T) {
	t.Parallel()
	l, id := newLocal(t), platform.NewID()
	must(t, l.Terminate(t.Context(), noEnv, platform.Machine{ID: id}))
	start(t, l, id, "sleep 100")
	time.Sleep(300 * time.Millisecond)
	if n := agents(l, id); n != 0 || status(t, l, id).Status != cloud.StatusGone {
		t.Errorf("%d agents, %+v", n, status(t, l, id))
	}
}

// TestAPortalThatDiesWhileStarting leaves a folder, or a supervisor without its order; the next start makes it good.
func TestAPortalThatDiesWhileStarting(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]func(l *Local, f folder) error{
		"after the folder was made": func(l *Local, f folder) error { return f.make() },
		"before the order was said": func(l *Local, f folder) error {
			if err := f.make(); err != nil {
				return err
			}
			cmd := exec.Command(os.Args[0], "machine") // its standard input is at its end at once
			_ = cmd.Run()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, id := newLocal(t), platform.NewID()
			must(t, half(l, l.folder(id)))
			if s := status(t, l, id); s.Status != cloud.StatusPending {
				t.Errorf("half started: %+v", s)
			}
			start(t, l, id, "sleep 100")
			until(t, "running", func() bool { return status(t, l, id).Status == cloud.StatusRunning && agents(l, id) == 1 })
		})
	}
}

func TestAKilledSupervisorIsSeen(t *testing.T) {
	t.Parallel()
	l, id := newLocal(t), platform.NewID()
	start(t, l, id, "sleep 1000")
	until(t, "the agent runs", func() bool { return agents(l, id) == 1 })
	for _, p := range mark(id).List() {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if strings.HasSuffix(string(command), "\x00machine\x00") {
			must(t, syscall.Kill(p.PID, syscall.SIGKILL))
		}
	}
	until(t, "it is not running", func() bool { return status(t, l, id).Status != cloud.StatusRunning })
	if s := status(t, l, id); s.Reason != "its supervisor was killed" {
		t.Errorf("%+v", s)
	}
	must(t, l.Terminate(t.Context(), noEnv, platform.Machine{ID: id}))
	if s := status(t, l, id); s.Status != cloud.StatusGone || len(mark(id).List()) > 0 {
		t.Errorf("%+v, %v", s, mark(id).List())
	}
}

func TestTheClaimTokenIsInNoFileAndOnNoCommandLine(t *testing.T) {
	t.Parallel()
	l, id := newLocal(t), platform.NewID()
	start(t, l, id, "sleep 1000")
	until(t, "the agent runs", func() bool { return agents(l, id) == 1 })
	err := filepath.WalkDir(l.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "the-claim-token") {
			t.Errorf("it is in %s", path)
		}
		return err
	})
	must(t, err)
	for _, p := range mark(id).List() {
		if command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID)); strings.Contains(string(command), "the-claim-token") {
			t.Errorf("it is on a command line: %q", command)
		}
	}
}

func TestFilesOutsideTheWorkDirectoryStayClosed(t *testing.T) {
	t.Parallel()
	l := newLocal(t)
	top := t.TempDir()
	work := filepath.Join(top, "work")
	must(t, os.MkdirAll(filepath.Join(work, "ab"), 0o755))
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(work, "ab", ".command.out"), []byte("hello"), 0o600))
	must(t, os.Symlink("../../secret", filepath.Join(work, "ab", "link")))
	must(t, syscall.Mkfifo(filepath.Join(work, "ab", "pipe"), 0o600)) // nobody writes into it
	file, err := l.Open(t.Context(), noEnv, work, "ab/.command.out")
	must(t, err)
	if text, err := io.ReadAll(file); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	for _, name := range []string{"../secret", "/etc/passwd", "ab/link", "ab/pipe", "ab"} {
		if _, err := l.Open(t.Context(), noEnv, work, name); err == nil || cloud.KindOf(err) != cloud.KindInvalid && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Open(t.Context(), noEnv, work, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAPipelineThatIsNotThereIsSaidSoBesideItsField(t *testing.T) {
	t.Parallel()
	l, dir := newLocal(t), t.TempDir()
	for _, name := range []string{"good/main.nf", "named/nextflow.config", "named/other.nf", "empty/readme", "single.nf"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	for _, c := range []struct{ pipeline, script, field string }{
		{"good", "", ""}, {"named", "", ""}, {"named", "other.nf", ""}, {"single.nf", "", ""},
		{"nothing", "", "pipeline"}, {"empty", "", "pipeline"}, {"named", "main.nf", "mainScript"},
	} {
		err := l.CheckLaunch(t.Context(), noEnv, platform.Launch{Pipeline: filepath.Join(dir, c.pipeline), MainScript: c.script})
		var fields platform.FieldErrors
		if errors.As(err, &fields); (c.field == "") != (err == nil) || (c.field != "" && fields[c.field] == "") {
			t.Errorf("%s %s: %v, want an error at %q", c.pipeline, c.script, err, c.field)
		}
	}
	must(t, l.CheckLaunch(t.Context(), noEnv, platform.Launch{Pipeline: "nextflow-io/hello"}))
}

func TestAnEnvironmentThatCannotWorkIsSaidSo(t *testing.T) {
	t.Parallel()
	l := newLocal(t)
	l.Nextflow = "/nothing/nextflow"
	for want, dir := range map[string]string{"cannot be made": "/proc/nothing", "was not found": t.TempDir()} {
		err := l.Check(t.Context(), platform.ComputeEnv{WorkDir: dir})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
	l.Nextflow = "true"
	must(t, l.Check(t.Context(), platform.ComputeEnv{WorkDir: t.TempDir()}))
}

// TestWhatAStudiosAgentKeptIsReadBack has an agent that saved its work and was killed before it could write its end.
func TestWhatAStudiosAgentKeptIsReadBack(t *testing.T) {
	t.Parallel()
	l, workDir, machine := New(Config{Dir: t.TempDir()}), t.TempDir(), platform.NewID()
	req := cloud.RecoverRequest{WorkID: "session", Folder: platform.KeptStudioFolder("studio", "session"), MachineID: machine, WorkDir: workDir,
		Offsets: map[platform.LogStream]int64{platform.LogOutput: 4}, Ended: true}
	for path, text := range map[string]string{
		filepath.Join(l.Dir, "machines", machine, "stdout.log"):         "one\ntwo\n",
		filepath.Join(workDir, req.Folder, platform.KeptCheckpointList): `[{"id":"a","saved":"2026-05-01T10:00:00Z","size":7,"files":1}]`,
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Recover(t.Context(), platform.ComputeEnv{}, req)
	if err != nil || string(got.Logs[platform.LogOutput]) != "two\n" || got.End != nil || len(got.Checkpoints) != 1 || got.Checkpoints[0].ID != "a" || got.Checkpoints[0].Size != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	req.Ended = false
	if got, err := l.Recover(t.Context(), platform.ComputeEnv{}, req); err != nil || len(got.Checkpoints) != 0 || len(got.Logs) != 1 {
		t.Errorf("while the machine goes on: %+v, %v", got, err)
	}
}

// TestAMachinesSecretsEndWithIt has an agent that was killed before it could remove them.
func TestAMachinesSecretsEndWithIt(t *testing.T) {
	t.Parallel()
	l, machine := New(Config{Dir: t.TempDir()}), platform.NewID()
	store := filepath.Join(l.Dir, "machines", machine, platform.SecretsFolder, "store.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(store), 0o700), os.WriteFile(store, []byte("[]"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := l.Terminate(t.Context(), platform.ComputeEnv{}, platform.Machine{ID: machine}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(store)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the machine's secrets are left: %v", err)
	}
}
