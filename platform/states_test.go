package platform

import (
	"slices"
	"testing"
)

func TestAnEndedRunNeverMoves(t *testing.T) {
	t.Parallel()
	for _, from := range RunStates {
		for _, to := range RunStates {
			if from.Ended() && from.CanMove(to) {
				t.Errorf("%s → %s is allowed", from, to)
			}
		}
		if !from.Ended() && (!from.CanMove(RunFailed) || !from.CanMove(RunCancelled)) {
			t.Errorf("a run that is %s cannot fail or be cancelled", from)
		}
	}
	if len(runMoves) != len(RunStates) {
		t.Errorf("the table has %d states and the list %d", len(runMoves), len(RunStates))
	}
}

func TestEveryMachineCanEndAndNoneComesBack(t *testing.T) {
	t.Parallel()
	if len(machineMoves) != len(MachineStates) {
		t.Fatalf("the table has %d states and the list %d", len(machineMoves), len(MachineStates))
	}
	for i, from := range MachineStates {
		if !reaches(from, MachineTerminated, nil) {
			t.Errorf("a machine that is %q never ends", from)
		}
		for _, to := range machineMoves[from] {
			if slices.Index(MachineStates, to) <= i {
				t.Errorf("%q → %q goes back", from, to)
			}
		}
		if from.Wanted() && !from.CanMove(MachineTerminating) {
			t.Errorf("a machine that is %q cannot be ended", from)
		}
	}
}

func reaches(from, to MachineState, seen []MachineState) bool {
	if from == to {
		return true
	}
	for _, next := range machineMoves[from] {
		if !slices.Contains(seen, next) && reaches(next, to, append(seen, from)) {
			return true
		}
	}
	return false
}

// TestWhoMayDoWhat is the table of permissions as a person would check it.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		permission Permission
		least      Role // the least role that has it
	}{
		{ViewRuns, RoleView}, {LaunchRuns, RoleLaunch}, {CancelRuns, RoleLaunch}, {ViewPipelines, RoleView}, {EditPipelines, RoleMaintain},
		{ViewComputeEnvs, RoleView}, {EditComputeEnvs, RoleAdmin}, {ConnectToStudios, RoleConnect}, {ManageLimits, RoleAdmin}, {ManageMembers, RoleAdmin}, {ManageWorkspace, RoleOwner},
	} {
		for i, role := range Roles {
			want := i <= slices.Index(Roles, c.least)
			if role.Can(c.permission) != want {
				t.Errorf("%s can %s: %v, want %v", role, c.permission, !want, want)
			}
		}
		if !c.permission.Known() || !c.permission.InWorkspace() {
			t.Errorf("%s is not in the table", c.permission)
		}
	}
	if Role("stranger").Can(ViewRuns) || RoleOwner.Can(Permission("everything")) || Permission("everything").Known() {
		t.Error("an unknown role or permission is let through")
	}
}

func TestHowARunEnded(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	asked := Run{CancelledBy: "ada", CancelAsked: fixed}
	for name, c := range map[string]struct {
		run     Run
		report  EndReport
		state   RunState
		message string
	}{
		"success":                     {Run{Completed: &Completion{Success: true}}, EndReport{ExitCode: code(0)}, RunSucceeded, ""},
		"success without complete":    {Run{}, EndReport{ExitCode: code(0)}, RunSucceeded, ""},
		"a cancel that came too late": {Run{Completed: &Completion{Success: true}, CancelAsked: fixed}, EndReport{ExitCode: code(0), Cancelled: true}, RunSucceeded, ""},
		"Nextflow's words":            {Run{Completed: &Completion{ErrorMessage: "boom"}}, EndReport{ExitCode: code(1)}, RunFailed, "boom"},
		"the agent knows better":      {Run{Completed: &Completion{ErrorMessage: "boom"}}, EndReport{Reason: "The disk is full."}, RunFailed, "The disk is full."},
		"no words at all":             {Run{}, EndReport{ExitCode: code(1)}, RunFailed, "Nextflow ended with an error. Its log says more."},
		"success that is none":        {Run{Completed: &Completion{}}, EndReport{ExitCode: code(0)}, RunFailed, "Nextflow ended with an error. Its log says more."},
		"cancelled":                   {asked, EndReport{ExitCode: code(143), Signal: "terminated", Cancelled: true}, RunCancelled, "The run was cancelled by ada."},
		"killed after a cancel":       {asked, EndReport{Signal: "killed"}, RunCancelled, "The run was cancelled by ada."},
	} {
		end := EndFromReport(c.run, c.report)
		if end.State != c.state || end.ErrorMessage != c.message {
			t.Errorf("%s: %s %q, want %s %q", name, end.State, end.ErrorMessage, c.state, c.message)
		}
	}
}
