package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// simulatedWork is what an agent did for a run or a Studio, as it knows itself.
type simulatedWork struct {
	mu        sync.Mutex
	log       []byte
	acked     int // bytes of log that the portal said it has
	kept      int // bytes of log that are kept for Recover
	succeeded bool
	told      bool // the portal took the report of a success
	end       *platform.KeptEndFile

	// Of a Studio.
	steps      []platform.StepReport
	saved      []platform.CheckpointReport
	savedAcked int  // checkpoints that the portal took
	savedAtEnd int  // that were there when it wrote its end
	stopped    bool // the portal took the report of a stop that it had asked for
}

// left is what Recover finds.
func (w *simulatedWork) left(req cloud.RecoverRequest) (left cloud.Recovered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := int(req.Offsets[platform.LogOutput]); at < w.kept {
		left.Logs = map[platform.LogStream][]byte{platform.LogOutput: w.log[at:w.kept]}
	}
	if req.Ended {
		left.End, left.Checkpoints = w.end, w.saved
	}
	return left
}

// simulatedAgent does what agent/ does, on an instance's own time.
type simulatedAgent struct {
	c        *simulatedCloud
	i        *simulatedInstance
	m        platform.Machine // as it was claimed
	w        *simulatedWork
	lifetime time.Duration
	heard    time.Time
	cut      [2]time.Time  // between these the network is cut
	seized   time.Time     // when the instance is taken away; zero: never
	jump     time.Duration // how far off the instance's clock is
	cpu      float64       // what a Studio uses
	stopAt   time.Time     // the end of a Studio's lifespan, as it was told last; zero: none
}

// boot is an instance's life: it comes up or does not, works, and ends; somebody may kill it at any time.
func (c *simulatedCloud) boot(i *simulatedInstance, lifetime time.Duration) {
	s := c.s
	a := &simulatedAgent{c: c, i: i, lifetime: lifetime, heard: time.Now()}
	if s.chance(0.2) {
		simulated.jumps.Add(1)
		a.jump = s.upTo(12*time.Hour) - 6*time.Hour
	}
	if s.chance(0.15) {
		simulated.deaths.Add(1)
		death := time.AfterFunc(s.upTo(20*time.Minute), func() { c.terminate(i, "it was switched off from outside") })
		defer death.Stop()
	}
	if s.chance(0.2) {
		simulated.cuts.Add(1)
		from := time.Now().Add(s.upTo(15 * time.Minute))
		a.cut = [2]time.Time{from, from.Add(s.upTo(40 * time.Minute))}
	}
	if s.chance(0.1) {
		simulated.interruptions.Add(1)
		a.seized = time.Now().Add(s.upTo(15 * time.Minute))
		seize := time.AfterFunc(time.Until(a.seized), func() {
			c.mu.Lock()
			i.interrupted = i.status != cloud.StatusGone
			c.mu.Unlock()
			c.terminate(i, "it was taken back")
		})
		defer seize.Stop()
	}
	sleep(i.ctx, s.upTo(30*time.Second))
	c.mu.Lock()
	if i.status == cloud.StatusPending {
		i.status = cloud.StatusRunning
	}
	c.mu.Unlock()
	if s.chance(0.05) {
		sleep(i.ctx, lifetime) // a boot that hangs, until its dead-man's timer
	} else {
		a.run()
	}
	c.terminate(i, "it shut itself down")
}

// reach calls the portal until it answers. false: it was not heard for a lifetime, or the instance has ended.
func (a *simulatedAgent) reach(call func() error) bool {
	for a.i.ctx.Err() == nil && time.Since(a.heard) < a.lifetime {
		if a.reaches() {
			err := call()
			if code := platform.ErrorCode(err); err == nil || code != platform.CodeNotReady {
				a.heard = time.Now()
				return code != platform.CodeGone && code != platform.CodeConflict
			}
		}
		sleep(a.i.ctx, 7*time.Second)
	}
	return false
}

// run claims the work and does it.
func (a *simulatedAgent) run() {
	s := a.c.s
	for a.m.WorkID() == "" {
		ok := a.reach(func() (err error) {
			a.m, err = s.db.Claim(context.Background(), a.i.machine, a.i.id, "key of "+a.i.id)
			return err
		})
		if !ok {
			return
		}
		if a.m.WorkID() == "" {
			sleep(a.i.ctx, 5*time.Second)
		}
	}
	a.w = &simulatedWork{}
	a.c.mu.Lock()
	a.c.works[a.m.WorkID()] = a.w
	a.c.mu.Unlock()
	if a.m.StudioSessionID != "" {
		a.studio()
	} else {
		a.work()
	}
}

