package jobs

import (
	"context"
	"fmt"
	"strings"

	"wherry/platform"
)

const failedToStart = "The machine failed to start. "

// explainDisk puts the reason for a full disk before a program's own words about it; other words it leaves as they are.
func explainDisk(w watched, message, details string) string {
	if !strings.Contains(message+details, platform.NoSpaceLeft) {
		return message
	}
	return "The machine's disk is full. " + moreDisk[w.env.Platform]
}

var moreDisk = map[platform.PlatformName]string{
	platform.PlatformLocal:    "Make room on the portal's host, or use a work directory on another disk.",
	platform.PlatformAWSCloud: "Give the compute environment a larger boot disk, or an instance type with a larger local disk.",
}

// lost ends work whose agent will not report any more, after what it left was read back: it may have left its end. The
// machine follows when the loop sees that its work has ended.
func (j *Jobs) lost(ctx context.Context, w watched) error {
	ended := w.gone() || w.m.BootFailure != "" || w.m.StudioSessionID != "" // what a Studio has saved counts, though its machine may go on
	if err := j.recover(ctx, w, ended); err != nil && w.m.Attempts < recoverAttempts {
		return err
	}
	var err error
	if w.work, err = j.workOf(ctx, w.m); err != nil {
		return err
	}
	if report := w.report(); report != nil {
		return w.finished(ctx, w, *report)
	}
	return w.work.lost(ctx, w)
}

// lostMessage says why work is lost. before is what had not happened yet, and unheard what was not reported.
func (j *Jobs) lostMessage(w watched, before, unheard string) string {
	switch {
	case w.seen.Interrupted:
		return "The machine was taken away before " + before + ": " + orUnknown(w.seen.Reason) + "."
	case w.gone():
		return "The machine ended before its agent had reported " + unheard + ": " + orUnknown(w.seen.Reason) + "."
	case w.m.BootFailure != "":
		return "The agent ended before it had reported " + unheard + ": " + w.m.BootFailure
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
