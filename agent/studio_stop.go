package agent

import (
	"context"
	"sync"
	"time"
)

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
