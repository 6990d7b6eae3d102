package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wherry/platform"
)

// pid is a number that the tool printed after a word.
func (p *fakePortal) pid(word string) int {
	_, rest, found := strings.Cut(p.output(), word+": ")
	line, _, whole := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if !found || !whole || err != nil {
		return 0
	}
	return n
}

// lives tells whether a process is there, and not only its exit status.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAStopAsksFirstAndThenForces(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{"kernels": "it ends\n", "kernels stubborn": "it will not end\n"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newFakePortal(t, studioSpec(t, how))
			workspace, ended := p.startStudio(func(c *Config) {
				if how != "kernels" {
					c.Grace = 500 * time.Millisecond
				}
			})
			until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
			until(t, "the kernel is up", func() bool { return p.pid("kernel") > 0 })
			close(p.cancel)
			must(t, finish(t, ended))
			contains(t, "the log", p.output(), want)
			if how != "kernels" {
				contains(t, "the log", p.output(), "The tool did not end within 500ms and is killed.")
			}
			if lives(p.pid("kernel")) || len(processesIn(t, workspace)) > 0 {
				t.Errorf("processes are left: %v", processesIn(t, workspace))
			}
		})
	}
}

func TestASessionWithoutItsPortalStopsWhenItsLifespanEnds(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	s.Studio.StopIn = time.Nanosecond
	p := newFakePortal(t, s)
	_, ended := p.startStudio(func(c *Config) { c.StopMargin = 100 * time.Millisecond })
	must(t, finish(t, ended))
	if end := p.ended(); end == nil || end.StopReason != platform.StopLifespan || end.Cancelled || end.Reason != "" {
		t.Errorf("%+v", end)
	}
	if len(p.checkpoints()) != 1 {
		t.Errorf("checkpoints %+v", p.checkpoints())
	}
}

func TestTheEndOfALifespanIsWhatThePortalSaidLast(t *testing.T) {
	t.Parallel()
	var l lifespan
	l.hear(0)
	l.begin(time.Nanosecond)
	if !l.over(0) || l.over(time.Hour) {
		t.Error("it goes on after its end, or ends before the margin")
	}
	l.hear(0)
	if !l.over(0) {
		t.Error("a portal that has not seen the tool start takes the end away")
	}
	l.hear(time.Hour)
	if l.over(0) {
		t.Error("it was extended, and ends")
	}
	l.begin(time.Nanosecond)
	if l.over(0) {
		t.Error("what the portal said does not count")
	}
	l.hear(-time.Hour)
	if !l.over(time.Minute) {
		t.Error("its end was an hour ago, and it goes on")
	}
	l.hear(0)
	if l.over(0) {
		t.Error("its end was taken away, and it ends")
	}
}

// inCloud runs a session on a place, whose tool is a process: the machine has no Docker that works.
func inCloud(t *testing.T, place *fakePlace) func(*Config) {
	return func(c *Config) { c.Place, c.KeepEvery = place, time.Minute }
}

func TestASpotNoticeSavesTheWorkWhileTheToolIsAskedToStop(t *testing.T) {
	t.Parallel()
	s, place := studioSpec(t, "stubborn"), newFakePlace(t)
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(func(c *Config) {
		inCloud(t, place)(c)
		c.Grace = time.Minute
	})
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	must(t, os.WriteFile(filepath.Join(workspace, "notes.txt"), []byte("my notes"), 0o644))
	place.notice <- time.Now().Add(2 * time.Minute)
	must(t, finish(t, ended))
	end := p.ended()
	if end == nil || !end.Interrupted || end.Cancelled || end.Reason != "EC2 takes the Spot instance back. On-Demand instances are not taken back." {
		t.Errorf("%+v", end)
	}
	if len(p.checkpoints()) != 1 {
		t.Fatalf("nothing changed after the first checkpoint, and there are %+v", p.checkpoints())
	}
	if saved := p.checkpoints()[0].Saved; p.stepAt[platform.StepToolEnded].Sub(saved) < noticeGrace/2 {
		t.Errorf("it was saved at %s, only when the tool had ended, at %s", saved, p.stepAt[platform.StepToolEnded])
	}
	contains(t, "the kept end", place.read(t, s.KeptFolder()+"/"+platform.KeptEnd), `"interrupted":true`)
	contains(t, "the kept list of checkpoints", place.read(t, s.KeptFolder()+"/"+platform.KeptCheckpointList), p.checkpoints()[0].ID)
	contains(t, "the kept log", place.read(t, s.KeptFolder()+"/"+platform.KeptOutput), "The tool is asked to end.")
}

