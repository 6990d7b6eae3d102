package jobs

import (
	"context"
	"fmt"
	"time"

	"wherry/platform"
)

// simulatedLab is the Studios of a simulation.
type simulatedLab struct {
	studios  []platform.Studio
	sessions []string
	ends     map[string]platform.StudioSession // as they were when they were first seen ended
}

// startStudio starts a new Studio, or one that is there again, which somebody may stop or extend later. One that lives, and one
// more than there may be, is refused.
func (s *simulation) startStudio() {
	ctx, lab := context.Background(), &s.lab
	if len(lab.studios) == 0 || s.chance(0.5) {
		config := platform.StudioConfig{Spot: s.chance(0.5), LifespanHours: s.number(2), IdleMinutes: 10 * s.number(2)}
		studio := platform.Studio{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: platform.NewID(), Config: config}
		must(s.t, s.db.AddStudio(ctx, &studio))
		lab.studios = append(lab.studios, studio)
	}
	studio := lab.studios[s.number(len(lab.studios))]
	kept, err := s.db.Checkpoints(ctx, studio.WorkspaceID, studio.ID)
	must(s.t, err)
	session, err := s.db.StartStudio(ctx, studio, studio.UserID)
	if code := platform.ErrorCode(err); code == platform.CodeConflict || code == platform.CodeInvalid {
		return
	}
	must(s.t, err)
	simulated.studios.Add(1)
	lab.sessions = append(lab.sessions, session.ID)
	if len(kept) > 0 && session.Restored == "" {
		s.t.Errorf("session %s begins with nothing, and %d checkpoints are kept", session.ID, len(kept))
	}
	for what, call := range map[string]func() error{
		"a stop":        func() error { return s.db.AskStudioStop(ctx, studio.ID, platform.StopUser, "ada") },
		"more lifespan": func() error { _, err := s.db.ExtendStudio(ctx, studio.WorkspaceID, studio.ID, 1); return err },
	} {
		if s.chance(0.3) {
			time.AfterFunc(s.upTo([]time.Duration{3 * time.Minute, 40 * time.Minute}[s.number(2)]), func() {
				if err := call(); err != nil && platform.ErrorCode(err) != platform.CodeConflict {
					s.t.Errorf("%s: %v", what, err)
				}
			})
		}
	}
}

// studio brings the tool up and keeps its work, until it ends as it must: by a stop, by its lifespan where no portal is, by an
// interruption, or by itself.
func (a *simulatedAgent) studio() {
	s := a.c.s
	a.cpu = 50 * float64(s.number(2))
	if s.chance(0.3) {
		a.step(platform.StepPackages)
		if stop, _ := a.tell(); stop {
			return
		}
		sleep(a.i.ctx, s.upTo(5*time.Minute))
		if s.chance(0.2) {
			a.finish(platform.EndReport{BuildFailed: true, Reason: "There is no such package."})
			return
		}
	}
	up, end := time.Now().Add(s.upTo(3*time.Minute)), time.Now().Add(s.upTo(65*time.Minute))
	hangs, deaf, ready := s.chance(0.05), s.chance(0.05), false
	for line := 0; ; line++ {
		a.write(fmt.Sprintf("line %d\n", line))
		if !ready && !hangs && time.Now().After(up) {
			ready = true
			a.step(platform.StepToolReady)
		}
		if ready && s.chance(0.2) {
			a.save(false)
		}
		stop, asked := a.tell()
		report := platform.EndReport{}
		switch {
		case stop || a.i.ctx.Err() != nil:
			return
		case !a.seized.IsZero() && time.Until(a.seized) < 2*time.Minute:
			report.Interrupted = true
		case asked && !deaf:
			sleep(a.i.ctx, s.upTo(time.Minute))
			report.Cancelled = true
		case !a.stopAt.IsZero() && time.Now().After(a.stopAt) && time.Since(a.heard) > time.Minute:
			report.StopReason = platform.StopLifespan
		case ready && time.Now().After(end):
			code := s.number(2)
			report.ExitCode = &code
		default:
			sleep(a.i.ctx, s.upTo(90*time.Second))
			continue
		}
		if ready {
			a.save(true)
		}
		a.finish(report)
		return
	}
}

