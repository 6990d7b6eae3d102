package db

import (
	"fmt"
	"testing"
	"time"

	"wherry/platform"
)

// save reports a checkpoint of a session's machine.
func (f *fixture) save(m platform.Machine) string {
	f.t.Helper()
	id := platform.NewID()
	must(f.t, f.AddCheckpoints(f.t.Context(), m, []platform.CheckpointReport{{ID: id, Saved: time.Now(), Size: 7, Files: 2}}))
	return id
}

func (f *fixture) unwanted(s platform.StudioSession) (ids []string) {
	f.t.Helper()
	refs, err := f.UnwantedCheckpoints(f.t.Context(), s)
	must(f.t, err)
	for _, r := range refs {
		ids = append(ids, r.CheckpointID)
	}
	return ids
}

func (f *fixture) saved(s platform.Studio) (ids []string) {
	f.t.Helper()
	list, err := f.Checkpoints(f.t.Context(), s.WorkspaceID, s.ID)
	must(f.t, err)
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestCheckpointsAreToldOnceAndTheOldestGo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	session, m := f.startStudio(s)
	named := f.save(m)
	must(t, f.NameCheckpoint(t.Context(), s.WorkspaceID, named, " before the change "))
	oldest := f.save(m)
	var last string
	for range platform.KeptCheckpoints {
		last = f.save(m)
	}
	must(t, f.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: last, Size: 99}}))
	ids := f.saved(s)
	if len(ids) != platform.KeptCheckpoints+1 || ids[0] != last || ids[len(ids)-1] != named {
		t.Errorf("kept are %v, the newest is %s and the one with a name %s", ids, last, named)
	}
	if gone := f.unwanted(session); len(gone) != 1 || gone[0] != oldest {
		t.Errorf("unwanted are %v, want %s", gone, oldest)
	}
	c, err := f.Checkpoint(t.Context(), s.WorkspaceID, named)
	if err != nil || c.Name != "before the change" || c.Studio != "a" || c.Size != 7 || c.Files != 2 || c.WorkDir != "/w" || c.SessionID != session.ID {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = f.Checkpoint(t.Context(), s.WorkspaceID, last); err != nil || c.Size != 7 {
		t.Errorf("told again, the checkpoint is %+v, %v", c, err)
	}
	must(t, f.NameCheckpoint(t.Context(), s.WorkspaceID, named, ""))
	if gone := f.unwanted(session); len(gone) != 2 {
		t.Errorf("without its name the oldest stays: %v", gone)
	}
	must(t, f.CheckpointsRemoved(t.Context(), m, []string{oldest, last}))
	if gone := f.unwanted(session); len(gone) != 1 || gone[0] != named {
		t.Errorf("after the removal unwanted are %v", gone)
	}
	if ids := f.saved(s); ids[0] != last {
		t.Error("a checkpoint that is wanted was removed")
	}
	_, err = f.Checkpoint(t.Context(), s.WorkspaceID+1, last)
	wantCode(t, "from another workspace", err, platform.CodeNotFound)
	wantCode(t, "naming it from there", f.NameCheckpoint(t.Context(), s.WorkspaceID+1, last, "x"), platform.CodeNotFound)
}

func TestWhatIsNoCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.startStudio(f.addStudio("a"))
	_, run := f.addRun("b")
	wantCode(t, "no id", f.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: "../../x"}}), platform.CodeInvalid)
	wantCode(t, "too many", f.AddCheckpoints(t.Context(), m, make([]platform.CheckpointReport, platform.MaxCheckpointReports+1)), platform.CodeInvalid)
	wantCode(t, "those of a run", f.AddCheckpoints(t.Context(), run, []platform.CheckpointReport{{ID: platform.NewID()}}), platform.CodeInvalid)
	id := platform.NewID()
	must(t, f.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: id, Saved: time.Now().Add(time.Hour), Size: -1, Files: -1}}))
	c, err := f.Checkpoint(t.Context(), m.WorkspaceID, id)
	if err != nil || c.Saved.After(time.Now()) || c.Size != 0 || c.Files != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestASessionBeginsWithTheNewestOfItsOwnStudio(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	first, m := f.startStudio(s)
	f.save(m)
	newest := f.save(m)
	f.endSession(first)
	second, _ := f.startStudio(s)
	if first.Restored != "" || second.Restored != newest {
		t.Errorf("the first began with %q, the second with %q, want %q", first.Restored, second.Restored, newest)
	}
	ref, err := f.RestoredCheckpoint(t.Context(), second)
	if err != nil || *ref != (platform.CheckpointRef{StudioID: s.ID, CheckpointID: newest}) {
		t.Errorf("%+v, %v", ref, err)
	}
	if none, err := f.RestoredCheckpoint(t.Context(), first); none != nil || err != nil {
		t.Errorf("the first: %+v, %v", none, err)
	}
	must(t, f.DeleteCheckpoint(t.Context(), s.WorkspaceID, newest))
	if gone := f.unwanted(second); len(gone) != 0 {
		t.Errorf("what a living session begins with is to be removed: %v", gone)
	}
	f.endSession(second)
	if gone := f.unwanted(second); len(gone) != 1 {
		t.Errorf("after its end it is not: %v", gone)
	}
	for _, id := range f.saved(s) {
		must(t, f.DeleteCheckpoint(t.Context(), s.WorkspaceID, id))
	}
	if third, _ := f.startStudio(s); third.Restored != "" {
		t.Errorf("without checkpoints it begins with %q", third.Restored)
	}
}

