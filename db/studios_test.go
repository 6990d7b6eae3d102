package db

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// newStudio is a Studio of the fixture, not saved yet.
func (f *fixture) newStudio(name string) platform.Studio {
	return platform.Studio{WorkspaceID: f.member.Workspace.ID, UserID: f.member.User.ID, ComputeEnvID: f.env.ID, Name: name,
		Config: platform.StudioConfig{Template: "jupyter", LifespanHours: 8}}
}

func (f *fixture) addStudio(name string) platform.Studio {
	f.t.Helper()
	s := f.newStudio(name)
	must(f.t, f.AddStudio(f.t.Context(), &s))
	return s
}

// startStudio starts a Studio, and returns its session with its machine.
func (f *fixture) startStudio(s platform.Studio) (platform.StudioSession, platform.Machine) {
	f.t.Helper()
	session, err := f.StartStudio(f.t.Context(), s, f.member.User.ID)
	must(f.t, err)
	return session, f.machineOf(session)
}

func (f *fixture) machineOf(s platform.StudioSession) platform.Machine {
	f.t.Helper()
	m, err := f.MachineOfStudioSession(f.t.Context(), s.ID)
	must(f.t, err)
	return m
}

func (f *fixture) session(id string) platform.StudioSession {
	f.t.Helper()
	s, err := f.StudioSession(f.t.Context(), id)
	must(f.t, err)
	return s
}

// endSession ends a session, and its machine.
func (f *fixture) endSession(s platform.StudioSession) {
	f.t.Helper()
	must(f.t, f.MoveStudioSession(f.t.Context(), s.ID, f.session(s.ID).State, platform.StudioEnd{State: platform.StudioStopped, StopReason: platform.StopUser, Message: "It was stopped."}))
	m := f.machineOf(s)
	for _, to := range []platform.MachineState{platform.MachineTerminating, platform.MachineTerminated} {
		must(f.t, f.MoveMachine(f.t.Context(), m, Move{To: to}))
		m.State = to
	}
}

// wantField checks that an error is at one field, and says something.
func wantField(t *testing.T, what string, err error, field, says string) {
	t.Helper()
	var fields platform.FieldErrors
	if !errors.As(err, &fields) || len(fields) != 1 || !strings.Contains(fields[field], says) {
		t.Errorf("%s: %v, want %q at %s", what, err, says, field)
	}
}

func TestAStudioIsSavedFoundAndChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ws := f.member.Workspace.ID
	first := f.addStudio("Notebook")
	taken := f.newStudio("notebook")
	wantField(t, "a name that is taken", f.AddStudio(t.Context(), &taken), "name", "named notebook")
	elsewhere := f.newStudio("elsewhere")
	elsewhere.ComputeEnvID = "0123456789abcdefghij"
	wantField(t, "no such environment", f.AddStudio(t.Context(), &elsewhere), "computeEnvId", "not available")
	f.addStudio("another")
	list, err := f.Studios(t.Context(), ws, "")
	if err != nil || len(list) != 2 || list[0].Name != "another" || list[1].UserName != "ada" || list[1].ComputeEnv != "here" || list[1].Session != nil {
		t.Errorf("%+v, %v", list, err)
	}
	for text, want := range map[string]int{"NOTE": 1, "ada": 2, "nothing": 0} {
		if list, err := f.Studios(t.Context(), ws, text); err != nil || len(list) != want {
			t.Errorf("%q finds %d, %v", text, len(list), err)
		}
	}
	if _, err := f.Studio(t.Context(), ws+1, first.ID); platform.ErrorCode(err) != platform.CodeNotFound {
		t.Errorf("from another workspace: %v", err)
	}
	changed := first
	changed.Name, changed.Description, changed.UserID = "Lab book", "What we did", 99
	must(t, f.UpdateStudio(t.Context(), changed))
	wantCode(t, "an older version", f.UpdateStudio(t.Context(), changed), platform.CodeConflict)
	got, err := f.Studio(t.Context(), ws, first.ID)
	if err != nil || got.Name != "Lab book" || got.Description != "What we did" || got.UserID != f.member.User.ID || got.Version != 1 || got.Config.LifespanHours != 8 {
		t.Errorf("%+v, %v", got, err)
	}
	got.Name = "Another"
	wantField(t, "a name that is taken", f.UpdateStudio(t.Context(), got), "name", "named Another")
}

func TestAStudioHasOneLivingSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	before, err := f.LastChange(t.Context())
	must(t, err)
	session, m := f.startStudio(s)
	if session.State != platform.StudioStarting || session.WorkDir != "/w" || session.UserName != "ada" || m.StudioID != s.ID || m.WorkID() != session.ID || m.RunID != "" {
		t.Errorf("%+v, %+v", session, m)
	}
	changes, complete, err := f.ChangesSince(t.Context(), s.WorkspaceID, s.ID, before)
	if err != nil || !complete || len(changes) != 2 || changes[0].Kind != platform.ChangeStudio || changes[1].Kind != platform.ChangeMachine || changes[1].StudioID != s.ID {
		t.Errorf("changes %+v, %v", changes, err)
	}
	_, err = f.StartStudio(t.Context(), s, f.member.User.ID)
	wantCode(t, "a second session", err, platform.CodeConflict)
	wantCode(t, "deleting a Studio that runs", f.DeleteStudio(t.Context(), s.WorkspaceID, s.ID), platform.CodeConflict)
	err = f.DeleteComputeEnv(t.Context(), s.WorkspaceID, f.env.ID)
	wantCode(t, "deleting its environment", err, platform.CodeConflict)
	if err != nil && !strings.Contains(err.Error(), "These Studios still have a machine there: “a”") {
		t.Errorf("it says %v", err)
	}
	f.endSession(session)
	wantCode(t, "stopping one that has ended", f.AskStudioStop(t.Context(), s.ID, platform.StopUser, "ada"), platform.CodeConflict)
	again, _ := f.startStudio(s)
	list, err := f.StudioSessions(t.Context(), s.ID, 10)
	if err != nil || len(list) != 2 || list[0].ID != again.ID || list[1].State != platform.StudioStopped {
		t.Errorf("%+v, %v", list, err)
	}
	if got, err := f.AnyStudio(t.Context(), s.ID); err != nil || got.Session == nil || got.Session.ID != again.ID || got.State() != platform.StudioStarting {
		t.Errorf("%+v, %v", got, err)
	}
	f.endSession(again)
	must(t, f.DeleteStudio(t.Context(), s.WorkspaceID, s.ID))
	_, err = f.AnyStudio(t.Context(), s.ID)
	wantCode(t, "a deleted Studio", err, platform.CodeNotFound)
	_, err = f.StartStudio(t.Context(), s, f.member.User.ID)
	wantCode(t, "starting a deleted Studio", err, platform.CodeNotFound)
	f.addStudio("a") // the name is free again
	must(t, f.DeleteComputeEnv(t.Context(), s.WorkspaceID, f.env.ID))
	list2, err := f.Studios(t.Context(), s.WorkspaceID, "")
	if err != nil || len(list2) != 1 {
		t.Fatalf("Studios of a deleted environment: %v, %v", list2, err)
	}
	_, err = f.StartStudio(t.Context(), list2[0], f.member.User.ID)
	wantField(t, "starting in a deleted environment", err, "computeEnvId", "Choose another")
}

