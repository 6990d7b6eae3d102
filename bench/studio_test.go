package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wherry/db"
	"wherry/platform"
	"wherry/tunnel"
	"wherry/web/studios"
)

// studioSite is a portal's Studios, each with a tool behind an agent's tunnel, and one reverse proxy that leads to the same tool
// directly.
type studioSite struct {
	b       *testing.B
	db      *db.DB
	studios *studios.Studios
	member  platform.Member
	env     platform.ComputeEnv
	session string // the hash of a sign-in session
	tool    *httptest.Server
	portal  *httptest.Server
	direct  *httptest.Server
	client  *http.Client
}

func newStudioSite(b *testing.B) *studioSite {
	d, err := db.Open(b.Context(), b.TempDir())
	must(b, err)
	s := &studioSite{b: b, db: d, session: platform.HashToken(platform.NewToken()), tool: httptest.NewServer(http.HandlerFunc(benchTool))}
	s.portal = httptest.NewUnstartedServer(nil)
	address := fmt.Sprintf("http://localhost:%d", s.portal.Listener.Addr().(*net.TCPAddr).Port)
	s.studios = studios.New(studios.Config{DB: d, Log: slog.New(slog.DiscardHandler), Origins: studios.NewOrigins(address, "", ""), PortalURL: address, Key: []byte("key"),
		Token: func(string) string { return "" }})
	agents := http.NewServeMux()
	agents.HandleFunc("/tunnel/{session}", func(w http.ResponseWriter, r *http.Request) {
		m, err := d.MachineOfStudioSession(r.Context(), r.PathValue("session"))
		if err != nil || s.studios.AcceptTunnel(w, r, m) != nil {
			b.Error("a tunnel was not taken", err)
		}
	})
	s.portal.Config.Handler = s.studios.Beside(agents)
	s.portal.Start()
	to, err := url.Parse(s.tool.URL)
	must(b, err)
	s.direct = httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, BufferPool: sameBuffers{}, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }})
	s.member, err = d.SetUp(b.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(b, err)
	s.env = platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: b.TempDir(), Status: platform.ComputeEnvAvailable}
	must(b, d.AddComputeEnv(b.Context(), &s.env))
	now := time.Now()
	must(b, d.AddSession(b.Context(), s.session, db.Session{UserID: s.member.User.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(time.Hour)}))
	jar, err := cookiejar.New(nil)
	must(b, err)
	s.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			must(b, err)
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, "127.0.0.1:"+port)
		}}}
	b.Cleanup(func() {
		s.studios.Close()
		s.client.CloseIdleConnections()
		s.tool.CloseClientConnections()
		time.Sleep(2 * time.Second) // the watch of what is open has seen that nothing is
		for _, server := range []*httptest.Server{s.portal, s.direct, s.tool} {
			server.CloseClientConnections()
			server.Close()
		}
		d.Close()
	})
	return s
}

// sameBuffers are as large as those of the Studios' proxy.
type sameBuffers struct{}

func (sameBuffers) Get() []byte { return make([]byte, 128<<10) }
func (sameBuffers) Put([]byte)  {}

const benchBody = 512 << 20

// benchTool answers with much, takes much, or holds a WebSocket.
func benchTool(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/download":
		piece := make([]byte, 64<<10)
		for range benchBody / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case "/upload":
		_, _ = io.Copy(io.Discard, r.Body)
	case "/ws":
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err == nil {
			_, _, _ = c.ReadMessage()
			c.Close()
		}
	}
}

