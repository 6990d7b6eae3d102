package jobs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// startStudio adds a Studio and starts it.
func (w *world) startStudio(config platform.StudioConfig) string {
	w.t.Helper()
	s := platform.Studio{WorkspaceID: w.member.Workspace.ID, UserID: w.member.User.ID, ComputeEnvID: w.env.ID, Name: "s" + platform.NewID(), Config: config}
	must(w.t, w.db.AddStudio(context.Background(), &s))
	session, err := w.db.StartStudio(context.Background(), s, w.member.User.ID)
	must(w.t, err)
	return session.ID
}

func (w *world) session(id string) platform.StudioSession {
	w.t.Helper()
	s, err := w.db.StudioSession(context.Background(), id)
	must(w.t, err)
	return s
}

func (w *world) studioMachine(id string) platform.Machine {
	w.t.Helper()
	m, err := w.db.MachineOfStudioSession(context.Background(), id)
	must(w.t, err)
	return m
}

func (w *world) untilState(id string, want platform.StudioState) {
	w.t.Helper()
	w.until("the Studio is "+string(want), func() bool { return w.session(id).State == want })
}

// claimStudio does what an agent does when it comes up.
func (w *world) claimStudio(id string) {
	w.t.Helper()
	w.until("the machine is requested", func() bool { return w.studioMachine(id).InstanceID != "" })
	m := w.studioMachine(id)
	_, err := w.db.Claim(context.Background(), m.ID, m.InstanceID, "key of "+m.ID)
	must(w.t, err)
}

// step is what an agent tells of its session.
func (w *world) step(id, name string) {
	w.t.Helper()
	must(w.t, w.db.AddSteps(context.Background(), w.studioMachine(id), []platform.StepReport{{Name: name, At: time.Now()}}))
}

// runStudio brings a Studio up.
func (w *world) runStudio(id string) {
	w.t.Helper()
	w.claimStudio(id)
	w.step(id, platform.StepToolReady)
	w.untilState(id, platform.StudioRunning)
}

func (w *world) stopStudio(id string) {
	w.t.Helper()
	must(w.t, w.db.AskStudioStop(context.Background(), w.session(id).StudioID, platform.StopUser, "ada"))
}

func (w *world) endStudio(id string, report platform.EndReport) {
	w.t.Helper()
	must(w.t, w.db.AddEndReport(context.Background(), w.studioMachine(id), report))
}

func (w *world) saveStudio(id string) string {
	w.t.Helper()
	c := platform.CheckpointReport{ID: platform.NewID(), Saved: time.Now(), Size: 1}
	must(w.t, w.db.AddCheckpoints(context.Background(), w.studioMachine(id), []platform.CheckpointReport{c}))
	return c.ID
}

// studioOver waits until the session has ended and its machine is gone, and checks what must always hold.
func (w *world) studioOver(id string, want platform.StudioState, says string) platform.StudioSession {
	w.t.Helper()
	w.until(fmt.Sprintf("the Studio is %s and its machine gone", want), func() bool {
		return w.session(id).State.Ended() && w.studioMachine(id).State == platform.MachineTerminated
	})
	s := w.session(id)
	if s.State != want || !strings.Contains(s.Message, says) {
		w.t.Errorf("the Studio is %s (%q), want %s and %q", s.State, s.Message, want, says)
	}
	w.checkInstances()
	return s
}

func TestAStudioIsBuiltRunsAndStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	id := w.startStudio(platform.StudioConfig{Spot: true, LifespanHours: 2})
	w.claimStudio(id)
	w.step(id, platform.StepPackages)
	w.untilState(id, platform.StudioBuilding)
	w.step(id, platform.StepToolReady)
	w.untilState(id, platform.StudioRunning)
	if s := w.session(id); s.StopAt.Sub(s.Started) != 2*time.Hour {
		t.Errorf("it started at %s and ends at %s", s.Started, s.StopAt)
	}
	w.stopStudio(id)
	w.untilState(id, platform.StudioStopping)
	w.endStudio(id, platform.EndReport{Cancelled: true})
	s := w.studioOver(id, platform.StudioStopped, "It was stopped by ada.")
	if s.StopReason != platform.StopUser || s.Ended.IsZero() {
		t.Errorf("%+v", s)
	}
	req := w.cloud.requests[w.studioMachine(id).ID]
	if req.StudioID != s.StudioID || req.RunID != "" || req.Name != s.StudioName || req.UserName != "ada" || req.Spot == nil || !*req.Spot {
		t.Errorf("the platform was asked for %+v", req)
	}
}

