package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

func TestReadinessNamesWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	broken := map[string]error{}
	s.server.Monitor.Checks = []Check{
		{"database", s.db.Writable},
		{"lease", func(context.Context) error { return broken["lease"] }},
		{"loops", func(context.Context) error { return broken["loops"] }},
	}
	ask := func() (int, string) {
		s.server.Monitor.mu.Lock()
		s.server.Monitor.asked = time.Time{}
		s.server.Monitor.mu.Unlock()
		return s.get(s.browser(), "/readyz")
	}
	if status, body := ask(); status != http.StatusOK || body != "ready\n" {
		t.Errorf("%d %q", status, body)
	}
	broken["lease"] = errors.New("a path that nobody but the log needs to know")
	if status, body := ask(); status != http.StatusServiceUnavailable || body != "not ready: lease\n" {
		t.Errorf("%d %q", status, body)
	}
	delete(broken, "lease")
	must(t, s.db.Close())
	if status, body := ask(); status != http.StatusServiceUnavailable || body != "not ready: database\n" {
		t.Errorf("with a closed database: %d %q", status, body)
	}
}

func (s *site) metrics(token string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+"/metrics", nil)
	must(s.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(s.t, err)
	return readAll(s.t, resp)
}

func TestMetricsAreForWhoHasTheirToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	if status, _ := s.metrics("x"); status != http.StatusNotFound {
		t.Errorf("where none is set: %d", status)
	}
	s.server.Monitor.Token = platform.NewSecret("the-token-of-metrics")
	for _, token := range []string{"", "x", "the-token-of-metric"} {
		if status, body := s.metrics(token); status != http.StatusUnauthorized || strings.Contains(body, "the-token") {
			t.Errorf("with %q: %d %s", token, status, body)
		}
	}
	if status, _ := s.metrics("the-token-of-metrics"); status != http.StatusOK {
		t.Errorf("with it: %d", status)
	}
}

// TestMetricsHaveNoIDs asks for many addresses: those of one route are one line, and what a stranger sends makes none of its own.
func TestMetricsHaveNoIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.server.Monitor.Token = platform.NewSecret("t")
	b, _ := s.signedIn()
	r, _ := s.addRun("a")
	s.get(b, ws+"/runs/"+r.ID)
	s.get(b, "/no/such/page")
	s.get(b, ws+"/events?once=1")
	req, err := http.NewRequest("BREW", s.URL+"/healthz", nil)
	must(t, err)
	resp, err := b.Do(req)
	must(t, err)
	resp.Body.Close()
	_, text := s.metrics("t")
	for _, want := range []string{`route="/orgs/:organization/workspaces/:workspace/runs/:run",status="200"`, `route="other",status="404"`, `method="other"`, "wherry_sse_clients 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	for _, not := range []string{r.ID, "/no/such", "BREW", "/events"} {
		if strings.Contains(text, not) {
			t.Errorf("%s is in the metrics", not)
		}
	}
}

func TestLogLinesCarryTheirRequestAndRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	var out lines
	log := slog.New(LogHandler(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("portal", "p")
	s.server.Log = log
	b, _ := s.signedIn()
	r, m := s.addRun("a")
	s.get(b, ws+"/runs/"+r.ID)
	s.claimed(m)("POST", "/agent/steps", `{"steps":[]}`)
	seen := map[string]bool{}
	for text := range strings.Lines(out.String()) {
		line := struct{ Path, Request, Run, Portal string }{}
		must(t, json.Unmarshal([]byte(text), &line))
		if line.Request == "" || line.Portal != "p" {
			t.Errorf("a line without its request: %s", text)
		}
		if line.Run == r.ID {
			seen[line.Path] = true
		}
	}
	if !seen[ws+"/runs/"+r.ID] || !seen["/agent/steps"] {
		t.Errorf("these lines are of the run: %v", seen)
	}
}
