package handlers

import (
	"strings"
	"sync"
	"time"
)

// Limits on guessing passwords.
const (
	maxSignInFailures = 10
	// Behind a proxy many people share an address, so one address may fail more often than one login.
	maxAddressFailures = 100
	signInWindow       = 15 * time.Minute
	maxSignInEntries   = 10_000
)

// SignInLimit slows guessing down: too many failures for one login, or from one address, close it for a while. It also
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

// attempt is what an attempt to sign in is counted for, and how many may fail.
type attempt struct {
	key string
	max int
}

func attempts(login, address string) []attempt {
	return []attempt{{"login " + strings.ToLower(login), maxSignInFailures}, {"address " + address, maxAddressFailures}}
}

// Closed tells how long the login or the address is still closed; 0 means that it is open.
func (l *SignInLimit) Closed(now time.Time, login, address string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range attempts(login, address) {
		if recent := l.recent(now, a); len(recent) >= a.max {
			wait = max(wait, signInWindow-now.Sub(recent[0]))
		}
	}
	return wait
}

// Failed notes a failure of the login and of the address.
func (l *SignInLimit) Failed(now time.Time, login, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) > maxSignInEntries {
		clear(l.failures) // someone sprays logins: forgetting helps them less than growing without bound would
	}
	for _, a := range attempts(login, address) {
		l.failures[a.key] = append(l.recent(now, a), now)
	}
}

// recent drops failures older than the window and keeps at most as many of the newest as count.
func (l *SignInLimit) recent(now time.Time, a attempt) []time.Time {
	list := l.failures[a.key]
	for len(list) > 0 && (now.Sub(list[0]) > signInWindow || len(list) > a.max) {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(l.failures, a.key)
	}
	return list
}

// Hash runs f, which hashes a password, when there is room for it.
func (l *SignInLimit) Hash(f func() error) error {
	l.hashing <- struct{}{}
	defer func() { <-l.hashing }()
	return f()
}
