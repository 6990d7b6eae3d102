package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
)

// cookieName is the session cookie's. Behind TLS it gets the __Host- prefix, which binds it to this host and to HTTPS.
const cookieName = "wherry_session"

// Values of a gorilla session.
const (
	valueSession = "session" // platform.Session
	valueToken   = "token"   // string
)

// sessionStore keeps sessions on the server, behind gorilla's interface: the cookie holds a random token, the database
// its hash. Whoever reads the database cannot sign in with what is there, and signing out ends a session everywhere.
type sessionStore struct {
	db     *db.DB
	secure bool // the portal is reached by https
}

// maxUserAgent bounds what is kept of what a browser says of itself, in bytes.
const maxUserAgent = 300

// byItself tells whether a page asks by itself, as open pages do that follow the portal: nobody need be there, and the session is not
// prolonged. static/live.js says so of what it fetches.
func byItself(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/events") || r.Header.Get("Wherry-By-Itself") != ""
}

var _ sessions.Store = (*sessionStore)(nil)

func (s *sessionStore) name() string {
	if s.secure {
		return "__Host-" + cookieName
	}
	return cookieName
}

// Get returns the request's session, which is new when there is none.
func (s *sessionStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New reads the session that the cookie names; one that has ended is a new, empty session.
func (s *sessionStore) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	session.IsNew = true
	session.Options = &sessions.Options{Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
		MaxAge: int(s.db.Lifetimes().Limit / time.Second)}
	cookie, err := r.Cookie(name)
	if err != nil {
		return session, nil
	}
	read := s.db.Session
	if byItself(r) {
		read = s.db.LookAtSession
	}
	saved, err := read(r.Context(), platform.HashToken(cookie.Value), time.Now())
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return session, nil
	}
	if err != nil {
		return session, err
	}
	session.IsNew = false
	session.Values[valueToken], session.Values[valueSession] = cookie.Value, saved
	return session, nil
}

// Save writes the session and its cookie; with MaxAge below 0 it ends both. A session that is signed in gets a new token,
// so that one planted before sign-in is worth nothing.
func (s *sessionStore) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if old, ok := session.Values[valueToken].(string); ok {
		if err := s.db.EndSession(r.Context(), platform.HashToken(old)); err != nil {
			return err
		}
	}
	if session.Options.MaxAge < 0 {
		http.SetCookie(w, sessions.NewCookie(session.Name(), "", session.Options))
		return nil
	}
	token, now := platform.NewToken(), time.Now()
	begun, _ := session.Values[valueSession].(platform.Session)
	begun.ID, begun.CSRF, begun.Created, begun.Seen, begun.Confirmed = platform.NewID(), platform.NewToken(), now, now, now
	times := s.db.Lifetimes()
	begun.Expires = now.Add(min(times.Idle, times.Limit))
	if err := s.db.AddSession(r.Context(), platform.HashToken(token), begun); err != nil {
		return err
	}
	http.SetCookie(w, sessions.NewCookie(session.Name(), token, session.Options))
	return nil
}

// begin signs a user in.
func (s *sessionStore) begin(c echo.Context, userID int64, how platform.SignInMethod) error {
	session, err := s.Get(c.Request(), s.name())
	if err != nil {
		return err
	}
	user, err := s.db.UserByID(c.Request().Context(), userID)
	if err != nil {
		return err
	}
	actAs(c, platform.Actor{Kind: platform.ActorUser, UserID: user.ID, UserName: user.UserName})
	session.Values[valueSession] = platform.Session{UserID: userID, Method: how, Address: c.RealIP(), UserAgent: platform.Shorten(c.Request().UserAgent(), maxUserAgent)}
	return session.Save(c.Request(), c.Response())
}

// renew gives the browser's session another token, because it was just proved who is there, or what it may do has changed.
func (s *sessionStore) renew(c echo.Context) error {
	session, err := s.Get(c.Request(), s.name())
	if err != nil {
		return err
	}
	old, ok := session.Values[valueToken].(string)
	if !ok {
		return platform.Errorf(platform.CodeUnauthorized, "You are signed out. Sign in again.")
	}
	token := platform.NewToken()
	if err := s.db.RenewSession(c.Request().Context(), platform.HashToken(old), platform.HashToken(token), time.Now()); err != nil {
		return err
	}
	session.Values[valueToken] = token
	http.SetCookie(c.Response(), sessions.NewCookie(session.Name(), token, session.Options))
	return nil
}

// end signs the browser out.
func (s *sessionStore) end(c echo.Context) error {
	session, err := s.Get(c.Request(), s.name())
	if err != nil {
		return err
	}
	session.Options.MaxAge = -1
	return session.Save(c.Request(), c.Response())
}
