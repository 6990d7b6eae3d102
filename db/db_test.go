package db

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wherry/platform"
)

// fixture is an open database with a workspace and a compute environment.
type fixture struct {
	*DB
	t      *testing.T
	member platform.Member
	env    platform.ComputeEnv
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	d, err := Open(t.Context(), t.TempDir())
	must(t, err)
	t.Cleanup(func() { d.Close() })
	f := &fixture{DB: d, t: t}
	f.member, err = d.SetUp(t.Context(), setUp, "hash")
	must(t, err)
	f.env = platform.ComputeEnv{WorkspaceID: f.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable}
	must(t, d.AddComputeEnv(t.Context(), &f.env))
	return f
}

var setUp = platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, code platform.Code) {
	t.Helper()
	if platform.ErrorCode(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

func (f *fixture) addRun(name string) (platform.Run, platform.Machine) {
	f.t.Helper()
	r := platform.Run{WorkspaceID: f.member.Workspace.ID, UserID: f.member.User.ID, ComputeEnvID: f.env.ID, Name: name, WorkDir: "/w", Launch: platform.Launch{Pipeline: "nextflow-io/hello"}}
	m, err := f.AddRun(f.t.Context(), &r)
	must(f.t, err)
	return r, m
}

func TestOnlyOneOwnerIsMadeBySetUp(t *testing.T) {
	t.Parallel()
	d, err := Open(t.Context(), t.TempDir())
	must(t, err)
	defer d.Close()
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := d.SetUp(context.Background(), setUp, "hash"); err == nil {
				made.Add(1)
			} else if platform.ErrorCode(err) != platform.CodeConflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d owners were made", made.Load())
	}
	m, err := d.Member(t.Context(), 1, "LAB", "Rivers")
	if err != nil || m.Role != platform.RoleOwner || m.User.UserName != "ada" {
		t.Errorf("the owner is %+v, %v", m, err)
	}
	_, err = d.Member(t.Context(), 2, "lab", "rivers")
	wantCode(t, "a stranger", err, platform.CodeNotFound)
}

func TestASignInLinkWorksOnceAndNotForEver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.AddSignInLink(t.Context(), f.member.User.ID, "new", time.Now().Add(time.Minute)))
	must(t, f.AddSignInLink(t.Context(), f.member.User.ID, "old", time.Now().Add(-time.Second)))
	if u, err := f.UseSignInLink(t.Context(), "new"); err != nil || u.ID != f.member.User.ID {
		t.Errorf("%+v, %v", u, err)
	}
	for _, hash := range []string{"new", "old", "never"} {
		_, err := f.UseSignInLink(t.Context(), hash)
		wantCode(t, hash, err, platform.CodeNotFound)
	}
}

func TestASessionEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Now()
	must(t, f.AddSession(t.Context(), "h", Session{UserID: f.member.User.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(SessionIdle)}))
	for at := now; at.Before(now.Add(SessionLimit)); at = at.Add(SessionIdle - time.Hour) {
		if _, err := f.Session(t.Context(), "h", at); err != nil {
			t.Fatalf("in use, it ended after %s: %v", at.Sub(now), err)
		}
	}
	_, err := f.Session(t.Context(), "h", now.Add(SessionLimit+time.Second))
	wantCode(t, "after its limit", err, platform.CodeNotFound)
	must(t, f.EndSession(t.Context(), "h"))
	_, err = f.Session(t.Context(), "h", now)
	wantCode(t, "signed out", err, platform.CodeNotFound)
}

func TestARunAndItsMachineAreSavedTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before, err := f.LastChange(t.Context())
	must(t, err)
	r, m := f.addRun("brisk_thames")
	steps, err := f.Steps(t.Context(), m.ID)
	if err != nil || len(steps) != 1 || steps[0].Name != string(platform.MachineWanted) {
		t.Errorf("steps %v, %v", steps, err)
	}
	changes, complete, err := f.ChangesSince(t.Context(), r.WorkspaceID, r.ID, before)
	if err != nil || !complete || len(changes) != 2 {
		t.Errorf("changes %v %v %v", changes, complete, err)
	}
	again := r
	again.Name = "Brisk_Thames"
	_, err = f.AddRun(t.Context(), &again)
	var fields platform.FieldErrors
	if !errors.As(err, &fields) || fields["runName"] == "" {
		t.Errorf("a taken name: %v", err)
	}
	living, err := f.LivingMachines(t.Context())
	if err != nil || len(living) != 1 {
		t.Errorf("machines after a refused launch: %v, %v", living, err)
	}
	err = f.DeleteComputeEnv(t.Context(), r.WorkspaceID, f.env.ID)
	wantCode(t, "deleting an environment in use", err, platform.CodeConflict)
	if err != nil && !strings.Contains(err.Error(), "brisk_thames") {
		t.Errorf("it does not name the run: %v", err)
	}
}

