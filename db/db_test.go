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
	must(t, f.AddSession(t.Context(), "h", Session{UserID: f.member.User.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(platform.DefaultSessionTimes.Idle)}))
	for at := now; at.Before(now.Add(platform.DefaultSessionTimes.Limit)); at = at.Add(platform.DefaultSessionTimes.Idle - time.Hour) {
		if _, err := f.Session(t.Context(), "h", at); err != nil {
			t.Fatalf("in use, it ended after %s: %v", at.Sub(now), err)
		}
	}
	_, err := f.Session(t.Context(), "h", now.Add(platform.DefaultSessionTimes.Limit+time.Second))
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
		must(t, f.PostponeMachine(t.Context(), m, time.Now().Add(time.Hour), 0, ""))
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
			Progress: &platform.Progress{Counts: platform.Counts{Succeeded: succeeded}}, Instant: at}))
	}
	report(platform.TaskCompleted, 1, at)
	report(platform.TaskRunning, 0, at.Add(-time.Second))
	report(platform.TaskCompleted, 1, at)
	task, err := f.Task(t.Context(), r.ID, 1)
	if err != nil || task.Status != platform.TaskCompleted {
		t.Errorf("%+v, %v", task, err)
	}
	must(t, f.TraceBegan(t.Context(), r, TraceBegin{SessionID: "s", ProcessNames: []string{"A"}, At: at}))
	one := platform.Counts{Succeeded: 1, Running: 1}
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: []platform.Task{{TaskID: 2, Status: platform.TaskRunning, Name: "A (y)", Process: "A"}},
		Progress: &platform.Progress{Counts: one, Processes: []platform.ProcessProgress{{Name: "A", Counts: one}}}, Instant: at.Add(time.Second)}))
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
	must(t, os.Rename(filepath.Join(f.keys.dir, KeyName), filepath.Join(filepath.Dir(to), KeyName)))
	d, err := Open(t.Context(), filepath.Dir(to))
	must(t, err)
	defer d.Close()
	if runs, err := d.LivingRuns(t.Context()); err != nil || len(runs) != 1 {
		t.Errorf("%v, %v", runs, err)
	}
}

// TestNoFactOfOneMillisecondIsLost makes a machine due twice within a millisecond: it must never get back the time that a
// loop has read.
func TestNoFactOfOneMillisecondIsLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	now := time.Now().Add(time.Second)
	fact := func() {
		must(t, f.inTx(t.Context(), func(t *tx) error {
			t.now = now
			return t.stepNow(context.Background(), r.ID)
		}))
	}
	for _, before := range []time.Duration{-time.Hour, -2 * time.Millisecond, -time.Millisecond, 0, time.Millisecond, time.Hour} {
		_, err := f.write.Exec(`UPDATE machines SET next_step_at = ?`, millis(now.Add(before)))
		must(t, err)
		for facts := 1; facts < 5; facts++ {
			read, err := f.Machine(t.Context(), m.ID)
			must(t, err)
			for range facts {
				fact()
			}
			must(t, f.PostponeMachine(t.Context(), read, now.Add(time.Hour), 0, ""))
			due, _, err := f.DueMachines(t.Context(), now, 10, platform.MachineWanted)
			if err != nil || len(due) != 1 {
				t.Fatalf("%d facts, with a next step at %s: the machine is not due, %v", facts, before, err)
			}
		}
	}
}

func TestDueMachinesAreThoseThatHaveWaitedLongest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Now()
	var ids []string
	for i := range 4 {
		_, m := f.addRun("r" + string(rune('a'+i)))
		m, err := f.Machine(t.Context(), m.ID)
		must(t, err)
		must(t, f.PostponeMachine(t.Context(), m, now.Add(time.Duration(2-i)*time.Minute), 3, ""))
		ids = append(ids, m.ID)
	}
	due, next, err := f.DueMachines(t.Context(), now, 10, platform.MachineWanted, platform.MachineRequested)
	if err != nil || len(due) != 2 || due[0].ID != ids[3] || due[1].ID != ids[2] || due[0].Attempts != 3 {
		t.Errorf("due are %+v, %v; want %v", due, err, ids)
	}
	if !next.Equal(fromMillis(millis(now.Add(time.Minute)))) {
		t.Errorf("the next is due at %s, want %s", next, now.Add(time.Minute))
	}
	if due, _, err := f.DueMachines(t.Context(), now, 1, platform.MachineWanted); err != nil || len(due) != 1 || due[0].ID != ids[3] {
		t.Errorf("one of them is %+v, %v", due, err)
	}
	if due, next, err := f.DueMachines(t.Context(), now, 10, platform.MachineBooting); err != nil || len(due) != 0 || !next.IsZero() {
		t.Errorf("in another state: %v, %v, %v", due, next, err)
	}
	must(t, f.MoveMachine(t.Context(), due[0], Move{To: platform.MachineRequested, InstanceID: "i-1"}))
	if m, err := f.Machine(t.Context(), ids[3]); err != nil || m.Attempts != 0 || m.NextStep.After(time.Now()) {
		t.Errorf("a machine that was moved starts afresh: %+v, %v", m, err)
	}
}

