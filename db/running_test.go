package db

import (
	"testing"

	"wherry/platform"
)

func TestRunningMachinesAreThoseOfTheWorkspaceThatMayExist(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	_, gone := f.addRun("b")
	for _, to := range []platform.MachineState{platform.MachineTerminating, platform.MachineTerminated} {
		must(t, f.MoveMachine(t.Context(), gone, Move{To: to}))
		gone.State = to
	}
	must(t, f.AddWarmMachine(t.Context(), f.env, 1))
	must(t, f.AskCancel(t.Context(), f.member.Workspace.ID, r.ID, "ada"))
	list, err := f.RunningMachines(t.Context(), f.member.Workspace.ID)
	must(t, err)
	if len(list) != 2 || list[0].ID != m.ID || list[0].Run != "a" || list[0].UserName != "ada" || list[0].ComputeEnv != "here" ||
		list[0].Platform != platform.PlatformLocal || list[0].RunState != platform.RunSubmitted || list[0].CancelAsked.IsZero() {
		t.Errorf("%+v", list)
	}
	if warm := list[1]; warm.RunID != "" || warm.Run != "" || warm.UserName != "" || warm.RunState != "" || !warm.CancelAsked.IsZero() || warm.ComputeEnv != "here" {
		t.Errorf("the warm one: %+v", warm)
	}
	if others, err := f.RunningMachines(t.Context(), f.member.Workspace.ID+1); err != nil || len(others) > 0 {
		t.Errorf("another workspace has %v, %v", others, err)
	}
	if got, err := f.RunningMachine(t.Context(), f.member.Workspace.ID, gone.ID); err != nil || got.State != platform.MachineTerminated || got.Run != "b" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = f.RunningMachine(t.Context(), f.member.Workspace.ID+1, m.ID)
	wantCode(t, "a machine of another workspace", err, platform.CodeNotFound)
}

func TestAReportIsOfItsRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	other, _ := f.addRun("b")
	want := platform.Report{Name: "x/report.html", Display: "All of it", MIMEType: "text/html", Size: 7}
	must(t, f.AddReports(t.Context(), m, []platform.Report{want}))
	if got, err := f.Report(t.Context(), r.ID, want.Name); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	_, err := f.Report(t.Context(), other.ID, want.Name)
	wantCode(t, "a report of another run", err, platform.CodeNotFound)
	_, err = f.Report(t.Context(), r.ID, "x/../x/report.html")
	wantCode(t, "another way to write its name", err, platform.CodeNotFound)
}