func TestStatesMoveOnlyAlongTheTable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	wantCode(t, "a move that does not exist", f.MoveMachine(t.Context(), m, Move{To: platform.MachineWorking}), platform.CodeConflict)
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested, InstanceID: "i-1"}))
	wantCode(t, "a move from a state that was left", f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested}), platform.CodeConflict)
	must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunFailed, ErrorMessage: "why"}))
	for _, to := range platform.RunStates {
		wantCode(t, "an ended run to "+string(to), f.MoveRun(t.Context(), r.ID, platform.RunFailed, platform.RunEnd{State: to}), platform.CodeConflict)
		wantCode(t, "a run that has ended meanwhile to "+string(to), f.MoveRun(t.Context(), r.ID, platform.RunRunning, platform.RunEnd{State: to}), platform.CodeConflict)
	}
	got, err := f.AnyRun(t.Context(), r.ID)
	if err != nil || got.State != platform.RunFailed || got.ErrorMessage != "why" || got.Ended.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	wantCode(t, "cancelling an ended run", f.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"), platform.CodeConflict)
}

func TestAMachineIsClaimedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested, InstanceID: "i-1"}))
	_, err := f.Claim(t.Context(), m.ID, "i-2", "k1")
	wantCode(t, "another instance", err, platform.CodeConflict)
	for range 2 {
		if _, err := f.Claim(t.Context(), m.ID, "i-1", "k1"); err != nil {
			t.Errorf("the agent that it is: %v", err)
		}
	}
	_, err = f.Claim(t.Context(), m.ID, "i-1", "k2")
	wantCode(t, "another agent", err, platform.CodeConflict)
	if got, err := f.MachineByKey(t.Context(), "k1"); err != nil || got.ID != m.ID || got.Claimed.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	for _, key := range []string{"", "k2"} {
		_, err = f.MachineByKey(t.Context(), key)
		wantCode(t, "key "+key, err, platform.CodeUnauthorized)
	}
	m, err = f.Machine(t.Context(), m.ID)
	must(t, err)
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineTerminating}))
	_, err = f.Claim(t.Context(), m.ID, "i-1", "k1")
	wantCode(t, "after the work is over", err, platform.CodeGone)
}

// TestAFactIsNotLostToAPostponement: a loop reads the machine, a fact comes in, and then the loop says "later".
func TestAFactIsNotLostToAPostponement(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 50 {
		r, m := f.addRun(platform.NewID() + "x")
		m, err := f.Machine(t.Context(), m.ID)
		must(t, err)
		must(t, f.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
		must(t, f.PostponeMachine(t.Context(), m, time.Now().Add(time.Hour), 0))
		due, _, err := f.DueMachines(t.Context(), time.Now(), 1000, platform.MachineWanted)
		must(t, err)
		if !slices.ContainsFunc(due, func(d platform.Machine) bool { return d.ID == m.ID }) {
			t.Fatalf("attempt %d: the cancel waits for an hour", i)
		}
	}
}

func TestTheFirstReportOfTheEndCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	code := 0
	must(t, f.AddEndReport(t.Context(), m, platform.EndReport{ExitCode: &code}))
	must(t, f.AddEndReport(t.Context(), m, platform.EndReport{Reason: "later"}))
	got, err := f.AnyRun(t.Context(), r.ID)
	if err != nil || got.End == nil || got.End.Reason != "" || *got.End.ExitCode != 0 {
		t.Errorf("%+v, %v", got.End, err)
	}
}

func TestTaskReportsMayComeLateAndTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	at := time.Now()
	report := func(status platform.TaskStatus, succeeded int, at time.Time) {
		must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: []platform.Task{{TaskID: 1, Status: status, Name: "A (x)", Process: "A"}},
			Progress: &platform.Progress{Succeeded: succeeded}, Instant: at}))
	}
	report(platform.TaskCompleted, 1, at)
	report(platform.TaskRunning, 0, at.Add(-time.Second))
	report(platform.TaskCompleted, 1, at)
	task, err := f.Task(t.Context(), r.ID, 1)
	if err != nil || task.Status != platform.TaskCompleted {
		t.Errorf("%+v, %v", task, err)
	}
	must(t, f.TraceBegan(t.Context(), r, TraceBegin{SessionID: "s", ProcessNames: []string{"A"}, At: at}))
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: []platform.Task{{TaskID: 2, Status: platform.TaskRunning, Name: "A (y)", Process: "A"}},
		Progress: &platform.Progress{Succeeded: 1, Running: 1, Processes: []platform.ProcessProgress{{Name: "A", Succeeded: 1, Running: 1}}}, Instant: at.Add(time.Second)}))
	must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunFailed}))
	if task, err = f.Task(t.Context(), r.ID, 2); err != nil || task.Status != platform.TaskAborted {
		t.Errorf("after the run's end, what was running is %+v, %v", task, err)
	}
	got, err := f.AnyRun(t.Context(), r.ID)
	if p := got.Progress; p.Running != 0 || p.Aborted != 1 || p.Processes[0].Running != 0 || p.Processes[0].Aborted != 1 {
		t.Errorf("after the run's end, the counts are %+v", p)
	}
	if err != nil || got.Progress.Succeeded != 1 || got.SessionID != "s" || got.Begun.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTasksAreFoundSortedAndPaged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	var tasks []platform.Task
	for i := range 25 {
		d := int64(100 - i)
		tag := "t" + string(rune('a'+i))
		tasks = append(tasks, platform.Task{TaskID: int64(i + 1), Status: platform.TaskCompleted, Name: "P (" + tag + ")", Process: "P", Tag: &tag, Duration: &d})
	}
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: tasks}))
	got, total, err := f.Tasks(t.Context(), r.ID, TaskFilter{Sort: "duration", Offset: 10, Limit: 10})
	if err != nil || total != 25 || len(got) != 10 || got[0].TaskID != 15 {
		t.Errorf("%d of %d, first %+v, %v", len(got), total, got[0].TaskID, err)
	}
	got, total, err = f.Tasks(t.Context(), r.ID, TaskFilter{Text: "TC)", Sort: "no such; DROP", Limit: 10})
	if err != nil || total != 1 || got[0].TaskID != 3 {
		t.Errorf("%v of %d, %v", got, total, err)
	}
}

func TestChangesAreToldInTheOrderOfTheirIds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mu sync.Mutex
	var ids []int64
	defer f.Subscribe(func(c platform.Change) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, c.ID)
	})()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				f.addRun(platform.NewID() + "x")
			}
		})
	}
	wg.Wait()
	if len(ids) != 80 || !slices.IsSorted(ids) {
		t.Errorf("%d changes, sorted %v", len(ids), slices.IsSorted(ids))
	}
	last, err := f.LastChange(t.Context())
	must(t, err)
	must(t, f.Tidy(t.Context(), 10))
	for after, want := range map[int64]bool{last: true, last - 5: true, last - 10: true, last - 11: false, 0: false, last + 1: false} {
		changes, complete, err := f.ChangesSince(t.Context(), f.member.Workspace.ID, "", after)
		if err != nil || complete != want || (complete && int64(len(changes)) != last-after) {
			t.Errorf("after %d of %d: %d changes, complete %v, %v", after, last, len(changes), complete, err)
		}
	}
}

func TestOnlyOneProcessHoldsTheLease(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("DB_TEST_LEASE"); dir != "" { // the other process
		_, err := TakeLease(t.Context(), dir, func() {})
		must(t, err)
		os.Stdout.WriteString("held\n")
		time.Sleep(time.Hour)
	}
	dir := t.TempDir()
	other := exec.Command(os.Args[0], "-test.run", "^TestOnlyOneProcessHoldsTheLease$")
	other.Env = append(os.Environ(), "DB_TEST_LEASE="+dir)
	out, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	buf := make([]byte, 5)
	if _, err := out.Read(buf); err != nil || string(buf) != "held\n" {
		t.Fatalf("%q, %v", buf, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := TakeLease(short, dir, func() { waited = true }); err == nil || !waited {
		t.Errorf("two hold the lease: %v, waited %v", err, waited)
	}
	must(t, other.Process.Kill())
	_ = other.Wait()
	long, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	lease, err := TakeLease(long, dir, func() {})
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	must(t, lease.Release())
}

func TestTheKeyIsMadeOnceAndADamagedOneIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Key(dir)
	must(t, err)
	second, err := Key(dir)
	if err != nil || string(first) != string(second) || len(first) != KeyLength {
		t.Errorf("%x and %x, %v", first, second, err)
	}
	if info, err := os.Stat(filepath.Join(dir, KeyName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	must(t, os.WriteFile(filepath.Join(dir, KeyName), []byte("abc"), 0o600))
	if _, err := Key(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := Open(t.Context(), dir)
	must(t, err)
	_, err = d.write.Exec(`PRAGMA user_version = 999`)
	must(t, err)
	must(t, d.Close())
	if _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("%v", err)
	}
}

func TestABackupIsAWholeDatabase(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addRun("a")
	to := filepath.Join(t.TempDir(), "copy", FileName)
	must(t, os.Mkdir(filepath.Dir(to), 0o700))
	must(t, backUp(t.Context(), f.write, to))
	d, err := Open(t.Context(), filepath.Dir(to))
	must(t, err)
	defer d.Close()
	if runs, err := d.LivingRuns(t.Context()); err != nil || len(runs) != 1 {
		t.Errorf("%v, %v", runs, err)
	}
}
