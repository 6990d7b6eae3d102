package web

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
)

// contentSecurityPolicy allows what the portal itself serves and nothing else: no inline script or style.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// requestIDs gives each request an id of the portal's own, which leads to it in the log and in the audit log: one that a request brings
// along could be another's.
func requestIDs(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXRequestID, platform.NewID())
		return next(c)
	}
}

func securityHeaders(https bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			setSecurityHeaders(c.Response().Header(), c.Request().URL.Path, https)
			return next(c)
		}
	}
}

// setSecurityHeaders is for every answer of the portal's own, to a request for a path.
func setSecurityHeaders(h http.Header, path string, https bool) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	if strings.Contains(path, "/reports/") {
		h.Set("X-Frame-Options", "SAMEORIGIN") // a report is shown in a frame of its page
	}
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	if https {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	if !strings.HasPrefix(path, "/static/") {
		h.Set("Cache-Control", "no-store") // a shared computer's back button must not show a signed-out user's pages
		h.Add("Vary", "HX-Request")
	}
}

// readForm takes the values of a form from what was sent as the form, and never from the address, so that no link can put in what
// a form has left out.
func readForm(c echo.Context) error {
	r := c.Request()
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get(echo.HeaderContentType), echo.MIMEApplicationForm) {
		return nil
	}
	if err := r.ParseForm(); err != nil {
		var told *echo.HTTPError
		if errors.As(err, &told) {
			return err // it is too large
		}
		return echo.NewHTTPError(http.StatusBadRequest, "What was sent is not a form.")
	}
	r.Form = r.PostForm
	return nil
}

// logRequests writes one line a request. Queries are left out: they may hold a sign-in link's token.
func (s *Server) logRequests(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		about := &request{id: c.Response().Header().Get(echo.HeaderXRequestID), run: c.Param("run")}
		c.SetRequest(c.Request().WithContext(withRequest(c.Request().Context(), about)))
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		level := slog.LevelDebug
		if c.Response().Status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		s.Log.Log(c.Request().Context(), level, "request", "method", c.Request().Method, "path", c.Request().URL.Path,
			"status", c.Response().Status, "took", time.Since(began))
		s.logRefusal(c)
		s.Monitor.observe(c, time.Since(began))
		return nil
	}
}

// recoverPanics turns a panic into an error with its stack in the log.
func (s *Server) recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				if r == http.ErrAbortHandler {
					panic(r)
				}
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}
