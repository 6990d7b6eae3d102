package jobs

import (
	"errors"
	"slices"
	"testing"
	"time"

	"wherry/cloud"
)

// TestEveryLoopIsHeardOf has all loops run, and then none.
func TestEveryLoopIsHeardOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	var none Pulse
	if stuck := none.Stuck(time.Now()); !slices.Equal(stuck, loopNames) {
		t.Errorf("before they begin, these are stuck: %q", stuck)
	}
	j := w.start()
	w.until("every loop has looked", func() bool { return len(j.Pulse.Stuck(time.Now())) == 0 })
	w.stop()
	if stuck := j.Pulse.Stuck(time.Now().Add(2 * time.Minute)); slices.Contains(stuck, loopSweep) || len(stuck) != len(loopNames)-1 {
		t.Errorf("two minutes after they stopped, these are stuck: %q", stuck)
	}
	if stuck := j.Pulse.Stuck(time.Now().Add(time.Hour)); !slices.Equal(stuck, loopNames) {
		t.Errorf("an hour after they stopped, these are stuck: %q", stuck)
	}
}

func TestStepsThatFailAreCountedByWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	failures := 0
	w.cloud.onCall = func(call string, _ int) error {
		if call != "start" || failures == 3 {
			return nil
		}
		failures++
		if failures == 3 {
			return errors.New("something else")
		}
		return errThrottled
	}
	j := w.start()
	r := w.launch()
	w.claim(r.ID)
	if got := j.Pulse.Failures(); got[Failure{"launch", string(cloud.KindThrottled)}] != 2 || got[Failure{"launch", "other"}] != 1 {
		t.Errorf("%v", got)
	}
}
