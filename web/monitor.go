package web

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/metrics"
	"wherry/platform"
)

// Monitor answers monitors. The zero Monitor has nothing to check, and shows no metrics.
type Monitor struct {
	// Checks are what must hold for the portal to be ready, by name, in order.
	Checks []Check
	// Metrics are shown to whoever has Token, and to nobody where it is empty.
	Metrics metrics.Registry
	Token   platform.Secret

	durations *metrics.Histogram
	mu        sync.Mutex
	asked     time.Time
	failed    []string
}

// Check is one thing that must hold for the portal to be ready.
type Check struct {
	Name string
	Do   func(context.Context) error
}

const (
	// readyAge is how long an answer of the checks counts: they write, and anyone may ask.
	readyAge = time.Second
	// readyLimit is how long the checks may take before the portal is not ready.
	readyLimit = 5 * time.Second
)

// durationBounds are the upper bounds of the buckets of answers' times, in seconds.
var durationBounds = []float64{0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}

// begin adds the metrics of the server itself.
func (m *Monitor) begin(hub *Hub) {
	m.durations = m.Metrics.Histogram("wherry_http_request_duration_seconds", "How long answers took, without streams, long polls and tunnels.", durationBounds, "method", "route", "status")
	m.Metrics.Gauge("wherry_sse_clients", "Open pages that follow changes.", func(context.Context) ([]metrics.Sample, error) {
		return metrics.One(float64(hub.Clients())), nil
	})
}

// ready answers whether the portal can work: its database takes changes, the data folder is its own, and its loops look. What does not
// hold is named, and why is in the log.
func (s *Server) ready(c echo.Context) error {
	failed := s.Monitor.check(c.Request().Context(), func(name string, err error) {
		s.Log.Error("the portal is not ready", "check", name, "error", err)
	})
	if len(failed) > 0 {
		return c.String(http.StatusServiceUnavailable, "not ready: "+strings.Join(failed, ", ")+"\n")
	}
	return c.String(http.StatusOK, "ready\n")
}

func (m *Monitor) check(ctx context.Context, tell func(name string, err error)) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.asked) < readyAge {
		return m.failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyLimit)
	defer cancel()
	m.failed = nil
	for _, check := range m.Checks {
		if err := check.Do(ctx); err != nil {
			m.failed = append(m.failed, check.Name)
			tell(check.Name, err)
		}
	}
	m.asked = time.Now()
	return m.failed
}

// metrics shows the metrics to whoever has their token. Where none is set there is nothing at this address.
func (s *Server) metrics(c echo.Context) error {
	want := s.Monitor.Token
	if want.IsZero() {
		return echo.ErrNotFound
	}
	token, _ := strings.CutPrefix(c.Request().Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(want.Reveal())) != 1 {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="wherry metrics"`)
		return c.String(http.StatusUnauthorized, "The metrics are for who has the token in WHERRY_METRICS_TOKEN.\n")
	}
	var out strings.Builder
	if err := s.Monitor.Metrics.Write(c.Request().Context(), &out); err != nil {
		s.Log.Warn("some metrics cannot be read", "error", err)
	}
	return c.Blob(http.StatusOK, metrics.ContentType, []byte(out.String()))
}

// endless are routes whose answers come when something happens: their time says nothing.
var endless = []string{"/agent/sync", "/agent/claim", "/agent/tunnel"}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}

// observe counts how long an answer took, under its route's pattern, so that ids in addresses make no metrics of their own.
func (m *Monitor) observe(c echo.Context, took time.Duration) {
	path, method := c.Path(), c.Request().Method
	if strings.HasSuffix(path, "/events") || slices.Contains(endless, path) || m.durations == nil {
		return
	}
	if path == "" || path == "/*" {
		path = "other"
	}
	if !slices.Contains(methods, method) {
		method = "other" // whoever asks could make as many as they like
	}
	m.durations.Observe(took.Seconds(), method, path, fmt.Sprint(c.Response().Status))
}