func TestSessionsMoveOnlyAlongTheTable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	session, _ := f.startStudio(f.addStudio("a"))
	to := func(from, state platform.StudioState) error {
		return f.MoveStudioSession(t.Context(), session.ID, from, platform.StudioEnd{State: state, Message: string(state)})
	}
	wantCode(t, "a move that does not exist", to(platform.StudioRunning, platform.StudioBuilding), platform.CodeConflict)
	wantCode(t, "from a state that it is not in", to(platform.StudioBuilding, platform.StudioRunning), platform.CodeConflict)
	must(t, to(platform.StudioStarting, platform.StudioBuilding))
	if got := f.session(session.ID); !got.StopAt.IsZero() || !got.Started.IsZero() {
		t.Errorf("its lifespan began before it ran: %+v", got)
	}
	must(t, to(platform.StudioBuilding, platform.StudioRunning))
	if got := f.session(session.ID); got.Started.IsZero() || got.StopAt.Sub(got.Started) != 8*time.Hour {
		t.Errorf("it started at %s and ends at %s", got.Started, got.StopAt)
	}
	must(t, to(platform.StudioRunning, platform.StudioErrored))
	ended := f.session(session.ID)
	for _, state := range platform.StudioStates {
		for _, from := range platform.StudioStates {
			wantCode(t, "an ended session from "+string(from)+" to "+string(state), to(from, state), platform.CodeConflict)
		}
	}
	if got := f.session(session.ID); got.State != ended.State || got.Message != ended.Message || !got.Ended.Equal(ended.Ended) || got.Ended.IsZero() {
		t.Errorf("the end has changed: %+v", got)
	}
}

func TestTheWorkspacesLimitsHoldForStudios(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	limits := platform.Limits{Instances: 5, Studios: 1, LifespanHours: 4, MonthMicroUSD: 7}
	must(t, f.SetLimits(t.Context(), f.member.Workspace.ID, limits))
	if got, err := f.Limits(t.Context(), f.member.Workspace.ID); err != nil || got != limits {
		t.Errorf("%+v, %v", got, err)
	}
	for hours, want := range map[int]int{0: 4, 2: 2, 8: 4} {
		s := f.newStudio("for " + string(rune('0'+hours)))
		s.Config.LifespanHours = hours
		must(t, f.AddStudio(t.Context(), &s))
		session, _ := f.startStudio(s)
		if session.Config.LifespanHours != want {
			t.Errorf("a Studio of %d hours runs for %d, want %d", hours, session.Config.LifespanHours, want)
		}
		_, err := f.StartStudio(t.Context(), f.addStudio("beside "+s.Name), f.member.User.ID)
		wantField(t, "one more than may be", err, "computeEnvId", "may have 1 of its Studios on at once, and has 1")
		f.endSession(session)
	}
}

func TestALifespanIsExtendedWithinItsLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	ws := s.WorkspaceID
	_, err := f.ExtendStudio(t.Context(), ws, s.ID, 1)
	wantCode(t, "one that never started", err, platform.CodeConflict)
	session, m := f.startStudio(s)
	_, err = f.ExtendStudio(t.Context(), ws, s.ID, 1)
	wantCode(t, "one that does not run yet", err, platform.CodeConflict)
	must(t, f.MoveStudioSession(t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	was := f.session(session.ID).StopAt
	_, err = f.ExtendStudio(t.Context(), ws, s.ID, 0)
	wantField(t, "by no hours", err, "hours", "from 1 to 120")
	_, err = f.ExtendStudio(t.Context(), ws+1, s.ID, 1)
	wantCode(t, "from another workspace", err, platform.CodeNotFound)
	got, err := f.ExtendStudio(t.Context(), ws, s.ID, 3)
	if err != nil || got.StopAt.Sub(was) != 3*time.Hour || !f.session(session.ID).StopAt.Equal(got.StopAt) {
		t.Errorf("extended from %s to %s, %v", was, got.StopAt, err)
	}
	if got, err = f.ExtendStudio(t.Context(), ws, s.ID, 120); err != nil || time.Until(got.StopAt) > 120*time.Hour || time.Until(got.StopAt) < 119*time.Hour {
		t.Errorf("at most 120 hours from now, and it ends in %s, %v", time.Until(got.StopAt), err)
	}
	must(t, f.SetLimits(t.Context(), ws, platform.Limits{LifespanHours: 10}))
	_, err = f.ExtendStudio(t.Context(), ws, s.ID, 1)
	wantCode(t, "beyond the workspace's limit", err, platform.CodeConflict)
	must(t, f.AskStudioStop(t.Context(), s.ID, platform.StopUser, "ada"))
	_, err = f.ExtendStudio(t.Context(), ws, s.ID, 1)
	wantCode(t, "one that is being stopped", err, platform.CodeConflict)
	if due, _, err := f.DueMachines(t.Context(), time.Now(), 10, platform.MachineWanted); err != nil || len(due) != 1 || due[0].ID != m.ID {
		t.Errorf("the stop makes %v due, %v", due, err)
	}
}

func TestTheFirstWhoAsksForAStopIsTheOneWhoDid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	session, _ := f.startStudio(s)
	must(t, f.AskStudioStop(t.Context(), s.ID, platform.StopIdle, ""))
	must(t, f.AskStudioStop(t.Context(), s.ID, platform.StopUser, "ada"))
	if got := f.session(session.ID); got.StopReason != platform.StopIdle || got.StoppedBy != "" || got.StopAsked.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestWhatAnAgentTellsOfItsSessionAreFacts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	session, m := f.startStudio(s)
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested, InstanceID: "i"}))
	m, err := f.Claim(t.Context(), m.ID, "i", "key")
	if err != nil || m.StudioID != s.ID || m.Claimed.IsZero() {
		t.Fatalf("the claim: %+v, %v", m, err)
	}
	postponed := func() platform.Machine {
		m, err := f.Machine(t.Context(), m.ID)
		must(t, err)
		must(t, f.PostponeMachine(t.Context(), m, time.Now().Add(time.Hour), 0, ""))
		return m
	}
	for _, step := range []string{platform.StepPackages, platform.StepToolReady} {
		postponed()
		must(t, f.AddSteps(t.Context(), m, []platform.StepReport{{Name: step, At: time.Now()}}))
		if got, err := f.Machine(t.Context(), m.ID); err != nil || got.NextStep.After(time.Now()) {
			t.Errorf("after %q the machine is due at %s, %v", step, got.NextStep, err)
		}
		postponed()
		must(t, f.AddSteps(t.Context(), m, []platform.StepReport{{Name: step, At: time.Now()}}))
		if got, err := f.Machine(t.Context(), m.ID); err != nil || got.NextStep.Before(time.Now()) {
			t.Errorf("after %q again the machine is due at %s, %v", step, got.NextStep, err)
		}
	}
	must(t, f.StudioUsed(t.Context(), m, platform.Usage{CPU: 5, Memory: -3}))
	got := f.session(session.ID)
	if got.Building.IsZero() || got.Ready.IsZero() || !got.Active.IsZero() || got.Usage.CPU != 5 || got.Usage.Memory != 0 || got.Usage.At.IsZero() {
		t.Errorf("%+v", got)
	}
	must(t, f.StudioUsed(t.Context(), m, platform.Usage{CPU: 95}))
	if got = f.session(session.ID); got.Active.IsZero() {
		t.Error("a busy tool is not active")
	}
	code := 0
	must(t, f.AddEndReport(t.Context(), m, platform.EndReport{ExitCode: &code, StopReason: "because"}))
	must(t, f.AddEndReport(t.Context(), m, platform.EndReport{Reason: "later"}))
	if got = f.session(session.ID); got.End == nil || got.End.Reason != "" || got.End.StopReason != "" || *got.End.ExitCode != 0 {
		t.Errorf("the end is %+v", got.End)
	}
	f.endSession(session)
	must(t, f.StudioUsed(t.Context(), m, platform.Usage{CPU: 1}))
	if got = f.session(session.ID); got.Usage.CPU != 95 {
		t.Error("an ended session uses something")
	}
	_, err = f.Claim(t.Context(), m.ID, "i", "key")
	wantCode(t, "a claim after the end", err, platform.CodeGone)
	wantCode(t, "reports of a Studio", f.AddReports(t.Context(), m, []platform.Report{{Name: "a"}}), platform.CodeInvalid)
}