func TestAPostponementOfAMachineThatMovedDoesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested, InstanceID: "i-1"}))
	must(t, f.PostponeMachine(t.Context(), m, time.Now().Add(time.Hour), 7, ""))
	got, err := f.Machine(t.Context(), m.ID)
	if err != nil || got.Attempts != 0 || got.NextStep.After(time.Now()) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestACancelIsAskedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	must(t, f.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
	first, err := f.AnyRun(t.Context(), r.ID)
	must(t, err)
	before, err := f.LastChange(t.Context())
	must(t, err)
	must(t, f.AskCancel(t.Context(), r.WorkspaceID, r.ID, "grace"))
	again, err := f.AnyRun(t.Context(), r.ID)
	must(t, err)
	after, err := f.LastChange(t.Context())
	if err != nil || !again.CancelAsked.Equal(first.CancelAsked) || again.CancelledBy != "ada" || after != before {
		t.Errorf("the second time, %s %q became %s %q; changes %d to %d, %v", first.CancelAsked, first.CancelledBy, again.CancelAsked, again.CancelledBy, before, after, err)
	}
	wantCode(t, "of another workspace", f.AskCancel(t.Context(), r.WorkspaceID+1, r.ID, "ada"), platform.CodeNotFound)
	wantCode(t, "of no run", f.AskCancel(t.Context(), r.WorkspaceID, "x", "ada"), platform.CodeNotFound)
}

func TestARefusedLaunchLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, m := f.addRun("a")
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineTerminating}))
	m.State = platform.MachineTerminating
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineTerminated}))
	must(t, f.DeleteComputeEnv(t.Context(), f.env.WorkspaceID, f.env.ID))
	counts := func() (n int) {
		must(t, f.read.QueryRow(`SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM machines) + (SELECT count(*) FROM steps) + (SELECT count(*) FROM changes)`).Scan(&n))
		return n
	}
	before := counts()
	r := platform.Run{WorkspaceID: f.env.WorkspaceID, UserID: f.member.User.ID, ComputeEnvID: f.env.ID, Name: "b", WorkDir: "/w"}
	_, err := f.AddRun(t.Context(), &r)
	var fields platform.FieldErrors
	if !errors.As(err, &fields) || fields["computeEnvId"] == "" {
		t.Errorf("a launch to a deleted environment: %v", err)
	}
	if after := counts(); after != before {
		t.Errorf("%d rows were left behind", after-before)
	}
}

func TestASignInLinkIsUsedOnceThoughManyClick(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	must(t, f.AddSignInLink(t.Context(), f.member.User.ID, "new", time.Now().Add(time.Minute)))
	var used atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := f.UseSignInLink(context.Background(), "new"); err == nil {
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("it signed in %d times", used.Load())
	}
}

func TestASessionThatIsNotUsedEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	now := time.Now()
	add := func(hash string, seen time.Time) {
		must(t, f.AddSession(t.Context(), hash, Session{UserID: f.member.User.ID, CSRF: "c", Created: seen, Seen: seen, Expires: seen.Add(platform.DefaultSessionTimes.Idle)}))
	}
	add("busy", now)
	_, err := f.Session(t.Context(), "busy", now.Add(platform.DefaultSessionTimes.Idle+time.Second))
	wantCode(t, "unused", err, platform.CodeNotFound)
	if s, err := f.Session(t.Context(), "busy", now.Add(platform.DefaultSessionTimes.Touch()-time.Second)); err != nil || !s.Seen.Equal(fromMillis(millis(now))) {
		t.Errorf("used again at once, it is written again: %+v, %v", s, err)
	}
	add("old", now.Add(-platform.DefaultSessionTimes.Idle-time.Minute))
	must(t, f.Tidy(t.Context(), 100))
	var left int
	must(t, f.read.QueryRow(`SELECT count(*) FROM sessions`).Scan(&left))
	if left != 1 {
		t.Errorf("%d sessions are left, want the one that lives", left)
	}
}

