package jobs

import (
	"context"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// watch follows a machine that was requested, and its run. The platform is asked first and the facts are read after, so
// that a machine seen to be gone has had its last word. A platform that does not answer holds no fact up: what the agent
// and people said counts, and nothing is known of the machine.
func (j *Jobs) watch(ctx context.Context, m platform.Machine) (time.Time, error) {
	env, place, err := j.place(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	seen, unanswered := place.Describe(ctx, env, m.ID, m.InstanceID)
	if unanswered != nil {
		seen = cloud.Instance{}
	}
	run, err := j.DB.AnyRun(ctx, m.RunID)
	if err != nil {
		return time.Time{}, err
	}
	if m, err = j.DB.Machine(ctx, m.ID); err != nil {
		return time.Time{}, err
	}
	if moved, err := j.watchMachine(ctx, m, run, seen); moved || err != nil {
		return time.Time{}, err
	}
	next, err := j.watchRun(ctx, m, run)
	if err == nil && !next.IsZero() {
		err = unanswered
	}
	return next, err
}

// watchMachine moves the machine where the facts say so, and ends the run of one that is lost.
func (j *Jobs) watchMachine(ctx context.Context, m platform.Machine, run platform.Run, seen cloud.Instance) (moved bool, err error) {
	gone := seen.Status == cloud.StatusGone || seen.Status == cloud.StatusStopping
	claimed := !m.Claimed.IsZero()
	switch {
	case run.State.Ended():
		to := platform.MachineTerminating
		if m.State == platform.MachineWorking {
			to = platform.MachineDraining
		}
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: to})
	case run.End != nil:
		return false, nil // the run ends first; watchRun does it
	case !run.CancelAsked.IsZero() && !claimed:
		return true, j.giveUp(ctx, m, run, "cancelled before its agent was up")
	case gone && !claimed:
		return true, j.fail(ctx, m, run, "It ended before its agent was up: "+orUnknown(seen.Reason)+".")
	case gone:
		return true, j.endLost(ctx, run, "The machine ended before its agent had reported the end of the run: "+orUnknown(seen.Reason)+".")
	case m.State == platform.MachineRequested && (claimed || seen.Status == cloud.StatusRunning):
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineBooting})
	case m.State == platform.MachineBooting && claimed:
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineWorking})
	case !claimed && time.Since(j.sinceStart(m.StateSince)) > j.Times.BootLimit:
		return true, j.fail(ctx, m, run, fmt.Sprintf("Its agent did not report to the portal at %s within %s.", j.PortalURL, j.Times.BootLimit))
	}
	return false, nil
}

// watchRun moves the run where the facts say so, and tells when to look again.
func (j *Jobs) watchRun(ctx context.Context, m platform.Machine, run platform.Run) (time.Time, error) {
	silent := time.Since(j.sinceStart(m.Heartbeat))
	switch {
	case run.End != nil:
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, platform.EndFromReport(run, *run.End))
	case m.State != platform.MachineWorking:
		return time.Now().Add(j.Times.Poll), nil
	case !run.CancelAsked.IsZero() && time.Since(j.sinceStart(run.CancelAsked)) > j.Times.Cancel:
		end := platform.RunEnd{State: platform.RunCancelled, ErrorMessage: platform.CancelledMessage(run) + " Its agent did not answer in time, so the machine was ended by force."}
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, end)
	case silent > j.Times.Lost:
		return time.Time{}, j.endLost(ctx, run, fmt.Sprintf("The agent has not been heard for %s, so the machine was given up.", j.Times.Lost))
	case run.State == platform.RunSubmitted && !run.Begun.IsZero(), run.State == platform.RunUnknown && silent < j.Times.Unknown:
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, platform.RunEnd{State: platform.RunRunning})
	case run.State == platform.RunRunning && silent > j.Times.Unknown:
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, platform.RunEnd{State: platform.RunUnknown})
	}
	return time.Now().Add(j.Times.Poll), nil
}

// endLost ends a run whose agent will not report any more. The machine follows when the loop sees that its run has ended.
func (j *Jobs) endLost(ctx context.Context, run platform.Run, why string) error {
	end := platform.RunEnd{State: platform.RunFailed, ErrorMessage: why}
	if !run.CancelAsked.IsZero() {
		end = platform.RunEnd{State: platform.RunCancelled, ErrorMessage: platform.CancelledMessage(run)}
	}
	return j.DB.MoveRun(ctx, run.ID, run.State, end)
}

// sinceStart returns the later of t and the portal's own start: while it was down nobody could be heard, and that is no
// fault of theirs.
func (j *Jobs) sinceStart(t time.Time) time.Time {
	if t.Before(j.started) {
		return j.started
	}
	return t
}

func orUnknown(reason string) string {
	if reason == "" {
		return "its platform does not say why"
	}
	return reason
}
