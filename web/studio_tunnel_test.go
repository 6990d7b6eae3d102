package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/jobs"
	"wherry/platform"
	"wherry/tunnel"
	"wherry/web/studios"
)

// openTunnel is what a Studio's agent does once its tool answers. It returns when the portal has taken the tunnel, or not.
func openTunnel(t *testing.T, portal, key, tool string) (ended <-chan error, taken bool) {
	t.Helper()
	opened, result := make(chan struct{}), make(chan error, 1)
	go func() {
		result <- tunnel.Serve(t.Context(), portal+"/agent/tunnel", key, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", tool)
		}, func() { close(opened) })
	}()
	select {
	case <-opened:
		return result, true
	case err := <-result:
		result <- err
		return result, false
	}
}

func TestTheAgentOfAStudioOpensATunnelAndNobodyElse(t *testing.T) {
	t.Parallel()
	s, _, _, m := studioSite(t, platform.StudioConfig{Template: "jupyter"})
	key, _, _ := s.claim(m)
	refused := func(key string) int {
		ended, taken := openTunnel(t, s.URL, key, "")
		var r *tunnel.Refused
		if err := <-ended; taken || !errors.As(err, &r) {
			t.Fatalf("taken %v, %v", taken, err)
		}
		return r.Status
	}
	if status := refused("no key of a machine that there is, long as it may be"); status != http.StatusUnauthorized {
		t.Errorf("another key: %d", status)
	}
	_, runs := s.addRun("a")
	runKey, _, _ := s.claim(runs)
	if status := refused(runKey); status != http.StatusBadRequest {
		t.Errorf("a run's agent: %d", status)
	}
	ended, taken := openTunnel(t, s.URL, key, "")
	if !taken {
		t.Fatal(<-ended)
	}
	for _, to := range []platform.MachineState{platform.MachineBooting, platform.MachineWorking, platform.MachineDraining} {
		must(t, s.db.MoveMachine(t.Context(), m, db.Move{To: to}))
		m.State = to
	}
	if err := <-ended; !errors.Is(err, tunnel.ErrClosed) {
		t.Errorf("when its work is over: %v", err)
	}
	if status := refused(key); status != http.StatusGone {
		t.Errorf("and then: %d", status)
	}
}

// running is a portal on a socket of its own, as main runs it, with a Studio whose tool is joined with it.
type running struct {
	*site
	studio  platform.Studio
	session platform.StudioSession
	url     string
	key     string // of its agent
	logged  *lines
	stop    func() // and waits
	tunnel  <-chan error
}

func runStudio(t *testing.T, tool http.Handler) *running {
	t.Helper()
	s, studio, session, m := studioSite(t, platform.StudioConfig{Template: "jupyter"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &running{site: s, studio: studio, session: session, url: fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)}
	r.logged = new(lines)
	log := slog.New(slog.NewTextHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	server := &Server{DB: s.db, Hub: NewHub(s.db), Pages: s.server.Pages, API: s.server.API, Log: log}
	server.Studios = studios.New(studios.Config{DB: s.db, Log: log, Origins: studios.NewOrigins(r.url, "", ""), PortalURL: r.url, Key: siteKey,
		Templates: s.server.API.Templates, Token: func(id string) string { return jobs.StudioToken(siteKey, id) }})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			must(t, <-served)
		}
	}
	backend := httptest.NewServer(tool)
	t.Cleanup(func() {
		r.stop()
		backend.Close()
	})
	r.key, _, _ = s.claim(m)
	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	var taken bool
	if r.tunnel, taken = openTunnel(t, r.url, r.key, backend.Listener.Addr().String()); !taken {
		t.Fatal(<-r.tunnel)
	}
	return r
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// localBrowser finds every name below localhost on this host.
func (r *running) localBrowser() *http.Client {
	b := r.browser()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	b.Transport = transport
	return b
}

// signIn signs the owner in at the running portal.
func (r *running) signIn(b *http.Client) {
	r.t.Helper()
	token := platform.NewToken()
	must(r.t, r.db.AddSignInLink(r.t.Context(), r.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	resp, err := b.PostForm(r.url+"/sign-in/link", url.Values{"token": {token}})
	must(r.t, err)
	resp.Body.Close()
}

// ticketOf opens a Studio as a page of the portal does, with the sign-in session of a browser.
func (r *running) ticketOf(b *http.Client) string {
	r.t.Helper()
	u, err := url.Parse(r.url)
	must(r.t, err)
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, c := range b.Jar.Cookies(u) {
		req.AddCookie(c)
	}
	open := func(req *http.Request) string {
		address, err := r.server.Pages.OpenStudio(echo.New().NewContext(req, httptest.NewRecorder()), r.studio)
		must(r.t, err)
		return address
	}
	_, _, h := ask(r.t, b, http.MethodGet, open(req), "Accept", "text/html")
	_, way, _ := strings.Cut(h.Get("Location"), "?")
	req.URL.RawQuery = way
	return open(req)
}

func ask(t *testing.T, b *http.Client, method, address string, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, address, nil)
	must(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.Do(req)
	must(t, err)
	status, body := readAll(t, resp)
	return status, body, resp.Header
}

func TestAMemberComesFromThePortalToTheToolAndOutWithTheirSignIn(t *testing.T) {
	t.Parallel()
	r := runStudio(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, "the tool of ", req.Host) }))
	b := r.localBrowser()
	r.signIn(b)
	address := r.ticketOf(b)
	origin, _, _ := strings.Cut(address, "/.wherry/")
	status, _, h := ask(t, b, http.MethodGet, origin+"/", "Accept", "text/html")
	if want := r.url + "/studios/" + r.studio.ID; status != http.StatusSeeOther || !strings.HasPrefix(h.Get("Location"), want+"?way=") {
		t.Errorf("without a grant: %d to %q", status, h.Get("Location"))
	}
	_, way, _ := strings.Cut(h.Get("Location"), "?")
	if status, _, h := ask(t, b, http.MethodGet, h.Get("Location")); status != http.StatusSeeOther || h.Get("Location") != ws+"/studios/"+r.studio.ID+"/connect?"+way {
		t.Errorf("in the portal: %d to %q", status, h.Get("Location"))
	}
	if status, _, _ := ask(t, b, http.MethodGet, address); status != http.StatusSeeOther {
		t.Errorf("the ticket: %d", status)
	}
	if status, body, _ := ask(t, b, http.MethodGet, origin+"/"); status != http.StatusOK || body != "the tool of "+strings.TrimPrefix(origin, "http://") {
		t.Errorf("the tool: %d %s", status, body)
	}
	for _, address := range []string{origin, r.url} {
		if status, _, _ := ask(t, b, http.MethodGet, address+"/", "X-Long", strings.Repeat("x", 80<<10)); status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("80 KiB of headers: %d", status)
		}
	}
	_, page, _ := ask(t, b, http.MethodGet, r.url+ws+"/launchpad")
	_, after, _ := strings.Cut(page, `name="csrf" value="`)
	csrf, _, _ := strings.Cut(after, `"`)
	resp, err := b.PostForm(r.url+"/sign-out", url.Values{"csrf": {csrf}})
	must(t, err)
	resp.Body.Close()
	if status, body, _ := ask(t, b, http.MethodGet, origin+"/"); status != http.StatusUnauthorized {
		t.Errorf("signed out: %d %s", status, body)
	}
	_, ticket, _ := strings.Cut(address, "ticket=")
	if text := r.logged.String(); !strings.Contains(text, "/sign-out") || strings.Contains(text, ticket) || strings.Contains(text, jobs.StudioToken(siteKey, r.session.ID)) {
		t.Errorf("the log has %s", text)
	}
}

