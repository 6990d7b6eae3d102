package jobs

import (
	"context"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// watch follows a machine that was requested, and its run. The platform is asked first and the facts are read after, so
// that a machine seen to be gone has had its last word. A platform that does not answer holds no fact up: what the agent
// and people said counts, and nothing is known of the machine. It is not asked at all about what the agent has told.
func (j *Jobs) watch(ctx context.Context, m platform.Machine) (time.Time, error) {
	run, env, place, err := j.surroundings(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	var seen cloud.Instance
	var unanswered error
	if !told(m, run) {
		if seen, unanswered = place.Describe(ctx, env, m); unanswered != nil {
			seen = cloud.Instance{}
		}
		if m, err = j.DB.Machine(ctx, m.ID); err != nil {
			return time.Time{}, err
		}
		if run, err = j.runOf(ctx, m); err != nil {
			return time.Time{}, err
		}
	}
	w := watched{m, run, seen, env, place}
	if moved, err := j.watchMachine(ctx, w); moved || err != nil {
		return time.Time{}, err
	}
	next, err := j.watchRun(ctx, w)
	if err == nil && !next.IsZero() {
		err = unanswered
	}
	return next, err
}

// told tells whether the agent said what moves its machine or its run on, whatever the platform knows.
func told(m platform.Machine, run platform.Run) bool {
	switch {
	case run.State.Ended() || run.End != nil:
		return true
	case m.State == platform.MachineWorking:
		return run.State == platform.RunSubmitted && !run.Begun.IsZero()
	}
	return !m.Claimed.IsZero()
}

// watched is a machine with all that is known about it.
type watched struct {
	m     platform.Machine
	run   platform.Run // the zero value for a warm machine
	seen  cloud.Instance
	env   platform.ComputeEnv
	place cloud.Cloud
}

func (w watched) gone() bool {
	return w.seen.Status == cloud.StatusGone || w.seen.Status == cloud.StatusStopping
}

// watchMachine moves the machine where the facts say so, and ends the run of one that is lost.
func (j *Jobs) watchMachine(ctx context.Context, w watched) (moved bool, err error) {
	m, run, claimed := w.m, w.run, !w.m.Claimed.IsZero()
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
	case m.RunID == "" && !m.EndAsked.IsZero():
		return true, j.giveUp(ctx, m, run, "its end was asked for by "+m.EndAskedBy)
	case w.gone() && claimed:
		return true, j.lost(ctx, w)
	case w.gone():
		return true, j.fail(ctx, m, run, "It ended before its agent was up: "+orUnknown(w.seen.Reason)+".")
	case m.BootFailure != "" && claimed:
		return true, j.lost(ctx, w)
	case m.BootFailure != "":
		return true, j.fail(ctx, m, run, "It gave up while it booted: "+m.BootFailure)
	case m.State == platform.MachineRequested && (claimed || w.seen.Status == cloud.StatusRunning):
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineBooting, Hardware: m.Hardware.With(w.seen.Hardware), Launched: w.seen.Started})
	case m.State == platform.MachineBooting && claimed:
		j.assign(ctx, w)
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineWorking})
	case !claimed && time.Since(j.sinceStart(j.bootsSince(m))) > j.Times.BootLimit:
		return true, j.fail(ctx, m, run, j.neverReported(ctx, w))
	}
	return false, nil
}

// bootsSince is since when a machine could have been heard. A warm machine is heard again and again.
func (j *Jobs) bootsSince(m platform.Machine) time.Time {
	if m.Heartbeat.After(m.StateSince) {
		return m.Heartbeat
	}
	return m.StateSince
}

// watchRun moves the run where the facts say so, and tells when to look again.
func (j *Jobs) watchRun(ctx context.Context, w watched) (time.Time, error) {
	m, run := w.m, w.run
	silent := time.Since(j.sinceStart(m.Heartbeat))
	switch {
	case run.End != nil:
		return time.Time{}, j.end(ctx, w, *run.End)
	case m.State != platform.MachineWorking:
		return time.Now().Add(j.Times.Poll), nil
	case !run.CancelAsked.IsZero() && time.Since(j.sinceStart(run.CancelAsked)) > j.Times.Cancel:
		end := platform.StoppedEnd(run)
		end.ErrorMessage += " Its agent did not answer in time, so the machine was ended by force."
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, end)
	case silent > j.Times.Lost:
		return time.Time{}, j.lost(ctx, w)
	case run.State == platform.RunSubmitted && !run.Begun.IsZero(), run.State == platform.RunUnknown && silent < j.Times.Unknown:
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, platform.RunEnd{State: platform.RunRunning})
	case run.State == platform.RunRunning && silent > j.Times.Unknown:
		return time.Time{}, j.DB.MoveRun(ctx, run.ID, run.State, platform.RunEnd{State: platform.RunUnknown})
	case overTime(run):
		return time.Now().Add(j.Times.Poll), j.DB.AskStop(ctx, run, timeLimitReason(run))
	case silent > j.Times.Fallback:
		return time.Now().Add(j.Times.Fallback), j.recover(ctx, w, false)
	}
	return time.Now().Add(j.Times.Poll), nil
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
