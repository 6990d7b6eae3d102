package studios

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wherry/platform"
	"wherry/tunnel"
)

const (
	// maxAnswerHeader is how many bytes of headers a tool's answer may have.
	maxAnswerHeader = 256 << 10
	// toolWait is how long a tool may take to accept a connection.
	toolWait = 10 * time.Second
	// copySize is how many bytes of an answer are read at once.
	copySize = 128 << 10
)

// target is how a request comes to a Studio's tool.
type target struct {
	host          string // as people see it
	scheme        string
	authorization string
}

type targetKey struct{}

func (s *Studios) withTarget(ctx context.Context, studio platform.Studio) context.Context {
	t := target{host: s.Origins.Host(studio.ID), scheme: "http"}
	if s.Origins.secure() {
		t.scheme = "https"
	}
	config := studio.Session.Config
	template, ok := platform.FindTemplate(s.Templates, config.Template)
	if !ok {
		template = platform.CustomTemplate(config)
	}
	t.authorization = strings.NewReplacer("${TOKEN}", s.Token(studio.Session.ID), "${STUDIO}", studio.ID, "${URL}", s.Origins.URL(studio.ID)).Replace(template.Authorization)
	return context.WithValue(ctx, targetKey{}, t)
}

// newProxy makes the proxy through a tunnel, and what closes the connections that it keeps.
func (s *Studios) newProxy(t *tunnel.Tunnel) (proxy http.Handler, closeIdle func()) {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: maxAnswerHeader,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, toolWait)
			defer cancel()
			conn, err := t.Open(ctx)
			if err != nil {
				return nil, err
			}
			return &toolConn{Conn: conn}, nil
		}}
	return &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, BufferPool: &copyBuffers, ErrorHandler: s.toolFailed,
		Rewrite: rewrite, ModifyResponse: cleanAnswer, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}, transport.CloseIdleConnections
}

func rewrite(p *httputil.ProxyRequest) {
	t := p.In.Context().Value(targetKey{}).(target)
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "studio", t.host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it came: whatever a tool makes of it
	p.SetXForwarded()
	p.Out.Header.Set("X-Forwarded-Host", t.host)
	p.Out.Header.Set("X-Forwarded-Proto", t.scheme)
	if t.authorization != "" {
		p.Out.Header.Set("Authorization", t.authorization)
	}
	keepToolCookies(p.Out.Header)
}

// toolFailed answers where a tool did not.
func (s *Studios) toolFailed(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	var ended errEnded
	switch {
	case errors.As(context.Cause(r.Context()), &ended):
		s.refuse(w, r, problem{http.StatusUnauthorized, "You are out of this Studio", ended.why})
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the browser has gone
	case errors.As(err, &tooLarge):
		s.refuse(w, r, s.tooLarge())
	case errors.Is(err, tunnel.ErrNotListening):
		s.refuse(w, r, problem{http.StatusBadGateway, "The Studio's tool does not answer", "The Studio's machine is there, but its tool takes no connections. It may be starting again; its log in the portal says more."})
	case errors.Is(err, tunnel.ErrClosed):
		s.refuse(w, r, notConnected)
	case errors.Is(err, tunnel.ErrBusy):
		s.refuse(w, r, problem{http.StatusServiceUnavailable, "The Studio is busy", "All connections to the Studio's machine are in use. Close some of its tabs, and try again."})
	case errors.Is(err, context.DeadlineExceeded):
		s.refuse(w, r, problem{http.StatusGatewayTimeout, "The Studio's tool does not answer", "The Studio's machine is there, but its tool did not take a connection in time. It may be too busy; its log in the portal says more."})
	default:
		s.Log.Debug("a Studio's tool failed", "error", err)
		s.refuse(w, r, problem{http.StatusBadGateway, "The Studio's tool does not answer", "The connection to the Studio's tool broke, or its answer made no sense. Load the page again; the Studio's log in the portal may say more."})
	}
}

// toolConn is a connection to a tool. It tells the request that uses it when bytes move.
type toolConn struct {
	net.Conn
	user atomic.Pointer[visit]
}

func (c *toolConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.moved()
	return n, err
}

func (c *toolConn) Write(p []byte) (n int, err error) {
	n, err = c.Conn.Write(p)
	c.moved()
	return n, err
}

// ReadFrom sends the body of a request in large pieces.
func (c *toolConn) ReadFrom(r io.Reader) (int64, error) {
	return tunnel.Copy(struct{ io.Writer }{c}, r)
}

// CloseWrite tells the tool that nothing more is sent, as when a browser closes a WebSocket.
func (c *toolConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (c *toolConn) moved() {
	if v := c.user.Load(); v != nil {
		v.moved.Store(time.Now().UnixMilli())
	}
}

// buffers are used again, so that answers cost no memory after their end.
type buffers struct{ pool sync.Pool }

var copyBuffers = buffers{sync.Pool{New: func() any { return make([]byte, copySize) }}}

func (b *buffers) Get() []byte { return b.pool.Get().([]byte) }

func (b *buffers) Put(p []byte) { b.pool.Put(p) }
