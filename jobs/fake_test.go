package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// fakeCloud is a platform whose faults a test scripts: what a real one cannot be made to show at will.
type fakeCloud struct {
	mu        sync.Mutex
	instances map[string]cloud.Status // by machine id
	ended     map[string]bool         // machines that Start must not start again
	started   map[string]int          // how many instances a machine ever had
	requests  map[string]cloud.StartRequest
	denied    error // what Start answers, where it is not nil
	differing int   // Start calls that were not the same as the first one for their machine
	calls     int
	onCall    func(call string, n int) error // before the call does anything; its error is the answer
	afterCall func(call string, n int) error // after it was done: a lost answer

	hardware    platform.Hardware          // of every machine
	interrupted map[string]bool            // machines that the platform took away
	left        map[string]cloud.Recovered // what agents left, by work
	lastWords   string
	assigned    map[string]string // runs or Studios of machines that were warm
	recovered   string            // the folder in which was looked last
}

func newFakeCloud() *fakeCloud {
	return &fakeCloud{instances: map[string]cloud.Status{}, ended: map[string]bool{}, started: map[string]int{}, requests: map[string]cloud.StartRequest{},
		interrupted: map[string]bool{}, left: map[string]cloud.Recovered{}, assigned: map[string]string{}}
}

// do runs one call with the faults before and after it.
func (f *fakeCloud) do(ctx context.Context, call string, work func()) error {
	f.mu.Lock()
	f.calls++
	n, before, after := f.calls, f.onCall, f.afterCall
	f.mu.Unlock()
	if before != nil {
		if err := before(call, n); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.mu.Lock()
	work()
	f.mu.Unlock()
	if after != nil {
		if err := after(call, n); err != nil {
			return err
		}
	}
	return ctx.Err() // who has stopped waiting hears no answer
}

func (f *fakeCloud) Start(ctx context.Context, _ platform.ComputeEnv, req cloud.StartRequest) (cloud.Started, error) {
	if req.Placement == "" {
		req.Placement = "placed " + req.MachineID
		if err := req.Keep(ctx, req.Placement); err != nil {
			return cloud.Started{}, err
		}
	}
	req.Keep = nil
	var denied error
	err := f.do(ctx, "start", func() {
		if denied = f.denied; denied != nil {
			return
		}
		if first, ok := f.requests[req.MachineID]; ok && !reflect.DeepEqual(first, req) {
			f.differing++
		}
		f.requests[req.MachineID] = req
		if _, ok := f.instances[req.MachineID]; !ok && !f.ended[req.MachineID] {
			f.instances[req.MachineID] = cloud.StatusRunning
			f.started[req.MachineID]++
		}
	})
	return cloud.Started{InstanceID: "i-" + req.MachineID, Hardware: f.hardware}, errors.Join(err, denied)
}

func (f *fakeCloud) Describe(ctx context.Context, _ platform.ComputeEnv, m platform.Machine) (i cloud.Instance, err error) {
	err = f.do(ctx, "describe", func() {
		i = cloud.Instance{MachineID: m.ID, Status: cloud.StatusGone, Reason: "it was switched off", Interrupted: f.interrupted[m.ID]}
		if s, ok := f.instances[m.ID]; ok {
			i.Status = s
		}
	})
	return i, err
}

func (f *fakeCloud) Terminate(ctx context.Context, env platform.ComputeEnv, m platform.Machine) error {
	return f.End(ctx, env, "i-"+m.ID)
}

func (f *fakeCloud) End(ctx context.Context, _ platform.ComputeEnv, instanceID string) error {
	return f.do(ctx, "terminate", func() {
		machineID := strings.TrimPrefix(instanceID, "i-")
		delete(f.instances, machineID)
		f.ended[machineID] = true
	})
}

func (f *fakeCloud) Recover(ctx context.Context, _ platform.ComputeEnv, req cloud.RecoverRequest) (left cloud.Recovered, err error) {
	err = f.do(ctx, "recover", func() {
		f.recovered = req.Folder
		if r, ok := f.left[req.WorkID]; ok && req.Ended {
			left = r
		}
	})
	return left, err
}

func (f *fakeCloud) LastWords(context.Context, platform.ComputeEnv, platform.Machine) string {
	return f.lastWords
}

func (f *fakeCloud) List(ctx context.Context, _ platform.ComputeEnv) (list []cloud.Instance, err error) {
	err = f.do(ctx, "list", func() {
		for id := range f.instances {
			list = append(list, cloud.Instance{MachineID: id, InstanceID: "i-" + id, Status: cloud.StatusRunning})
		}
	})
	return list, err
}

func (f *fakeCloud) Open(context.Context, platform.ComputeEnv, string, string) (fs.File, error) {
	return nil, fs.ErrNotExist
}

func (f *fakeCloud) CheckLaunch(context.Context, platform.ComputeEnv, platform.Launch) error {
	return nil
}

func (f *fakeCloud) Check(context.Context, platform.ComputeEnv) error { return nil }

// switchOff ends an instance as nobody asked for.
func (f *fakeCloud) switchOff(machineID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.instances, machineID)
	f.ended[machineID] = true // and no Start brings it back
}

func (f *fakeCloud) living() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.instances)
}

