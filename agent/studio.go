package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"wherry/platform"
)

// studio is a session of a Studio under way.
type studio struct {
	*agent
	session   platform.StudioSpec
	workspace string // the folder that is kept
	runner    runner
	port      atomic.Int32 // on 127.0.0.1, where the tool answers; 0: it does not
	lifespan  lifespan
	meter     *meter
	packages  *packages // nil: none are wanted

	checkpoints *checkpoints // nil until the workspace is whole: what is half there is not kept
	reports     *checkpointReports
	mounts      []string                // folders that have a bucket
	background  sync.WaitGroup          // what goes on beside the tool
	during      context.Context         // until the tool has ended
	endSaving   context.CancelCauseFunc // ends a save that is under way
}

// errLifespan and errNotReady stop a session.
var (
	errLifespan = errors.New("its lifespan has ended")
	errNotReady = errors.New("its tool did not answer")
)

// diskFolder is where the fastest disk of a machine in a cloud is, in the machine's folder.
const diskFolder = "disk"

// newStudio makes the machine ready to run a session. What its work is done in is chosen later.
func (a *agent) newStudio() *studio {
	s := &studio{agent: a, session: *a.spec.Studio, workspace: filepath.Join(a.Dir, "workspace")}
	s.reports = newCheckpointReports(a.portal, a.Log, func(list []platform.CheckpointRef) { s.removeUnwanted(s.during, list) })
	if a.Place != nil {
		s.workspace = filepath.Join(a.Dir, diskFolder, "workspace") // beside what a disk has of its own
	}
	s.meter = newMeter(s)
	return s
}

// say tells people something in the session's log, among what the tool prints.
func (s *studio) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.Log.Info(text)
	s.output.say("wherry: " + text + "\n")
}

// run runs the session and returns the report of how it ended, with all that it leaves kept.
func (s *studio) run(working, alive context.Context, give context.CancelCauseFunc) platform.EndReport {
	connected, disconnect := context.WithCancel(alive)
	during, over := context.WithCancel(working)
	s.during = during
	s.background.Go(func() { s.keepTunnel(connected, give) })
	end := s.runParts(working)
	over()
	disconnect()
	s.keepLast(&end)
	s.unmountAll()
	s.background.Wait()
	return end
}

// runParts does one thing after the other, and the tool last. The first that fails, or a stop meanwhile, is the end.
func (s *studio) runParts(working context.Context) platform.EndReport {
	for _, part := range []func(context.Context) (failure string){s.makeWorkspace, s.chooseRunner, s.bring, s.mountAll, s.beginCheckpoints, s.planPackages} {
		failure := part(working)
		if working.Err() != nil {
			return s.stoppedEnd(context.Cause(working))
		}
		if failure != "" {
			return platform.EndReport{Reason: failure}
		}
	}
	if end := s.installHere(working); end != nil {
		return *end
	}
	return s.runTool(working)
}

// makeWorkspace makes the folder that is kept, on the machine's fastest disk.
func (s *studio) makeWorkspace(ctx context.Context) (failure string) {
	if s.Place != nil {
		disk := filepath.Join(s.Dir, diskFolder)
		what, err := s.Place.FastDisk(ctx, disk)
		if err != nil {
			s.Log.Warn("the machine's fastest disk cannot be used", "error", err)
		}
		s.Log.Info("work is done on "+what, "folder", disk)
	}
	err := os.MkdirAll(s.workspace, 0o755)
	if err == nil && s.Place != nil {
		err = os.Chmod(s.workspace, 0o777) // whoever the tool runs as in its container
	}
	if err != nil {
		return fmt.Sprintf("The Studio's workspace cannot be made on the machine: %v.", err)
	}
	return ""
}

// bring gets what the tool needs before it can start: its container image, and the work that was kept.
func (s *studio) bring(ctx context.Context) (failure string) {
	fetched := make(chan string, 1)
	go func() { fetched <- s.runner.fetch(ctx) }()
	failure = s.restore(ctx)
	if other := <-fetched; failure == "" {
		failure = other
	}
	return failure
}

// restore brings back the work that was kept. A session whose work cannot be brought back does not begin, so that nothing
// is kept over it.
func (s *studio) restore(ctx context.Context) (failure string) {
	ref := s.session.Restore
	if ref == nil {
		return ""
	}
	s.say("The kept work is being brought back.")
	made, err := restoreCheckpoint(ctx, s.store, *ref, s.workspace)
	if err != nil {
		return fmt.Sprintf("The kept work could not be brought back: %v. Start the Studio again; if that does not help, start it from an older checkpoint.", err)
	}
	note := countText(made.files, "file") + ", " + sizeText(made.bytes)
	s.say("The kept work is back: %s.", note)
	s.steps.add(platform.StepRestored, time.Now(), note)
	return ""
}

func (s *studio) beginCheckpoints(ctx context.Context) (failure string) {
	s.checkpoints = &checkpoints{store: s.store, studioID: s.session.StudioID, workspace: s.workspace, every: s.CheckpointEvery, say: s.say,
		saved: func(r platform.CheckpointReport) {
			s.reports.add(r)
			s.keepReports()
			s.steps.add(platform.StepCheckpoint, time.Now(), "")
		}}
	// What came from another Studio's checkpoint is kept as this one's own, whether it changes or not.
	own := s.session.Restore == nil || s.session.Restore.StudioID == s.session.StudioID
	if err := s.checkpoints.begin(ctx, own); err != nil {
		return fmt.Sprintf("The Studio's workspace cannot be read on the machine: %v.", err)
	}
	s.removeParts()
	s.background.Go(func() { s.removeUnwanted(s.during, s.session.Forget) })
	return ""
}

// stopMargin is what of platform.StudioStopLimit the end of the tool and the portal's own loops need.
const stopMargin = time.Minute

// keepLast saves what the session leaves. What cannot be kept is told with the end.
func (s *studio) keepLast(end *platform.EndReport) {
	s.keeping.endBy(time.Now().Add(platform.StudioStopLimit - stopMargin))
	if s.checkpoints == nil {
		return
	}
	failure := s.checkpoints.saveLast(s.keeping.large)
	if failure == "" {
		return
	}
	s.say("%s", failure)
	if end.Reason != "" {
		end.Reason += " "
	}
	end.Reason += failure
}