func TestAStudioStopsAtEveryStage(t *testing.T) {
	t.Parallel()
	times := quick
	times.StudioStop = 200 * time.Millisecond
	for name, c := range map[string]struct {
		prepare func(w *world, id string)
		says    string
	}{
		"before its machine was requested": {func(*world, string) {}, "It was stopped by ada."},
		"before its agent is up": {func(w *world, id string) {
			w.start()
			w.until("booting", func() bool { return w.studioMachine(id).State == platform.MachineBooting })
		}, "It was stopped by ada."},
		"before its tool answers, with a deaf agent": {func(w *world, id string) {
			w.start()
			w.claimStudio(id)
		}, "so its machine was ended by force."},
		"with a deaf agent": {func(w *world, id string) {
			w.start()
			w.runStudio(id)
		}, "It had not saved its work within 200ms, so its machine was ended by force. Nothing of its work had been saved."},
		"with a deaf agent that has saved something": {func(w *world, id string) {
			w.start()
			w.runStudio(id)
			w.saveStudio(id)
		}, "so its machine was ended by force. Its work was saved last at "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, times)
			id := w.startStudio(platform.StudioConfig{})
			c.prepare(w, id)
			w.stopStudio(id)
			if name == "before its machine was requested" {
				w.start()
			}
			w.studioOver(id, platform.StudioStopped, c.says)
			if name == "before its machine was requested" && len(w.cloud.started) > 0 {
				t.Error("a machine was started for a Studio that was stopped")
			}
		})
	}
}

func TestAStudioEndsAsItsAgentSays(t *testing.T) {
	t.Parallel()
	zero, one := 0, 1
	for name, c := range map[string]struct {
		report platform.EndReport
		state  platform.StudioState
		reason platform.StopReason
		says   string
	}{
		"its tool ended":            {platform.EndReport{ExitCode: &zero}, platform.StudioStopped, platform.StopItself, "ended by itself"},
		"its tool failed":           {platform.EndReport{ExitCode: &one}, platform.StudioErrored, "", "ended with an error"},
		"its packages do not fit":   {platform.EndReport{BuildFailed: true, Reason: "There is no package x."}, platform.StudioBuildFailed, "", "There is no package x."},
		"its lifespan has ended":    {platform.EndReport{StopReason: platform.StopLifespan}, platform.StudioStopped, platform.StopLifespan, "lifespan had ended"},
		"its instance is reclaimed": {platform.EndReport{Interrupted: true}, platform.StudioStopped, platform.StopSpot, "took the Spot instance back"},
		"its disk is full":          {platform.EndReport{ExitCode: &one, ErrorReport: "write: No space left on device"}, platform.StudioErrored, "", "The machine's disk is full. Make room"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			w.start()
			id := w.startStudio(platform.StudioConfig{})
			w.runStudioOrBuild(id, c.report.BuildFailed)
			w.endStudio(id, c.report)
			if s := w.studioOver(id, c.state, c.says); s.StopReason != c.reason {
				t.Errorf("the reason is %q, want %q", s.StopReason, c.reason)
			}
		})
	}
}

func (w *world) runStudioOrBuild(id string, build bool) {
	if !build {
		w.runStudio(id)
		return
	}
	w.claimStudio(id)
	w.step(id, platform.StepPackages)
	w.untilState(id, platform.StudioBuilding)
}

func TestAStudioWhoseMachineDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.cloud.denied = cloud.Errorf(cloud.KindDenied, nil, "A permission is missing.")
	w.start()
	w.studioOver(w.startStudio(platform.StudioConfig{}), platform.StudioErrored, "The machine failed to start. A permission is missing.")
}

func TestAToolThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	times := quick
	times.StudioReady = 200 * time.Millisecond
	w := newWorld(t, times)
	w.start()
	id := w.startStudio(platform.StudioConfig{})
	w.claimStudio(id)
	w.step(id, platform.StepPackages)
	w.studioOver(id, platform.StudioErrored, "did not answer within 200ms of its machine's start")
}

