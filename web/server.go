// Package web is the server: every route with the permission it needs, in one list; middleware; sessions; and the stream
// of server-sent events that keeps pages live.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"golang.org/x/time/rate"

	"wherry/db"
	"wherry/handlers"
	"wherry/handlers/api"
	"wherry/platform"
	"wherry/web/studios"
)

const (
	// These bound what a request may send, in echo's notation.
	maxForm       = "2M"
	maxAgentWords = "256K" // claims, steps and heartbeats
	maxAgentTexts = "1M"   // chunks of logs, lists of reports, and the end with what Nextflow printed about its error
	maxTrace      = "16M"  // a trace call carries many tasks
	// maxHeader is how many bytes of headers a request may have.
	maxHeader = 64 << 10
	// shutdownLimit is how long requests may take to finish when the portal stops.
	shutdownLimit = 10 * time.Second
)

// Server answers everything that comes over HTTP.
type Server struct {
	DB    *db.DB
	Hub   *Hub
	Pages *handlers.Handlers
	API   *api.API
	HTTPS bool   // the portal's address begins with https
	URL   string // the portal's address, to which plain HTTP is sent on
	Log   *slog.Logger
	// TrustedProxies are those whose word about where a request comes from counts.
	TrustedProxies []netip.Prefix
	// Studios answers on the Studios' own origins; nil: there are none.
	Studios *studios.Studios

	Monitor Monitor

	// reached answers for the handlers of all routes where it is set: tests see by it who gets as far as a handler.
	reached             func(Route) echo.HandlerFunc
	sessions            *sessionStore
	limits              *limits
	bodyTime, pieceTime time.Duration
	flood               rate.Sometimes // lines of the log about requests that no limit holds back
}

// Handler returns the server's routes behind its middleware, and beside them the Studios' own origins. It completes s.Pages with
// how to sign in and out, and how to open Studios.
func (s *Server) Handler() http.Handler {
	s.sessions = &sessionStore{db: s.DB, secure: s.HTTPS}
	if s.Studios == nil {
		s.Studios = studios.New(studios.Config{DB: s.DB, Log: s.Log})
	}
	s.Pages.BeginSession, s.Pages.RenewSession, s.Pages.EndSession = s.sessions.begin, s.sessions.renew, s.sessions.end
	s.Pages.HTTPS = s.HTTPS
	s.Pages.OpenStudio, s.Pages.StudioConnections = s.openStudio, s.Studios.Connections
	s.Monitor.begin(s.Hub)
	s.limits, s.bodyTime, s.pieceTime, s.flood = newLimits(&s.Monitor), bodyTime, pieceTime, rate.Sometimes{First: 1, Interval: time.Second}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.answerError
	e.IPExtractor = clientAddress(s.TrustedProxies)
	e.Use(requestIDs, s.logRequests, s.recoverPanics, securityHeaders(s.HTTPS), s.inTime, s.countStrangers)
	for _, r := range s.routes() {
		if s.reached != nil {
			r.Handler = s.reached(r)
		}
		e.Add(r.Method, r.Path, s.allow(r.Permission, r.Handler), middleware.BodyLimit(r.bodyLimit()))
		if r.Method == http.MethodGet && !r.stream() {
			e.HEAD(r.Path, s.allow(r.Permission, r.Handler)) // monitors ask so; net/http leaves the body away
		}
	}
	e.RouteNotFound("/*", func(c echo.Context) error {
		if err := s.findUser(c); err != nil {
			return err
		}
		return s.countKnown(platform.Public, func(echo.Context) error { return echo.ErrNotFound })(c)
	})
	return s.bounded(s.Studios.Beside(s.crossOriginProtection(e)))
}

// crossOriginProtection refuses requests that another site's page makes a browser send (Sec-Fetch-Site, Origin), also
// where there is no session yet whose CSRF token could be asked for. A person may follow a link here.
func (s *Server) crossOriginProtection(next http.Handler) http.Handler {
	deny := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.logForeign(r)
		setSecurityHeaders(w.Header(), r.URL.Path, s.HTTPS)
		http.Error(w, "This request came from another site and was refused.", http.StatusForbidden)
	})
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(deny)
	return p.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loadedElsewhere(r) {
			deny(w, r)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// loadedElsewhere tells whether a page of another origin loads this as a part of itself. The page could not read it. But the pages
// of Studios are of the same site, so that it would come with the member's cookies: it could keep the portal busy in their name,
// and learn from what loads and what does not. A browser's reader asks for parts of a report in its own name.
func loadedElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	linked := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !linked && !strings.Contains(r.URL.Path, "/reports/")
}

// Serve answers requests on the listener until ctx is done, and then lets those under way finish. Tunnels and what people do in
// Studios have no end of their own, and are cut off.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.Handler())
}

// ServeStudios answers requests on the listener of the one origin that Studios share where they have no names of their own. It
// comes after Handler or Serve.
func (s *Server) ServeStudios(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.bounded(s.Studios.Shared()))
}

func (s *Server) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	server.RegisterOnShutdown(s.Hub.Close)
	server.RegisterOnShutdown(s.API.Close)
	server.RegisterOnShutdown(s.Studios.Close)
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
		defer cancel()
		done <- server.Shutdown(limit)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	err := <-done
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
