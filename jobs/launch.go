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
	w, env, place, err := j.surroundings(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	if !w.stopAsked().IsZero() || w.ended() {
		return time.Time{}, j.giveUp(ctx, m, w, "cancelled before it was requested")
	}
	if err := j.admit(ctx, m); err != nil {
		return time.Time{}, err
	}
	req := cloud.StartRequest{MachineID: m.ID, PortalURL: j.PortalURL, ClaimToken: ClaimToken(j.Key, m.ID), Lifetime: j.Times.Lifetime, Placement: m.Placement,
		Keep: func(ctx context.Context, placement string) error { return j.DB.KeepPlacement(ctx, m.ID, placement) }}
	w.request(&req)
	if req.Tags, err = j.DB.MachineTags(ctx, m); err != nil {
		return time.Time{}, err
	}
	started, err := place.Start(ctx, env, req)
	if err != nil {
		return time.Time{}, j.startFailed(ctx, m, w, err)
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
func (j *Jobs) startFailed(ctx context.Context, m platform.Machine, w work, err error) error {
	switch kind := cloud.KindOf(err); {
	case ctx.Err() != nil || platform.ErrorCode(err) == platform.CodeConflict:
		return err // the portal stops, or the machine has moved on: no verdict
	case kind == cloud.KindDenied || kind == cloud.KindInvalid || kind == cloud.KindIdentity:
		return j.fail(ctx, m, w, forPeople(err))
	case kind != cloud.KindThrottled && time.Since(j.sinceStart(m.Admitted)) > j.Times.StartLimit:
		message, details := platform.SplitDetails(forPeople(err))
		return j.fail(ctx, m, w, platform.WithDetails(fmt.Sprintf("It could not be started for %s, the last time because: %s %s", j.Times.StartLimit, message, w.again()), details))
	}
	return err
}

// fail ends work whose machine never worked. The work ends first: should the portal die between the two writes, the
// loops find a machine whose work has ended, and end it.
func (j *Jobs) fail(ctx context.Context, m platform.Machine, w work, why string) error {
	if !w.ended() {
		if err := w.failed(ctx, why); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineFailed, Failure: why})
}

// giveUp ends a machine that has not begun to work and is not wanted any more, because its work is to end.
func (j *Jobs) giveUp(ctx context.Context, m platform.Machine, w work, note string) error {
	if !w.ended() {
		if err := w.stopped(ctx); err != nil {
			return err
		}
	}
	return j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminating, Note: note})
}

// surroundings reads what a step needs to know about a machine.
func (j *Jobs) surroundings(ctx context.Context, m platform.Machine) (w work, env platform.ComputeEnv, place cloud.Cloud, err error) {
	if w, err = j.workOf(ctx, m); err != nil {
		return w, env, nil, err
	}
	env, place, err = j.place(ctx, m)
	return w, env, place, err
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
