package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wherry/platform"
)

// newToolPortal is a portal with a Studio's tool that is up at once.
func newToolPortal(t *testing.T) (*portal, platform.Member, platform.ComputeEnv) {
	t.Helper()
	p := newPortalWith(t, false, "WHERRY_STUDIO_TEMPLATES="+toolTemplate(t))
	m := p.member()
	return p, m, p.computeEnv(m)
}

// studioMachine reads the machine of a Studio's newest session.
func (p *portal) studioMachine(id string) platform.Machine {
	p.t.Helper()
	s, err := p.db.AnyStudio(p.t.Context(), id)
	must(p.t, err)
	m, err := p.db.MachineOfStudioSession(p.t.Context(), s.Session.ID)
	must(p.t, err)
	return m
}

// nothingLeftOf waits until a Studio's machine is gone, and wants none of its processes left.
func (p *portal) nothingLeftOf(id string) {
	p.t.Helper()
	eventually(p.t, time.Minute, "the Studio's machine is gone", func() bool { return p.studioMachine(id).State == platform.MachineTerminated })
	if left := processesOf(p.t, p.studioMachine(id).ID); len(left) > 0 {
		p.t.Errorf("processes are left: %v", left)
	}
	p.nothingLeft()
}

// checkStudioLog compares a session's log in the portal with the file on its machine.
func (p *portal) checkStudioLog(s platform.Studio) {
	p.t.Helper()
	want, err := os.ReadFile(filepath.Join(p.data, "local", "machines", p.studioMachine(s.ID).ID, "stdout.log"))
	must(p.t, err)
	if got := p.output(s.Session.ID, platform.LogOutput); got != string(want) || !strings.Contains(got, "serving ") {
		p.t.Errorf("the portal has %q of the Studio's log, and the machine %q", got, want)
	}
}

// TestStudioChaosAPortalThatIsKilledFindsItsStudioAgain kills the portal at one point of a Studio's life and starts it again: the
// Studio comes to run, or to its end, with its log and its work whole.
func TestStudioChaosAPortalThatIsKilledFindsItsStudioAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		stopping bool // the Studio ran before, and its stop was asked for
		at       func(p *portal, id string) bool
	}{
		{"when its start was just wished for", false, func(*portal, string) bool { return true }},
		{"when its machine is requested", false, func(p *portal, id string) bool { return p.studioMachine(id).State != platform.MachineWanted }},
		{"when its agent has claimed it", false, func(p *portal, id string) bool { return !p.studioMachine(id).Claimed.IsZero() }},
		{"when its stop was just asked for", true, func(*portal, string) bool { return true }},
		{"when its end is reported", true, func(p *portal, id string) bool {
			s, err := p.db.AnyStudio(p.t.Context(), id)
			return err == nil && s.Session.End != nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, m, e := newToolPortal(t)
			v := p.visitor(m.User.ID)
			s := v.startTool(m, e, "tool", false)
			if !c.stopping {
				p.killAt(s.ID, c.name, c.at)
			}
			p.studioIs(s.ID, platform.StudioRunning, time.Minute)
			origin := v.opened(s.ID)
			v.wants("PUT", origin+"/rivers.csv", "Yare,84", http.StatusCreated, "")
			v.presses("stop", s.ID)
			if c.stopping {
				p.killAt(s.ID, c.name, c.at)
			}
			s = p.studioIs(s.ID, platform.StudioStopped, time.Minute)
			if s.Session.StopReason != platform.StopUser || s.Session.Message != "It was stopped by ada." {
				t.Errorf("it stopped because of %q: %s", s.Session.StopReason, s.Session.Message)
			}
			list, err := p.db.Checkpoints(t.Context(), m.Workspace.ID, s.ID)
			must(t, err)
			if len(list) == 0 || !list[0].Final || list[0].Files != 1 {
				t.Errorf("its checkpoints are %+v", list)
			}
			sessions, err := p.db.StudioSessions(t.Context(), s.ID, 10)
			must(t, err)
			if len(sessions) != 1 {
				t.Errorf("one start made %d sessions", len(sessions))
			}
			p.nothingLeftOf(s.ID)
			p.checkStudioLog(s)
		})
	}
}

