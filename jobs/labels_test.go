package jobs

import (
	"slices"
	"testing"

	"wherry/platform"
)

// TestAMachineIsAskedForWithTheTagsOfItsEnvironmentAndItsRun, of which the run's win.
func TestAMachineIsAskedForWithTheTagsOfItsEnvironmentAndItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	r := w.launch()
	ctx := t.Context()
	label := func(name, value string, resource bool) int64 {
		l := platform.WorkspaceLabel{WorkspaceID: r.WorkspaceID, Name: name, Value: value, Resource: resource}
		must(t, w.db.AddLabel(ctx, &l))
		return l.ID
	}
	must(t, w.db.SetLabels(ctx, r.WorkspaceID, platform.LabelsComputeEnv, r.ComputeEnvID, []int64{label("team", "hydro", true), label("centre", "rivers", true)}))
	must(t, w.db.SetLabels(ctx, r.WorkspaceID, platform.LabelsRun, r.ID, []int64{label("Centre", "lakes", true), label("urgent", "", false)}))
	w.start()
	w.claim(r.ID)
	w.begin(r.ID)
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	want := []platform.Label{{Name: "Centre", Value: "lakes"}, {Name: "team", Value: "hydro"}}
	for id, req := range w.cloud.requests {
		if !slices.Equal(req.Tags, want) {
			t.Errorf("%s was asked for with %v, not %v", id, req.Tags, want)
		}
	}
	if len(w.cloud.requests) != 1 {
		t.Errorf("%d machines were asked for", len(w.cloud.requests))
	}
}
