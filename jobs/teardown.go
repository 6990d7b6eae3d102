package jobs

import (
	"context"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// teardown ends a machine that is of no more use. The row says "terminating" before the platform hears of it, and
// "terminated" once the platform says that nothing is left.
func (j *Jobs) teardown(ctx context.Context, m platform.Machine) (time.Time, error) {
	env, place, err := j.place(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	if m.State != platform.MachineTerminating {
		return j.startTeardown(ctx, m, env, place)
	}
	if err := place.Terminate(ctx, env, m); err != nil {
		return time.Time{}, err
	}
	seen, err := place.Describe(ctx, env, m)
	if err != nil {
		return time.Time{}, err
	}
	if seen.Status == cloud.StatusGone {
		return time.Time{}, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminated})
	}
	// Look soon at first, and then ever less often: the pause is as long as the wait has been.
	return time.Now().Add(min(max(50*time.Millisecond, time.Since(m.StateSince)), j.Times.Poll)), nil
}

// startTeardown lets a machine whose work is over end by itself for a moment, so that nothing is cut off in its last step.
func (j *Jobs) startTeardown(ctx context.Context, m platform.Machine, env platform.ComputeEnv, place cloud.Cloud) (time.Time, error) {
	if m.State == platform.MachineDraining && time.Since(m.StateSince) < j.Times.Drain {
		seen, err := place.Describe(ctx, env, m)
		if err != nil {
			return time.Time{}, err
		}
		if seen.Status != cloud.StatusGone && seen.Status != cloud.StatusStopping { // one that ends by itself needs no more time
			return time.Now().Add(min(100*time.Millisecond, j.Times.Drain)), nil
		}
	}
	return time.Time{}, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminating})
}
