package studios

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
	"wherry/tunnel"
)

// site is what answers for Studios, with a real database, a tool, and an agent's tunnel to it.
type site struct {
	*httptest.Server
	t       *testing.T
	db      *db.DB
	studios *Studios
	owner   platform.Member
	env     platform.ComputeEnv
	portal  *http.ServeMux // the portal beside it
	data    string         // the data folder
	ahead   atomic.Int64   // how far the Studios' clock is before the real one, in nanoseconds
}

const toolTemplate = "tool"

func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	data := t.TempDir()
	d, err := db.Open(t.Context(), data)
	must(t, err)
	s := &site{t: t, db: d, data: data, portal: http.NewServeMux()}
	s.portal.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the portal") })
	s.Server = httptest.NewUnstartedServer(nil)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	portalURL := fmt.Sprintf("http://localhost:%d", port)
	config := Config{DB: d, Log: slog.New(slog.DiscardHandler), PortalURL: portalURL, Origins: NewOrigins(portalURL, "", ""), Key: []byte("key"),
		Token:     func(id string) string { return "secret-of-" + id },
		Templates: []platform.StudioTemplate{{ID: toolTemplate, Name: "Tool", Image: "tool:1", Port: 80, Authorization: "token ${TOKEN}"}}}
	for _, f := range change {
		f(&config)
	}
	s.studios = New(config)
	s.studios.now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.portal.HandleFunc("GET /agent/tunnel/{session}", func(w http.ResponseWriter, r *http.Request) {
		m, err := d.MachineOfStudioSession(r.Context(), r.PathValue("session"))
		if err == nil {
			err = s.studios.AcceptTunnel(w, r, m)
		}
		if err != nil {
			t.Errorf("the tunnel: %v", err)
		}
	})
	s.Config.Handler = s.studios.Beside(s.portal)
	s.Start()
	t.Cleanup(func() {
		s.studios.Close()
		s.Server.Close()
		soon(t, "the end of the watch", func() bool {
			s.studios.mu.Lock()
			defer s.studios.mu.Unlock()
			return !s.studios.watching
		})
		d.Close()
	})
	s.owner, err = d.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	s.env = platform.ComputeEnv{WorkspaceID: s.owner.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: t.TempDir(), Status: platform.ComputeEnvAvailable}
	must(t, d.AddComputeEnv(t.Context(), &s.env))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon fails the test unless something becomes true.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

// addStudio makes a Studio that runs, without a tool yet.
func (s *site) addStudio(name string) platform.Studio {
	s.t.Helper()
	studio := platform.Studio{WorkspaceID: s.owner.Workspace.ID, UserID: s.owner.User.ID, ComputeEnvID: s.env.ID, Name: name, Config: platform.StudioConfig{Template: toolTemplate}}
	must(s.t, s.db.AddStudio(s.t.Context(), &studio))
	session, err := s.db.StartStudio(s.t.Context(), studio, s.owner.User.ID)
	must(s.t, err)
	must(s.t, s.db.MoveStudioSession(s.t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	studio, err = s.db.AnyStudio(s.t.Context(), studio.ID)
	must(s.t, err)
	return studio
}

// serve is the agent of a Studio with a tool. The agent ends with the test, or by stop.
func (s *site) serve(studio platform.Studio, tool http.Handler) (stop func()) {
	s.t.Helper()
	server := httptest.NewServer(tool)
	stop = s.tunnelTo(studio, server.Listener.Addr().String())
	s.t.Cleanup(func() {
		stop()
		server.CloseClientConnections()
		server.Close()
	})
	return stop
}

func (s *site) tunnelTo(studio platform.Studio, address string) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	opened, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		dial := func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
		_ = tunnel.Serve(ctx, s.URL+"/agent/tunnel/"+studio.Session.ID, "key", dial, func() { close(opened) })
	}()
	<-opened
	soon(s.t, "the tunnel in its place", func() bool {
		way, _ := s.studios.tunnels.find(studio.Session.ID)
		return way != nil
	})
	return func() {
		cancel()
		<-ended
	}
}

