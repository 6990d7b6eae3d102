package handlers

import (
	"context"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// patience is how long a request waits for a cloud before it answers "not yet": a form answers at once, whatever the
	// cloud does.
	patience = 150 * time.Millisecond
	// askLimit is how long a question to a cloud may take altogether.
	askLimit = 45 * time.Second
	// keepAnswer is how long an answer waits to be fetched.
	keepAnswer = 5 * time.Minute
)

// Pending holds questions to clouds that go on after the request that asked them, until their browser fetches the answer.
// They are kept in memory: after a restart people ask again.
type Pending struct {
	mu   sync.Mutex
	asks map[string]*ask
}

type ask struct {
	userID int64
	done   chan struct{}
	answer any
	asked  time.Time
}

// NewPending returns an empty Pending.
func NewPending() *Pending { return &Pending{asks: map[string]*ask{}} }

// start asks in the background, on behalf of a user, and returns the token under which the answer will be.
func (p *Pending) start(ctx context.Context, userID int64, f func(context.Context) any) (token string) {
	a := &ask{userID: userID, done: make(chan struct{}), asked: time.Now()}
	token = platform.NewToken()
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, old := range p.asks {
		if time.Since(old.asked) > askLimit+keepAnswer {
			delete(p.asks, t)
		}
	}
	p.asks[token] = a
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
		defer cancel()
		a.answer = f(ctx)
		close(a.done)
	}()
	return token
}

// wait waits up to limit for an answer, which is then forgotten. known is false for a token that no question of this user
// has.
func (p *Pending) wait(ctx context.Context, userID int64, token string, limit time.Duration) (answer any, done, known bool) {
	p.mu.Lock()
	a := p.asks[token]
	p.mu.Unlock()
	if a == nil || a.userID != userID {
		return nil, false, false
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a.done:
		p.mu.Lock()
		delete(p.asks, token)
		p.mu.Unlock()
		return a.answer, true, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, false, true
}