func TestAnEndedRunGivesNoWork(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, m := f.addRun("a")
	must(t, f.MoveMachine(t.Context(), m, Move{To: platform.MachineRequested, InstanceID: "i-1"}))
	must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunCancelled}))
	_, err := f.Claim(t.Context(), m.ID, "i-1", "k1") // its machine has not been moved yet
	wantCode(t, "a claim", err, platform.CodeGone)
	_, err = f.Claim(t.Context(), "nobody", "i-1", "k1")
	wantCode(t, "a claim for no machine", err, platform.CodeNotFound)
}

func TestARunThatNobodySawRunningHasItsTimes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	begun := time.Now().Add(-time.Minute)
	for name, c := range map[string]struct {
		at    time.Time // of Nextflow's begin, on the machine's clock
		least time.Duration
	}{"begun": {begun, time.Minute}, "begun-in-the-future": {time.Now().Add(time.Hour), 0}} {
		r, _ := f.addRun(name)
		must(t, f.TraceBegan(t.Context(), r, TraceBegin{At: c.at}))
		must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunSucceeded}))
		got, err := f.AnyRun(t.Context(), r.ID)
		if d := got.Duration(time.Now()); err != nil || got.Started.IsZero() || d < c.least || d > c.least+time.Minute {
			t.Errorf("%s: it took %s from %s, %v", name, d, got.Started, err)
		}
	}
	r, _ := f.addRun("never")
	must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunFailed}))
	if got, err := f.AnyRun(t.Context(), r.ID); err != nil || !got.Started.IsZero() || got.Ended.IsZero() {
		t.Errorf("a run that never began: %+v, %v", got, err)
	}
}

func TestALateReportDoesNotWakeAnEndedRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	must(t, f.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunCancelled}))
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: []platform.Task{{TaskID: 1, Status: platform.TaskRunning}, {TaskID: 2, Status: platform.TaskCompleted}},
		Progress: &platform.Progress{Counts: platform.Counts{Running: 1, Succeeded: 1}}, Instant: time.Now(), Completed: &platform.Completion{Success: true}}))
	for id, want := range map[int64]platform.TaskStatus{1: platform.TaskAborted, 2: platform.TaskCompleted} {
		if task, err := f.Task(t.Context(), r.ID, id); err != nil || task.Status != want {
			t.Errorf("task %d is %s, %v; want %s", id, task.Status, err, want)
		}
	}
	got, err := f.AnyRun(t.Context(), r.ID)
	if err != nil || got.State != platform.RunCancelled || got.Progress.Running != 0 || got.Progress.Aborted != 1 || got.Progress.Succeeded != 1 {
		t.Errorf("%s %+v, %v", got.State, got.Progress, err)
	}
}

func TestTasksAreNarrowedByStatusAndUnknownValuesComeLast(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	n := func(v int64) *int64 { return &v }
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Tasks: []platform.Task{
		{TaskID: 1, Status: platform.TaskRunning, Name: "A"}, {TaskID: 2, Status: platform.TaskCompleted, Name: "B", PeakRSS: n(5)},
		{TaskID: 3, Status: platform.TaskCompleted, Name: "100%_x", PeakRSS: n(9)}, {TaskID: 4, Status: platform.TaskFailed, Name: "A"}}}))
	for what, c := range map[string]struct {
		filter TaskFilter
		want   []int64
	}{
		"all":                   {TaskFilter{}, []int64{1, 2, 3, 4}},
		"newest first":          {TaskFilter{Sort: "id", Descending: true}, []int64{4, 3, 2, 1}},
		"by memory":             {TaskFilter{Sort: "memory"}, []int64{2, 3, 1, 4}},
		"by memory, most first": {TaskFilter{Sort: "memory", Descending: true}, []int64{3, 2, 1, 4}},
		"by name, then id":      {TaskFilter{Sort: "name", Descending: true}, []int64{2, 1, 4, 3}},
		"completed":             {TaskFilter{Status: platform.TaskCompleted}, []int64{2, 3}},
		"text is no pattern":    {TaskFilter{Text: "0%_X"}, []int64{3}},
		"text and status":       {TaskFilter{Text: "a", Status: platform.TaskFailed}, []int64{4}},
		"nothing":               {TaskFilter{Text: "zzz"}, nil},
		"another run's":         {TaskFilter{Text: "other"}, nil},
	} {
		c.filter.Limit = 10
		tasks, total, err := f.Tasks(t.Context(), r.ID, c.filter)
		var got []int64
		for _, task := range tasks {
			got = append(got, task.TaskID)
		}
		if err != nil || total != len(c.want) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v of %d, %v; want %v", what, got, total, err, c.want)
		}
	}
}

