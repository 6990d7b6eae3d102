package handlers

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"wherry/platform"
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

// attempt is what an attempt to prove something is counted for, and how many may fail.
type attempt struct {
	key string
	max int
}

// attempts are what an attempt is counted for. Each kind of key begins with a word of its own, so that nobody closes another kind by
// what they type.
func attempts(key, address string) []attempt {
	return []attempt{{key, maxSignInFailures}, {"address " + AddressKey(address), maxAddressFailures}}
}

// loginKey is what passwords that are tried for a login are counted for, of one length however long what was typed is.
func loginKey(login string) string { return "login " + platform.HashToken(strings.ToLower(login)) }

// Begin counts an attempt as failed before it is looked at, so that many at once are not more than one after the other. wait is how long
// the key or the address is still closed; 0 means that the attempt may go on, and that Right follows if it comes out right.
func (l *SignInLimit) Begin(now time.Time, key, address string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait = l.closed(now, key, address); wait > 0 {
		return wait
	}
	l.makeRoom(now)
	for _, a := range attempts(key, address) {
		l.failures[a.key] = append(l.recent(now, a), now)
	}
	return 0
}

// Right takes back what Begin has counted at that time.
func (l *SignInLimit) Right(began time.Time, key, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range attempts(key, address) {
		list := l.failures[a.key]
		if i := slices.Index(list, began); i >= 0 {
			l.failures[a.key] = slices.Delete(list, i, i+1)
		}
		if len(l.failures[a.key]) == 0 {
			delete(l.failures, a.key)
		}
	}
}

// Closed tells how long the key or the address is still closed; 0 means that it is open.
func (l *SignInLimit) Closed(now time.Time, key, address string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed(now, key, address)
}

func (l *SignInLimit) closed(now time.Time, key, address string) (wait time.Duration) {
	for _, a := range attempts(key, address) {
		if recent := l.recent(now, a); len(recent) >= a.max {
			wait = max(wait, signInWindow-now.Sub(recent[0]))
		}
	}
	return wait
}

// makeRoom forgets when there are too many entries: first what is open yet, because whoever sprays logins must not open by that what
// they have closed, and all of it only where that is not enough.
func (l *SignInLimit) makeRoom(now time.Time) {
	if len(l.failures) <= maxSignInEntries {
		return
	}
	for key, list := range l.failures {
		if len(list) < maxSignInFailures || now.Sub(list[len(list)-1]) > signInWindow {
			delete(l.failures, key)
		}
	}
	if len(l.failures) > maxSignInEntries {
		clear(l.failures)
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

// AddressKey is whose an address is: of IPv6 one customer has a whole /64 at least.
func AddressKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64) // of 128 bits, it is one
		return p.String()
	}
	return a.String()
}
