package web

import (
	"net/http"
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
	valueUser  = "user" // int64
	valueCSRF  = "csrf" // string
	valueToken = "token"
)

// sessionStore keeps sessions on the server, behind gorilla's interface: the cookie holds a random token, the database
// its hash. Whoever reads the database cannot sign in with what is there, and signing out ends a session everywhere.
type sessionStore struct {
	db     *db.DB
	secure bool // the portal is reached by https
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
		MaxAge: int(db.SessionLimit / time.Second)}
	cookie, err := r.Cookie(name)
	if err != nil {
		return session, nil
	}
	saved, err := s.db.Session(r.Context(), platform.HashToken(cookie.Value), time.Now())
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return session, nil
	}
	if err != nil {
		return session, err
	}
	session.IsNew = false
	session.Values[valueToken], session.Values[valueUser], session.Values[valueCSRF] = cookie.Value, saved.UserID, saved.CSRF
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
	user, _ := session.Values[valueUser].(int64)
	err := s.db.AddSession(r.Context(), platform.HashToken(token), db.Session{UserID: user, CSRF: platform.NewToken(),
		Created: now, Seen: now, Expires: now.Add(db.SessionIdle)})
	if err != nil {
		return err
	}
	http.SetCookie(w, sessions.NewCookie(session.Name(), token, session.Options))
	return nil
}

// begin signs a user in.
func (s *sessionStore) begin(c echo.Context, userID int64) error {
	session, err := s.Get(c.Request(), s.name())
	if err != nil {
		return err
	}
	session.Values[valueUser] = userID
	return session.Save(c.Request(), c.Response())
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
