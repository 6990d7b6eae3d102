package jobs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// A simulation lets runs and Studios live under random faults, in simulated time: a cloud as unreliable as EC2 (simulatedCloud), agents
// that are killed and cut off (simulatedAgent), people who cancel, and a portal that is killed and started again. After each,
// what must always hold is looked at. WHERRY_SIMULATION_SEED repeats one.

const (
	simulations     = 80 // worlds, each on a database of its own
	runsOfOneWorld  = 25
	calmLimit       = 4 * time.Hour // simulated: until then all must have come to its end
	simulatedFaults = 0.25          // of calls, while there are faults
)

// simulated counts what was tried, over all simulations.
var simulated struct{ runs, studios, faults, portals, cuts, deaths, interruptions, jumps atomic.Int64 }

func TestWhatMustHoldHoldsInRandomSequences(t *testing.T) {
	t.Parallel()
	seed, worlds := rand.Uint64(), simulations
	if given, err := strconv.ParseUint(os.Getenv("WHERRY_SIMULATION_SEED"), 10, 64); err == nil {
		seed, worlds = given, 1
	}
	if testing.Short() {
		worlds = min(worlds, 6)
	}
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprintf("seed %d", seed+uint64(i)), func(t *testing.T) {
				t.Parallel()
				simulate(t, seed+uint64(i))
			})
		}
	})
	s := &simulated
	fmt.Printf("simulated from seed %d: %d runs and %d sessions of Studios, with %d faults of calls, %d portals killed, %d networks cut, %d agents or machines killed, %d interruptions, %d clocks hours off\n",
		seed, s.runs.Load(), s.studios.Load(), s.faults.Load(), s.portals.Load(), s.cuts.Load(), s.deaths.Load(), s.interruptions.Load(), s.jumps.Load())
}

// simulation is one world in simulated time.
type simulation struct {
	t      *testing.T
	random *rand.Rand
	mu     sync.Mutex // guards random and ends
	db     *db.DB
	cloud  *simulatedCloud
	member platform.Member
	env    platform.ComputeEnv
	ends   map[string]platform.Run // runs as they were when they were first seen ended
	lab    simulatedLab
	stop   func()      // kills the portal
	down   atomic.Bool // the portal is not there: agents do not reach it
}

func simulate(t *testing.T, seed uint64) {
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		d, err := db.Open(t.Context(), dir)
		must(t, err)
		defer d.Close()
		s := &simulation{t: t, random: rand.New(rand.NewPCG(seed, seed)), db: d, ends: map[string]platform.Run{}, stop: func() {}}
		s.cloud = newSimulatedCloud(s)
		s.member, err = d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
		must(t, err)
		s.env = platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable,
			Config: platform.ComputeEnvConfig{AWSCloud: platform.AWSCloud{WarmInstances: s.number(2), WarmMinutes: 20}}}
		must(t, d.AddComputeEnv(t.Context(), &s.env))
		if s.chance(0.3) {
			must(t, d.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{Instances: 2 + s.number(4), Studios: 1 + s.number(4)}))
		}
		s.live()
	})
}

// memoryDir is a folder in memory where there is one: nothing here has to survive a power cut.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "wherry-simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *simulation) number(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *simulation) chance(p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < p
}

// upTo is a random duration.
func (s *simulation) upTo(limit time.Duration) time.Duration {
	return time.Duration(s.number(int(limit/time.Millisecond)+1)) * time.Millisecond
}

// live launches runs and kills portals, then lets all come to rest, and looks at what is left.
func (s *simulation) live() {
	ctx, over := context.WithCancel(context.Background())
	portals := make(chan struct{})
	go func() {
		defer close(portals)
		s.killPortals(ctx)
	}()
	var runs []string
	for range runsOfOneWorld {
		time.Sleep(s.upTo(3 * time.Minute))
		runs = append(runs, s.launch())
		if s.chance(0.3) {
			s.startStudio()
		}
	}
	time.Sleep(s.upTo(30 * time.Minute))
	over() // no more portals are killed, and calls succeed again
	<-portals
	s.cloud.calm.Store(true)
	s.start()
	for deadline := time.Now().Add(calmLimit); !s.atRest(runs) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Second)
	}
	s.check(runs)
	s.stop()
	s.cloud.close()
}

// launch saves a run, which somebody may cancel later.
func (s *simulation) launch() string {
	simulated.runs.Add(1)
	launch := platform.Launch{RelaunchInterrupted: s.chance(0.5)}
	if s.chance(0.1) {
		launch.TimeLimit = 1 + s.number(20)
	}
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "r" + platform.NewID(), WorkDir: "/w", Launch: launch}
	_, err := s.db.AddRun(context.Background(), &r)
	must(s.t, err)
	if s.chance(0.3) {
		wait := s.upTo([]time.Duration{3 * time.Minute, 10 * time.Minute}[s.number(2)])
		time.AfterFunc(wait, func() {
			err := s.db.AskCancel(context.Background(), r.WorkspaceID, r.ID, "ada")
			if err != nil && platform.ErrorCode(err) != platform.CodeConflict {
				s.t.Error(err)
			}
		})
	}
	return r.ID
}