// killAt kills the portal at a point, and starts it again.
func (p *portal) killAt(id, name string, at func(p *portal, id string) bool) {
	p.t.Helper()
	eventually(p.t, time.Minute, name, func() bool { return at(p, id) })
	p.kill()
	p.start()
}

// stop stops the portal as an upgrade does. It takes as long as the requests under way, and agents' long polls are none of them.
func (p *portal) stop() {
	p.t.Helper()
	begun := time.Now()
	must(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	must(p.t, p.cmd.Wait())
	if took := time.Since(begun); took > 9*time.Second { // the limit is 10 s
		p.t.Errorf("the portal took %s to stop", took)
	}
}

// TestStudioChaosATunnelIsBackWithItsPortal kills and stops the portal while a Studio runs: its tool is reached again within 5 seconds of the
// portal's return, by whoever was connected, and goes on as the same process.
func TestStudioChaosATunnelIsBackWithItsPortal(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	origin := v.opened(s.ID)
	v.wants("PUT", origin+"/rivers.csv", "Yare,84", http.StatusCreated, "")
	before := processesOf(t, p.studioMachine(s.ID).ID)
	for _, end := range []func(){p.kill, p.stop, p.kill} {
		end()
		p.start()
		back := time.Now()
		eventually(t, time.Minute, "the Studio is reached again", func() bool {
			_, status, text := v.do("GET", origin+"/rivers.csv", "")
			return status == http.StatusOK && text == "Yare,84"
		})
		took := time.Since(back)
		t.Logf("reached again %s after the portal's return", took.Round(time.Millisecond))
		if took > 15*time.Second { // 5 s on a host that has nothing else to do
			t.Errorf("the Studio was reached again only %s after the portal's return", took)
		}
	}
	after := processesOf(t, p.studioMachine(s.ID).ID)
	for pid, command := range before {
		if after[pid] != command {
			t.Errorf("the process %d of the machine, %q, did not live on", pid, command)
		}
	}
	v.presses("stop", s.ID)
	s = p.studioIs(s.ID, platform.StudioStopped, time.Minute)
	p.nothingLeftOf(s.ID)
	p.checkStudioLog(s)
}

// TestStudioChaosOnTheMachine kills what a Studio runs with, or ends its tool: it says why it ended, and nothing of it is left.
func TestStudioChaosOnTheMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		kill    func(p *portal, v *visitor, id, origin string)
		message string
	}{
		{"the agent is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "\x00agent\x00") }, "the agent was killed by signal 9"},
		{"the supervisor is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "\x00machine\x00") }, "its supervisor was killed"},
		{"the tool is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "tool.py\x00") }, "was stopped by a signal (killed)"},
		{"the tool ends itself", func(_ *portal, v *visitor, _, origin string) { v.do("POST", origin+"/", "") }, "exit status 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, m, e := newToolPortal(t)
			v := p.visitor(m.User.ID)
			s := v.startTool(m, e, "tool", false)
			p.studioIs(s.ID, platform.StudioRunning, time.Minute)
			origin := v.opened(s.ID)
			c.kill(p, v, s.ID, origin)
			s = p.endedStudio(s.ID)
			if s.State() != platform.StudioErrored || !strings.Contains(s.Session.Message, c.message) {
				t.Errorf("the Studio is %s: %q; want that it errored because %q", s.State(), s.Session.Message, c.message)
			}
			p.nothingLeftOf(s.ID)
			if _, status, text := v.do("GET", origin+"/", ""); status != http.StatusServiceUnavailable || !strings.Contains(text, "tool ended with an error") {
				t.Errorf("its origin answers: %d %s", status, text)
			}
		})
	}
}

// killOfStudio kills the process of a Studio's machine whose command line contains that.
func (p *portal) killOfStudio(id, command string) {
	p.t.Helper()
	for pid, line := range processesOf(p.t, p.studioMachine(id).ID) {
		if strings.Contains(line, command) {
			must(p.t, syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	p.t.Fatalf("the machine has no process %q", command)
}

// endedStudio waits until a Studio's session has ended, however.
func (p *portal) endedStudio(id string) (s platform.Studio) {
	p.t.Helper()
	eventually(p.t, time.Minute, "the Studio's session has ended", func() bool {
		var err error
		s, err = p.db.AnyStudio(p.t.Context(), id)
		must(p.t, err)
		return s.State().Ended() && !s.Session.Ended.IsZero()
	})
	return s
}

// TestStudioChaosAnEndWithoutThePortal ends a Studio's tool while its portal is away: the portal that comes back has the end, the
// work and the log.
func TestStudioChaosAnEndWithoutThePortal(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	v.wants("PUT", v.opened(s.ID)+"/rivers.csv", "Yare,84", http.StatusCreated, "")
	p.kill()
	p.killOfStudio(s.ID, "tool.py\x00")
	eventually(t, time.Minute, "the tool has ended and its work is saved", func() bool {
		log, err := os.ReadFile(filepath.Join(p.data, "local", "machines", p.studioMachine(s.ID).ID, "stdout.log"))
		return err == nil && strings.Contains(string(log), "The work is saved")
	})
	p.start()
	s = p.endedStudio(s.ID)
	if s.State() != platform.StudioErrored || !strings.Contains(s.Session.Message, "was stopped by a signal (killed)") {
		t.Errorf("the Studio is %s: %q", s.State(), s.Session.Message)
	}
	p.nothingLeftOf(s.ID)
	p.checkStudioLog(s)
	list, err := p.db.Checkpoints(t.Context(), m.Workspace.ID, s.ID)
	must(t, err)
	if len(list) != 1 || !list[0].Final || list[0].Files != 1 {
		t.Errorf("its checkpoints are %+v", list)
	}
	v.presses("start", s.ID)
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	v.wants("GET", v.opened(s.ID)+"/rivers.csv", "", http.StatusOK, "Yare,84")
}

// TestStudioChaosWorkThatCannotBeSaved stops a Studio whose work directory takes nothing any more: it says so, and lets nothing stay.
func TestStudioChaosWorkThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	v.wants("PUT", v.opened(s.ID)+"/rivers.csv", "Yare,84", http.StatusCreated, "")
	must(t, os.RemoveAll(e.WorkDir))
	must(t, os.WriteFile(e.WorkDir, nil, 0o600)) // no folder: not even root writes into it
	v.presses("stop", s.ID)
	s = p.endedStudio(s.ID)
	if s.State() != platform.StudioStopped || !strings.Contains(s.Session.Message, "Nothing of this session could be kept") {
		t.Errorf("the Studio is %s: %q", s.State(), s.Session.Message)
	}
	p.nothingLeftOf(s.ID)
	p.checkStudioLog(s)
}

// TestStudioChaosOfStartsAndStops starts one Studio from many sides at once, stops it while it starts, and starts it again.
func TestStudioChaosOfStartsAndStops(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	for _, c := range []struct {
		name string
		at   func() bool
	}{
		{"when it was just started", func() bool { return true }},
		{"when its machine is on its way", func() bool { return p.studioMachine(s.ID).State != platform.MachineWanted }},
		{"when its agent has claimed it", func() bool { return !p.studioMachine(s.ID).Claimed.IsZero() }},
	} {
		eventually(t, time.Minute, c.name, c.at)
		v.presses("stop", s.ID)
		if ended := p.endedStudio(s.ID); ended.State() != platform.StudioStopped || ended.Session.StopReason != platform.StopUser {
			t.Errorf("stopped %s, the Studio is %s because of %q: %s %s", c.name, ended.State(), ended.Session.StopReason, ended.Session.Message, ended.Session.Details)
		}
		p.nothingLeftOf(s.ID)
		if started := v.startAtOnce(s.ID, 4); started != 1 {
			t.Errorf("of 4 starts at once %d were taken", started)
		}
	}
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	v.opened(s.ID)
	sessions, err := p.db.StudioSessions(t.Context(), s.ID, 10)
	must(t, err)
	if len(sessions) != 4 {
		t.Errorf("4 starts made %d sessions", len(sessions))
	}
}

// startAtOnce presses start n times at once and tells how often it was taken.
func (v *visitor) startAtOnce(id string, n int) (started int) {
	v.p.t.Helper()
	answers := make([]int, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], _ = v.press("start", id) })
	}
	all.Wait()
	for _, status := range answers {
		switch status {
		case http.StatusOK:
			started++
		case http.StatusConflict:
		default:
			v.p.t.Errorf("a start beside another is answered with %d", status)
		}
	}
	return started
}