func TestAStudioBeginsWithAnothersCheckpointUntilItHasItsOwn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	source := f.addStudio("source")
	session, m := f.startStudio(source)
	from := f.save(m)
	s := f.newStudio("copy")
	s.Config.Restore = from
	must(t, f.AddStudio(t.Context(), &s))
	for range platform.KeptCheckpoints + 1 {
		f.save(m)
	}
	if gone := f.unwanted(session); len(gone) != 1 || gone[0] == from {
		t.Errorf("what another Studio shall begin with is unwanted: %v", gone)
	}
	err := f.DeleteCheckpoint(t.Context(), s.WorkspaceID, from)
	wantCode(t, "deleting what another shall begin with", err, platform.CodeConflict)
	first, _ := f.startStudio(s)
	if first.Restored != from {
		t.Errorf("the first session begins with %q, want %q", first.Restored, from)
	}
	f.endSession(first) // it has saved nothing
	second, own := f.startStudio(s)
	if second.Restored != from {
		t.Errorf("after a session that saved nothing it begins with %q, want %q", second.Restored, from)
	}
	ref, err := f.RestoredCheckpoint(t.Context(), second)
	if err != nil || ref.StudioID != source.ID {
		t.Errorf("%+v, %v", ref, err)
	}
	kept := f.save(own)
	f.endSession(second)
	if third, _ := f.startStudio(s); third.Restored != kept {
		t.Errorf("later it begins with %q, want its own %q", third.Restored, kept)
	}
}

func TestACheckpointIsRestoredOnlyWhereItCanBe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	source := f.addStudio("source")
	session, m := f.startStudio(source)
	from := f.save(m)
	f.endSession(session)
	other := platform.ComputeEnv{WorkspaceID: f.member.Workspace.ID, Name: "there", Platform: platform.PlatformLocal, WorkDir: "/elsewhere", Status: platform.ComputeEnvAvailable}
	must(t, f.AddComputeEnv(t.Context(), &other))

	s := f.newStudio("copy")
	s.Config.Restore, s.ComputeEnvID = from, other.ID
	wantField(t, "another work directory", f.AddStudio(t.Context(), &s), "restore", "is kept in /w, and the work directory of there is /elsewhere")
	s.Config.Restore, s.ComputeEnvID = platform.NewID(), f.env.ID
	wantField(t, "no such checkpoint", f.AddStudio(t.Context(), &s), "restore", "not there any more")

	moved := source
	moved.ComputeEnvID = other.ID
	wantField(t, "moving a Studio away from its work", f.UpdateStudio(t.Context(), moved), "computeEnvId", "This Studio's work is kept in /w")
	here := f.env
	here.WorkDir = "/new"
	must(t, f.UpdateComputeEnv(t.Context(), here, platform.ComputeEnvAvailable))
	_, err := f.StartStudio(t.Context(), source, f.member.User.ID)
	wantField(t, "its environment's work directory was changed", err, "computeEnvId", "This Studio's work is kept in /w")
	here.WorkDir, here.Version = "/w", here.Version+1
	must(t, f.UpdateComputeEnv(t.Context(), here, platform.ComputeEnvAvailable))

	private := source
	private.Private = true
	must(t, f.UpdateStudio(t.Context(), private))
	s.Config.Restore = from
	mine := s
	must(t, f.AddStudio(t.Context(), &mine))
	f.addRunOf(7, "makes the user 7")
	s.UserID, s.Name = 7, "theirs"
	wantField(t, "from somebody else's private Studio", f.AddStudio(t.Context(), &s), "restore", "private")
}

func TestADeletedStudiosCheckpointsGoWithTheNextSessionThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.addStudio("a")
	session, m := f.startStudio(s)
	id := f.save(m)
	f.endSession(session)
	must(t, f.DeleteStudio(t.Context(), s.WorkspaceID, s.ID))
	late := f.save(m) // its agent was not heard before
	next, m := f.startStudio(f.addStudio("b"))
	refs, err := f.UnwantedCheckpoints(t.Context(), next)
	if err != nil || fmt.Sprint(refs) != fmt.Sprint([]platform.CheckpointRef{{StudioID: s.ID, CheckpointID: id}, {StudioID: s.ID, CheckpointID: late}}) {
		t.Errorf("%v, %v", refs, err)
	}
	elsewhere := next
	elsewhere.WorkDir = "/elsewhere"
	if gone := f.unwanted(elsewhere); len(gone) != 0 {
		t.Errorf("in another work directory: %v", gone)
	}
	must(t, f.CheckpointsRemoved(t.Context(), m, []string{id, late}))
	if gone := f.unwanted(next); len(gone) != 0 {
		t.Errorf("after the removal: %v", gone)
	}
}
