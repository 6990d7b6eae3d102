package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	// bodyTime is how long the body of a request may take to come. The largest, of 16 MiB, needs 280 KiB a second.
	bodyTime = time.Minute
	// pieceTime is how long a client may take to read a piece of an answer, so that large files may take their time and nobody
	// keeps an answer waiting for ever.
	pieceTime = 30 * time.Second
	pieceSize = 64 << 10
)

// timedBody is a body that has to come in time. Once it is there the connection has no deadline any more: net/http goes on reading
// it, to see whether the client is still there while it waits for its answer.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	giveUp  context.CancelFunc // ends the request, so that nothing is done with half a form
	late    bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		_ = b.control.SetReadDeadline(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.late = true
		b.giveUp()
	}
	return n, err
}

// bounded gives every request with a body a deadline for it, also where nobody reads it: net/http reads what is left before it answers
// the next one. Studios take theirs away where they hand a body on.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			control := http.NewResponseController(w)
			_ = control.SetReadDeadline(time.Now().Add(s.bodyTime))
			ctx, giveUp := context.WithCancel(r.Context())
			defer giveUp()
			r = r.WithContext(ctx)
			r.Body = &timedBody{ReadCloser: r.Body, control: control, giveUp: giveUp}
		}
		next.ServeHTTP(w, r)
	})
}

// inTime answers who sends too slowly with that, and ends answers that nobody reads. Streams see to that themselves.
func (s *Server) inTime(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if (Route{Path: c.Path()}).stream() {
			return next(c)
		}
		w := &timedWriter{ResponseWriter: c.Response().Writer, control: http.NewResponseController(c.Response().Writer), limit: s.pieceTime}
		c.Response().Writer = w
		defer w.extend() // for what net/http has not sent yet
		body, _ := c.Request().Body.(*timedBody)
		err := next(c)
		if body != nil && body.late && !c.Response().Committed {
			c.SetRequest(c.Request().WithContext(context.WithoutCancel(c.Request().Context()))) // to answer, after all
			return echo.NewHTTPError(http.StatusRequestTimeout, "What was sent did not come in time. Nothing was done; try again.")
		}
		return err
	}
}

// timedWriter gives each piece of an answer its time.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
}

func (w *timedWriter) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.limit)) }

func (w *timedWriter) Write(p []byte) (n int, err error) {
	for first := true; err == nil && (first || n < len(p)); first = false {
		w.extend()
		var written int
		written, err = w.ResponseWriter.Write(p[n:min(n+pieceSize, len(p))])
		n += written
	}
	_ = w.control.SetWriteDeadline(time.Time{}) // over HTTP/2 it ends an answer, also while its handler fetches more of it
	return n, err
}

// Unwrap lets http.ResponseController find what the connection can do.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
