package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/jobs"
	"wherry/platform"
	"wherry/web/studios"
)

// dawdle sends the beginning of a request and then nothing more, and returns what comes back and how long the connection stayed.
func dawdle(t *testing.T, address, head string) (answer string, took time.Duration) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	began := time.Now()
	_, err = io.WriteString(conn, head)
	must(t, err)
	text, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection stays: %v", err)
	}
	return string(text), time.Since(began)
}

func TestABodyHasToComeInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.server.bodyTime = 300 * time.Millisecond
	_, m := s.addRun("a")
	key, _, _ := s.claim(m)
	form := "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nlogin=ada"
	for what, c := range map[string]struct{ head, want string }{
		"a form":                   {"POST /sign-in HTTP/1.1\r\nHost: x\r\n" + form, "408 Request Timeout"},
		"a form in pieces":         {"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlogin\r\n", "408 Request Timeout"},
		"an agent's words":         {"POST /agent/steps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 1000\r\n\r\n[", `"message":"What was sent did not come in time`},
		"words that nobody reads":  {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx", "200 OK"},
		"what is refused at once":  {"POST /sign-in HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n" + form, "403 Forbidden"},
		"an address that is none":  {"POST /nothing HTTP/1.1\r\nHost: x\r\n" + form, "404 Not Found"},
		"a page for the signed in": {"POST /sign-out HTTP/1.1\r\nHost: x\r\n" + form, "303 See Other"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			answer, took := dawdle(t, s.Listener.Addr().String(), c.head)
			if !strings.Contains(answer, c.want) {
				t.Errorf("it is answered with %q", answer)
			}
			if took > 5*time.Second {
				t.Errorf("the connection stays for %s", took)
			}
		})
	}
}

// TestAnAnswerMayTakeLongerThanItsBody: the deadline of a body must not end the long poll that follows it, nor the next request.
func TestAnAnswerMayTakeLongerThanItsBody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.server.bodyTime, s.server.pieceTime = 200*time.Millisecond, 200*time.Millisecond
	_, m := s.addRun("a")
	call := s.claimed(m)
	for range 2 {
		began := time.Now()
		if status := call(http.MethodPost, "/agent/sync", fmt.Sprintf(`{"change":-1,"wait":%d}`, time.Second)); status != http.StatusOK || time.Since(began) < 200*time.Millisecond {
			t.Errorf("the long poll: %d after %s", status, time.Since(began))
		}
	}
}

// TestWhoDoesNotReadIsCutOffAndWhoReadsSlowlyIsNot is of an answer larger than what the kernel keeps for a connection.
func TestWhoDoesNotReadIsCutOffAndWhoReadsSlowlyIsNot(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	server := &Server{pieceTime: 500 * time.Millisecond}
	e, ended := echo.New(), make(chan error, 1)
	e.Use(server.inTime)
	e.GET("/large", func(c echo.Context) error {
		_, err := c.Response().Write(make([]byte, size))
		ended <- err
		return nil
	})
	portal := httptest.NewServer(e)
	defer portal.Close()
	conn, err := net.Dial("tcp", portal.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the answer was sent, and nobody read it")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the answer waits for who does not read it")
	}
	slow, err := http.Get(portal.URL + "/large")
	must(t, err)
	defer slow.Body.Close()
	n, began := int64(0), time.Now()
	for reader := bufio.NewReaderSize(slow.Body, 1<<20); ; {
		got, err := io.CopyN(io.Discard, reader, 4<<20)
		if n += got; err == io.EOF {
			break
		}
		must(t, err)
		time.Sleep(60 * time.Millisecond)
	}
	if n != size || time.Since(began) < 600*time.Millisecond {
		t.Errorf("%d bytes came in %s", n, time.Since(began))
	}
}

// TestDeadlinesAreKeptOverBothProtocols: HTTP/2 has timers of its own for them.
func TestDeadlinesAreKeptOverBothProtocols(t *testing.T) {
	t.Parallel()
	for _, second := range []bool{false, true} {
		s := newSite(t)
		s.setUp()
		_, m := s.addRun("a")
		key, _, _ := s.claim(m)
		server := s.server
		server.bodyTime, server.pieceTime = 300*time.Millisecond, 300*time.Millisecond
		e := echo.New()
		e.Use(server.inTime)
		e.GET("/slow", func(c echo.Context) error {
			for range 3 {
				if _, err := c.Response().Write([]byte("boat\n")); err != nil {
					return err
				}
				c.Response().Flush()
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		})
		portal := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				e.ServeHTTP(w, r)
				return
			}
			s.Config.Handler.ServeHTTP(w, r)
		}))
		portal.EnableHTTP2 = second
		portal.StartTLS()
		t.Cleanup(portal.Close)
		client := portal.Client()
		resp, err := client.Get(portal.URL + "/slow")
		must(t, err)
		if status, text := readAll(t, resp); status != http.StatusOK || text != "boat\nboat\nboat\n" || (resp.ProtoMajor == 2) != second {
			t.Errorf("%s: an answer that comes slowly: %d %q", resp.Proto, status, text)
		}
		body, pieces := io.Pipe()
		t.Cleanup(func() { pieces.Close() })
		go func() { _, _ = pieces.Write([]byte("login=ada")) }()
		resp, err = client.Post(portal.URL+"/sign-in", "application/x-www-form-urlencoded", body)
		must(t, err)
		if status, _ := readAll(t, resp); status != http.StatusRequestTimeout {
			t.Errorf("%s: a body that does not come: %d", resp.Proto, status)
		}
		req, err := http.NewRequest(http.MethodPost, portal.URL+"/agent/sync", strings.NewReader(fmt.Sprintf(`{"change":-1,"wait":%d}`, time.Second)))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err = client.Do(req)
		must(t, err)
		if status, text := readAll(t, resp); status != http.StatusOK {
			t.Errorf("%s: a long poll: %d %s", resp.Proto, status, text)
		}
	}
}

