package platform

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestAnEndThatAnAgentReportsCanBeReachedFromEveryLivingState(t *testing.T) {
	t.Parallel()
	zero, one := 0, 1
	reports := map[string]EndReport{"interrupted": {Interrupted: true}, "build failed": {BuildFailed: true}, "lifespan": {StopReason: StopLifespan},
		"ended": {ExitCode: &zero}, "failed": {ExitCode: &one}, "killed": {Signal: "killed"}, "with a reason": {Reason: "The image is not there."}}
	for name, report := range reports {
		for _, state := range StudioStates {
			s := StudioSession{State: state}
			if state == StudioStopping {
				s.StopAsked, s.StopReason, s.StoppedBy = time.Now(), StopUser, "ada"
			}
			if name == "build failed" && state == StudioRunning {
				continue // its packages are there
			}
			end := StudioEndFromReport(s, report.Bounded())
			if !state.Ended() && !state.CanMove(end.State) {
				t.Errorf("%s: from %s it ends as %s, which it cannot", name, state, end.State)
			}
			if end.Message == "" || (end.State == StudioStopped) != (end.StopReason != "") {
				t.Errorf("%s: from %s it ends as %+v", name, state, end)
			}
		}
	}
}

func TestWhatWentWrongWhileAStudioStoppedIsSaid(t *testing.T) {
	t.Parallel()
	s := StudioSession{State: StudioStopping, StopAsked: time.Now(), StopReason: StopUser, StoppedBy: "ada"}
	end := StudioEndFromReport(s, EndReport{Reason: "Its work could not be saved: access denied.", ErrorReport: "AccessDenied"})
	if end.State != StudioStopped || end.Message != "It was stopped by ada. Its work could not be saved: access denied." || end.Details != "AccessDenied" {
		t.Errorf("%+v", end)
	}
}

func TestAStudioIsDueToStop(t *testing.T) {
	t.Parallel()
	now := time.Now()
	idle := StudioSession{State: StudioRunning, Started: now.Add(-time.Hour), Config: StudioConfig{IdleMinutes: 10}}
	active, asked, ended := idle, idle, idle
	active.Active = now.Add(-9 * time.Minute)
	asked.StopAsked = now
	ended.State = StudioStopped
	over := StudioSession{State: StudioRunning, StopAt: now}
	for name, c := range map[string]struct {
		s    StudioSession
		want StopReason
	}{
		"nobody was there":   {idle, StopIdle},
		"somebody was there": {active, ""},
		"it was asked to":    {asked, ""},
		"it has ended":       {ended, ""},
		"its time is over":   {over, StopLifespan},
		"it has time":        {StudioSession{State: StudioRunning, StopAt: now.Add(time.Second)}, ""},
		"it has not begun":   {StudioSession{State: StudioStarting, Config: idle.Config}, ""},
	} {
		if got := c.s.StopDue(now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestUsageIsWithinWhatCanBe(t *testing.T) {
	t.Parallel()
	now := time.Now()
	u := Usage{At: now.Add(time.Hour), CPU: math.NaN(), GPU: 1e9, Memory: -1, CPUs: -4}.Bounded(now)
	if u != (Usage{At: now, GPU: 100}) {
		t.Errorf("%+v", u)
	}
	if u.CPU = BusyCPU; !u.Busy() || (Usage{CPU: BusyCPU - 1}).Busy() {
		t.Error("busy is from BusyCPU on")
	}
}

func TestALifespanIsWithinTheWorkspacesLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ limit, hours, want int }{{0, 0, 0}, {0, 5, 5}, {4, 0, 4}, {4, 5, 4}, {4, 3, 3}} {
		if got := (Limits{LifespanHours: c.limit}).Lifespan(c.hours); got != c.want {
			t.Errorf("%d hours, limited to %d: %d, want %d", c.hours, c.limit, got, c.want)
		}
	}
	err := Limits{Studios: -1, LifespanHours: MaxLifespanHours + 1}.Clean()
	if err == nil || !strings.Contains(err.Error(), "studios: ") || !strings.Contains(err.Error(), "lifespanHours: ") {
		t.Errorf("%v", err)
	}
}
