package jobs

import (
	"context"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// launch asks a platform for a wanted machine.
func (j *Jobs) launch(ctx context.Context, m platform.Machine) (time.Time, error) {
	run, env, place, err := j.surroundings(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	if !run.CancelAsked.IsZero() || run.State.Ended() {
		return time.Time{}, j.giveUp(ctx, m, run, "cancelled before it was requested")
	}
	instanceID, err := place.Start(ctx, env, cloud.StartRequest{MachineID: m.ID, RunID: m.RunID, PortalURL: j.PortalURL,
		ClaimToken: ClaimToken(j.Key, m.ID), Lifetime: j.Times.Lifetime})
	if err != nil {
		return time.Time{}, j.startFailed(ctx, m, run, err)
	}
	return time.Time{}, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineRequested, InstanceID: instanceID})
}

// startFailed decides whether asking again makes sense. It returns err when it does.
func (j *Jobs) startFailed(ctx context.Context, m platform.Machine, run platform.Run, err error) error {
	switch kind := cloud.KindOf(err); {
	case kind == cloud.KindDenied || kind == cloud.KindInvalid:
		return j.fail(ctx, m, run, err.Error())
	case kind != cloud.KindThrottled && time.Since(j.sinceStart(m.StateSince)) > j.Times.StartLimit:
		return j.fail(ctx, m, run, fmt.Sprintf("It could not be started for %s, the last time because: %v. Launch the run again later.", j.Times.StartLimit, err))
	}
	return err
}

// fail ends a run whose machine never worked. The run ends first: should the portal die between the two writes, the
// loops find a machine whose run has ended, and end it.
func (j *Jobs) fail(ctx context.Context, m platform.Machine, run platform.Run, why string) error {
	if !run.State.Ended() {
		end := platform.RunEnd{State: platform.RunFailed, ErrorMessage: "The machine failed to start. " + why}
		if err := j.DB.MoveRun(ctx, run.ID, run.State, end); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineFailed, Failure: why})
}

// giveUp ends a machine that has not begun to work and is not wanted any more, because of a cancel.
func (j *Jobs) giveUp(ctx context.Context, m platform.Machine, run platform.Run, note string) error {
	if !run.State.Ended() {
		end := platform.RunEnd{State: platform.RunCancelled, ErrorMessage: platform.CancelledMessage(run)}
		if err := j.DB.MoveRun(ctx, run.ID, run.State, end); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminating, Note: note})
}

// surroundings reads what a step needs to know about a machine.
func (j *Jobs) surroundings(ctx context.Context, m platform.Machine) (platform.Run, platform.ComputeEnv, cloud.Cloud, error) {
	run, err := j.DB.AnyRun(ctx, m.RunID)
	if err != nil {
		return run, platform.ComputeEnv{}, nil, err
	}
	env, place, err := j.place(ctx, m)
	return run, env, place, err
}

func (j *Jobs) place(ctx context.Context, m platform.Machine) (platform.ComputeEnv, cloud.Cloud, error) {
	env, err := j.DB.AnyComputeEnv(ctx, m.ComputeEnvID)
	if err != nil {
		return env, nil, err
	}
	place, ok := j.Clouds[env.Platform]
	if !ok {
		return env, nil, fmt.Errorf("this portal has no platform %q", env.Platform)
	}
	return env, place, nil
}
