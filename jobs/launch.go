package jobs

import (
	"context"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// queueLook is how often a machine that waits for a place is looked at; it is made due when one becomes free, too.
const queueLook = 15 * time.Second

// inQueue is the error of a machine that waits for a place in its workspace's limits, which is no failure.
type inQueue struct {
	until time.Time
	why   string
}

func (q *inQueue) Error() string { return q.why }

// launch asks a platform for a wanted machine, once its workspace has a place for it.
func (j *Jobs) launch(ctx context.Context, m platform.Machine) (time.Time, error) {
	run, env, place, err := j.surroundings(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	if !run.CancelAsked.IsZero() || run.State.Ended() || !m.EndAsked.IsZero() {
		return time.Time{}, j.giveUp(ctx, m, run, "cancelled before it was requested")
	}
	if err := j.admit(ctx, m); err != nil {
		return time.Time{}, err
	}
	started, err := place.Start(ctx, env, cloud.StartRequest{MachineID: m.ID, RunID: m.RunID, Name: run.Name, UserName: run.UserName,
		PortalURL: j.PortalURL, ClaimToken: ClaimToken(j.Key, m.ID), Lifetime: j.Times.Lifetime, Placement: m.Placement,
		Keep: func(ctx context.Context, placement string) error { return j.DB.KeepPlacement(ctx, m.ID, placement) }})
	if err != nil {
		return time.Time{}, j.startFailed(ctx, m, run, err)
	}
	return time.Time{}, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineRequested, InstanceID: started.InstanceID, Hardware: started.Hardware, Launched: time.Now()})
}

// admit waits for a place in the limits of the machine's workspace.
func (j *Jobs) admit(ctx context.Context, m platform.Machine) error {
	a, err := j.DB.Admit(ctx, m)
	if err != nil || a.Admitted {
		return err
	}
	wait := &inQueue{until: time.Now().Add(min(queueLook, j.Times.Backoff))}
	if !a.Limits.Allow(a.Spent) {
		wait.why = a.Limits.Refusal(a.Spent, time.Now())
	} else {
		wait.why = fmt.Sprintf("Place %d in the queue: the workspace has %d of at most %d machines.", a.Place, a.Living, a.Limits.Instances)
	}
	return wait
}

// startFailed decides whether asking again makes sense. It returns err when it does.
func (j *Jobs) startFailed(ctx context.Context, m platform.Machine, run platform.Run, err error) error {
	switch kind := cloud.KindOf(err); {
	case ctx.Err() != nil || platform.ErrorCode(err) == platform.CodeConflict:
		return err // the portal stops, or the machine has moved on: no verdict
	case kind == cloud.KindDenied || kind == cloud.KindInvalid || kind == cloud.KindIdentity:
		return j.fail(ctx, m, run, forPeople(err))
	case kind != cloud.KindThrottled && time.Since(j.sinceStart(m.Admitted)) > j.Times.StartLimit:
		message, details := platform.SplitDetails(forPeople(err))
		return j.fail(ctx, m, run, platform.WithDetails(fmt.Sprintf("It could not be started for %s, the last time because: %s Launch the run again later.", j.Times.StartLimit, message), details))
	}
	return err
}

// fail ends a run whose machine never worked. The run ends first: should the portal die between the two writes, the
// loops find a machine whose run has ended, and end it.
func (j *Jobs) fail(ctx context.Context, m platform.Machine, run platform.Run, why string) error {
	if m.RunID != "" && !run.State.Ended() {
		message, details := platform.SplitDetails(why)
		end := platform.RunEnd{State: platform.RunFailed, ErrorMessage: "The machine failed to start. " + message, ErrorReport: details}
		if err := j.DB.MoveRun(ctx, run.ID, run.State, end); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineFailed, Failure: why})
}

// giveUp ends a machine that has not begun to work and is not wanted any more, because its run is to end.
func (j *Jobs) giveUp(ctx context.Context, m platform.Machine, run platform.Run, note string) error {
	if m.RunID != "" && !run.State.Ended() {
		if err := j.DB.MoveRun(ctx, run.ID, run.State, platform.StoppedEnd(run)); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminating, Note: note})
}

// surroundings reads what a step needs to know about a machine. The run of a warm one is the zero value.
func (j *Jobs) surroundings(ctx context.Context, m platform.Machine) (run platform.Run, env platform.ComputeEnv, place cloud.Cloud, err error) {
	if run, err = j.runOf(ctx, m); err != nil {
		return run, env, nil, err
	}
	env, place, err = j.place(ctx, m)
	return run, env, place, err
}

func (j *Jobs) runOf(ctx context.Context, m platform.Machine) (platform.Run, error) {
	if m.RunID == "" {
		return platform.Run{}, nil
	}
	return j.DB.AnyRun(ctx, m.RunID)
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
