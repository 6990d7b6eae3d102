package handlers

import (
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/oidc"
	"wherry/platform"
)

const (
	// signInTime is how long somebody may take from the first step of signing in to the last.
	signInTime = 10 * time.Minute
	// maxStarted bounds how many are kept.
	maxStarted = 10_000
)

// startedSignIn is a sign-in between two steps: the browser that began it has a cookie, and only there it goes on.
type startedSignIn struct {
	began  time.Time
	userID int64 // who has proved the first factor; 0: nobody yet
	how    platform.SignInMethod
	next   string     // where to go then
	flow   *oidc.Flow // of who is at the provider now; nil: nobody
	linkTo int64      // whose identity at the provider is to be linked; 0: it is to sign in
}

// startedSignIns are kept in memory: whoever is between two steps when the portal restarts begins anew.
type startedSignIns struct {
	mu   sync.Mutex
	list map[string]startedSignIn // by the hash of the cookie
}

func (s *startedSignIns) put(token string, started startedSignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[string]startedSignIn{}
	}
	s.makeRoom()
	s.list[platform.HashToken(token)] = started
}

// makeRoom forgets what took too long and, where there are too many all the same, the oldest: of those that anybody can begin first, so
// that they push nobody out who has proved something.
func (s *startedSignIns) makeRoom() {
	oldest, found := "", startedSignIn{}
	for hash, other := range s.list {
		switch {
		case time.Since(other.began) > signInTime:
			delete(s.list, hash)
		case oldest == "", other.byAnybody() && !found.byAnybody(), other.byAnybody() == found.byAnybody() && other.began.Before(found.began):
			oldest, found = hash, other
		}
	}
	if len(s.list) >= maxStarted {
		delete(s.list, oldest)
	}
}

// byAnybody tells whether nothing was proved yet.
func (s startedSignIn) byAnybody() bool { return s.userID == 0 && s.linkTo == 0 }

func (s *startedSignIns) get(token string) (started startedSignIn, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	started, ok = s.list[platform.HashToken(token)]
	return started, ok && time.Since(started.began) < signInTime
}

func (s *startedSignIns) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.list, platform.HashToken(token))
}

// startedCookie holds the token of a sign-in between two steps.
func (h *Handlers) startedCookie() http.Cookie {
	cookie := http.Cookie{Name: "wherry_sign_in", Path: "/", HttpOnly: true, Secure: h.HTTPS, SameSite: http.SameSiteLaxMode, MaxAge: int(signInTime / time.Second)}
	if h.HTTPS {
		cookie.Name = "__Host-" + cookie.Name
	}
	return cookie
}

// start keeps a sign-in for its next step in this browser.
func (h *Handlers) start(c echo.Context, started startedSignIn) {
	started.began = time.Now()
	cookie := h.startedCookie()
	cookie.Value = platform.NewToken()
	h.started.put(cookie.Value, started)
	c.SetCookie(&cookie)
}

// startedHere is the sign-in that this browser is in the midst of.
func (h *Handlers) startedHere(c echo.Context) (started startedSignIn, ok bool) {
	cookie, err := c.Cookie(h.startedCookie().Name)
	if err != nil {
		return started, false
	}
	return h.started.get(cookie.Value)
}

// endStarted forgets the sign-in that this browser is in the midst of.
func (h *Handlers) endStarted(c echo.Context) {
	cookie := h.startedCookie()
	if sent, err := c.Cookie(cookie.Name); err == nil {
		h.started.end(sent.Value)
	}
	cookie.MaxAge = -1
	c.SetCookie(&cookie)
}
