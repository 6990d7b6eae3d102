package jobs

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

func TestARunGoesThroughEveryStateInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	w.until("the run is running", func() bool { return w.run(r.ID).State == platform.RunRunning })
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
	steps, err := w.db.Steps(t.Context(), w.machine(r.ID).ID)
	must(t, err)
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); got != "wanted requested booting working draining terminating terminated" {
		t.Errorf("the timeline is %q", got)
	}
}

func TestThrottlingNeverFailsARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.cloud.onCall = func(call string, n int) error {
		if n <= 12 || n%5 == 0 {
			return errThrottled
		}
		return nil
	}
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
}

func TestAMachineThatCannotStartFailsTheRunInItsOwnWords(t *testing.T) {
	t.Parallel()
	times := quick
	times.StartLimit = 100 * time.Millisecond
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"denied":               {cloud.Errorf(cloud.KindDenied, nil, "The permission ec2:RunInstances is missing."), "The permission ec2:RunInstances is missing."},
		"invalid":              {cloud.Errorf(cloud.KindInvalid, nil, "There is no such image."), "There is no such image."},
		"full for too long":    {cloud.Errorf(cloud.KindCapacity, nil, "There is no room."), "There is no room."},
		"unknown for too long": {cloud.Errorf(cloud.KindTransient, errors.New("dial"), "AWS could not be reached: connection refused."), "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, times)
			w.cloud.onCall = func(call string, n int) error {
				if call == "start" {
					return c.err
				}
				return nil
			}
			w.start()
			r := w.launch()
			if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, c.want) {
				t.Errorf("%q does not say %q", r.ErrorMessage, c.want)
			}
			if m := w.machine(r.ID); !strings.Contains(m.Failure, c.want) {
				t.Errorf("the machine says %q", m.Failure)
			}
		})
	}
}

func TestCancelAtEveryStage(t *testing.T) {
	t.Parallel()
	times := quick
	times.Cancel = 200 * time.Millisecond
	for name, prepare := range map[string]func(w *world, id string){
		"before it was requested": func(w *world, id string) {},
		"before its agent is up": func(w *world, id string) {
			w.start()
			w.until("booting", func() bool { return w.machine(id).State == platform.MachineBooting })
		},
		"while it works, with a deaf agent": func(w *world, id string) {
			w.start()
			w.claim(id)
			w.begin(id)
			w.until("running", func() bool { return w.run(id).State == platform.RunRunning })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, times)
			r := w.launch()
			prepare(w, r.ID)
			must(t, w.db.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
			if name == "before it was requested" {
				w.start()
			}
			r = w.over(r.ID, platform.RunCancelled)
			if !strings.Contains(r.ErrorMessage, "cancelled by ada") {
				t.Errorf("%q", r.ErrorMessage)
			}
			if name == "before it was requested" && len(w.cloud.started) > 0 {
				t.Error("a machine was started for a cancelled run")
			}
		})
	}
}

func TestAMachineThatGoesAwayFailsItsRun(t *testing.T) {
	t.Parallel()
	for name, claimed := range map[string]bool{"before its agent is up": false, "while it works": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			w.start()
			r := w.launch()
			if claimed {
				w.claim(r.ID)
			}
			w.until("it has been started", func() bool { return w.machine(r.ID).State != platform.MachineWanted })
			w.cloud.switchOff(w.machine(r.ID).ID)
			if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "it was switched off") {
				t.Errorf("%q", r.ErrorMessage)
			}
		})
	}
}

func TestAnAgentThatNeverComesIsGivenUp(t *testing.T) {
	t.Parallel()
	times := quick
	times.BootLimit = 100 * time.Millisecond
	w := newWorld(t, times)
	w.start()
	r := w.launch()
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "Nothing on it has reached the portal") {
		t.Errorf("%q", r.ErrorMessage)
	}
}

func TestASilentRunIsUnknownAndThenLost(t *testing.T) {
	t.Parallel()
	times := quick
	times.Unknown, times.Lost = 100*time.Millisecond, 1500*time.Millisecond
	w := newWorld(t, times)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	w.until("unknown", func() bool { return w.run(r.ID).State == platform.RunUnknown })
	must(t, w.db.Heartbeat(t.Context(), platform.Machine{ID: w.machine(r.ID).ID}, time.Now()))
	w.until("running again", func() bool { return w.run(r.ID).State == platform.RunRunning })
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "has not been heard") {
		t.Errorf("%q", r.ErrorMessage)
	}
}

func TestAnEndedRunKeepsItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	w.report(r.ID, 0)
	w.until("ended", func() bool { return w.run(r.ID).State.Ended() })
	if err := w.db.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"); platform.ErrorCode(err) != platform.CodeConflict {
		t.Errorf("a cancel after the end: %v", err)
	}
	w.report(r.ID, 1)
	w.over(r.ID, platform.RunSucceeded)
}

func TestTheSweepEndsOrphansAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	j := &Jobs{DB: w.db, Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: w.cloud}, Times: quick, Log: w.start().Log}
	w.stop()
	var wished platform.Run
	w.cloud.instances["orphan"] = cloud.StatusRunning
	w.cloud.afterCall = func(call string, n int) error {
		if call == "list" && wished.ID == "" {
			// A machine is wished for, and starts, right after the sweep has listed the cloud; and one was there before.
			wished = w.launch()
		}
		return nil
	}
	before := w.launch()
	w.cloud.instances[w.machine(before.ID).ID] = cloud.StatusRunning
	ended, err := j.Sweep(t.Context())
	if err != nil || len(ended) != 1 || ended[0] != "i-orphan" {
		t.Errorf("ended %v, %v", ended, err)
	}
	must(t, w.db.MoveMachine(t.Context(), w.machine(before.ID), db.Move{To: platform.MachineTerminating}))
	must(t, w.db.MoveMachine(t.Context(), w.machine(before.ID), db.Move{To: platform.MachineTerminated}))
	must(t, w.db.MoveMachine(t.Context(), w.machine(wished.ID), db.Move{To: platform.MachineTerminating}))
	must(t, w.db.MoveMachine(t.Context(), w.machine(wished.ID), db.Move{To: platform.MachineTerminated}))
	must(t, w.db.DeleteComputeEnv(t.Context(), w.env.WorkspaceID, w.env.ID))
	if ended, err := j.Sweep(t.Context()); err != nil || len(ended) != 1 {
		t.Errorf("in a deleted environment: ended %v, %v", ended, err)
	}
	if w.cloud.living() != 0 {
		t.Error("something is left")
	}
}

// TestWaitingCostsLittle counts calls, so that a loop that spins is found.
func TestWaitingCostsLittle(t *testing.T) {
	t.Parallel()
	times := quick
	times.Poll = 100 * time.Millisecond
	w := newWorld(t, times)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	w.until("running", func() bool { return w.run(r.ID).State == platform.RunRunning })
	before := w.cloud.callCount()
	time.Sleep(time.Second)
	if n := w.cloud.callCount() - before; n > 25 {
		t.Errorf("%d calls in ten polls", n)
	}
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
}

func TestClaimTokensAreOfOneMachine(t *testing.T) {
	t.Parallel()
	a, b := ClaimToken([]byte("key"), "a"), ClaimToken([]byte("key"), "b")
	if a == b || a != ClaimToken([]byte("key"), "a") || a == ClaimToken([]byte("other"), "a") {
		t.Error("claim tokens are not derived from key and machine")
	}
}

// TestThrottlingOutlastsTheStartLimit: patience is all that a platform asks for.
func TestThrottlingOutlastsTheStartLimit(t *testing.T) {
	t.Parallel()
	times := quick
	times.StartLimit = time.Millisecond
	w := newWorld(t, times)
	starts := 0
	w.cloud.onCall = func(call string, n int) error {
		if call != "start" {
			return nil
		}
		if starts++; starts <= 8 {
			return errThrottled
		}
		return nil
	}
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
}

// TestAMachineThatWaitedToStartHasItsWholeTimeToBoot: the limit counts from the request and not from the wish.
func TestAMachineThatWaitedToStartHasItsWholeTimeToBoot(t *testing.T) {
	t.Parallel()
	times := quick
	times.BootLimit = 700 * time.Millisecond
	w := newWorld(t, times)
	free := time.Now().Add(time.Second)
	w.cloud.onCall = func(call string, n int) error {
		if call == "start" && time.Now().Before(free) {
			return errThrottled
		}
		return nil
	}
	w.start()
	r := w.launch()
	w.until("booting", func() bool { return w.machine(r.ID).State == platform.MachineBooting })
	w.claim(r.ID)
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
}

// TestADeadPortalIsNobodysFault: what went by while no loop ran counts against neither platform nor agent.
func TestADeadPortalIsNobodysFault(t *testing.T) {
	t.Parallel()
	times := quick
	times.StartLimit, times.BootLimit, times.Unknown, times.Lost, times.Cancel = 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second, 2*time.Second
	w := newWorld(t, times)
	w.start()
	working, booting := w.launch(), w.launch()
	w.claim(working.ID)
	w.begin(working.ID)
	w.until("running", func() bool { return w.run(working.ID).State == platform.RunRunning })
	w.until("booting", func() bool { return w.machine(booting.ID).State == platform.MachineBooting })
	w.stop()
	wanted := w.launch()
	time.Sleep(times.Lost + 200*time.Millisecond) // the portal is down
	refused := false
	w.cloud.onCall = func(call string, n int) error {
		if call == "start" && !refused {
			refused = true
			return cloud.Errorf(cloud.KindTransient, nil, "Try again.")
		}
		return nil
	}
	w.start()
	for _, r := range []platform.Run{wanted, booting} {
		w.claim(r.ID)
	}
	for _, r := range []platform.Run{wanted, booting, working} {
		w.report(r.ID, 0)
	}
	for _, r := range []platform.Run{wanted, booting, working} {
		w.until("its machine is gone", func() bool { return w.machine(r.ID).State == platform.MachineTerminated })
	}
	for _, r := range []platform.Run{wanted, booting, working} {
		w.over(r.ID, platform.RunSucceeded)
	}
	if !refused {
		t.Error("no start was refused")
	}
}

