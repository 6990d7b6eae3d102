package platform

import (
	"math"
	"testing"
	"time"
)

func TestEverySessionCanEndAndNoneComesBack(t *testing.T) {
	t.Parallel()
	if len(studioMoves) != len(StudioStates) {
		t.Fatalf("the table has %d states and the list %d", len(studioMoves), len(StudioStates))
	}
	for i, from := range StudioStates {
		for j, to := range StudioStates {
			switch {
			case from.CanMove(to) && (from.Ended() || j <= i):
				t.Errorf("%s → %s is allowed", from, to)
			case !from.Ended() && !from.CanMove(to) && (to == StudioStopped || to == StudioErrored):
				t.Errorf("a session that is %s cannot become %s", from, to)
			}
		}
	}
	if StudioRunning.CanMove(StudioBuildFailed) || StudioStopping.CanMove(StudioBuildFailed) {
		t.Error("what has been built fails to build")
	}
}

func TestASessionEndsAsItsAgentReports(t *testing.T) {
	t.Parallel()
	zero, one := 0, 1
	asked := StudioSession{StopAsked: time.Now(), StopReason: StopUser, StoppedBy: "ada"}
	for name, c := range map[string]struct {
		session StudioSession
		report  EndReport
		want    StudioEnd
	}{
		"stopped":                  {asked, EndReport{ExitCode: &one}, StudioEnd{StudioStopped, StopUser, "It was stopped by ada.", ""}},
		"stopped by a loop":        {StudioSession{StopAsked: time.Now(), StopReason: StopIdle}, EndReport{}, StudioEnd{StudioStopped, StopIdle, stopMessages[StopIdle], ""}},
		"taken away":               {asked, EndReport{Interrupted: true, Reason: "EC2 wants it."}, StudioEnd{StudioStopped, StopSpot, "EC2 wants it.", ""}},
		"not built":                {StudioSession{}, EndReport{BuildFailed: true, Reason: "No such package.", ErrorReport: "x"}, StudioEnd{StudioBuildFailed, "", "No such package.", "x"}},
		"at its lifespan's end":    {StudioSession{}, EndReport{StopReason: StopLifespan}, StudioEnd{StudioStopped, StopLifespan, stopMessages[StopLifespan], ""}},
		"by itself":                {StudioSession{}, EndReport{ExitCode: &zero}, StudioEnd{StudioStopped, StopItself, stopMessages[StopItself], ""}},
		"by itself, with an error": {StudioSession{}, EndReport{ExitCode: &one, ErrorReport: "x"}, StudioEnd{StudioErrored, "", "The Studio's tool ended with an error. Its log says more.", "x"}},
		"for a reason":             {StudioSession{}, EndReport{Reason: "The disk is full."}, StudioEnd{StudioErrored, "", "The disk is full.", ""}},
	} {
		got := StudioEndFromReport(c.session, c.report)
		if name == "taken away" && got.Message != "" {
			c.want.Message = got.Message // in the words that runs have
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestASessionStopsWhenItIsDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	idle := StudioConfig{IdleMinutes: 30}
	for name, c := range map[string]struct {
		session StudioSession
		want    StopReason
	}{
		"its lifespan has ended":          {StudioSession{State: StudioRunning, StopAt: now}, StopLifespan},
		"its lifespan goes on":            {StudioSession{State: StudioRunning, StopAt: now.Add(time.Second)}, ""},
		"it has none":                     {StudioSession{State: StudioRunning, Started: ago(1000 * time.Hour)}, ""},
		"it was asked before":             {StudioSession{State: StudioRunning, StopAt: ago(time.Hour), StopAsked: ago(time.Minute)}, ""},
		"it has ended":                    {StudioSession{State: StudioErrored, StopAt: ago(time.Hour)}, ""},
		"nobody came since its start":     {StudioSession{State: StudioRunning, Config: idle, Started: ago(30 * time.Minute)}, StopIdle},
		"somebody was there a while ago":  {StudioSession{State: StudioRunning, Config: idle, Started: ago(time.Hour), Active: ago(29 * time.Minute)}, ""},
		"nobody has been for long enough": {StudioSession{State: StudioRunning, Config: idle, Started: ago(time.Hour), Active: ago(30 * time.Minute)}, StopIdle},
		"it is still starting":            {StudioSession{State: StudioStarting, Config: idle}, ""},
		"both":                            {StudioSession{State: StudioRunning, Config: idle, Started: ago(time.Hour), StopAt: ago(time.Second)}, StopLifespan},
	} {
		if got := c.session.StopDue(now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestASessionSaysThatItsLifespanEndsSoon(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := StudioSession{State: StudioRunning, StopAt: now.Add(LifespanWarningMinutes*time.Minute - time.Second)}
	if !s.EndsSoon(now) || !s.Extendable() {
		t.Error("it does not, or cannot be extended")
	}
	for name, change := range map[string]func(*StudioSession){"later": func(s *StudioSession) { s.StopAt = now.Add(time.Hour) }, "never": func(s *StudioSession) { s.StopAt = time.Time{} },
		"it is stopping": func(s *StudioSession) { s.StopAsked = now }, "it is over": func(s *StudioSession) { s.State = StudioStopped }} {
		other := s
		change(&other)
		if other.EndsSoon(now) {
			t.Errorf("%s: it does", name)
		}
	}
}

func TestUsageIsKeptWithinWhatCanBe(t *testing.T) {
	t.Parallel()
	now := time.Now()
	got := Usage{At: now.Add(time.Hour), CPU: math.NaN(), CPUs: -1, GPU: math.Inf(1), GPUs: 1 << 30, Memory: -5, MemoryMax: 1 << 40, Disk: 7, DiskMax: -1, GPUMemory: -1, GPUMemMax: -1}.Bounded(now)
	want := Usage{At: now, GPU: 100, GPUs: 64, MemoryMax: 1 << 40, Disk: 7}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if good := (Usage{CPU: 350, CPUs: 4, GPU: 12, GPUs: 1, Memory: 5, MemoryMax: 6}).Bounded(now); good.CPU != 350 || good.GPU != 12 || !good.Busy() {
		t.Errorf("what can be is changed: %+v", good)
	}
	if (Usage{CPU: BusyCPU - 1, GPU: BusyCPU - 1}).Busy() {
		t.Error("an idle tool counts as at work")
	}
}