func TestAStudioWhoseAgentIsLostSaysWhatIsKept(t *testing.T) {
	t.Parallel()
	times := quick
	times.Lost = time.Second
	for name, c := range map[string]struct {
		lose   func(w *world, id string)
		state  platform.StudioState
		reason platform.StopReason
		says   string
	}{
		"it is silent": {func(*world, string) {}, platform.StudioErrored, "", "The agent has not been heard for 1s"},
		"its machine is gone": {func(w *world, id string) { w.cloud.switchOff(w.studioMachine(id).ID) },
			platform.StudioErrored, "", "before its agent had reported the end of the Studio: it was switched off."},
		"its machine was taken away": {func(w *world, id string) {
			m := w.studioMachine(id).ID
			w.cloud.mu.Lock()
			w.cloud.interrupted[m] = true
			w.cloud.mu.Unlock()
			w.cloud.switchOff(m)
		}, platform.StudioStopped, platform.StopSpot, "The machine was taken away before the Studio had stopped: it was switched off."},
		"its machine is gone while it stops": {func(w *world, id string) {
			w.stopStudio(id)
			w.untilState(id, platform.StudioStopping)
			w.cloud.switchOff(w.studioMachine(id).ID)
		}, platform.StudioStopped, platform.StopUser, "It was stopped by ada. The machine ended before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, times)
			w.start()
			id := w.startStudio(platform.StudioConfig{})
			w.runStudio(id)
			w.saveStudio(id)
			c.lose(w, id)
			s := w.studioOver(id, c.state, c.says)
			if s.StopReason != c.reason || !strings.Contains(s.Message, "Its work was saved last at ") {
				t.Errorf("the reason is %q, and it says %q", s.StopReason, s.Message)
			}
		})
	}
}

// TestWhatAStudiosAgentLeftIsReadBack has an agent that saved its work, and could not tell.
func TestWhatAStudiosAgentLeftIsReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	id := w.startStudio(platform.StudioConfig{})
	w.runStudio(id)
	last := platform.CheckpointReport{ID: platform.NewID(), Saved: time.Now(), Size: 5, Final: true}
	w.cloud.mu.Lock()
	w.cloud.left[id] = cloud.Recovered{Logs: map[platform.LogStream][]byte{platform.LogOutput: []byte("bye\n")},
		Checkpoints: []platform.CheckpointReport{last}, End: &platform.KeptEndFile{Report: platform.EndReport{Interrupted: true, Reason: "EC2 takes the Spot instance back."}}}
	w.cloud.mu.Unlock()
	w.cloud.switchOff(w.studioMachine(id).ID)
	s := w.studioOver(id, platform.StudioStopped, "EC2 takes the Spot instance back.")
	list, err := w.db.Checkpoints(t.Context(), s.WorkspaceID, s.StudioID)
	if err != nil || len(list) != 1 || list[0].ID != last.ID || !list[0].Final {
		t.Errorf("the checkpoints are %+v, %v", list, err)
	}
	if size, _, err := w.db.LogSize(t.Context(), id, platform.LogOutput); err != nil || size != 4 {
		t.Errorf("the log has %d bytes, %v", size, err)
	}
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	if want := platform.KeptStudioFolder(s.StudioID, id); w.cloud.recovered != want {
		t.Errorf("it was looked for in %q, want %q", w.cloud.recovered, want)
	}
}

// TestWhatACutOffStudioSavedIsNotLost has an agent that saves, and is not heard any more: while it works, and while it stops.
func TestWhatACutOffStudioSavedIsNotLost(t *testing.T) {
	t.Parallel()
	times := quick
	times.Lost, times.StudioStop = 500*time.Millisecond, 300*time.Millisecond
	for name, c := range map[string]struct {
		stop  bool
		state platform.StudioState
	}{"it works": {false, platform.StudioErrored}, "it stops": {true, platform.StudioStopped}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, times)
			w.start()
			id := w.startStudio(platform.StudioConfig{})
			w.runStudio(id)
			many := make([]platform.CheckpointReport, 2*platform.MaxCheckpointReports+1) // more than are told at once
			for i := range many {
				many[i] = platform.CheckpointReport{ID: platform.NewID(), Saved: time.Now(), Size: int64(i)}
			}
			w.cloud.mu.Lock()
			w.cloud.left[id] = cloud.Recovered{Checkpoints: many}
			w.cloud.mu.Unlock()
			if c.stop {
				w.stopStudio(id)
			}
			s := w.studioOver(id, c.state, "Its work was saved last at ")
			list, err := w.db.Checkpoints(t.Context(), s.WorkspaceID, s.StudioID)
			if err != nil || len(list) != platform.KeptCheckpoints || list[0].ID != many[len(many)-1].ID {
				t.Errorf("kept are %+v, %v", list, err)
			}
		})
	}
}

// hours lets a world live in simulated time.
func hours(t *testing.T, live func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Times{Poll: 20 * time.Second, Idle: time.Minute, Sweep: time.Hour})
		w.start()
		live(t, w)
		w.stop() // before the bubble's end, with all that it started
	})
}

