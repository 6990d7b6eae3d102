package web

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wherry/handlers"
)

// TestManyGuessesAtOnceAreNotMore than one after the other.
func TestManyGuessesAtOnceAreNotMore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	s.withSecondFactor(b, csrf)
	other, _ := s.signInBrowser()
	var looked atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			if status, _ := s.post(other, "/sign-in/second-factor", url.Values{"code": {fmt.Sprintf("%06d", i)}}); status == http.StatusUnprocessableEntity {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	var noted int
	must(t, s.raw().QueryRow(`SELECT count(*) FROM audit_log WHERE action = 'user.sign-in-failed'`).Scan(&noted))
	if noted != 10 || looked.Load() > 10 {
		t.Errorf("%d of 60 codes were compared, want 10; %d were told that they are wrong", noted, looked.Load())
	}
}

// TestATypedLoginClosesNothingElse, such as somebody's second factor.
func TestATypedLoginClosesNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	for _, word := range []string{"proof", "user"} {
		for range 11 {
			s.post(s.browser(), "/sign-in", url.Values{"login": {word + " " + s.user("ada")}, "password": {"wrong wrong"}})
		}
	}
	other, _ := s.signInBrowser()
	if status, page := s.post(other, "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now())}}); status != http.StatusSeeOther {
		t.Errorf("a right code: %d\n%s", status, page)
	}
}

func TestGuessesAreCountedForANetworkAndRememberedUnderAFlood(t *testing.T) {
	t.Parallel()
	now, l := time.Now(), handlers.NewSignInLimit()
	for i := range 100 {
		if wait := l.Begin(now, fmt.Sprint("login ", i), fmt.Sprintf("2001:db8::%x", i+1)); wait > 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
	}
	if l.Begin(now, "login x", "2001:db8::ffff:1") == 0 {
		t.Error("another address of the same /64 guesses on")
	}
	for range 10 {
		l.Begin(now, "proof 1", "192.0.2.1")
	}
	for i := range 10_001 {
		l.Begin(now, fmt.Sprint("login flood ", i), fmt.Sprintf("2001:db8:%x::1", i))
	}
	if l.Closed(now, "proof 1", "192.0.2.2") == 0 {
		t.Error("ten thousand other logins open what was closed")
	}
}
