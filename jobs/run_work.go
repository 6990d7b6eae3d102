package jobs

import (
	"context"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// runWork is a run. Beside what all work has, it is unknown while its agent is silent, has a time limit, and is launched again
// where it was interrupted and wants that.
type runWork struct {
	*Jobs
	run platform.Run
}

func (r runWork) created() time.Time          { return r.run.Created }
func (r runWork) ended() bool                 { return r.run.State.Ended() }
func (r runWork) report() *platform.EndReport { return r.run.End }
func (r runWork) stopAsked() time.Time        { return r.run.CancelAsked }
func (r runWork) again() string               { return "Launch the run again later." }

func (r runWork) news() bool { return r.run.State == platform.RunSubmitted && !r.run.Begun.IsZero() }

func (r runWork) request(req *cloud.StartRequest) {
	req.RunID, req.Name, req.UserName = r.run.ID, r.run.Name, r.run.UserName
}

func (r runWork) kept() (folder, workDir string) {
	return platform.KeptFolder(r.run.ID), r.run.WorkDir
}

func (r runWork) move(ctx context.Context, end platform.RunEnd) error {
	return r.DB.MoveRun(ctx, r.run.ID, r.run.State, end)
}

func (r runWork) failed(ctx context.Context, why string) error {
	message, details := platform.SplitDetails(why)
	return r.move(ctx, platform.RunEnd{State: platform.RunFailed, ErrorMessage: failedToStart + message, ErrorReport: details})
}

func (r runWork) stopped(ctx context.Context) error { return r.move(ctx, platform.StoppedEnd(r.run)) }

func (r runWork) finished(ctx context.Context, w watched, report platform.EndReport) error {
	end := r.explain(w, platform.EndFromReport(r.run, report))
	if report.Interrupted && end.State == platform.RunFailed {
		end.Relaunch = platform.RelaunchAfter(r.run)
	}
	return r.move(ctx, end)
}

// explain puts the reason for a task that asks for more than its machine has before Nextflow's own words, with what would fit.
// Nextflow names only what it missed first, so the task's own wishes are not all known; what is offered has as much as is.
func (r runWork) explain(w watched, end platform.RunEnd) platform.RunEnd {
	if end.State != platform.RunFailed {
		return end
	}
	shortage, ok := platform.ReadShortage(end.ErrorReport)
	if !ok {
		shortage, ok = platform.ReadShortage(end.ErrorMessage)
	}
	if !ok {
		end.ErrorMessage = explainDisk(w, end.ErrorMessage, end.ErrorReport)
		return end
	}
	var offers []platform.InstanceOffer
	if r.Fitting != nil {
		offers = r.Fitting(w.env, shortage)
	}
	end.ErrorMessage = shortage.Explain(w.m.Hardware.InstanceType, w.env.Region, offers)
	return end
}

func (r runWork) lost(ctx context.Context, w watched) error {
	end := platform.RunEnd{State: platform.RunFailed, ErrorMessage: r.lostMessage(w, "the run had ended", "the end of the run")}
	switch {
	case !r.run.CancelAsked.IsZero():
		end = platform.StoppedEnd(r.run)
	case w.seen.Interrupted:
		end.Relaunch = platform.RelaunchAfter(r.run)
	}
	return r.move(ctx, end)
}

func (r runWork) watch(ctx context.Context, w watched) (moved bool, err error) {
	run, silent := r.run, r.silent(w.m)
	switch {
	case !run.CancelAsked.IsZero() && time.Since(r.sinceStart(run.CancelAsked)) > r.Times.Cancel:
		end := platform.StoppedEnd(run)
		end.ErrorMessage += " Its agent did not answer in time, so the machine was ended by force."
		return true, r.move(ctx, end)
	case run.State == platform.RunSubmitted && !run.Begun.IsZero(), run.State == platform.RunUnknown && silent < r.Times.Unknown:
		return true, r.move(ctx, platform.RunEnd{State: platform.RunRunning})
	case run.State == platform.RunRunning && silent > r.Times.Unknown:
		return true, r.move(ctx, platform.RunEnd{State: platform.RunUnknown})
	case overTime(run):
		return true, r.DB.AskStop(ctx, run, timeLimitReason(run))
	}
	return false, nil
}

// overTime tells whether a run has taken longer than it may.
func overTime(r platform.Run) bool {
	limit := time.Duration(r.Launch.TimeLimit) * time.Minute
	return limit > 0 && r.CancelAsked.IsZero() && !r.Started.IsZero() && time.Since(r.Started) > limit
}

func timeLimitReason(r platform.Run) string {
	return fmt.Sprintf("The run reached its time limit of %s and was stopped.", time.Duration(r.Launch.TimeLimit)*time.Minute)
}

// take saves the tasks and, with the end, the reports.
func (r runWork) take(ctx context.Context, m platform.Machine, left cloud.Recovered) error {
	for _, call := range left.Trace {
		err := r.DB.TakeTrace(ctx, r.run, call)
		if platform.ErrorCode(err) == platform.CodeInvalid {
			r.Log.Warn("a trace call that an agent left is not one", "run", r.run.ID, "call", call.Name, "error", err)
		} else if err != nil {
			return err
		}
	}
	if left.End == nil {
		return nil
	}
	if err := r.DB.AddReports(ctx, m, left.End.Reports); err != nil && platform.ErrorCode(err) != platform.CodeInvalid {
		return err
	}
	return nil
}
