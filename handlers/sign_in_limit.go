package handlers

import (
	"strings"
	"sync"
	"time"
)

// Limits on guessing passwords.
const (
	maxSignInFailures = 10
	signInWindow      = 15 * time.Minute
	maxSignInEntries  = 10_000
)

// SignInLimit slows guessing down: so many failures for one login, or from one address, close it for a while. It also
// bounds how many passwords are hashed at once, because each takes much memory (argon2id).
type SignInLimit struct {
	mu       sync.Mutex
	failures map[string][]time.Time
	hashing  chan struct{}
}

// NewSignInLimit returns a limit that has seen nothing yet.
func NewSignInLimit() *SignInLimit {
	return &SignInLimit{failures: map[string][]time.Time{}, hashing: make(chan struct{}, 2)}
}

// Closed tells how long the login or the address is still closed; 0 means that it is open.
func (l *SignInLimit) Closed(now time.Time, keys ...string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		recent := l.recent(now, strings.ToLower(key))
		if len(recent) >= maxSignInFailures {
			wait = max(wait, signInWindow-now.Sub(recent[0]))
		}
	}
	return wait
}

// Failed notes a failure for each key.
func (l *SignInLimit) Failed(now time.Time, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) > maxSignInEntries {
		clear(l.failures) // someone sprays logins: forgetting helps them less than growing without bound would
	}
	for _, key := range keys {
		key = strings.ToLower(key)
		l.failures[key] = append(l.recent(now, key), now)
	}
}

// recent drops failures older than the window and keeps at most the newest maxSignInFailures.
func (l *SignInLimit) recent(now time.Time, key string) []time.Time {
	list := l.failures[key]
	for len(list) > 0 && (now.Sub(list[0]) > signInWindow || len(list) > maxSignInFailures) {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(l.failures, key)
	}
	return list
}

// Hash runs f, which hashes a password, when there is room for it.
func (l *SignInLimit) Hash(f func() error) error {
	l.hashing <- struct{}{}
	defer func() { <-l.hashing }()
	return f()
}