func (f *fakeCloud) callCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// world is a database, a cloud and the loops over both.
type world struct {
	t       *testing.T
	db      *db.DB
	cloud   *fakeCloud
	account *fakeAccount
	times   Times
	member  platform.Member
	env     platform.ComputeEnv
	stop    func()
	fitting func(platform.ComputeEnv, platform.Shortage) []platform.InstanceOffer
}

var quick = Times{Poll: 10 * time.Millisecond, Backoff: 20 * time.Millisecond, Drain: 10 * time.Millisecond, Sweep: time.Hour,
	StartLimit: time.Minute, BootLimit: time.Minute, Unknown: time.Minute, Lost: 2 * time.Minute, Cancel: time.Minute}

func newWorld(t *testing.T, times Times) *world {
	t.Helper()
	d, err := db.Open(t.Context(), t.TempDir())
	must(t, err)
	w := &world{t: t, db: d, cloud: newFakeCloud(), account: &fakeAccount{there: map[string]bool{}}, times: times, stop: func() {}}
	w.member, err = d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	w.env = platform.ComputeEnv{WorkspaceID: w.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable}
	must(t, d.AddComputeEnv(t.Context(), &w.env))
	t.Cleanup(func() {
		w.stop()
		d.Close()
	})
	return w
}

// start runs the loops until stop, which waits for them.
func (w *world) start() *Jobs {
	return w.startIn(context.WithCancel(context.Background()))
}

// startIn runs the loops until stop, or until ctx is done: for them that is the end of their process.
func (w *world) startIn(ctx context.Context, cancel func()) *Jobs {
	j := &Jobs{DB: w.db, Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: w.cloud},
		Accounts: map[platform.PlatformName]cloud.Account{platform.PlatformAWSCloud: w.account}, Key: []byte("key"), Times: w.times, Fitting: w.fitting, Log: slog.New(slog.DiscardHandler)}
	done := make(chan struct{})
	go func() {
		j.Run(ctx)
		close(done)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	return j
}

func (w *world) launch() platform.Run {
	w.t.Helper()
	r := platform.Run{WorkspaceID: w.member.Workspace.ID, UserID: w.member.User.ID, ComputeEnvID: w.env.ID, Name: "r" + platform.NewID(), WorkDir: "/w"}
	_, err := w.db.AddRun(context.Background(), &r)
	must(w.t, err)
	return r
}

func (w *world) run(id string) platform.Run {
	w.t.Helper()
	r, err := w.db.AnyRun(context.Background(), id)
	must(w.t, err)
	return r
}

func (w *world) machine(id string) platform.Machine {
	w.t.Helper()
	m, err := w.db.MachineOfRun(context.Background(), id)
	must(w.t, err)
	return m
}

// claim does what an agent does when it comes up.
func (w *world) claim(id string) {
	w.t.Helper()
	w.until("the machine is requested", func() bool { return w.machine(id).InstanceID != "" })
	m := w.machine(id)
	_, err := w.db.Claim(context.Background(), m.ID, m.InstanceID, "key of "+m.ID)
	must(w.t, err)
}

// begin does what Nextflow does when it begins.
func (w *world) begin(id string) {
	w.t.Helper()
	must(w.t, w.db.TraceBegan(context.Background(), w.run(id), db.TraceBegin{SessionID: "s", At: time.Now()}))
}

// report does what an agent does at the end.
func (w *world) report(id string, code int) {
	w.t.Helper()
	w.reportEnd(id, platform.EndReport{ExitCode: &code, At: time.Now()})
}

func (w *world) reportEnd(id string, report platform.EndReport) {
	w.t.Helper()
	must(w.t, w.db.AddEndReport(context.Background(), w.machine(id), report))
}

// cancel does what someone does at the run's page.
func (w *world) cancel(id string) {
	w.t.Helper()
	must(w.t, w.db.AskCancel(context.Background(), w.member.Workspace.ID, id, "ada"))
}

func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// over waits until the run has ended and its machine is gone, and checks what must always hold.
func (w *world) over(id string, want platform.RunState) platform.Run {
	w.t.Helper()
	w.until(fmt.Sprintf("the run is %s and its machine gone", want), func() bool {
		return w.run(id).State.Ended() && w.machine(id).State == platform.MachineTerminated
	})
	r := w.run(id)
	if r.State != want {
		w.t.Errorf("the run is %s (%s), want %s", r.State, r.ErrorMessage, want)
	}
	w.checkInstances()
	return r
}

// checkInstances checks that no instance is left, and that none was started twice.
func (w *world) checkInstances() {
	w.t.Helper()
	if n := w.cloud.living(); n > 0 {
		w.t.Errorf("%d instances are left", n)
	}
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	if w.cloud.differing > 0 {
		w.t.Errorf("%d requests to start a machine were not the one that it had first", w.cloud.differing)
	}
	for machine, n := range w.cloud.started {
		if n > 1 {
			w.t.Errorf("machine %s had %d instances", machine, n)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var errThrottled = cloud.Errorf(cloud.KindThrottled, errors.New("RequestLimitExceeded"), "The platform asks for patience.")

func (f *fakeCloud) Assign(ctx context.Context, _ platform.ComputeEnv, m platform.Machine, req cloud.StartRequest) error {
	return f.do(ctx, "assign", func() { f.assigned[m.ID] = cmp.Or(req.RunID, req.StudioID) })
}
