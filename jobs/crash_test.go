package jobs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// story is the life of a run or a Studio outside the loops, and how it must end.
type story struct {
	live   func(w *world, id string)
	end    platform.RunState    // of a run
	studio platform.StudioState // of a Studio; empty: it is of a run
}

// begin wishes for the run or the Studio, and returns its id or that of its session.
func (s story) begin(w *world) string {
	if s.studio != "" {
		return w.startStudio(platform.StudioConfig{})
	}
	return w.launch().ID
}

// outcome is an end that must stay as it is.
type outcome struct {
	state, message string
	ended          time.Time
}

func (s story) outcome(w *world, id string) outcome {
	if s.studio != "" {
		o := w.session(id)
		return outcome{string(o.State), o.Message, o.Ended}
	}
	r := w.run(id)
	return outcome{string(r.State), r.ErrorMessage, r.Ended}
}

func (s story) machine(w *world, id string) platform.Machine {
	if s.studio != "" {
		return w.studioMachine(id)
	}
	return w.machine(id)
}

// over waits for the end that it must have.
func (s story) over(w *world, id string) outcome {
	if s.studio != "" {
		w.studioOver(id, s.studio, "")
	} else {
		w.over(id, s.end)
	}
	return s.outcome(w, id)
}

// noPermission is the story in which the platform starts no machine.
const noPermission = "no permission"

var stories = map[string]story{
	"success": {func(w *world, id string) {
		w.claim(id)
		w.begin(id)
		w.report(id, 0)
	}, platform.RunSucceeded, ""},
	"failure": {func(w *world, id string) {
		w.claim(id)
		w.report(id, 1)
	}, platform.RunFailed, ""},
	"cancel with an agent that obeys": {func(w *world, id string) {
		w.claim(id)
		w.begin(id)
		w.cancel(id)
		w.reportEnd(id, platform.EndReport{Cancelled: true, Signal: "terminated"})
	}, platform.RunCancelled, ""},
	"cancel at once": {func(w *world, id string) {
		w.cancel(id)
	}, platform.RunCancelled, ""},
	"a machine that goes away": {func(w *world, id string) {
		w.claim(id)
		w.begin(id)
		w.cloud.switchOff(w.machine(id).ID)
	}, platform.RunFailed, ""},
	noPermission: {func(*world, string) {}, platform.RunFailed, ""},
	"a Studio that is stopped": {func(w *world, id string) {
		w.claimStudio(id)
		w.step(id, platform.StepPackages)
		w.step(id, platform.StepToolReady)
		w.saveStudio(id)
		w.stopStudio(id)
		w.endStudio(id, platform.EndReport{Cancelled: true})
	}, "", platform.StudioStopped},
	"a Studio that is stopped at once": {func(w *world, id string) { w.stopStudio(id) }, "", platform.StudioStopped},
	"a Studio whose tool fails": {func(w *world, id string) {
		w.runStudio(id)
		one := 1
		w.endStudio(id, platform.EndReport{ExitCode: &one})
	}, "", platform.StudioErrored},
	"a Studio whose machine goes away": {func(w *world, id string) {
		w.runStudio(id)
		w.cloud.switchOff(w.studioMachine(id).ID)
	}, "", platform.StudioErrored},
}

// life is one process of the loops. It ends at one of the points at which a process can: before a call of the cloud, after
// it was done and before its answer is known, and after a write to the database.
type life struct {
	mu      sync.Mutex
	passed  int
	last    int // the point at which it ends; 0: none
	kill    func()
	crashed chan struct{}
}

func (l *life) point() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.passed++; l.passed == l.last {
		l.kill()
		close(l.crashed)
	}
}

// liveLives runs the loops in one life after the other until the returned function is called, which tells how many points
// the last life passed.
func liveLives(w *world, lastPoint func(n int) int) (finish func() int) {
	var now atomic.Pointer[life]
	point := func(string, int) error {
		now.Load().point()
		return nil
	}
	now.Store(&life{})
	w.cloud.mu.Lock()
	w.cloud.onCall, w.cloud.afterCall = point, point
	w.cloud.mu.Unlock()
	unsubscribe := w.db.Subscribe(func(platform.Change) { now.Load().point() })
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			ctx, cancel := context.WithCancel(context.Background())
			l := &life{last: lastPoint(n), kill: cancel, crashed: make(chan struct{})}
			now.Store(l)
			w.startIn(ctx, cancel)
			select {
			case <-l.crashed:
				w.stop()
			case <-over:
				return
			}
		}
	}()
	return func() int {
		close(over)
		<-done
		unsubscribe()
		w.stop()
		l := now.Load()
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.passed
	}
}