// TestAFactInTheMiddleOfAStepIsSeenAtOnce lets the agent report, and someone cancel, while the platform is being asked.
// The next poll is an hour away, so that only what was noticed then counts.
func TestAFactInTheMiddleOfAStepIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	for name, fact := range map[string]func(w *world, id string){
		"end":    func(w *world, id string) { w.report(id, 1) },
		"cancel": func(w *world, id string) { w.cancel(id); w.reportEnd(id, platform.EndReport{Cancelled: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Poll = time.Hour
			w := newWorld(t, times)
			r := w.launch()
			done := false
			w.cloud.afterCall = func(call string, n int) error {
				if call == "describe" && !done && !w.machine(r.ID).Claimed.IsZero() {
					done = true
					fact(w, r.ID)
				}
				return nil
			}
			w.start()
			w.claim(r.ID)
			w.until("the run has ended", func() bool { return w.run(r.ID).State.Ended() })
		})
	}
}

// TestNothingToDoCostsNothing counts the calls while there is no machine: only the first sweep makes one.
func TestNothingToDoCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	w.until("the first sweep", func() bool { return w.cloud.callCount() == 1 })
	for range 20 { // what wakes the loops
		must(t, w.db.SetPrimaryComputeEnv(t.Context(), w.env.WorkspaceID, w.env.ID))
	}
	time.Sleep(500 * time.Millisecond)
	if n := w.cloud.callCount(); n != 1 {
		t.Errorf("%d calls with nothing to do", n)
	}
}

// TestARefusalIsNotRepeatedInAHurry counts how often a platform that refuses is asked: the pauses double.
func TestARefusalIsNotRepeatedInAHurry(t *testing.T) {
	t.Parallel()
	times := quick
	times.Backoff = time.Minute
	w := newWorld(t, times)
	w.cloud.onCall = func(call string, n int) error { return errThrottled }
	w.start()
	r := w.launch()
	w.until("it was asked", func() bool { return w.machine(r.ID).Attempts > 0 })
	for range 50 {
		must(t, w.db.Heartbeat(t.Context(), w.machine(r.ID), time.Now())) // changes that are no news for the loop
		must(t, w.db.AddSteps(t.Context(), w.machine(r.ID), nil))
	}
	time.Sleep(900 * time.Millisecond)
	if m := w.machine(r.ID); m.Attempts < 1 || m.Attempts > 4 {
		t.Errorf("it was asked %d times in a second", m.Attempts)
	}
}

// TestManyMachinesAreServedThoughOneHangs has a platform that does not answer for one machine for a while.
func TestManyMachinesAreServedThoughOneHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	hanging := make(chan struct{})
	release := sync.OnceFunc(func() { close(hanging) })
	t.Cleanup(release) // before the loops are stopped, which wait for it
	first := true
	w.cloud.onCall = func(call string, n int) error {
		w.cloud.mu.Lock()
		hang := call == "start" && first
		first = first && !hang
		w.cloud.mu.Unlock()
		if hang {
			<-hanging
		}
		return nil
	}
	w.start()
	hung := w.launch()
	w.until("it hangs", func() bool { w.cloud.mu.Lock(); defer w.cloud.mu.Unlock(); return !first })
	var others []platform.Run
	for range 3 * maxLaunching {
		others = append(others, w.launch())
	}
	for _, r := range others {
		w.claim(r.ID)
		w.report(r.ID, 0)
	}
	for _, r := range others {
		w.until("the others end", func() bool { return w.machine(r.ID).State == platform.MachineTerminated })
	}
	if m := w.machine(hung.ID); m.State != platform.MachineWanted {
		t.Errorf("the machine that hangs is %s", m.State)
	}
	release()
	w.claim(hung.ID)
	w.report(hung.ID, 0)
	w.over(hung.ID, platform.RunSucceeded)
}

// TestTheSweepGoesOnAfterAnEnvironmentThatFails ends the orphans of the others.
func TestTheSweepGoesOnAfterAnEnvironmentThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	other := w.env
	other.Name = "there"
	must(t, w.db.AddComputeEnv(t.Context(), &other))
	w.cloud.instances["orphan"] = cloud.StatusRunning
	w.cloud.onCall = func(call string, n int) error {
		if n == 1 {
			return errThrottled
		}
		return nil
	}
	j := &Jobs{DB: w.db, Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: w.cloud}, Times: quick, Log: slog.New(slog.DiscardHandler)}
	ended, err := j.Sweep(t.Context())
	if err == nil || len(ended) != 1 || w.cloud.living() != 0 {
		t.Errorf("ended %v, %v", ended, err)
	}
}
