package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// maxIdle is how long a loop sleeps at most, should a wake ever be missed.
	maxIdle = 5 * time.Second
	// maxBusy is how many machines of one loop are stepped at once.
	maxBusy = 16
	// stepLimit bounds one step, so that a platform that never answers holds nothing up for ever.
	stepLimit = 2 * time.Minute
)

// loop takes machines in some states one step further, each whenever it is due.
type loop struct {
	*Jobs
	name   string
	states []platform.MachineState
	// step returns when the machine is to be looked at again if it is still in the state it was in; zero: it was moved.
	step func(context.Context, platform.Machine) (next time.Time, err error)

	wake chan struct{}
	mu   sync.Mutex
	busy map[string]bool // machines that are being stepped
}

// poke makes the loop look now. It never blocks.
func (l *loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) run(ctx context.Context) {
	var steps sync.WaitGroup
	defer steps.Wait()
	for ctx.Err() == nil {
		pause := l.startDue(ctx, &steps)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-time.After(pause):
		}
	}
}

// startDue begins a step for every due machine and tells when to look again.
func (l *loop) startDue(ctx context.Context, steps *sync.WaitGroup) time.Duration {
	due, next, err := l.DB.DueMachines(ctx, time.Now(), 4*maxBusy, l.states...)
	if err != nil {
		if ctx.Err() == nil {
			l.Log.Error("reading due machines", "loop", l.name, "error", err)
		}
		return time.Second
	}
	for _, m := range due {
		if l.take(m.ID) {
			steps.Go(func() {
				defer l.poke()
				defer l.release(m.ID)
				l.stepTaken(ctx, m.ID)
			})
		}
	}
	if next.IsZero() {
		return maxIdle
	}
	return min(maxIdle, max(time.Until(next), time.Millisecond))
}

func (l *loop) take(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[id] || len(l.busy) >= maxBusy {
		return false
	}
	l.busy[id] = true
	return true
}

func (l *loop) release(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, id)
}

// stepTaken steps a machine that is due still: it was listed before it was taken, and another step may have moved it in
// between.
func (l *loop) stepTaken(ctx context.Context, id string) {
	m, err := l.DB.Machine(ctx, id)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.Log.Error("reading a due machine", "machine", id, "error", err)
		select { // it stays due: without a pause the loop would spin
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	case slices.Contains(l.states, m.State) && !m.NextStep.After(time.Now()):
		l.stepOne(ctx, m)
	}
}

// stepOne takes one step and notes when the next is due. A step that failed is repeated after a back-off.
func (l *loop) stepOne(ctx context.Context, m platform.Machine) {
	stepCtx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	next, err := l.step(stepCtx, m)
	attempts := 0
	switch {
	case ctx.Err() != nil:
		return
	case platform.ErrorCode(err) == platform.CodeConflict:
		// The machine or its run has moved on since it was read. The next look sees it as it is; should they never agree,
		// the pauses grow.
		attempts = m.Attempts + 1
		next = time.Now().Add(backoff(attempts, l.Times.Backoff))
		l.Log.Debug("step overtaken", "loop", l.name, "machine", m.ID, "run", m.RunID, "state", m.State, "error", err)
	case err != nil:
		attempts = m.Attempts + 1
		next = time.Now().Add(backoff(attempts, l.Times.Backoff))
		l.Log.Warn("step failed", "loop", l.name, "machine", m.ID, "run", m.RunID, "state", m.State, "attempt", attempts, "error", err)
	case next.IsZero():
		return
	}
	if err := l.DB.PostponeMachine(ctx, m, next, attempts); err != nil && ctx.Err() == nil {
		l.Log.Error("postponing a machine", "machine", m.ID, "error", err)
	}
}