// slowPlace is a place whose store takes no archive to its end.
type slowPlace struct{ *fakePlace }

func (p slowPlace) Store(context.Context, platform.Spec) (Store, error) { return p, nil }

func (p slowPlace) Put(ctx context.Context, key string, body io.Reader) error {
	if !strings.Contains(key, "/checkpoints/") {
		return p.fakePlace.Put(ctx, key, body)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestWorkThatCannotBeSavedInTimeIsSaid(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"the notice stops the tool", "the notice comes while the work is saved"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testUnsaved(t, name != "the notice stops the tool")
		})
	}
}

func testUnsaved(t *testing.T, stopped bool) {
	s, place := studioSpec(t, ""), newFakePlace(t)
	p := newFakePortal(t, s)
	_, ended := p.startStudio(func(c *Config) {
		inCloud(t, place)(c)
		c.Place = slowPlace{place}
	})
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	if stopped {
		close(p.cancel)
		until(t, "the tool has ended", func() bool { return p.has(platform.StepToolEnded) })
	}
	place.notice <- time.Now().Add(checkpointMargin + time.Second)
	must(t, finish(t, ended))
	end := p.ended()
	if end == nil || end.Interrupted == stopped || end.Cancelled != stopped {
		t.Fatalf("%+v", end)
	}
	if !stopped {
		contains(t, "the reason", end.Reason, "EC2 takes the Spot instance back.")
	}
	contains(t, "the reason", end.Reason, "Nothing of this session could be kept; the Studio has what was kept before: there was not enough time before the machine's end.")
	if len(p.checkpoints()) > 0 {
		t.Errorf("checkpoints that are not there are told: %+v", p.checkpoints())
	}
	contains(t, "the kept end", place.read(t, s.KeptFolder()+"/"+platform.KeptEnd), "could be kept")
}

func TestLastWorkThatTheStoreRefusesIsSaid(t *testing.T) {
	t.Parallel()
	s, place := studioSpec(t, ""), newFakePlace(t)
	p := newFakePortal(t, s)
	workspace, ended := p.startStudio(func(c *Config) {
		inCloud(t, place)(c)
		c.CheckpointEvery = 50 * time.Millisecond
	})
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	must(t, os.WriteFile(filepath.Join(workspace, "early.txt"), nil, 0o644))
	until(t, "the work is saved", func() bool { return len(p.checkpoints()) > 0 })
	place.mu.Lock()
	place.fail = func(key string) error {
		if strings.Contains(key, "/checkpoints/") {
			return errors.New("access is denied")
		}
		return nil
	}
	place.mu.Unlock()
	must(t, os.WriteFile(filepath.Join(workspace, "late.txt"), nil, 0o644))
	close(p.cancel)
	must(t, finish(t, ended))
	kept := p.checkpoints()
	end := p.ended()
	if end == nil || !end.Cancelled {
		t.Fatalf("%+v", end)
	}
	newest := kept[len(kept)-1].Saved.Format("15:04:05 UTC on 2 January 2006")
	contains(t, "the reason", end.Reason, "What was changed after "+newest+", when the newest checkpoint was saved, could not be kept: access is denied.")
}

func TestASessionThatNobodyWantsAnyMoreEndsItsTool(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happen func(p *fakePortal, parent chan struct{}, cancel context.CancelFunc)
		want   string
	}{
		"the portal says that it is over": {func(p *fakePortal, _ chan struct{}, _ context.CancelFunc) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.over = true
		}, ErrOver.Error()},
		"the supervisor died":      {func(_ *fakePortal, parent chan struct{}, _ context.CancelFunc) { close(parent) }, "supervisor"},
		"the agent is told to end": {func(_ *fakePortal, _ chan struct{}, cancel context.CancelFunc) { cancel() }, "canceled"},
		"the portal is gone for good": {func(p *fakePortal, _ chan struct{}, _ context.CancelFunc) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.fault = func(int, string) string { return "refuse" }
		}, "was not heard for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, parent := studioSpec(t, "kernels"), make(chan struct{})
			p := newFakePortal(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var workspace string
			_, ended := p.start(ctx, "", func(c *Config) {
				c.Grace, c.ParentGone, c.Lifetime, workspace = 10*time.Second, parent, 2*time.Second, filepath.Join(c.Dir, "workspace")
			})
			until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
			until(t, "the kernel is up", func() bool { return p.pid("kernel") > 0 })
			must(t, os.WriteFile(filepath.Join(workspace, "notes.txt"), []byte("my notes"), 0o644))
			c.happen(p, parent, cancel)
			if err := finish(t, ended); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if lives(p.pid("kernel")) || len(processesIn(t, workspace)) > 0 {
				t.Errorf("processes are left: %v", processesIn(t, workspace))
			}
			if keys, err := folderStore(s.Launch.WorkDir).List(t.Context(), filepath.Dir(platform.CheckpointKey(s.Studio.StudioID, "x"))); err != nil || len(keys) != 1 {
				t.Errorf("its work is not kept: %q, %v", keys, err)
			}
		})
	}
}

