package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"wherry/mask"
	"wherry/platform"
)

var (
	// errCancelled means that the run was cancelled, or the Studio shall stop.
	errCancelled = errors.New("its end was asked for")
	// ErrUnheard means that the portal was not heard for too long.
	ErrUnheard = errors.New("the portal was not heard")
)

// agent is one machine's work under way.
type agent struct {
	Config
	portal     *portal
	spec       platform.Spec
	mask       *mask.Mask // of all secrets that the machine has
	output     *maskedLog // what the launch script, or a Studio's tool, prints
	relayToken string     // by which Nextflow's plugin is known to the relay
	launch     string     // the folder in which Nextflow is started
	image      string     // the container image that Nextflow runs in; empty: the machine's own Nextflow
	steps      *steps
	spool      *spool // nil: the work is a Studio
	logs       map[platform.LogStream]*shipper
	store      Store
	stop       context.CancelCauseFunc // stops the work

	disks     disks
	keeping   *keeping
	files     *taskFiles    // nil where Nextflow works in the work directory itself
	filesDone chan struct{} // closed when files has ended
	saver     *saver        // nil: nothing is kept for resume
	studio    *studio       // nil: the work is a run
	told      teller        // the run's spool, or the Studio's checkpoints

	mu       sync.Mutex
	finished time.Time // since when only the portal is waited for
}

// teller tells the portal of what the work brings about, also when it is away meanwhile.
type teller interface {
	// run tells until finish was called and all is told, or ctx is done.
	run(ctx context.Context) error
	finish()
}

// Run does the machine's work and returns when it is done and reported, or when nobody wants it any more (ErrOver), or can
// be told of it (ErrUnheard).
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	a := &agent{Config: cfg, portal: newPortal(cfg), relayToken: platform.NewToken()}
	own := []string{a.portal.key, cfg.ClaimToken, a.relayToken}
	a.mask = mask.New(own...)
	a.maskLog()
	alive, give := context.WithCancelCause(ctx) // ends when there is nobody left to report to
	defer give(nil)
	go a.watchLeader(alive, give)
	began := time.Now()
	nextflow := cfg.Nextflow // what the work needs may be another
	prepare := sync.OnceFunc(func() {
		if a.Place != nil {
			go a.prepare(alive, nextflow)
		}
	})
	var err error
	if a.spec, err = a.portal.claim(alive, cfg, prepare); err != nil {
		err = fmt.Errorf("claiming the work: %w", err)
		if a.Place != nil && !errors.Is(err, ErrOver) && !errors.Is(err, ErrUnheard) {
			err = errors.Join(err, a.portal.giveUp(ctx, cfg, a.mask.Text(err.Error())))
		}
		return err
	}
	a.mask = mask.New(append(own, secretsOf(a.spec)...)...)
	a.maskLog()
	a.Log.Info("claimed", "work", a.spec.WorkID())
	return a.work(ctx, alive, give, began)
}

// maskLog masks the agent's own log from now on.
func (a *agent) maskLog() {
	if a.log != nil {
		a.log.mask.Store(a.mask)
	}
}

// watchLeader gives up when whoever leads the machine has died, and when the portal was not heard for a lifetime: the
// dead-man's timer. As long as it is heard, the machine's own timer is put off.
func (a *agent) watchLeader(ctx context.Context, give context.CancelCauseFunc) {
	tick := time.NewTicker(min(time.Second, a.Lifetime/4))
	defer tick.Stop()
	var put time.Time
	for {
		if heard := a.portal.lastHeard(); a.Place != nil && heard.After(put) && time.Since(put) >= time.Minute {
			put = time.Now()
			go a.stayAlive(ctx, a.Lifetime)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.ParentGone:
			give(errors.New("its supervisor was killed"))
		case <-tick.C:
			if since, limit := a.silence(); time.Since(since) > limit {
				give(fmt.Errorf("%w for %s", ErrUnheard, limit))
			}
		}
	}
}

// silence tells since when the portal is silent, and for how long it may be.
func (a *agent) silence() (since time.Time, limit time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, limit = a.portal.lastHeard(), a.Lifetime
	if !a.finished.IsZero() && a.PortalWait > 0 {
		limit = min(limit, a.PortalWait)
		if a.finished.After(since) {
			since = a.finished
		}
	}
	return since, limit
}

func (a *agent) stayAlive(ctx context.Context, d time.Duration) {
	if err := a.Place.StayAlive(ctx, d); err != nil && ctx.Err() == nil {
		a.Log.Warn("the machine's own timer could not be put off", "error", err)
	}
}

