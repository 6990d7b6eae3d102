package jobs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// studioWork is a session of a Studio. Beside what all work has, its packages are built and its tool comes up, it has a
// lifespan, stops when it is idle, and keeps its work when it stops.
type studioWork struct {
	*Jobs
	session platform.StudioSession
}

func (s studioWork) created() time.Time          { return s.session.Created }
func (s studioWork) ended() bool                 { return s.session.State.Ended() }
func (s studioWork) report() *platform.EndReport { return s.session.End }
func (s studioWork) stopAsked() time.Time        { return s.session.StopAsked }
func (s studioWork) again() string               { return "Start the Studio again later." }

func (s studioWork) news() bool { return s.next() != "" }

func (s studioWork) request(req *cloud.StartRequest) {
	req.StudioID, req.Name, req.UserName, req.Spot = s.session.StudioID, s.session.StudioName, s.session.UserName, &s.session.Config.Spot
}

func (s studioWork) kept() (folder, workDir string) {
	return platform.KeptStudioFolder(s.session.StudioID, s.session.ID), s.session.WorkDir
}

func (s studioWork) move(ctx context.Context, end platform.StudioEnd) error {
	return s.DB.MoveStudioSession(ctx, s.session.ID, s.session.State, end)
}

func (s studioWork) failed(ctx context.Context, why string) error {
	message, details := platform.SplitDetails(why)
	return s.move(ctx, platform.StudioEnd{State: platform.StudioErrored, Message: failedToStart + message, Details: details})
}

func (s studioWork) stopped(ctx context.Context) error {
	return s.move(ctx, platform.StudioStoppedEnd(s.session))
}

func (s studioWork) finished(ctx context.Context, w watched, report platform.EndReport) error {
	end := platform.StudioEndFromReport(s.session, report)
	if end.State != platform.StudioStopped {
		end.Message = explainDisk(w, end.Message, end.Details)
	}
	return s.move(ctx, end)
}

func (s studioWork) lost(ctx context.Context, w watched) error {
	saved, err := s.lastSaved(ctx)
	if err != nil {
		return err
	}
	why := s.lostMessage(w, "the Studio had stopped", "the end of the Studio")
	if !w.gone() && w.m.BootFailure == "" && s.stopOverdue() {
		why = fmt.Sprintf("It had not saved its work within %s, so its machine was ended by force.", s.Times.StudioStop)
	}
	end := platform.StudioEnd{State: platform.StudioErrored, Message: why}
	switch {
	case w.seen.Interrupted:
		end.State, end.StopReason = platform.StudioStopped, platform.StopSpot
	case !s.session.StopAsked.IsZero():
		end = platform.StudioStoppedEnd(s.session)
		end.Message += " " + why
	}
	end.Message += saved
	return s.move(ctx, end)
}

// lastSaved is a sentence, with a space before it, about what is kept of a session that could not keep its work at its end;
// empty for one whose tool never answered, which had nothing to keep.
func (s studioWork) lastSaved(ctx context.Context) (string, error) {
	if s.session.Ready.IsZero() {
		return "", nil
	}
	list, err := s.DB.Checkpoints(ctx, s.session.WorkspaceID, s.session.StudioID)
	if err != nil || len(list) == 0 {
		return " Nothing of its work had been saved.", err
	}
	return " Its work was saved last at " + list[0].Saved.UTC().Format("15:04 on 2 January 2006 (UTC)") + "; what came after is lost.", nil
}

// next is the state to which the facts move the session while its machine works; empty: none.
func (s studioWork) next() platform.StudioState {
	switch o := s.session; {
	case o.State == platform.StudioStopping:
		return ""
	case !o.StopAsked.IsZero():
		return platform.StudioStopping
	case !o.Ready.IsZero() && o.State != platform.StudioRunning:
		return platform.StudioRunning
	case !o.Building.IsZero() && o.State == platform.StudioStarting:
		return platform.StudioBuilding
	}
	return ""
}

func (s studioWork) watch(ctx context.Context, w watched) (moved bool, err error) {
	o := s.session
	if next := s.next(); next != "" {
		return true, s.move(ctx, platform.StudioEnd{State: next})
	}
	switch {
	case s.stopOverdue():
		return true, s.Jobs.lost(ctx, w)
	case o.State == platform.StudioStopping:
		return false, nil
	case o.State != platform.StudioRunning && time.Since(s.sinceStart(w.m.Claimed)) > s.Times.StudioReady:
		return true, s.move(ctx, platform.StudioEnd{State: platform.StudioErrored, Message: fmt.Sprintf(
			"The Studio's tool did not answer within %s of its machine's start. Its log says how far it came.", s.Times.StudioReady)})
	}
	if reason := s.stopDue(time.Now()); reason != "" {
		return true, s.DB.AskStudioStop(ctx, o.StudioID, reason, "")
	}
	return false, nil
}

// stopDue is why the session should stop now. Nobody was idle while the portal was down, and nobody knows of one whose agent
// has not told lately what it uses.
func (s studioWork) stopDue(now time.Time) platform.StopReason {
	o := s.session
	o.Active = s.sinceStart(o.Active)
	reason := o.StopDue(now)
	if reason == platform.StopIdle && now.Sub(o.Usage.At) > s.Times.Fallback {
		return ""
	}
	return reason
}

// stopOverdue tells whether the session has taken longer to stop than it may.
func (s studioWork) stopOverdue() bool {
	return s.session.State == platform.StudioStopping && time.Since(s.sinceStart(s.session.StopAsked)) > s.Times.StudioStop
}

// take saves the checkpoints.
func (s studioWork) take(ctx context.Context, m platform.Machine, left cloud.Recovered) error {
	for batch := range slices.Chunk(left.Checkpoints, platform.MaxCheckpointReports) {
		err := s.DB.AddCheckpoints(ctx, m, batch)
		if platform.ErrorCode(err) == platform.CodeInvalid {
			s.Log.Warn("checkpoints that an agent left are none", "session", s.session.ID, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