func TestAPageOfAStudioCannotUseThePortal(t *testing.T) {
	t.Parallel()
	r := runStudio(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b := r.localBrowser()
	r.signIn(b)
	origin, _, _ := strings.Cut(r.ticketOf(b), "/.wherry/")
	_, page, _ := ask(t, b, http.MethodGet, r.url+ws+"/launchpad")
	_, after, _ := strings.Cut(page, `name="csrf" value="`)
	csrf, _, _ := strings.Cut(after, `"`)
	for _, headers := range [][]string{{"Origin", origin, "Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", origin}} {
		// Even where it had got hold of the session's token.
		status, _, h := ask(t, b, http.MethodPost, r.url+"/sign-out", append(headers, "X-CSRF-Token", csrf)...)
		if status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a form with %v: %d", headers, status)
		}
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			status, _, h := ask(t, b, method, r.url+ws+"/launchpad", append(headers, "Access-Control-Request-Method", "POST")...)
			for name := range h {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s answers with %s", method, name)
				}
			}
			if got := h.Get("Content-Security-Policy"); method == http.MethodGet && status != http.StatusForbidden && !strings.Contains(got, "frame-ancestors 'none'") {
				t.Errorf("%d with the policy %q", status, got)
			}
		}
	}
	if status, _, _ := ask(t, b, http.MethodGet, r.url+ws+"/launchpad"); status != http.StatusOK {
		t.Errorf("the session has ended: %d", status)
	}
}

func TestAPortalThatStopsLetsTunnelsAndStreamsGoAtOnce(t *testing.T) {
	t.Parallel()
	streaming := make(chan struct{})
	r := runStudio(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(streaming)
		<-req.Context().Done()
	}))
	b := r.localBrowser()
	r.signIn(b)
	address := r.ticketOf(b)
	origin, _, _ := strings.Cut(address, "/.wherry/")
	ask(t, b, http.MethodGet, address)
	resp, err := b.Get(origin + "/stream")
	must(t, err)
	defer resp.Body.Close()
	<-streaming
	began := time.Now()
	r.stop()
	if err := <-r.tunnel; !errors.Is(err, tunnel.ErrClosed) {
		t.Errorf("the tunnel: %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestAPortalThatStopsDoesNotWaitForAgents, which always have a long poll under way.
func TestAPortalThatStopsDoesNotWaitForAgents(t *testing.T) {
	t.Parallel()
	r := runStudio(t, http.NotFoundHandler())
	body, err := json.Marshal(platform.SyncRequest{Wait: platform.MaxSyncWait, Usage: &platform.Usage{CPU: 7}})
	must(t, err)
	status := make(chan int, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/agent/sync", bytes.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("the poll is answered: %v", err)
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	for used := 0.0; used != 7; time.Sleep(time.Millisecond) { // until it listens
		s, err := r.db.AnyStudio(t.Context(), r.studio.ID)
		must(t, err)
		used = s.Session.Usage.CPU
	}
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took >= shutdownLimit {
		t.Errorf("the portal took %s to stop", took)
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("the poll under way was answered with %d", got)
	}
}
