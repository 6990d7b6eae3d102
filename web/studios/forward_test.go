package studios

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/platform"
)

func TestAToolGetsWhatItShouldAndNothingOfThePortals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"host": r.Host, "header": r.Header, "uri": r.RequestURI})
	}))
	b := s.signedIn(s.owner.User).open(studio)
	host := s.studios.Origins.Host(studio.ID)
	_, body, _ := b.get(s.at(studio, "/a%2Fb/c?x=1;y=%zz&z"), header("Cookie", "_xsrf=2|a; wherry_session=secret; theme=dark; __Host-wherry_session=secret; WHERRY_studio=secret; __Secure-wherry=secret"),
		header("Authorization", "Basic mine"), header("X-Forwarded-For", "6.6.6.6"), header("X-Forwarded-Host", "evil.example"), header("X-Forwarded-Proto", "gopher"), header("Forwarded", "host=evil.example"))
	var got struct {
		Host, URI string
		Header    http.Header
	}
	must(t, json.Unmarshal([]byte(body), &got))
	if got.Host != host || got.URI != "/a%2Fb/c?x=1;y=%zz&z" {
		t.Errorf("%s %s", got.Host, got.URI)
	}
	if strings.Contains(body, "secret;") || strings.Contains(body, "wherry") || got.Header.Get("Cookie") != "_xsrf=2|a; theme=dark" {
		t.Errorf("cookies: %q", got.Header.Get("Cookie"))
	}
	for name, want := range map[string]string{"Authorization": "token secret-of-" + studio.Session.ID, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": host, "X-Forwarded-Proto": "http", "Forwarded": ""} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if status, _, _ := b.get(s.at(studio, "/"), header("Host", strings.ToUpper(host))); status != http.StatusOK {
		t.Errorf("the host in capitals: %d", status)
	}
	for _, path := range []string{"/.wherry/", "/.wherry", "/.wherry/x", "/%2ewherry/x", "/a/../.wherry/x", "//.wherry/x"} {
		if status, body, _ := b.get(s.at(studio, path)); status != http.StatusNotFound || strings.Contains(body, "header") {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestAToolCannotReachBeyondItsOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, c := range []string{"kept=1; Path=/", "wide=1; Domain=localhost", "wide=1; domain = .studios.localhost", "wherry_session=x", "__Host-wherry_studio=x; Secure; Path=/", "Wherry_Studio=x", " wherry_path=/", "=wherry_session=x"} {
			h.Add("Set-Cookie", c)
		}
		for _, name := range append([]string{"X-Accel-Redirect", "X-Sendfile", "Service-Worker-Allowed"}, notForTools...) {
			h.Set(name, "x")
		}
		h.Set("Location", "http://"+r.Host+"/next")
		w.WriteHeader(http.StatusFound)
	}))
	b := s.signedIn(s.owner.User).open(studio)
	_, _, h := b.get(s.at(studio, "/"))
	if got := h.Values("Set-Cookie"); len(got) != 1 || !strings.HasPrefix(got[0], "kept=1") {
		t.Errorf("cookies: %q", got)
	}
	for _, name := range append([]string{"X-Accel-Redirect", "X-Sendfile", "Service-Worker-Allowed"}, notForTools...) {
		if h.Get(name) != "" {
			t.Errorf("%s came through", name)
		}
	}
	for path, want := range map[string]int{"/worker.js": http.StatusForbidden, "/x/../worker.js": http.StatusForbidden, "/x/worker.js": http.StatusFound} {
		if status, _, _ := b.get(s.at(studio, path), header("Service-Worker", "script")); status != want {
			t.Errorf("a service worker at %s: %d, want %d", path, status, want)
		}
	}
	if h.Get("Location") != s.at(studio, "/next") {
		t.Errorf("%v", h)
	}
	inTLS := http.Header{"Location": {"http://a.example:1/x"}}
	ownScheme(inTLS, target{host: "a.example:1", scheme: "https"})
	if inTLS.Get("Location") != "https://a.example:1/x" {
		t.Errorf("behind TLS: %v", inTLS)
	}
}

func TestWhatAToolSaysBeforeItsAnswerGoesNowhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "wherry_session=x; Domain=localhost")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Set-Cookie")
		fmt.Fprint(w, "answer")
	}))
	b := s.signedIn(s.owner.User).open(studio)
	var before []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		before = append(before, fmt.Sprint(status, h))
		return nil
	}}
	status, body, _ := b.get(s.at(studio, "/"), func(r *http.Request) { *r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace)) })
	if status != http.StatusOK || body != "answer" || len(before) > 0 {
		t.Errorf("%d %s, and before it %q", status, body, before)
	}
}

