package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// maxBusy is how many rows of one loop are stepped at once. Most steps wait for one answer of a platform that they share.
	maxBusy = 64
	// maxLaunching is the same for launches: the fewer are in hand, the better users take turns.
	maxLaunching = 16
	// stepLimit bounds one step, so that a platform that never answers holds nothing up for ever.
	stepLimit = 2 * time.Minute
)

// rows is how a loop finds what it steps, and puts off what is not ready.
type rows[T any] struct {
	// due lists what is due, the longest waiting first, and tells when the next is after that (zero: none).
	due  func(ctx context.Context, now time.Time, limit int) ([]T, time.Time, error)
	read func(ctx context.Context, id string) (T, error)
	// isDue tells whether it is this loop's turn still.
	isDue func(T) bool
	facts func(T) facts
	// postpone sets when it is looked at again; attempts counts failures of the present step, and why is the last.
	postpone func(ctx context.Context, row T, next time.Time, attempts int, why error) error
}

// facts are what a loop has to know of a row.
type facts struct {
	id, what string // what tells which it is, in the log
	use      string // what credentials are used for in its steps, for the audit log
	run      string // empty: it is for none
	attempts int
}

// loop takes rows one step further, each whenever it is due.
type loop[T any] struct {
	*Jobs
	rows[T]
	name string
	// step returns when the row is to be looked at again if it is still in the state it was in; zero: it was moved.
	step func(context.Context, T) (next time.Time, err error)

	most int // rows that are stepped at once
	wake chan struct{}
	mu   sync.Mutex
	busy map[string]bool // rows that are being stepped
}

func newLoop[T any](j *Jobs, name string, r rows[T], step func(context.Context, T) (time.Time, error)) *loop[T] {
	return &loop[T]{Jobs: j, rows: r, name: name, step: step, most: maxBusy, wake: make(chan struct{}, 1), busy: map[string]bool{}}
}

// machines are the rows of machines in some states.
func (j *Jobs) machines(states ...platform.MachineState) rows[platform.Machine] {
	return rows[platform.Machine]{
		due: func(ctx context.Context, now time.Time, limit int) ([]platform.Machine, time.Time, error) {
			return j.DB.DueMachines(ctx, now, limit, states...)
		},
		read: j.DB.Machine,
		isDue: func(m platform.Machine) bool {
			return slices.Contains(states, m.State) && !m.NextStep.After(time.Now())
		},
		facts: func(m platform.Machine) facts {
			return facts{m.ID, fmt.Sprintf("machine %s for %q, %s", m.ID, m.WorkID(), m.State), "machine " + m.ID, m.RunID, m.Attempts}
		},
		postpone: func(ctx context.Context, m platform.Machine, next time.Time, attempts int, why error) error {
			return j.DB.PostponeMachine(ctx, m, next, attempts, forPeople(why))
		},
	}
}

// poke makes the loop look now. It never blocks.
func (l *loop[T]) poke() { poke(l.wake) }

func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (l *loop[T]) run(ctx context.Context) {
	var steps sync.WaitGroup
	defer steps.Wait()
	for ctx.Err() == nil {
		l.Pulse.look(l.name)
		pause := l.startDue(ctx, &steps)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-time.After(pause):
		}
	}
}

// startDue begins a step for every due row and tells when to look again.
func (l *loop[T]) startDue(ctx context.Context, steps *sync.WaitGroup) time.Duration {
	due, next, err := l.due(ctx, time.Now(), 4*l.most)
	if err != nil {
		if ctx.Err() == nil {
			l.Pulse.fail(l.name, err)
			l.Log.Error("reading what is due", "loop", l.name, "error", err)
		}
		return time.Second
	}
	for _, row := range due {
		if id := l.facts(row).id; l.take(id) {
			steps.Go(func() {
				defer l.poke()
				defer l.release(id)
				l.stepTaken(platform.WithPurpose(ctx, l.facts(row).use), id)
			})
		}
	}
	if next.IsZero() {
		return l.Times.Idle
	}
	return min(l.Times.Idle, max(time.Until(next), time.Millisecond))
}

func (l *loop[T]) take(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[id] || len(l.busy) >= l.most {
		return false
	}
	l.busy[id] = true
	return true
}

func (l *loop[T]) release(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, id)
}

// stepTaken steps a row that is due still: it was listed before it was taken, and another step may have moved it in
// between.
func (l *loop[T]) stepTaken(ctx context.Context, id string) {
	row, err := l.read(ctx, id)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.Log.Error("reading what is due", "loop", l.name, "id", id, "error", err)
		select { // it stays due: without a pause the loop would spin
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	case l.isDue(row):
		l.stepOne(ctx, row)
	}
}

// stepOne takes one step and notes when the next is due. A step that failed is repeated after a back-off.
func (l *loop[T]) stepOne(ctx context.Context, row T) {
	stepCtx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	next, err := l.step(stepCtx, row)
	f, attempts := l.facts(row), 0
	var queued *inQueue
	switch {
	case ctx.Err() != nil:
		return
	case errors.As(err, &queued):
		next = queued.until
	case platform.ErrorCode(err) == platform.CodeConflict:
		// It has moved on since it was read. The next look sees it as it is; should they never agree,
		// the pauses grow.
		attempts = f.attempts + 1
		next = time.Now().Add(backoff(attempts, l.Times.Backoff))
		l.Log.Debug("step overtaken", "loop", l.name, "what", f.what, "error", err)
	case err != nil:
		attempts = f.attempts + 1
		next = time.Now().Add(backoff(attempts, l.Times.Backoff))
		l.Pulse.fail(l.name, err)
		l.Log.Warn("step failed", "loop", l.name, "what", f.what, "run", f.run, "attempt", attempts, "error", err)
	case next.IsZero():
		return
	}
	if err := l.postpone(ctx, row, next, attempts, err); err != nil && ctx.Err() == nil {
		l.Log.Error("postponing", "loop", l.name, "what", f.what, "error", err)
	}
}