// work does the work, with everything that reports beside it, and reports the end last.
func (a *agent) work(ctx, alive context.Context, give context.CancelCauseFunc, began time.Time) error {
	working, stop := context.WithCancelCause(alive)
	defer stop(nil)
	a.stop = stop
	a.keeping = newKeeping(context.WithoutCancel(ctx), a.spec)
	defer a.keeping.cancelAll()
	a.steps = newSteps(a.portal, a.mask)
	a.steps.add(platform.StepAgentUp, began, "")
	if !a.Booted.IsZero() {
		a.steps.add(platform.StepBooted, a.Booted, "")
	}
	record, err := a.openFiles()
	if err != nil {
		return err
	}
	defer record.Close() // of a Studio there is none
	defer a.output.Close()
	reporters := a.startReporters(alive, give)
	failure := a.settle(alive)
	go a.sync(alive, give)
	if a.Place != nil {
		go a.watchInterruption(alive)
	}
	a.disks.release = a.reserve()
	defer a.disks.release()
	go a.watchDisks(working)
	go a.boundKeeping(alive)
	end := platform.EndReport{Reason: failure}
	switch {
	case failure != "":
	case a.studio != nil:
		end = a.studio.run(working, alive, give)
	default:
		end = a.runNextflow(working, a.launch)
	}
	end.At = time.Now().UTC()
	end = maskEnd(a.mask, end)
	return a.report(alive, reporters, end)
}

// openFiles opens the files that are written from the beginning on: the log, and the record of a run's trace calls.
func (a *agent) openFiles() (record *os.File, err error) {
	if a.output, err = openMaskedLog(a.outputFile(), os.O_APPEND, a.mask); err != nil {
		return nil, err
	}
	if a.spec.Studio != nil {
		a.studio = a.newStudio()
		a.told = a.studio.reports
		return nil, nil
	}
	a.launch = filepath.Join(a.Dir, "launch")
	if err := os.MkdirAll(a.launch, 0o755); err != nil {
		return nil, err
	}
	record, err = os.OpenFile(a.traceRecord(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	a.spool = newSpool(a.portal, a.spec.RunID, a.Log)
	a.spool.record, a.spool.mask = record, a.mask
	a.told = a.spool
	return record, nil
}

// report keeps what the work leaves and tells the portal of it, the end last.
func (a *agent) report(alive context.Context, reporters *reporters, end platform.EndReport) error {
	for _, s := range a.logs {
		s.finish()
	}
	close(reporters.logsEnded)
	a.told.finish()
	var reports []platform.Report
	if a.store != nil {
		if a.studio == nil {
			reports = a.keepRest()
		}
		if err := a.keepEnd(end, reports); err != nil {
			a.Log.Warn("the end could not be kept", "error", err)
		}
	}
	a.mu.Lock()
	a.finished = time.Now()
	a.mu.Unlock()
	if len(reports) > 0 {
		if err := a.portal.call(alive, http.MethodPost, "/agent/reports", reports, nil); err != nil {
			a.Log.Warn("the portal did not take the list of reports", "error", err)
		}
	}
	a.steps.add(platform.StepReported, time.Now(), "")
	a.steps.finish()
	reporters.Wait()
	if alive.Err() != nil {
		return context.Cause(alive)
	}
	if err := a.portal.call(alive, http.MethodPost, "/agent/end", end, nil); err != nil {
		return fmt.Errorf("reporting the end: %w", err)
	}
	return nil
}

// lateLimit is how long a machine that nobody hears any more may keep what its run leaves; overLimit is the same for one
// whose portal wants nothing more.
const (
	lateLimit = 4 * time.Minute
	overLimit = 20 * time.Second
)

// boundKeeping bounds what is kept after the portal is lost, and lets the machine live until then.
func (a *agent) boundKeeping(alive context.Context) {
	<-alive.Done()
	limit := overLimit
	if errors.Is(context.Cause(alive), ErrUnheard) {
		limit = lateLimit
		if a.Place != nil {
			a.stayAlive(a.keeping.all, lateLimit+time.Minute)
		}
	}
	a.keeping.endBy(time.Now().Add(limit))
}

// reporters are what tells of the work while it goes on.
type reporters struct {
	sync.WaitGroup
	logsEnded chan struct{} // closed when nothing is added to the logs any more
}

// startReporters starts what ships logs, steps and trace calls, to the portal and to where else the place keeps logs.
func (a *agent) startReporters(alive context.Context, give context.CancelCauseFunc) *reporters {
	r, spec := &reporters{logsEnded: make(chan struct{})}, a.spec
	report := func(f func(context.Context) error) {
		r.Go(func() {
			if err := f(alive); errors.Is(err, ErrOver) {
				give(err)
			} else if err != nil && alive.Err() == nil {
				a.Log.Warn("reporting failed", "error", err)
			}
		})
	}
	report(a.steps.run)
	report(a.told.run)
	a.logs = map[platform.LogStream]*shipper{}
	for stream, log := range a.logFiles() {
		a.logs[stream] = newShipper(a.portal, stream, log.path, a.spec.LogOffsets)
		report(a.logs[stream].run)
		if a.Place != nil {
			report(func(context.Context) error {
				return a.Place.StreamLog(a.keeping.all, spec, stream, log.path, r.logsEnded)
			})
		}
	}
	return r
}