func TestAToolThatSwitchesProtocolsUnaskedIsCutOff(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	answers := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\n%s\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted", <-answers)
					_, _ = io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	stop := s.tunnelTo(studio, l.Addr().String())
	t.Cleanup(func() {
		stop()
		l.Close()
	})
	b := s.signedIn(s.owner.User).open(studio)
	for _, headers := range []string{"", "Upgrade: websocket\r\nConnection: Upgrade\r\n", "Connection: Upgrade\r\n", "Upgrade: \r\nConnection: Upgrade\r\n"} {
		answers <- headers
		if status, body, _ := b.get(s.at(studio, "/")); status < 500 || strings.Contains(body, "planted") {
			t.Errorf("with %q: %d %s", headers, status, body)
		}
	}
}

// TestLargeUploadsAreStreamed looks at the memory of the whole process, so it does not run beside other tests.
func TestLargeUploadsAreStreamed(t *testing.T) {
	s := newSite(t)
	studio := s.addStudio("a")
	const size = 100 << 20
	var most uint64
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int64
		piece := make([]byte, 1<<20)
		for {
			got, err := io.ReadFull(r.Body, piece)
			n += int64(got)
			if n%(16<<20) == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
			if err != nil {
				break
			}
		}
		fmt.Fprint(w, n)
	}))
	b := s.signedIn(s.owner.User).open(studio)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if status, body, _ := b.do(http.MethodPut, s.at(studio, "/file"), io.LimitReader(zeros{}, size)); status != http.StatusOK || body != fmt.Sprint(size) {
		t.Errorf("%d: %s bytes came", status, body)
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > size/2 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

func TestLargerUploadsThanTheOperatorAllowsAreRefused(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	s := newSite(t, func(c *Config) { c.MaxUpload = most })
	studio := s.addStudio("a")
	got := make(chan int64, 1)
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	}))
	b := s.signedIn(s.owner.User).open(studio)
	b.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	if status, body, _ := b.do(http.MethodPut, s.at(studio, "/file"), strings.NewReader(strings.Repeat("x", most+1)), header("Expect", "100-continue")); status != http.StatusRequestEntityTooLarge || !contains(body, "at most 1 MiB") {
		t.Errorf("more than the limit: %d %s", status, body)
	}
	r, err := http.NewRequest(http.MethodPut, s.at(studio, "/file"), io.LimitReader(zeros{}, 4*most))
	must(t, err)
	if resp, err := b.Do(r); err == nil { // or the connection was closed while it was sending
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("more than the limit, of unknown length: %d", resp.StatusCode)
		}
	}
	if n := <-got; n > most {
		t.Errorf("the tool got %d bytes", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestEventsComeAsTheyAreSent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	next := make(chan struct{})
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	b := s.signedIn(s.owner.User).open(studio)
	resp, err := b.Get(s.at(studio, "/events"))
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		lines.Scan()
		if lines.Text() != fmt.Sprintf("data: %d", i) {
			t.Errorf("%q", lines.Text())
		}
		lines.Scan()
		next <- struct{}{} // only now is there more
	}
}

func TestSoManyConnectionsAndNoMore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	release := make(chan struct{})
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	var responses []*http.Response
	defer func() {
		close(release)
		for _, r := range responses {
			r.Body.Close()
		}
	}()
	for i := range 2 {
		b := s.signedIn(s.member(platform.RoleConnect)).open(studio)
		for range maxPersonal {
			resp, err := b.Get(s.at(studio, "/"))
			must(t, err)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("person %d: %d", i, resp.StatusCode)
			}
			responses = append(responses, resp)
		}
		if status, body, _ := b.get(s.at(studio, "/")); status != http.StatusTooManyRequests || !contains(body, "tabs") {
			t.Errorf("one more of a person: %d %s", status, body)
		}
	}
	if status, body, _ := s.signedIn(s.owner.User).open(studio).get(s.at(studio, "/")); status != http.StatusTooManyRequests || !contains(body, "This Studio has") {
		t.Errorf("one more of another: %d %s", status, body)
	}
}

func TestAToolsHugeHeadersAreNotTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 4<<10))
		}
	}))
	b := s.signedIn(s.owner.User).open(studio)
	if status, body, _ := b.get(s.at(studio, "/")); status != http.StatusBadGateway {
		t.Errorf("%d %s", status, body)
	}
}