// work writes a log, keeps it, tells of it, and ends as it must: by itself, by a cancel, or by an interruption.
func (a *simulatedAgent) work() {
	s := a.c.s
	if !a.reach(func() error {
		return s.db.TraceCalled(context.Background(), platform.Run{ID: a.m.RunID, WorkspaceID: a.m.WorkspaceID}, "begin", platform.TraceCall{SessionID: "s"})
	}) {
		return
	}
	report := platform.EndReport{}
	end := time.Now().Add(s.upTo(15 * time.Minute))
	for line := 0; ; line++ {
		a.write(fmt.Sprintf("line %d\n", line))
		stop, cancelled := a.tell()
		interrupted := !a.seized.IsZero() && time.Until(a.seized) < 2*time.Minute
		switch {
		case stop || a.i.ctx.Err() != nil:
			return
		case cancelled:
			report.Cancelled, report.Signal = true, "terminated"
		case interrupted:
			report.Interrupted = true
		case time.Now().After(end):
			code := s.number(2)
			report.ExitCode = &code
		default:
			sleep(a.i.ctx, s.upTo(40*time.Second))
			continue
		}
		a.finish(report)
		return
	}
}

func (a *simulatedAgent) write(line string) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.log = append(a.w.log, line...)
	if a.c.s.chance(0.3) {
		a.w.kept = len(a.w.log)
	}
}

// tell sends what the portal lacks, if it can be reached now. stop: nobody wants the work any more.
func (a *simulatedAgent) tell() (stop, cancelled bool) {
	s, ctx := a.c.s, context.Background()
	if !a.reaches() {
		return time.Since(a.heard) > a.lifetime, false
	}
	m, err := s.db.Machine(ctx, a.m.ID)
	must(s.t, err)
	if !m.State.Wanted() {
		return true, false
	}
	a.heard = time.Now()
	must(s.t, s.db.Heartbeat(ctx, m, time.Now()))
	must(s.t, s.db.AddSteps(ctx, m, []platform.StepReport{{Name: platform.StepAgentUp, At: time.Now().Add(a.jump)}}))
	a.send(m)
	if m.StudioSessionID != "" {
		return false, a.tellStudio(m)
	}
	run, err := s.db.AnyRun(ctx, a.m.RunID)
	must(s.t, err)
	return false, !run.CancelAsked.IsZero()
}

// reaches tells whether the portal can be reached now.
func (a *simulatedAgent) reaches() bool {
	cut := time.Now().After(a.cut[0]) && time.Now().Before(a.cut[1])
	return !cut && !a.c.s.down.Load()
}

func (a *simulatedAgent) send(m platform.Machine) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	next, err := a.c.s.db.AppendLog(context.Background(), m, platform.LogOutput, int64(a.w.acked), a.w.log[a.w.acked:])
	if platform.ErrorCode(err) != platform.CodeConflict {
		must(a.c.s.t, err)
	}
	a.w.acked = int(next)
	must(a.c.s.t, a.c.s.db.AddCheckpoints(context.Background(), m, a.w.saved[a.w.savedAcked:]))
	a.w.savedAcked = len(a.w.saved)
}

// finish keeps everything, and reports the end if the portal can be reached within some minutes.
func (a *simulatedAgent) finish(report platform.EndReport) {
	report.At = time.Now().Add(a.jump)
	a.w.mu.Lock()
	a.w.kept, a.w.end = len(a.w.log), &platform.KeptEndFile{Report: report, Steps: a.w.steps}
	a.w.savedAtEnd = len(a.w.saved)
	a.w.succeeded = report.ExitCode != nil && *report.ExitCode == 0
	a.w.mu.Unlock()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline) && a.i.ctx.Err() == nil; sleep(a.i.ctx, time.Second) {
		if !a.reaches() {
			continue
		}
		m, err := a.c.s.db.Machine(context.Background(), a.m.ID)
		must(a.c.s.t, err)
		if m.State.Wanted() {
			a.send(m)
			must(a.c.s.t, a.c.s.db.AddEndReport(context.Background(), m, report))
			a.w.told, a.w.stopped = a.w.succeeded, report.Cancelled
		}
		return
	}
}