func TestANewerReportOfBeginKeepsProgressAndTheFinalWorkflow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	at := time.Now()
	progress := func(succeeded int, at time.Time) {
		must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Progress: &platform.Progress{Counts: platform.Counts{Succeeded: succeeded}}, Instant: at}))
	}
	progress(2, at)
	progress(1, at.Add(-time.Second)) // late
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Completed: &platform.Completion{Success: true}, Workflow: []byte(`{"n":2}`)}))
	must(t, f.TraceProgressed(t.Context(), r, TraceProgress{Completed: &platform.Completion{}, Workflow: []byte(`{"n":3}`)})) // again
	for range 2 {
		must(t, f.TraceBegan(t.Context(), r, TraceBegin{SessionID: "s", CommandLine: "c", Workflow: []byte(`{"n":1}`), ProcessNames: []string{"A"}, At: at}))
		at = at.Add(time.Hour)
	}
	got, err := f.AnyRun(t.Context(), r.ID)
	if err != nil || got.Progress.Succeeded != 2 || string(got.Workflow) != `{"n":2}` || !got.Completed.Success || got.SessionID != "s" || got.CommandLine != "c" {
		t.Errorf("%+v, %v", got, err)
	}
	if !got.Begun.Equal(fromMillis(millis(at.Add(-2 * time.Hour)))) {
		t.Errorf("it began at %s", got.Begun)
	}
}

func TestRunsAreFoundAndPaged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var ids []string
	for i := range 5 {
		r, _ := f.addRun("run_" + string(rune('a'+i)))
		ids = append(ids, r.ID)
	}
	must(t, f.MoveRun(t.Context(), ids[0], platform.RunSubmitted, platform.RunEnd{State: platform.RunFailed}))
	slices.Sort(ids) // those of one millisecond are in any order
	slices.Reverse(ids)
	var got []string
	for before := ""; ; {
		page, err := f.Runs(t.Context(), f.env.WorkspaceID, RunFilter{Before: before, Limit: 2})
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, r.ID)
		}
		before = got[len(got)-1]
	}
	if !slices.Equal(got, ids) {
		t.Errorf("page by page: %v, want %v", got, ids)
	}
	for what, c := range map[string]struct {
		filter RunFilter
		want   int
	}{
		"by name":     {RunFilter{Text: " RUN_C "}, 1},
		"by pipeline": {RunFilter{Text: "nextflow-io/HELLO"}, 5},
		"by user":     {RunFilter{Text: "ada"}, 5},
		"by state":    {RunFilter{States: []platform.RunState{platform.RunFailed, platform.RunCancelled}}, 1},
		"no pattern":  {RunFilter{Text: "run%a"}, 0},
	} {
		c.filter.Limit = 10
		if runs, err := f.Runs(t.Context(), f.env.WorkspaceID, c.filter); err != nil || len(runs) != c.want {
			t.Errorf("%s: %d runs, %v; want %d", what, len(runs), err, c.want)
		}
		if runs, err := f.Runs(t.Context(), f.env.WorkspaceID+1, c.filter); err != nil || len(runs) != 0 {
			t.Errorf("%s, in another workspace: %d runs, %v", what, len(runs), err)
		}
	}
}

func TestOnlyWhatWasCommittedIsTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var told []platform.Change
	cancel := f.Subscribe(func(c platform.Change) { told = append(told, c) })
	r, m := f.addRun("a")
	again := r
	_, err := f.AddRun(t.Context(), &again)
	wantCode(t, "a taken name", err, platform.CodeInvalid)
	_, err = f.AppendLog(t.Context(), m, platform.LogOutput, 0, []byte("x\n"))
	must(t, err)
	cancel()
	f.addRun("b")
	var kinds []platform.ChangeKind
	for _, c := range told {
		kinds = append(kinds, c.Kind)
		if c.RunID != r.ID || (c.ID == 0) != (c.Kind == platform.ChangeLog) {
			t.Errorf("told %+v", c)
		}
	}
	if !slices.Equal(kinds, []platform.ChangeKind{platform.ChangeMachine, platform.ChangeRun, platform.ChangeLog}) {
		t.Errorf("told %v", kinds)
	}
}