func TestWhereAStudioStandsIsSaidOnItsOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := platform.Studio{WorkspaceID: s.owner.Workspace.ID, UserID: s.owner.User.ID, ComputeEnvID: s.env.ID, Name: "Rivers & <lakes>", Config: platform.StudioConfig{Template: toolTemplate}}
	must(t, s.db.AddStudio(t.Context(), &studio))
	b := s.signedIn(s.owner.User).open(studio)
	state := func(want ...string) http.Header {
		t.Helper()
		status, body, h := b.get(s.at(studio, "/lab"), page)
		if status != http.StatusServiceUnavailable || !contains(body, append(want, "Rivers &amp; &lt;lakes&gt;", s.studios.PortalURL+"/studios/"+studio.ID)...) {
			t.Errorf("%d %s", status, body)
		}
		if policy := h.Get("Content-Security-Policy"); !contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy is %q", policy)
		}
		return h
	}
	state("is stopped")
	session, err := s.db.StartStudio(t.Context(), studio, s.owner.User.ID)
	must(t, err)
	state("is starting", `http-equiv="refresh"`)
	if status, body, h := b.get(s.at(studio, "/api")); status != http.StatusServiceUnavailable || !contains(h.Get("Content-Type"), "text/plain") {
		t.Errorf("a program: %d %s", status, body)
	}
	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioBuildFailed, Message: "No package x."}))
	state("could not be built", "No package x.", "Start it again from the portal")
	_, text, _ := b.get(s.at(studio, "/"), page)
	_, after, _ := strings.Cut(text, `rel="stylesheet" href="`)
	style, _, _ := strings.Cut(after, `"`)
	if status, _, h := b.get(s.at(studio, style)); status != http.StatusOK || !contains(h.Get("Content-Type"), "text/css") {
		t.Errorf("the style at %s: %d", style, status)
	}
}

func TestAToolThatDoesNotAnswerIsToldApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	nobody, broken := s.addStudio("nobody"), s.addStudio("broken")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	listener.Close()
	t.Cleanup(s.tunnelTo(nobody, address))
	b := s.signedIn(s.owner.User).open(nobody)
	if status, body, _ := b.get(s.at(nobody, "/"), page); status != http.StatusBadGateway || !contains(body, "takes no connections", `http-equiv="refresh"`) {
		t.Errorf("nobody listens: %d %s", status, body)
	}
	s.serve(broken, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	b.open(broken)
	if status, body, _ := b.get(s.at(broken, "/"), page); status != http.StatusBadGateway || !contains(body, "broke") {
		t.Errorf("it breaks: %d %s", status, body)
	}
}

func TestARequestWaitsForATunnelThatComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	b := s.signedIn(s.owner.User).open(studio)
	got := make(chan string, 1)
	go func() {
		_, body, _ := b.get(s.at(studio, "/"))
		got <- body
	}()
	soon(t, "the request", func() bool { return len(s.studios.visits.open()) == 1 })
	stop := s.serve(studio, hello)
	if body := <-got; body != "hello from the tool" {
		t.Errorf("it got %q", body)
	}
	stop()
	soon(t, "the end of the tunnel", func() bool { return len(s.studios.tunnels.all()) == 0 })
	if status, body, _ := b.get(s.at(studio, "/"), page); status != http.StatusBadGateway || !contains(body, "not connected", `http-equiv="refresh"`) {
		t.Errorf("without a tunnel: %d %s", status, body)
	}
}

func TestTheNewestTunnelOfASessionCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) })
	}
	b := s.signedIn(s.owner.User).open(studio)
	s.serve(studio, says("old"))
	s.serve(studio, says("new"))
	soon(t, "the newest", func() bool {
		_, body, _ := b.get(s.at(studio, "/"))
		return body == "new"
	})
	if n := len(s.studios.tunnels.all()); n != 1 {
		t.Errorf("%d tunnels are open", n)
	}
}

func TestATunnelEndsWithItsMachinesWork(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, hello)
	s.exec(`UPDATE machines SET state = 'draining' WHERE studio_session_id = ?`, studio.Session.ID)
	soon(t, "the end of the tunnel", func() bool { return len(s.studios.tunnels.all()) == 0 })
}

func TestClosingCutsEverythingOff(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, echoes)
	b := s.signedIn(s.owner.User).open(studio)
	var open sync.WaitGroup
	for range 5 {
		c, _ := b.webSocket(studio)
		say(t, c, "x")
		open.Go(func() {
			if _, _, err := c.ReadMessage(); err == nil {
				t.Error("it goes on")
			}
		})
	}
	s.studios.Close()
	open.Wait()
	soon(t, "the end of every request and tunnel", func() bool { return len(s.studios.visits.open()) == 0 && len(s.studios.tunnels.all()) == 0 })
}

func TestARequestInWhichNothingMovesEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	studio := s.addStudio("a")
	s.serve(studio, echoes)
	b := s.signedIn(s.owner.User).open(studio)
	c, _ := b.webSocket(studio)
	say(t, c, "x")
	for _, list := range s.studios.visits.open() {
		list[0].moved.Store(time.Now().Add(-quietLimit - time.Second).UnixMilli())
	}
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("it goes on")
	}
}