func TestPlainHTTPLeadsToThePortalAndItsStudiosAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	studio := s.addStudio("a", false)
	origins := studios.NewOrigins("https://portal.example.org", "studios.example.org", "")
	server := &Server{URL: "https://portal.example.org", Studios: studios.New(studios.Config{DB: s.db, Origins: origins})}
	for _, c := range []struct{ host, path, want string }{
		{"portal.example.org", "/runs/x?a=1&b=%2F", "https://portal.example.org/runs/x?a=1&b=%2F"},
		{"elsewhere.example", "/", "https://portal.example.org/"},
		{"elsewhere.example", "//elsewhere.example/x", "https://portal.example.org//elsewhere.example/x"},
		{"elsewhere.example", "http:.elsewhere.example", "https://portal.example.org/"},
		{"elsewhere.example", "http://elsewhere.example/%0d%0aX: y", "https://portal.example.org/%0d%0aX:%20y"},
		{origins.Host(studio.ID), "/lab", origins.URL(studio.ID) + "/lab"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		u, err := r.URL.Parse(strings.ReplaceAll(c.path, " ", "%20"))
		if strings.HasPrefix(c.path, "/") {
			r = httptest.NewRequest(http.MethodGet, "http://x"+c.path, nil)
		} else {
			must(t, err)
			r.URL = u
		}
		r.Host = c.host
		w := httptest.NewRecorder()
		server.toHTTPS(w, r)
		if got := w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect || got != c.want {
			t.Errorf("%s %s: %d to %q, want %q", c.host, c.path, w.Code, got, c.want)
		}
	}
	w := httptest.NewRecorder()
	server.toHTTPS(w, httptest.NewRequest(http.MethodPost, "/sign-in", strings.NewReader("password=x")))
	if w.Code != http.StatusForbidden || w.Header().Get("Location") != "" {
		t.Errorf("a form in clear: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// TestAnUploadToAStudioMayTakeItsTime, because it may be large; what is not taken has the deadline of all others.
func TestAnUploadToAStudioMayTakeItsTime(t *testing.T) {
	t.Parallel()
	s, studio, session, m := studioSite(t, platform.StudioConfig{Template: "jupyter"})
	portal := httptest.NewUnstartedServer(nil)
	r := &running{site: s, studio: studio, session: session, url: fmt.Sprintf("http://localhost:%d", portal.Listener.Addr().(*net.TCPAddr).Port)}
	server := &Server{DB: s.db, Hub: NewHub(s.db), Pages: s.server.Pages, API: s.server.API, Log: s.server.Log}
	server.Studios = studios.New(studios.Config{DB: s.db, Log: s.server.Log, Origins: studios.NewOrigins(r.url, "", ""), PortalURL: r.url, Key: siteKey,
		Templates: s.server.API.Templates, Token: func(id string) string { return jobs.StudioToken(siteKey, id) }})
	portal.Config.Handler = server.Handler()
	server.bodyTime = 200 * time.Millisecond
	portal.Start()
	tool := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, err := io.Copy(io.Discard, req.Body)
		fmt.Fprint(w, n, " ", err)
	}))
	t.Cleanup(func() {
		server.Studios.Close()
		server.Hub.Close()
		portal.Close()
		tool.Close()
	})
	key, _, _ := s.claim(m)
	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	if ended, taken := openTunnel(t, r.url, key, tool.Listener.Addr().String()); !taken {
		t.Fatal(<-ended)
	}
	b := r.localBrowser()
	r.signIn(b)
	address := r.ticketOf(b)
	ask(t, b, http.MethodGet, address)
	origin, _, _ := strings.Cut(address, "/.wherry/")
	body, pieces := io.Pipe()
	go func() {
		for range 4 {
			_, _ = pieces.Write([]byte("rivers"))
			time.Sleep(200 * time.Millisecond)
		}
		pieces.Close()
	}()
	req, err := http.NewRequest(http.MethodPut, origin+"/upload", body)
	must(t, err)
	resp, err := b.Do(req)
	must(t, err)
	if status, text := readAll(t, resp); status != http.StatusOK || text != "24 <nil>" {
		t.Errorf("the upload: %d %s", status, text)
	}
	answer, took := dawdle(t, portal.Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: "+strings.TrimPrefix(origin, "http://")+"\r\nContent-Length: 1000\r\n\r\nx")
	if !strings.Contains(answer, "401 Unauthorized") || took > 5*time.Second {
		t.Errorf("a stranger who sends slowly: after %s %q", took, answer)
	}
}

func TestCertificatesAreForStudiosThatExist(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	studio := s.addStudio("a", false)
	st := studios.New(studios.Config{DB: s.db, Origins: studios.NewOrigins("https://portal.example.org", "studios.example.org", "")})
	for name, want := range map[string]bool{st.Origins.Host(studio.ID): true, st.Origins.Host(platform.NewID()): false, "studios.example.org": false, "x.studios.example.org": false, "portal.example.org": false,
		"a." + st.Origins.Host(studio.ID): false} {
		if got, err := st.Known(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
