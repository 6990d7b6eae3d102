package jobs

import (
	"context"
	"errors"
	"fmt"
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

// TestACrashAtAnyCallLosesNothing stops the loops at the first call of the cloud, before it and after it was done, then at
// the second, and so on, and starts them again. The end is always the same.
func TestACrashAtAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before", "after"} {
		for at := 1; at <= 14; at++ {
			t.Run(fmt.Sprintf("%s call %d", when, at), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, quick)
				crashed := make(chan struct{})
				var once sync.Once
				crash := func(call string, n int) error {
					if n < at || (n > at && when == "after") {
						return nil
					}
					once.Do(func() { close(crashed) })
					return context.Canceled // and whatever comes after is not done either
				}
				w.cloud.mu.Lock()
				if when == "before" {
					w.cloud.onCall = crash
				} else {
					w.cloud.afterCall = crash
				}
				w.cloud.mu.Unlock()
				w.start()
				r := w.launch()
				agentDone := make(chan struct{})
				go func() {
					defer close(agentDone)
					w.claim(r.ID)
					w.begin(r.ID)
					w.report(r.ID, 0)
				}()
				select {
				case <-crashed:
				case <-time.After(3 * time.Second): // there are not so many calls in a life that went well
				}
				w.stop()
				w.cloud.mu.Lock()
				w.cloud.onCall, w.cloud.afterCall = nil, nil
				w.cloud.mu.Unlock()
				w.start()
				<-agentDone
				w.over(r.ID, platform.RunSucceeded)
			})
		}
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
		"unknown for too long": {errors.New("connection refused"), "connection refused"},
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
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "did not report") {
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