// use tells what a Studio uses, every ten seconds for a while, or until its stop was asked for.
func (w *world) use(id string, cpu float64, d time.Duration) (used time.Duration) {
	w.t.Helper()
	begun := time.Now()
	for time.Since(begun) < d && w.session(id).StopAsked.IsZero() {
		m := w.studioMachine(id)
		must(w.t, w.db.Heartbeat(context.Background(), m, time.Now()))
		must(w.t, w.db.StudioUsed(context.Background(), m, platform.Usage{CPU: cpu}))
		time.Sleep(platform.UsageEvery)
	}
	return time.Since(begun)
}

func TestAStudioStopsWhenItsLifespanEnds(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		id := w.startStudio(platform.StudioConfig{LifespanHours: 1})
		w.runStudio(id)
		w.use(id, 50, 30*time.Minute)
		_, err := w.db.ExtendStudio(t.Context(), w.member.Workspace.ID, w.session(id).StudioID, 1)
		must(t, err)
		if lived := w.use(id, 50, 3*time.Hour) + 30*time.Minute; lived < 2*time.Hour || lived > 2*time.Hour+time.Minute {
			t.Errorf("with an hour more it lived for %s, want 2h", lived)
		}
		w.endStudio(id, platform.EndReport{Cancelled: true})
		if s := w.studioOver(id, platform.StudioStopped, "its lifespan had ended"); s.StopReason != platform.StopLifespan {
			t.Errorf("the reason is %q", s.StopReason)
		}
	})
}

func TestAStudioStopsWhenItIsIdle(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		id := w.startStudio(platform.StudioConfig{IdleMinutes: 10})
		w.runStudio(id)
		w.use(id, 50, time.Hour)
		if !w.session(id).StopAsked.IsZero() {
			t.Fatal("it was stopped while it computed")
		}
		for range 60 {
			must(t, w.db.StudioActive(t.Context(), w.session(id), time.Now()))
			w.use(id, 1, time.Minute)
		}
		if !w.session(id).StopAsked.IsZero() {
			t.Fatal("it was stopped while somebody was connected")
		}
		if idle := w.use(id, 1, time.Hour); idle < 8*time.Minute || idle > 11*time.Minute {
			t.Errorf("it was idle for %s, want 10m", idle)
		}
		w.endStudio(id, platform.EndReport{Cancelled: true})
		if s := w.studioOver(id, platform.StudioStopped, "nobody was connected"); s.StopReason != platform.StopIdle {
			t.Errorf("the reason is %q", s.StopReason)
		}
	})
}

// TestNobodyIsIdleWhileThePortalIsDown and nobody knows of one whose agent is cut off.
func TestNobodyIsIdleWhileThePortalIsDown(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		id := w.startStudio(platform.StudioConfig{IdleMinutes: 10})
		w.runStudio(id)
		w.use(id, 50, time.Minute)
		w.stop()
		time.Sleep(time.Hour)
		w.start()
		if idle := w.use(id, 1, time.Hour); idle < 9*time.Minute {
			t.Errorf("it was stopped %s after the portal came back, want 10m", idle)
		}
		w.endStudio(id, platform.EndReport{Cancelled: true})
		w.studioOver(id, platform.StudioStopped, "nobody was connected")

		cut := w.startStudio(platform.StudioConfig{IdleMinutes: 10})
		w.runStudio(cut)
		w.use(cut, 50, time.Minute)
		time.Sleep(20 * time.Minute) // the agent is not heard
		if s := w.session(cut); !s.StopAsked.IsZero() {
			t.Error("a Studio of which nothing is known was stopped as idle")
		}
		w.stopStudio(cut)
		w.endStudio(cut, platform.EndReport{Cancelled: true})
		w.studioOver(cut, platform.StudioStopped, "ada")
	})
}

func TestAStudioTakesAWarmMachine(t *testing.T) {
	t.Parallel()
	w := warmWorld(t)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	m := w.waiting()
	id := w.startStudio(platform.StudioConfig{})
	if taken := w.studioMachine(id); taken.ID != m.ID {
		t.Fatalf("the Studio got the machine %s, and %s was warm", taken.ID, m.ID)
	}
	w.runStudio(id)
	w.until("the platform knows whose it is", func() bool {
		w.cloud.mu.Lock()
		defer w.cloud.mu.Unlock()
		return w.cloud.assigned[m.ID] == w.session(id).StudioID
	})
	w.stopStudio(id)
	w.endStudio(id, platform.EndReport{Cancelled: true})
	w.until("the Studio has stopped, with its machine", func() bool { return w.studioMachine(id).State == platform.MachineTerminated })
	if s := w.session(id); s.State != platform.StudioStopped {
		t.Errorf("the Studio is %s: %s", s.State, s.Message)
	}
	w.report(r.ID, 0)
}
