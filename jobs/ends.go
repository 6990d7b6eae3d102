package jobs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"wherry/platform"
)

// end ends a run as its agent reported.
func (j *Jobs) end(ctx context.Context, w watched, report platform.EndReport) error {
	end := j.explain(w, platform.EndFromReport(w.run, report))
	if report.Interrupted && end.State == platform.RunFailed {
		end.Relaunch = platform.RelaunchAfter(w.run)
	}
	return j.DB.MoveRun(ctx, w.run.ID, w.run.State, end)
}

// explain puts the reason for a task that asks for more than its machine has before Nextflow's own words, with what would fit.
// Nextflow names only what it missed first, so the task's own wishes are not all known; what is offered has as much as is.
func (j *Jobs) explain(w watched, end platform.RunEnd) platform.RunEnd {
	if end.State != platform.RunFailed {
		return end
	}
	shortage, ok := platform.ReadShortage(end.ErrorReport)
	if !ok {
		shortage, ok = platform.ReadShortage(end.ErrorMessage)
	}
	if !ok && strings.Contains(end.ErrorMessage+end.ErrorReport, platform.NoSpaceLeft) {
		end.ErrorMessage = "The machine's disk is full. " + moreDisk[w.env.Platform]
		return end
	}
	if !ok {
		return end
	}
	var offers []platform.InstanceOffer
	if j.Fitting != nil {
		offers = j.Fitting(w.env, shortage)
	}
	end.ErrorMessage = shortage.Explain(w.m.Hardware.InstanceType, w.env.Region, offers)
	return end
}

var moreDisk = map[platform.PlatformName]string{
	platform.PlatformLocal:    "Make room on the portal's host, or use a work directory on another disk.",
	platform.PlatformAWSCloud: "Give the compute environment a larger boot disk, or an instance type with a larger local disk.",
}

// lost ends a run whose agent will not report any more, after what it left was read back: it may have left its end. The
// machine follows when the loop sees that its run has ended.
func (j *Jobs) lost(ctx context.Context, w watched) error {
	ended := w.gone() || w.m.BootFailure != ""
	if err := j.recover(ctx, w, ended); err != nil && w.m.Attempts < recoverAttempts {
		return err
	}
	run, err := j.DB.AnyRun(ctx, w.run.ID)
	if err != nil {
		return err
	}
	if w.run = run; run.End != nil {
		return j.end(ctx, w, *run.End)
	}
	end := platform.RunEnd{State: platform.RunFailed, ErrorMessage: j.lostMessage(w)}
	switch {
	case !run.CancelAsked.IsZero():
		end = platform.StoppedEnd(run)
	case w.seen.Interrupted:
		end.Relaunch = platform.RelaunchAfter(run)
	}
	return j.DB.MoveRun(ctx, run.ID, run.State, end)
}

func (j *Jobs) lostMessage(w watched) string {
	switch {
	case w.seen.Interrupted:
		return "The machine was taken away before the run had ended: " + orUnknown(w.seen.Reason) + "."
	case w.gone():
		return "The machine ended before its agent had reported the end of the run: " + orUnknown(w.seen.Reason) + "."
	case w.m.BootFailure != "":
		return "The agent ended before it had reported the end of the run: " + w.m.BootFailure
	}
	return fmt.Sprintf("The agent has not been heard for %s, so the machine was given up.", j.Times.Lost)
}

// neverReported says as much as can be known about a machine that runs and whose agent did not come.
func (j *Jobs) neverReported(ctx context.Context, w watched) string {
	var told []string
	steps, err := j.DB.Steps(ctx, w.m.ID)
	for _, s := range steps {
		if s.Agent {
			told = append(told, s.Name)
		}
	}
	why := fmt.Sprintf("Nothing on it has reached the portal at %s within %s. The instance could not reach the portal at that address: look at WHERRY_AGENT_PORTAL, the subnet's way out, the security groups and the portal's firewall.", j.PortalURL, j.Times.BootLimit)
	if len(told) > 0 || err != nil {
		why = fmt.Sprintf("Its agent did not claim the work within %s. What was heard of it: %s.", j.Times.BootLimit, strings.Join(told, ", "))
	}
	if words := w.place.LastWords(ctx, w.env, w.m); words != "" {
		why += "\nThe last lines of its console:\n" + words
	}
	return why
}

// overTime tells whether a run has taken longer than it may.
func overTime(r platform.Run) bool {
	limit := time.Duration(r.Launch.TimeLimit) * time.Minute
	return limit > 0 && r.CancelAsked.IsZero() && !r.Started.IsZero() && time.Since(r.Started) > limit
}

func timeLimitReason(r platform.Run) string {
	return fmt.Sprintf("The run reached its time limit of %s and was stopped.", time.Duration(r.Launch.TimeLimit)*time.Minute)
}
