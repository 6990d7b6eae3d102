package jobs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// TestAPortalRestoredToAnOlderStateEndsWhatItDoesNotKnow has a backup from before one machine was started and after another was: the
// first has no row in what was restored, so the sweep ends its instance and says so. The other goes on.
func TestAPortalRestoredToAnOlderStateEndsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	dir := t.TempDir()
	must(t, w.db.Close())
	var err error
	w.db, err = db.Open(t.Context(), dir)
	must(t, err)
	w.member, err = w.db.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	w.env = platform.ComputeEnv{WorkspaceID: w.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable}
	must(t, w.db.AddComputeEnv(t.Context(), &w.env))
	w.start()
	known := w.launch()
	w.claim(known.ID)
	w.begin(known.ID)
	w.until("the run goes on", func() bool { return w.run(known.ID).State == platform.RunRunning })
	file := filepath.Join(t.TempDir(), "backup")
	_, err = db.Backup(t.Context(), dir, file)
	must(t, err)
	unknown := w.launch()
	w.claim(unknown.ID)
	orphan := w.machine(unknown.ID).ID
	w.stop()
	must(t, w.db.Close())

	restored := t.TempDir()
	must(t, os.Rename(filepath.Join(dir, db.KeyName), filepath.Join(restored, db.KeyName)))
	_, err = db.Restore(t.Context(), file, restored, db.KeySource{})
	must(t, err)
	w.db, err = db.Open(t.Context(), restored)
	must(t, err)
	w.times.Sweep = 10 * time.Millisecond
	w.start()
	w.until("the sweep ended what nobody knows", func() bool {
		w.cloud.mu.Lock()
		defer w.cloud.mu.Unlock()
		return w.cloud.ended[orphan]
	})
	w.stop() // so that many sweeps are over, and the last one too
	sweeps, err := w.db.Sweeps(t.Context(), w.member.Workspace.ID, 10)
	must(t, err)
	if len(sweeps) != 1 || sweeps[0].MachineID != orphan {
		t.Errorf("it is written down as %+v", sweeps)
	}
	w.start()
	if w.cloud.living() != 1 || w.run(known.ID).State != platform.RunRunning {
		t.Errorf("of the machine that it knows there are %d, and its run is %s", w.cloud.living(), w.run(known.ID).State)
	}
	w.report(known.ID, 0)
	w.over(known.ID, platform.RunSucceeded)
}
