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

	"wherry/platform"
)

// errCancelled means that the run was cancelled.
var errCancelled = errors.New("the run was cancelled")

// agent is one machine's work under way.
type agent struct {
	Config
	portal *portal
	spec   platform.Spec
	steps  *steps
	spool  *spool
	logs   map[platform.LogStream]*shipper
	stop   context.CancelCauseFunc // stops the work
}

// Run does the machine's work and returns when it is done and reported, or when nobody wants it any more.
func Run(ctx context.Context, cfg Config) error {
	a := &agent{Config: cfg, portal: newPortal(cfg)}
	alive, give := context.WithCancelCause(ctx) // ends when there is nobody left to report to
	defer give(nil)
	go a.watchLeader(alive, give)
	began := time.Now()
	var err error
	if a.spec, err = a.portal.claim(alive, cfg); err != nil {
		return fmt.Errorf("claiming the work: %w", err)
	}
	a.Log.Info("claimed", "run", a.spec.RunID)
	return a.work(alive, give, began)
}

// watchLeader gives up when whoever leads the machine has died, and when the portal was not heard for a lifetime: the
// dead-man's timer.
func (a *agent) watchLeader(ctx context.Context, give context.CancelCauseFunc) {
	tick := time.NewTicker(min(time.Second, a.Lifetime/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.ParentGone:
			give(errors.New("the supervisor of this machine is gone"))
		case <-tick.C:
			if time.Since(a.portal.lastHeard()) > a.Lifetime {
				give(fmt.Errorf("the portal was not heard for %s", a.Lifetime))
			}
		}
	}
}

// work runs Nextflow, with everything that reports beside it, and reports the end last.
func (a *agent) work(alive context.Context, give context.CancelCauseFunc, began time.Time) error {
	launchDir := filepath.Join(a.Dir, "launch")
	if err := os.MkdirAll(launchDir, 0o755); err != nil {
		return err
	}
	working, stop := context.WithCancelCause(alive)
	defer stop(nil)
	a.stop = stop
	a.steps, a.spool = newSteps(a.portal), newSpool(a.portal, a.spec.RunID, a.Log)
	a.logs = map[platform.LogStream]*shipper{
		platform.LogOutput:   newShipper(a.portal, platform.LogOutput, filepath.Join(a.Dir, "stdout.log"), a.spec.LogOffsets),
		platform.LogNextflow: newShipper(a.portal, platform.LogNextflow, filepath.Join(launchDir, ".nextflow.log"), a.spec.LogOffsets),
	}
	var reporters sync.WaitGroup
	report := func(f func(context.Context) error) {
		reporters.Go(func() {
			if err := f(alive); errors.Is(err, errOver) {
				give(err)
			} else if err != nil && alive.Err() == nil {
				a.Log.Warn("reporting failed", "error", err)
			}
		})
	}
	go a.sync(alive, give)
	report(a.steps.run)
	report(a.spool.run)
	for _, s := range a.logs {
		report(s.run)
	}
	a.steps.add(platform.StepAgentUp, began, "")
	end := a.runNextflow(working, launchDir)
	for _, s := range a.logs {
		s.finish()
	}
	a.spool.finish()
	a.steps.add(platform.StepReported, time.Now(), "")
	a.steps.finish()
	reporters.Wait()
	if alive.Err() != nil {
		return context.Cause(alive)
	}
	end.At = time.Now().UTC()
	if err := a.portal.call(alive, http.MethodPost, "/agent/end", end, nil); err != nil {
		return fmt.Errorf("reporting the end: %w", err)
	}
	return nil
}

// sync keeps the machine alive in the portal's eyes and hears of a cancel.
func (a *agent) sync(ctx context.Context, give context.CancelCauseFunc) {
	req := platform.SyncRequest{Wait: platform.MaxSyncWait}
	for ctx.Err() == nil {
		var answer platform.SyncResponse
		err := a.portal.call(ctx, http.MethodPost, "/agent/sync", req, &answer)
		switch {
		case errors.Is(err, errOver):
			give(err)
		case err != nil && ctx.Err() == nil:
			a.Log.Warn("syncing failed", "error", err)
			time.Sleep(maxPause)
		case answer.Cancel && !req.Cancel:
			req.Cancel = true
			a.Log.Info("cancel was asked for")
			a.stop(errCancelled)
		}
	}
}
