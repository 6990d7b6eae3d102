package web

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
)

// logRefusal notes who was refused what, for whoever looks for people who try doors. Pages that lead who is signed out to the sign-in are
// none of it, nor are those that are not there.
func (s *Server) logRefusal(c echo.Context) {
	refuse := func() {
		about := []any{"status", c.Response().Status, "method", c.Request().Method, "path", c.Request().URL.Path, "address", c.RealIP()}
		if user, ok := handlers.User(c); ok {
			about = append(about, "user", user.UserName)
		}
		s.Log.Log(c.Request().Context(), slog.LevelWarn, "request refused", about...)
	}
	switch c.Response().Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		refuse()
	case http.StatusTooManyRequests:
		s.flood.Do(refuse) // who sends too much must not fill the log
	}
}

// logForeign notes a request that a page of another site made a browser send.
func (s *Server) logForeign(r *http.Request) {
	s.flood.Do(func() {
		s.Log.WarnContext(r.Context(), "request of another site refused", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr,
			"origin", r.Header.Get("Origin"), "site", r.Header.Get("Sec-Fetch-Site"))
	})
}
