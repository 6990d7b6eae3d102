package jobs

import (
	"context"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// watch follows a machine that was requested, and its work. The platform is asked first and the facts are read after, so
// that a machine seen to be gone has had its last word. A platform that does not answer holds no fact up: what the agent
// and people said counts, and nothing is known of the machine. It is not asked at all about what the agent has told.
func (j *Jobs) watch(ctx context.Context, m platform.Machine) (time.Time, error) {
	work, env, place, err := j.surroundings(ctx, m)
	if err != nil {
		return time.Time{}, err
	}
	var seen cloud.Instance
	var unanswered error
	if !told(m, work) {
		if seen, unanswered = place.Describe(ctx, env, m); unanswered != nil {
			seen = cloud.Instance{}
		}
		if m, err = j.DB.Machine(ctx, m.ID); err != nil {
			return time.Time{}, err
		}
		if work, err = j.workOf(ctx, m); err != nil {
			return time.Time{}, err
		}
	}
	w := watched{work, m, seen, env, place}
	if moved, err := j.watchMachine(ctx, w); moved || err != nil {
		return time.Time{}, err
	}
	next, err := j.watchWork(ctx, w)
	if err == nil && !next.IsZero() {
		err = unanswered
	}
	return next, err
}

// told tells whether the agent said what moves its machine or its work on, whatever the platform knows.
func told(m platform.Machine, w work) bool {
	switch {
	case w.ended() || w.report() != nil:
		return true
	case m.State == platform.MachineWorking:
		return w.news()
	}
	return !m.Claimed.IsZero()
}

// watched is a machine with all that is known about it.
type watched struct {
	work
	m     platform.Machine
	seen  cloud.Instance
	env   platform.ComputeEnv
	place cloud.Cloud
}

func (w watched) gone() bool {
	return w.seen.Status == cloud.StatusGone || w.seen.Status == cloud.StatusStopping
}

// watchMachine moves the machine where the facts say so, and ends the work of one that is lost.
func (j *Jobs) watchMachine(ctx context.Context, w watched) (moved bool, err error) {
	m, claimed := w.m, !w.m.Claimed.IsZero()
	switch {
	case w.ended():
		to := platform.MachineTerminating
		if m.State == platform.MachineWorking {
			to = platform.MachineDraining
		}
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: to})
	case w.report() != nil:
		return false, nil // the work ends first; watchWork does it
	case !w.stopAsked().IsZero() && !claimed:
		return true, j.giveUp(ctx, m, w.work, endNote(m))
	case w.gone() && claimed:
		return true, j.lost(ctx, w)
	case w.gone():
		return true, j.fail(ctx, m, w.work, "It ended before its agent was up: "+orUnknown(w.seen.Reason)+".")
	case m.BootFailure != "" && claimed:
		return true, j.lost(ctx, w)
	case m.BootFailure != "":
		return true, j.fail(ctx, m, w.work, "It gave up while it booted: "+m.BootFailure)
	case m.State == platform.MachineRequested && (claimed || w.seen.Status == cloud.StatusRunning):
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineBooting, Hardware: m.Hardware.With(w.seen.Hardware), Launched: w.seen.Started})
	case m.State == platform.MachineBooting && claimed:
		j.assign(ctx, w)
		return true, j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineWorking})
	case !claimed && time.Since(j.sinceStart(j.bootsSince(m))) > j.Times.BootLimit:
		return true, j.fail(ctx, m, w.work, j.neverReported(ctx, w))
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

func endNote(m platform.Machine) string {
	if m.EndAskedBy != "" {
		return "its end was asked for by " + m.EndAskedBy
	}
	return "cancelled before its agent was up"
}

// watchWork moves the work where the facts say so, and tells when to look again.
func (j *Jobs) watchWork(ctx context.Context, w watched) (time.Time, error) {
	report, silent := w.report(), j.silent(w.m)
	switch {
	case report != nil:
		return time.Time{}, w.finished(ctx, w, *report)
	case w.m.State != platform.MachineWorking:
		return time.Now().Add(j.Times.Poll), nil
	case silent > j.Times.Lost:
		return time.Time{}, j.lost(ctx, w)
	}
	if moved, err := w.work.watch(ctx, w); moved || err != nil {
		return time.Time{}, err
	}
	if silent > j.Times.Fallback {
		return time.Now().Add(j.Times.Fallback), j.recover(ctx, w, false)
	}
	return time.Now().Add(j.Times.Poll), nil
}

// silent is how long the machine's agent has not been heard.
func (j *Jobs) silent(m platform.Machine) time.Duration {
	return time.Since(j.sinceStart(m.Heartbeat))
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