func TestConnectionsKeepASessionActive(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	session, _ := f.startStudio(f.addStudio("a"))
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	must(t, f.StudioActive(t.Context(), session, at))
	must(t, f.StudioActive(t.Context(), session, at.Add(ActiveTouch/2)))
	if got := f.session(session.ID); !got.Active.Equal(at) {
		t.Errorf("active at %s, want %s", got.Active, at)
	}
	must(t, f.StudioActive(t.Context(), session, at.Add(ActiveTouch)))
	if got := f.session(session.ID); !got.Active.Equal(at.Add(ActiveTouch)) {
		t.Errorf("active at %s, want %s", got.Active, at.Add(ActiveTouch))
	}
}

func TestAWarmMachineTakesASessionOnlyAsItWasStarted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.AddWarmMachine(t.Context(), f.env, 1))
	warm, err := f.WarmMachines(t.Context(), f.env.ID)
	must(t, err)
	m := warm[0]
	for _, to := range []platform.MachineState{platform.MachineRequested, platform.MachineBooting} {
		must(t, f.MoveMachine(t.Context(), m, Move{To: to, InstanceID: "i"}))
		m.State = to
	}
	if m, err = f.Claim(t.Context(), m.ID, "i", "key"); err != nil || m.WorkID() != "" {
		t.Fatalf("%+v, %v", m, err)
	}
	spot := f.newStudio("spot")
	spot.Config.Spot = true
	must(t, f.AddStudio(t.Context(), &spot))
	if _, other := f.startStudio(spot); other.ID == m.ID {
		t.Error("a Spot session got an on-demand machine")
	}
	session, got := f.startStudio(f.addStudio("same"))
	if got.ID != m.ID || got.StudioSessionID != session.ID {
		t.Fatalf("the session got %+v, and %s was warm", got, m.ID)
	}
	if left, err := f.WarmMachines(t.Context(), f.env.ID); err != nil || len(left) != 0 {
		t.Errorf("still warm: %v, %v", left, err)
	}
	wantCode(t, "moving it as if it were warm", f.MoveMachine(t.Context(), m, Move{To: platform.MachineTerminating}), platform.CodeConflict)
	wantCode(t, "ending it as if it were warm", f.AskEnd(t.Context(), f.member.Workspace.ID, m.ID, "ada"), platform.CodeConflict)
}

func TestRunsAndStudiosOfAUserTakeTurnsTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.SetLimits(t.Context(), f.member.Workspace.ID, platform.Limits{Instances: 1}))
	_, living := f.startStudio(f.addStudio("a"))
	if a := f.admit(living); !a.Admitted {
		t.Fatalf("%+v", a)
	}
	run := f.addRunOf(f.member.User.ID, "b")
	_, studio := f.startStudio(f.addStudio("c"))
	theirs, next := f.addRunOf(7, "d"), f.addRunOf(7, "e")
	for _, c := range []struct {
		name  string
		m     platform.Machine
		place int
	}{{"of who has none", theirs, 1}, {"the run of who has a Studio", run, 2}, {"the second of who has none", next, 3}, {"the Studio after that run", studio, 4}} {
		if a := f.admit(c.m); a.Place != c.place || a.Living != 1 {
			t.Errorf("%s: %+v, want place %d", c.name, a, c.place)
		}
	}
	due, _, err := f.DueMachines(t.Context(), time.Now(), 10, platform.MachineWanted)
	var order []string
	for _, m := range due {
		order = append(order, m.ID)
	}
	if err != nil || !slices.Equal(order, []string{living.ID, theirs.ID, run.ID, next.ID, studio.ID}) {
		t.Errorf("due are %v, %v", order, err)
	}
}

func TestAStudiosMachineIsShownWithItsStudio(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("Notebook")
	_, m := f.startStudio(s)
	must(t, f.AskStudioStop(t.Context(), s.ID, platform.StopUser, "ada"))
	list, err := f.RunningMachines(t.Context(), s.WorkspaceID)
	must(t, err)
	if len(list) != 1 || list[0].ID != m.ID || list[0].Studio != "Notebook" || list[0].StudioID != s.ID || list[0].StudioState != platform.StudioStarting ||
		list[0].UserName != "ada" || list[0].Run != "" || list[0].CancelAsked.IsZero() || !list[0].Ending() {
		t.Errorf("%+v", list)
	}
}
