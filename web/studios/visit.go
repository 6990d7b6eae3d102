package studios

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"wherry/platform"
	"wherry/tunnel"
)

// visit joins a request of a member with the Studio's tool.
func (s *Studios) visit(w http.ResponseWriter, r *http.Request, studioID string) {
	g, held := s.grantOf(r, studioID)
	if studioID == "" || !held {
		s.askForGrant(w, r, studioID)
		return
	}
	studio, member, err := s.check(r.Context(), g, true)
	switch {
	case errors.Is(err, errSignedOut):
		s.askForGrant(w, r, studioID)
		return
	case errors.Is(err, errMayNot), errors.Is(err, errNoStudio):
		s.refuse(w, r, mayNot)
		return
	case errors.Is(err, errNotRunning):
		s.notRunning(w, r, studio)
		return
	case err != nil:
		s.Log.Error("looking whether somebody may open a Studio", "studio", studioID, "error", err)
		s.refuse(w, r, portalFailed)
		return
	}
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	v, why := s.visits.begin(w, g, member.User.UserName, s.now(), end)
	if why != "" {
		s.refuse(w, r, problem{http.StatusTooManyRequests, "Too many connections", why})
		return
	}
	defer func() { s.visits.finish(v, s.now()) }()
	defer v.done()
	s.watch()
	s.active(ctx, *studio.Session)
	if s.now().Sub(g.Issued) > renewAfter {
		s.giveGrant(w, g)
	}
	s.forward(&takenOver{w, v}, r.WithContext(v.trace(ctx)), studio)
}

// forward sends a request through the tunnel of the Studio's agent, which may be on its way back.
func (s *Studios) forward(w http.ResponseWriter, r *http.Request, studio platform.Studio) {
	way := s.tunnels.wait(r.Context(), studio.Session.ID, tunnelWait)
	switch {
	case r.Context().Err() != nil:
		return
	case way == nil:
		s.refuse(w, r, notConnected)
		return
	case r.ContentLength > s.MaxUpload:
		s.refuse(w, r, s.tooLarge())
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // an upload may take as long as it moves
	r.Body = http.MaxBytesReader(w, r.Body, s.MaxUpload)
	way.proxy.ServeHTTP(w, r.WithContext(s.withTarget(r.Context(), studio)))
}

// trace follows when bytes move on the connections that a request uses.
func (v *visit) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if c, ok := i.Conn.(*toolConn); ok {
			c.user.Store(v)
		}
	}})
}

// takenOver is the writer of a request that may become a connection of its own, as a WebSocket does. It notes that connection, so
// that it can be cut off.
type takenOver struct {
	http.ResponseWriter
	visit *visit
}

func (t *takenOver) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// WriteHeader leaves out what a tool says before its answer (1xx): its headers come here as the tool wrote them, with cookies for
// the portal or other Studios.
func (t *takenOver) WriteHeader(status int) {
	if status >= 200 {
		t.ResponseWriter.WriteHeader(status)
	}
}

func (t *takenOver) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	t.visit.taken(conn)
	return browserConn{conn}, buffers, nil
}

// browserConn is a browser's connection that is copied with little memory while it is quiet.
type browserConn struct{ net.Conn }

func (c browserConn) WriteTo(w io.Writer) (int64, error) { return tunnel.Copy(w, c.Conn) }

func (c browserConn) ReadFrom(r io.Reader) (int64, error) { return tunnel.Copy(c.Conn, r) }

// CloseWrite tells the browser that the tool sends nothing more.
func (c browserConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
