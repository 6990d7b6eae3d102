package agent

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// stopGrace is how long a tool may take to end when it is asked to, and noticeGrace the same when the machine is
	// taken away.
	stopGrace   = 20 * time.Second
	noticeGrace = 5 * time.Second
)

// stopTool asks the tool to end, and makes it. When the machine is taken away its work is saved meanwhile: there may be no
// time for it after.
func (s *studio) stopTool(t *startedTool, cause error) {
	grace := cmp.Or(s.Grace, stopGrace)
	switch {
	case errors.Is(cause, errInterrupted):
		grace = min(grace, noticeGrace)
		s.background.Go(func() {
			if err := s.checkpoints.save(s.keeping.large, false); err != nil {
				s.Log.Warn("the work could not be saved while the tool was asked to end", "error", err)
			}
		})
	case errors.Is(cause, errCancelled), errors.Is(cause, errLifespan), errors.Is(cause, errDiskFull):
		s.endSaving(errStopping) // the last save has all that this one has
	default:
		grace = min(grace, giveUpGrace)
		s.endSaving(errStopping)
	}
	s.say("The tool is asked to end.")
	go s.runner.ask(t.cmd, grace)
	select {
	case <-t.ended:
		return
	case <-time.After(grace):
	}
	s.say("The tool did not end within %s and is killed.", durationText(grace))
	s.runner.kill(t.cmd)
	<-t.ended
}

// errStopping ends a save that the last one makes needless.
var errStopping = errors.New("the session is being stopped")

// lifespan is how long a session may go on, by the agent's own clock: for a portal that is not there to stop it.
type lifespan struct {
	mu    sync.Mutex
	ends  time.Time // zero: it has no end, or has not begun
	heard bool      // the portal has told an end
}

// begin starts the count.
func (l *lifespan) begin(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d > 0 && !l.heard {
		l.ends = time.Now().Add(d)
	}
}

// hear takes what the portal says is left. Nothing, after there was something, means that the end was taken away.
func (l *lifespan) hear(left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case left != 0:
		l.ends, l.heard = time.Now().Add(left), true
	case l.heard:
		l.ends = time.Time{}
	}
}

// over tells whether the end was a margin ago.
func (l *lifespan) over(margin time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ends.IsZero() && time.Since(l.ends) >= margin
}

// watchLifespan stops a session whose lifespan has ended, when nobody else does.
func (s *studio) watchLifespan(working context.Context) {
	for {
		select {
		case <-working.Done():
			return
		case <-time.After(min(time.Second, s.StopMargin)):
			if s.lifespan.over(s.StopMargin) {
				s.say("The Studio's lifespan has ended, and the portal is silent. It stops.")
				s.stop(errLifespan)
			}
		}
	}
}