// browser is a client with cookies that follows no redirects, and finds every name on this host.
type browser struct {
	*http.Client
	t    *testing.T
	site *site
	hash string // of its sign-in session
	user platform.User
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	must(s.t, err)
	address := s.Listener.Addr().String()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
		if strings.Contains(to, "localhost:") {
			to = address
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", to)
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: s.t, site: s, Client: &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signedIn is a browser of a member.
func (s *site) signedIn(u platform.User) *browser {
	s.t.Helper()
	b := s.browser()
	b.user, b.hash = u, platform.HashToken(platform.NewToken())
	now := time.Now()
	must(s.t, s.db.AddSession(s.t.Context(), b.hash, db.Session{UserID: u.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(time.Hour)}))
	return b
}

// ticket is the address that opens a Studio in this browser.
func (b *browser) ticket(studio platform.Studio) string {
	b.t.Helper()
	begin, err := b.site.studios.Ticket(studio, b.user.ID, b.hash, "")
	must(b.t, err)
	status, body, h := b.get(begin, page)
	toPortal, way, _ := strings.Cut(h.Get("Location"), "?way=")
	if status != http.StatusSeeOther || toPortal != b.site.studios.PortalURL+"/studios/"+studio.ID || way == "" {
		b.t.Fatalf("asking for a ticket: %d to %s: %s", status, h.Get("Location"), body)
	}
	address, err := b.site.studios.Ticket(studio, b.user.ID, b.hash, way)
	must(b.t, err)
	return address
}

// open opens a Studio, and fails the test unless its page comes.
func (b *browser) open(studio platform.Studio) *browser {
	b.t.Helper()
	if status, body, h := b.get(b.ticket(studio)); status != http.StatusSeeOther || h.Get("Location") != "/" {
		b.t.Fatalf("opening: %d to %q: %s", status, h.Get("Location"), body)
	}
	return b
}

// page asks as a browser does for a page.
func page(r *http.Request) {
	r.Header.Set("Accept", "text/html,*/*")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
}

func (b *browser) get(url string, with ...func(*http.Request)) (int, string, http.Header) {
	b.t.Helper()
	return b.do(http.MethodGet, url, nil, with...)
}

func (b *browser) do(method, url string, body io.Reader, with ...func(*http.Request)) (int, string, http.Header) {
	b.t.Helper()
	r, err := http.NewRequest(method, url, body)
	must(b.t, err)
	for _, f := range with {
		f(r)
	}
	resp, err := b.Do(r)
	must(b.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(b.t, err)
	return resp.StatusCode, string(text), resp.Header
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		if name == "Host" {
			r.Host = value
			return
		}
		r.Header.Set(name, value)
	}
}

// at is an address on a Studio's origin.
func (s *site) at(studio platform.Studio, path string) string {
	return s.studios.Origins.URL(studio.ID) + path
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello from the tool") })

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// exec changes what nobody can change otherwise: who is a member.
func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, "wherry.db")+"?_pragma=busy_timeout(10000)")
	must(s.t, err)
	defer raw.Close()
	_, err = raw.ExecContext(s.t.Context(), query, args...)
	must(s.t, err)
}

// member adds a user to the owner's workspace.
func (s *site) member(role platform.Role) platform.User {
	s.t.Helper()
	name := string(role) + strings.ToLower(platform.NewID())
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?, ?, '', 0)`, name, name+"@example.org")
	u, err := s.db.UserByLogin(s.t.Context(), name)
	must(s.t, err)
	s.exec(`INSERT INTO participants VALUES (?, ?, ?)`, s.owner.Workspace.ID, u.ID, role)
	return u
}

// sharedSite is a site whose Studios share one origin, at the URL shared.
func sharedSite(t *testing.T) (s *site, shared string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	shared = fmt.Sprintf("http://127.0.0.1:%d", server.Listener.Addr().(*net.TCPAddr).Port)
	s = newSite(t, func(c *Config) { c.Origins = NewOrigins(c.PortalURL, "", shared) })
	server.Config.Handler = s.studios.Shared()
	server.Start()
	t.Cleanup(server.Close)
	return s, shared
}