func (a *simulatedAgent) step(name string) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.steps = append(a.w.steps, platform.StepReport{Name: name, At: time.Now().Add(a.jump)})
}

func (a *simulatedAgent) save(final bool) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.saved = append(a.w.saved, platform.CheckpointReport{ID: platform.NewID(), Saved: time.Now().Add(a.jump), Size: 1, Final: final})
}

// tellStudio tells steps and what is used, and hears whether the Studio shall stop and when its lifespan ends.
func (a *simulatedAgent) tellStudio(m platform.Machine) (stop bool) {
	s, ctx := a.c.s, context.Background()
	must(s.t, s.db.AddSteps(ctx, m, a.w.steps))
	must(s.t, s.db.StudioUsed(ctx, m, platform.Usage{CPU: a.cpu}))
	session, err := s.db.StudioSession(ctx, m.StudioSessionID)
	must(s.t, err)
	a.stopAt = session.StopAt
	return !session.StopAsked.IsZero()
}

// studiosAtRest tells whether every session has ended. It notes ends.
func (s *simulation) studiosAtRest() (rest bool) {
	rest = true
	if s.lab.ends == nil {
		s.lab.ends = map[string]platform.StudioSession{}
	}
	for _, id := range s.lab.sessions {
		o, err := s.db.StudioSession(context.Background(), id)
		must(s.t, err)
		before, known := s.lab.ends[id]
		switch {
		case known && (o.State != before.State || o.Message != before.Message || !o.Ended.Equal(before.Ended)):
			s.t.Errorf("session %s had ended as %s %q and is %s %q", id, before.State, before.Message, o.State, o.Message)
		case o.State.Ended():
			s.lab.ends[id] = o
		default:
			rest = false
		}
	}
	return rest
}

func (s *simulation) checkStudios() {
	s.studiosAtRest()
	for _, id := range s.lab.sessions {
		s.checkSession(id)
	}
	for _, studio := range s.lab.studios {
		sessions, err := s.db.StudioSessions(context.Background(), studio.ID, 1000)
		must(s.t, err)
		for i := 1; i < len(sessions); i++ { // the newest first
			if older := sessions[i]; older.Ended.After(sessions[i-1].Created) {
				s.t.Errorf("session %s lived until %s, and %s was started at %s", older.ID, older.Ended, sessions[i-1].ID, sessions[i-1].Created)
			}
		}
	}
}

func (s *simulation) checkSession(id string) {
	o, err := s.db.StudioSession(context.Background(), id)
	must(s.t, err)
	switch {
	case !o.State.Ended():
		s.t.Errorf("4. session %s has not ended, and is %s", id, o.State)
	case o.Message == "" || (o.State == platform.StudioStopped && o.StopReason == ""):
		s.t.Errorf("session %s is %s because of %q, and says %q", id, o.State, o.StopReason, o.Message)
	}
	work := s.cloud.workOf(id)
	s.checkLog(id, work)
	if work == nil {
		return
	}
	if work.stopped && o.State != platform.StudioStopped {
		s.t.Errorf("session %s told that it had stopped, and is %s: %s", id, o.State, o.Message)
	}
	known := work.saved[:work.savedAcked]
	if o.End != nil && work.end != nil {
		known = work.saved[:work.savedAtEnd] // who knows of the end knows what was kept
	}
	for _, c := range known {
		if _, err := s.db.RestoredCheckpoint(context.Background(), platform.StudioSession{Restored: c.ID}); err != nil {
			s.t.Errorf("checkpoint %s of session %s was told, and is not there: %v", c.ID, id, err)
		}
	}
}