// open starts a Studio with its tunnel, lets the client in, and returns its origin.
func (s *studioSite) open(name string) string {
	studio := platform.Studio{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: name, Config: platform.StudioConfig{Image: "tool:1"}}
	must(s.b, s.db.AddStudio(s.b.Context(), &studio))
	session, err := s.db.StartStudio(s.b.Context(), studio, s.member.User.ID)
	must(s.b, err)
	must(s.b, s.db.MoveStudioSession(s.b.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	opened := make(chan struct{})
	go func() {
		_ = tunnel.Serve(context.Background(), s.portal.URL+"/tunnel/"+session.ID, "key", func(ctx context.Context) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", s.tool.Listener.Addr().String())
		}, func() { close(opened) })
	}()
	<-opened
	s.letIn(studio)
	return s.studios.URL(studio.ID)
}

// letIn brings the client into a Studio, by way of its secret.
func (s *studioSite) letIn(studio platform.Studio) {
	begin, err := s.studios.Ticket(studio, s.member.User.ID, s.session, "")
	must(s.b, err)
	r, err := http.NewRequest(http.MethodGet, begin, nil)
	must(s.b, err)
	r.Header.Set("Accept", "text/html")
	resp, err := s.client.Do(r)
	must(s.b, err)
	resp.Body.Close()
	_, way, _ := strings.Cut(resp.Header.Get("Location"), "?way=")
	ticket, err := s.studios.Ticket(studio, s.member.User.ID, s.session, way)
	must(s.b, err)
	s.ask(http.MethodGet, ticket, nil, http.StatusSeeOther)
}

func (s *studioSite) ask(method, address string, body io.Reader, want int) time.Duration {
	began := time.Now()
	r, err := http.NewRequest(method, address, body)
	must(s.b, err)
	if body != nil {
		r.ContentLength = benchBody // as browsers say it
	}
	resp, err := s.client.Do(r)
	must(s.b, err)
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != want {
		s.b.Fatalf("%s: %s, %v", address, resp.Status, err)
	}
	return time.Since(began)
}

// BenchmarkStudioTunnel compares a Studio's tool through its agent's tunnel, with every look whether the member may be there, with
// the same tool through a reverse proxy alone, in turns.
func BenchmarkStudioTunnel(b *testing.B) {
	s := newStudioSite(b)
	through := s.open("speed")
	for range b.N {
		var tunnelled, direct []time.Duration
		for range 2000 {
			tunnelled = append(tunnelled, s.ask(http.MethodGet, through+"/", nil, http.StatusOK))
			direct = append(direct, s.ask(http.MethodGet, s.direct.URL+"/", nil, http.StatusOK))
		}
		table(b, "answer of a Studio's tool, through its tunnel", tunnelled)
		table(b, "the same through a reverse proxy alone", direct)
		added := tunnelled[len(tunnelled)/2] - direct[len(direct)/2]
		b.ReportMetric(float64(added.Microseconds())/1000, "added-ms")
		fmt.Printf("  the tunnel adds %s at the median\n", added.Round(10*time.Microsecond))
		b.ReportMetric(s.compare("download", through, http.MethodGet, func() io.Reader { return nil }), "download-ratio")
		b.ReportMetric(s.compare("upload", through, http.MethodPost, func() io.Reader { return io.LimitReader(zeros{}, benchBody) }), "upload-ratio")
	}
}

// compare measures a large body both ways, and returns the ratio of the best of each.
func (s *studioSite) compare(what, through, method string, body func() io.Reader) float64 {
	best := func(now, before time.Duration) time.Duration {
		if before == 0 || now < before {
			return now
		}
		return before
	}
	var tunnelled, direct time.Duration
	for range 3 {
		tunnelled = best(s.ask(method, through+"/"+what, body(), http.StatusOK), tunnelled)
		direct = best(s.ask(method, s.direct.URL+"/"+what, body(), http.StatusOK), direct)
	}
	rate := func(d time.Duration) float64 { return benchBody / d.Seconds() / (1 << 20) }
	ratio := rate(tunnelled) / rate(direct)
	fmt.Printf("  %s: %.0f MiB a second through the tunnel, %.0f through a reverse proxy alone: %.2f of it\n", what, rate(tunnelled), rate(direct), ratio)
	return ratio
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkIdleWebSockets is what 200 WebSockets on 20 Studios cost while nothing is said: everything in them, the browser's, the
// agent's and the tool's side included, less what the same cost without portal and tunnel.
func BenchmarkIdleWebSockets(b *testing.B) {
	const sockets, perStudio = 200, 10
	s := newStudioSite(b)
	var origins []string
	for i := range sockets / perStudio {
		origins = append(origins, s.open(fmt.Sprint("studio ", i)))
	}
	for range b.N {
		alone := s.memoryOf(sockets, func(int) string { return s.tool.URL })
		whole := s.memoryOf(sockets, func(i int) string { return origins[i/perStudio] })
		fmt.Printf("| %-46s | %6d | %6.0f KiB each, of which browser and tool %.0f KiB\n", "memory of idle WebSockets on 20 Studios", sockets, (whole-alone)/1024, alone/1024)
		b.ReportMetric((whole-alone)/1024, "KiB/socket")
		b.ReportMetric(0, "ns/op")
	}
}

// memoryOf opens WebSockets, and returns how many bytes each costs.
func (s *studioSite) memoryOf(count int, origin func(i int) string) float64 {
	inUse := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	before := inUse()
	open := make([]*websocket.Conn, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			address := strings.TrimSuffix(origin(i), "/") + "/ws"
			r, err := http.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				s.b.Error(err)
				return
			}
			for _, c := range s.client.Jar.Cookies(r.URL) {
				r.AddCookie(c)
			}
			r.Header.Set("Origin", origin(i))
			dialer := websocket.Dialer{NetDialContext: s.client.Transport.(*http.Transport).DialContext}
			c, _, err := dialer.DialContext(s.b.Context(), "ws"+strings.TrimPrefix(address, "http"), r.Header)
			if err != nil {
				s.b.Error(err)
				return
			}
			open[i] = c
		})
		if i%20 == 19 {
			wg.Wait()
		}
	}
	wg.Wait()
	time.Sleep(3 * time.Second) // past the first looks
	after := inUse()
	for _, c := range open {
		if c != nil {
			c.Close()
		}
	}
	time.Sleep(time.Second)
	return (after - before) / float64(count)
}