// startAgent runs an agent as a process of its own.
func (p *fakePortal) startAgent() (agent *exec.Cmd, workspace string) {
	p.t.Helper()
	self, err := os.Executable()
	must(p.t, err)
	dir := p.t.TempDir()
	agent = exec.CommandContext(p.t.Context(), self)
	agent.Env = append(os.Environ(), asAgent+"=1", "WHERRY_AGENT_PORTAL_URL="+p.URL, "WHERRY_AGENT_MACHINE=m", "WHERRY_AGENT_INSTANCE=i",
		"WHERRY_AGENT_CLAIM_TOKEN=claim", "WHERRY_AGENT_DIR="+dir)
	must(p.t, agent.Start())
	return agent, filepath.Join(dir, "workspace")
}

func TestAKilledAgentLeavesNoTool(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, studioSpec(t, ""))
	agent, workspace := p.startAgent()
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	tools := processesIn(t, workspace)
	must(t, agent.Process.Signal(syscall.SIGKILL))
	_ = agent.Wait() // it was killed
	if len(tools) != 1 {
		t.Errorf("the tool was %v", tools)
	}
	until(t, "no tool is left", func() bool { return len(processesIn(t, workspace)) == 0 })
}

func TestAnAgentThatIsKilledWhileItSavesLeavesNoCheckpoint(t *testing.T) {
	t.Parallel()
	s := studioSpec(t, "")
	p := newFakePortal(t, s)
	agent, workspace := p.startAgent()
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	large, err := os.Create(filepath.Join(workspace, "large"))
	must(t, err)
	must(t, errors.Join(large.Truncate(16<<30), large.Close())) // no bytes on the disk, and long to pack
	close(p.cancel)
	folder := filepath.Join(s.Launch.WorkDir, filepath.Dir(platform.CheckpointKey(s.Studio.StudioID, "x")))
	parts := func() []string {
		found, err := filepath.Glob(filepath.Join(folder, partPrefix+"*"))
		must(t, err)
		return found
	}
	until(t, "it saves", func() bool { return len(parts()) > 0 })
	must(t, agent.Process.Signal(syscall.SIGKILL))
	_ = agent.Wait() // it was killed
	whole, err := filepath.Glob(filepath.Join(folder, "*.tar.gz"))
	if err != nil || len(whole) > 0 || len(p.checkpoints()) > 0 {
		t.Errorf("%q is there, and %+v is told, %v", whole, p.checkpoints(), err)
	}

	next := *s.Studio
	next.SessionID = platform.NewID()
	s.Studio = &next
	p = newFakePortal(t, s)
	_, ended := p.startStudio(nil)
	until(t, "the next session is ready", func() bool { return p.has(platform.StepToolReady) })
	if left := parts(); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	close(p.cancel)
	must(t, finish(t, ended))
}

func TestASessionOnAFullDiskStopsAndSaysSo(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("mounting a disk of its own takes root: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	p := newFakePortal(t, studioSpec(t, ""))
	_, ended := p.startStudio(func(c *Config) { c.Dir = disk })
	until(t, "the tool is ready", func() bool { return p.has(platform.StepToolReady) })
	file, err := os.Create(filepath.Join(disk, "workspace", "large"))
	must(t, err)
	_, err = io.Copy(file, zeros{})
	if file.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	must(t, finishWithin(t, ended, time.Minute))
	end := p.ended()
	if end == nil || !strings.HasPrefix(end.Reason, platform.NoSpaceLeft) || !strings.Contains(end.Reason, "Remove files in the workspace") {
		t.Errorf("%+v", end)
	}
	if len(p.checkpoints()) != 1 {
		t.Errorf("its work is not kept: %+v", p.checkpoints())
	}
}