// killPortals starts the portal, kills it at some time, and leaves it away for a while, again and again.
func (s *simulation) killPortals(ctx context.Context) {
	for ctx.Err() == nil {
		s.start()
		sleep(ctx, s.upTo(10*time.Minute))
		s.stop()
		simulated.portals.Add(1)
		sleep(ctx, s.upTo([]time.Duration{time.Second, time.Minute, 20 * time.Minute}[s.number(3)]))
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// start starts the portal's loops; stop kills them where they are.
func (s *simulation) start() {
	ctx, cancel := context.WithCancel(context.Background())
	j := &Jobs{DB: s.db, Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: s.cloud}, Key: []byte("key"),
		Log: slog.New(slog.DiscardHandler), Times: Times{Lifetime: 30 * time.Minute, Poll: 20 * time.Second, Sweep: 5 * time.Minute, Idle: time.Minute}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.Run(ctx)
	}()
	s.down.Store(false)
	s.stop = sync.OnceFunc(func() {
		s.down.Store(true)
		cancel()
		<-done
	})
}

// atRest tells whether every run has ended, those too that took the place of others, and no machine lives. It notes ends.
func (s *simulation) atRest(runs []string) bool {
	s.noteEnds(runs)
	living, err := s.db.LivingRuns(context.Background())
	must(s.t, err)
	machines, err := s.db.LivingMachines(context.Background())
	must(s.t, err)
	return len(living) == 0 && s.studiosAtRest() && len(machines) == 0 && s.cloud.living() == 0
}

func (s *simulation) noteEnds(runs []string) {
	for _, id := range runs {
		r, err := s.db.AnyRun(context.Background(), id)
		must(s.t, err)
		before, known := s.ends[id]
		switch {
		case known && (r.State != before.State || r.ErrorMessage != before.ErrorMessage || !r.Ended.Equal(before.Ended)):
			s.t.Errorf("run %s had ended as %s %q and is %s %q", id, before.State, before.ErrorMessage, r.State, r.ErrorMessage)
		case r.State.Ended():
			s.ends[id] = r
		}
	}
}

// check looks at what must always hold (design.md).
func (s *simulation) check(runs []string) {
	s.noteEnds(runs)
	for machine, n := range s.cloud.most {
		if n > 1 {
			s.t.Errorf("1. machine %s had %d instances", machine, n)
		}
	}
	if left := s.cloud.livingList(); len(left) > 0 {
		s.t.Errorf("2. these instances are left: %v", left)
	}
	machines, err := s.db.LivingMachines(context.Background())
	must(s.t, err)
	for _, m := range machines {
		s.t.Errorf("3. machine %s for %q is still %s: %s", m.ID, m.WorkID(), m.State, m.Waiting)
	}
	for _, id := range runs {
		s.checkRun(id)
	}
	s.checkStudios()
}

func (s *simulation) checkRun(id string) {
	r, err := s.db.AnyRun(context.Background(), id)
	must(s.t, err)
	if !r.State.Ended() {
		s.t.Errorf("4. run %s has not ended, and is %s", id, r.State)
	}
	work := s.cloud.workOf(id)
	if r.State == platform.RunSucceeded && (work == nil || !work.succeeded) {
		s.t.Errorf("run %s succeeded, and its agent does not know of it", id)
	}
	if r.State != platform.RunSucceeded && work != nil && work.told {
		s.t.Errorf("run %s told of its success, and is %s: %s", id, r.State, r.ErrorMessage)
	}
	if r.State != platform.RunSucceeded && r.ErrorMessage == "" {
		s.t.Errorf("run %s is %s, and nobody knows why", id, r.State)
	}
	s.checkLog(id, work)
}

func (s *simulation) checkLog(id string, work *simulatedWork) {
	var log bytes.Buffer
	must(s.t, s.db.CopyLog(context.Background(), &log, id, platform.LogOutput))
	if work == nil {
		return
	}
	if log.Len() < work.acked || !bytes.HasPrefix(work.log, log.Bytes()) {
		s.t.Errorf("5. %s has %d bytes of log of %d that were said to be saved, or others than were written", id, log.Len(), work.acked)
	}
}

// TestMachinesEndByThemselvesWhenThePortalIsGoneForGood kills the portal for the last time while machines work, boot and wait.
func TestMachinesEndByThemselvesWhenThePortalIsGoneForGood(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		dir := memoryDir(t)
		synctest.Test(t, func(t *testing.T) {
			d, err := db.Open(t.Context(), dir)
			must(t, err)
			defer d.Close()
			s := &simulation{t: t, random: rand.New(rand.NewPCG(seed, 1)), db: d, ends: map[string]platform.Run{}}
			s.cloud = newSimulatedCloud(s)
			s.member, err = d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
			must(t, err)
			s.env = platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable,
				Config: platform.ComputeEnvConfig{AWSCloud: platform.AWSCloud{WarmInstances: 1}}}
			must(t, d.AddComputeEnv(t.Context(), &s.env))
			s.start()
			for range 5 {
				s.launch()
				s.startStudio()
				time.Sleep(s.upTo(time.Minute))
			}
			s.stop()
			time.Sleep(3 * time.Hour)
			if left := s.cloud.livingList(); len(left) > 0 {
				t.Errorf("6. seed %d: three hours after the portal's end these instances live: %v", seed, left)
			}
			s.cloud.close()
		})
	}
}