// tell lets a story happen, and checks that it ended as it must, and that it stays so.
func tell(t *testing.T, name string, lastPoint func(n int) int) (points int) {
	t.Helper()
	w, s := newWorld(t, quick), stories[name]
	if name == noPermission {
		w.cloud.denied = cloud.Errorf(cloud.KindDenied, nil, "A permission is missing.")
	}
	finish := liveLives(w, lastPoint)
	id := s.begin(w)
	s.live(w, id)
	end := s.over(w, id)
	points = finish()
	w.cloud.denied = nil
	w.start()
	later := w.launch()
	w.cancel(later.ID)
	w.over(later.ID, platform.RunCancelled)
	if again := s.outcome(w, id); again != end {
		t.Errorf("the end was %+v and is %+v", end, again)
	}
	return points
}

// TestACrashAtAnyPointChangesNoEnd ends the loops' process at the first point, at the second, and so on until the story is
// over before the point comes.
func TestACrashAtAnyPointChangesNoEnd(t *testing.T) {
	t.Parallel()
	for name := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := 0
			t.Run("no crash", func(t *testing.T) { all = tell(t, name, func(int) int { return 0 }) })
			for at := 1; at <= all; at++ {
				t.Run(fmt.Sprintf("at point %d of %d", at, all), func(t *testing.T) {
					t.Parallel()
					tell(t, name, func(n int) int {
						if n == 1 {
							return at
						}
						return 0
					})
				})
			}
		})
	}
}

// TestCrashAfterCrashChangesNoEnd ends every process of the loops, each one point later than the one before.
func TestCrashAfterCrashChangesNoEnd(t *testing.T) {
	t.Parallel()
	for name := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, name, func(n int) int { return n })
		})
	}
}

// TestLostAnswersStartNothingTwice lets every request to start a machine be done and its answer be lost, three times.
func TestLostAnswersStartNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	lost := 0
	w.cloud.afterCall = func(call string, n int) error {
		if call == "start" && lost < 3 {
			lost++
			return context.DeadlineExceeded
		}
		return nil
	}
	w.start()
	r := w.launch()
	stories["success"].live(w, r.ID)
	w.over(r.ID, platform.RunSucceeded)
	if lost != 3 {
		t.Errorf("%d answers were lost", lost)
	}
}

// TestAPlatformThatDoesNotAnswerHoldsNoFactUp has a platform that starts and ends machines, and never tells how they are.
func TestAPlatformThatDoesNotAnswerHoldsNoFactUp(t *testing.T) {
	t.Parallel()
	for name, s := range stories {
		if strings.HasSuffix(name, "goes away") || name == noPermission {
			continue // what nobody tells, nobody knows
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			silent := func(call string, n int) error {
				if call == "describe" {
					return errThrottled
				}
				return nil
			}
			w.cloud.onCall = silent
			w.start()
			id := s.begin(w)
			s.live(w, id)
			w.until("it has ended", func() bool { return !s.outcome(w, id).ended.IsZero() })
			w.until("its machine is being ended", func() bool { return s.machine(w, id).State == platform.MachineTerminating })
			w.cloud.mu.Lock()
			w.cloud.onCall = nil
			w.cloud.mu.Unlock()
			s.over(w, id)
		})
	}
}

// TestAPlatformThatCannotEndAMachineIsAskedAgain and again, with pauses.
func TestAPlatformThatCannotEndAMachineIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	asked := 0
	w.cloud.onCall = func(call string, n int) error {
		if call == "terminate" && asked < 6 {
			asked++
			return cloud.Errorf(cloud.KindDenied, nil, "The permission ec2:TerminateInstances is missing.")
		}
		return nil
	}
	w.start()
	r := w.launch()
	begun := time.Now()
	stories["success"].live(w, r.ID)
	w.over(r.ID, platform.RunSucceeded)
	if least := 5 * quick.Backoff / 2; time.Since(begun) < least {
		t.Errorf("six refusals took %s, want pauses of %s at least", time.Since(begun), least)
	}
}
