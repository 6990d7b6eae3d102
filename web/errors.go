package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
)

// statusOf maps the codes of errors to HTTP.
var statusOf = map[platform.Code]int{
	platform.CodeInvalid:      http.StatusUnprocessableEntity,
	platform.CodeUnauthorized: http.StatusUnauthorized,
	platform.CodeForbidden:    http.StatusForbidden,
	platform.CodeNotFound:     http.StatusNotFound,
	platform.CodeConflict:     http.StatusConflict,
	platform.CodeGone:         http.StatusGone,
	platform.CodeNotReady:     http.StatusServiceUnavailable,
}

// answerError answers a request whose handler returned an error: in JSON for machines, with a page for people. An error
// without a code is not shown; its request id leads to it in the log.
func (s *Server) answerError(err error, c echo.Context) {
	if c.Response().Committed || errors.Is(c.Request().Context().Err(), context.Canceled) {
		return
	}
	status, message := s.describe(err, c)
	path := c.Request().URL.Path
	switch {
	case strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/agent/") || wantsJSON(c):
		err = c.JSON(status, map[string]string{"message": message})
	case status == http.StatusUnauthorized:
		err = s.toSignIn(c)
	case c.Request().Header.Get("HX-Request") != "":
		err = c.String(status, message) // the page that asked shows it (static/forms.js)
	default:
		err = s.Pages.ErrorPage(c, status, message)
	}
	if err != nil {
		s.Log.ErrorContext(c.Request().Context(), "answering with an error", "error", err)
	}
}

// describe turns an error into a status and a sentence.
func (s *Server) describe(err error, c echo.Context) (status int, message string) {
	if code := platform.ErrorCode(err); code != "" {
		return statusOf[code], err.Error()
	}
	var e *echo.HTTPError
	if errors.As(err, &e) {
		switch e.Code {
		case http.StatusNotFound:
			return e.Code, "There is no page at this address."
		case http.StatusRequestEntityTooLarge:
			return e.Code, "What was sent is too large for this address."
		}
		if text, ok := e.Message.(string); ok && e.Internal == nil {
			return e.Code, text
		}
		return e.Code, http.StatusText(e.Code)
	}
	id := c.Response().Header().Get(echo.HeaderXRequestID)
	s.Log.ErrorContext(c.Request().Context(), "request failed", "error", err, "reference", id, "path", c.Request().URL.Path)
	return http.StatusInternalServerError, "Something went wrong in the portal itself. Whoever operates it finds the cause in its log under the reference " + id + "."
}

func wantsJSON(c echo.Context) bool {
	accept := c.Request().Header.Get(echo.HeaderAccept)
	return strings.Contains(accept, "application/json") || strings.Contains(accept, "text/event-stream")
}

// toSignIn sends a browser to sign in, and back to the page it wanted.
func (s *Server) toSignIn(c echo.Context) error {
	to := "/sign-in"
	if c.Request().Method == http.MethodGet && c.Request().Header.Get("HX-Request") == "" {
		to += "?next=" + url.QueryEscape(c.Request().URL.RequestURI())
	}
	if c.Request().Header.Get("HX-Request") != "" {
		c.Response().Header().Set("HX-Redirect", to)
		return c.NoContent(http.StatusUnauthorized)
	}
	return c.Redirect(http.StatusSeeOther, to)
}
