package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// byHTTPS is the site as it answers where its address begins with https.
func (s *site) byHTTPS() http.Handler {
	s.server.HTTPS = true
	s.Server.Close()
	return s.server.Handler()
}

// TestEveryAnswerHasTheSecurityHeaders asks every address in every way that is answered, and some that are not.
func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	session, csrf := s.sessionCookie()
	handler := s.byHTTPS()
	type question struct {
		method, path string
		headers      http.Header
	}
	questions := []question{{http.MethodGet, "/nothing", nil}, {http.MethodTrace, "/", nil}, {http.MethodOptions, ws + "/runs", http.Header{"Origin": {"https://elsewhere.example"}}},
		{http.MethodGet, ws + "/runs", http.Header{"Sec-Fetch-Site": {"cross-site"}}}, {http.MethodPost, ws + "/runs", http.Header{"Origin": {"https://elsewhere.example"}}},
		{http.MethodPut, "/sign-in", nil}, {http.MethodGet, "/static/none", nil}}
	for _, r := range s.server.routes() {
		if !r.stream() && r.Path != "/agent/sync" {
			path := strings.NewReplacer(":organization", "lab", ":workspace", "rivers", ":stream", "stdout", ":arch", "amd64").Replace(r.Path)
			questions = append(questions, question{r.Method, path, nil}, question{r.Method, path, http.Header{"Cookie": {"__Host-" + cookieName + "=" + session}, "X-Csrf-Token": {csrf}}})
		}
	}
	for _, q := range questions {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(q.method, q.path, http.NoBody)
		for name, values := range q.headers {
			r.Header[name] = values
		}
		handler.ServeHTTP(w, r)
		h, about := w.Header(), fmt.Sprintf("%s %s %v: %d", q.method, q.path, q.headers, w.Code)
		if policy := h.Get("Content-Security-Policy"); !contains(policy, "default-src 'none'", "base-uri 'none'", "frame-ancestors ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s with the policy %q", about, policy)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Server": "", "X-Powered-By": ""} {
			if h.Get(name) != want {
				t.Errorf("%s with %s %q", about, name, h.Get(name))
			}
		}
		if kind := h.Get("Content-Type"); w.Body.Len() > 0 && (kind == "" || strings.HasPrefix(kind, "text/") && !strings.Contains(strings.ToLower(kind), "charset=utf-8")) {
			t.Errorf("%s has a body of the type %q", about, kind)
		}
		if !strings.HasPrefix(q.path, "/static/") && h.Get("Cache-Control") != "no-store" && !strings.HasPrefix(q.path, "/agent/download/") {
			t.Errorf("%s may be kept: %q", about, h.Get("Cache-Control"))
		}
		if q.method == http.MethodTrace && (w.Code < 400 || strings.Contains(w.Body.String(), "TRACE")) {
			t.Errorf("%s is answered: %s", about, w.Body)
		}
	}
}

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// sessionCookie signs the owner in, and returns the cookie's value and the CSRF token.
func (s *site) sessionCookie() (cookie, csrf string) {
	s.t.Helper()
	b, csrf := s.signedIn()
	u, err := url.Parse(s.URL)
	must(s.t, err)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == cookieName {
			return c.Value, csrf
		}
	}
	s.t.Fatal("there is no cookie")
	return "", ""
}

func TestTheSessionCookieStaysOnItsHost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	token := platform.NewToken()
	must(t, s.db.AddSignInLink(t.Context(), s.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	handler := s.byHTTPS()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/sign-in/link", strings.NewReader(url.Values{"token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	handler.ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) == 0 {
		t.Fatalf("no cookie: %d %s", w.Code, w.Body)
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Domain != "" || c.Path != "/" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("the cookie is %s", c.Raw)
		}
		if c.Name == "__Host-"+cookieName && len(c.Value) < 43 { // 256 bits in base64
			t.Errorf("the token has %d characters", len(c.Value))
		}
		if c.Value != "" && strings.Contains(w.Body.String()+w.Header().Get("Location"), c.Value) {
			t.Errorf("the value of %s is in the answer, too", c.Name)
		}
	}
}

func TestRequestIDsAreThePortalsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r, err := http.NewRequest(http.MethodGet, s.URL+"/healthz", nil)
	must(t, err)
	r.Header.Set("X-Request-Id", "somebody-elses")
	resp, err := http.DefaultClient.Do(r)
	must(t, err)
	resp.Body.Close()
	if id := resp.Header.Get("X-Request-Id"); !platform.ValidID(id) {
		t.Errorf("the id is %q", id)
	}
}

// logged lets the site log to out from now on.
func (s *site) logged() *lines {
	var out lines
	s.server.Log = slog.New(LogHandler(slog.NewJSONHandler(&out, nil)))
	return &out
}

func TestRefusedRequestsAreLogged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	out := s.logged()
	b, csrf := s.signedIn()
	s.post(b, ws+"/launch", url.Values{"csrf": {"another session's"}})
	s.exec(`DELETE FROM organization_members`) // who owns the organization has each of its workspaces
	s.exec(`UPDATE participants SET role = 'view'`)
	s.post(b, ws+"/launch", url.Values{"csrf": {csrf}})
	s.get(s.browser(), "/api/user-info")
	r, err := http.NewRequest(http.MethodPost, s.URL+"/sign-out", nil)
	must(t, err)
	r.Header.Set("Origin", "https://elsewhere.example")
	resp, err := b.Do(r)
	must(t, err)
	resp.Body.Close()
	type line struct {
		Msg, Path, User, Address, Origin, Request string
		Status                                    int
	}
	var got []line
	for text := range strings.Lines(out.String()) {
		var l line
		must(t, json.Unmarshal([]byte(text), &l))
		if strings.Contains(l.Msg, "refused") {
			got = append(got, l)
		}
	}
	for i, want := range []line{{Path: ws + "/launch", User: "ada", Status: 403}, {Path: ws + "/launch", User: "ada", Status: 403}, {Path: "/api/user-info", Status: 401}, {Path: "/sign-out", Origin: "https://elsewhere.example"}} {
		if i >= len(got) {
			t.Fatalf("%d lines: %s", len(got), out)
		}
		if l := got[i]; l.Path != want.Path || l.User != want.User || l.Status != want.Status || l.Origin != want.Origin || want.Status > 0 && (l.Address != "127.0.0.1" || l.Request == "") {
			t.Errorf("line %d is %+v", i, l)
		}
	}
}

func TestALineOfTheLogStaysOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, handler := range map[string]func(*lines) slog.Handler{
		"text": func(out *lines) slog.Handler {
			return slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
		"JSON": func(out *lines) slog.Handler {
			return slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		var out lines
		s.server.Log = slog.New(LogHandler(handler(&out)))
		s.get(s.browser(), "/a%0Atime=now%20level=ERROR%20msg=forged%0D%1b[31m%E2%80%A8")
		if text := out.String(); strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\r\x1b") || !strings.Contains(text, "forged") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// TestAMessageHasOneEnd sends requests about whose end two servers could differ, with another one behind it. Where chunks and a length are
// told, the chunks count (RFC 9112, 6.3); what makes no sense is the last that is read.
func TestAMessageHasOneEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const next = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, head := range map[string]string{
		"chunks and a length":  "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":          "Content-Length: 0\r\nContent-Length: 35\r\n\r\n",
		"an odd length":        "Content-Length: +0\r\n\r\n",
		"an odd encoding":      "Transfer-Encoding: xchunked\r\n\r\n",
		"a space before colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"an odd chunk":         "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = fmt.Fprint(conn, "POST /sign-in HTTP/1.1\r\nHost: x\r\n"+head+next)
		must(t, err)
		in := bufio.NewReader(conn)
		var answers []int
		for {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			readAll(t, resp)
			answers = append(answers, resp.StatusCode)
		}
		if name == "chunks and a length" {
			if len(answers) != 2 || answers[1] != http.StatusOK {
				t.Errorf("%s: %v", name, answers)
			}
		} else if len(answers) != 1 || answers[0] < 400 {
			t.Errorf("%s: %v", name, answers)
		}
		conn.Close()
	}
}

func TestAFormIsNotFilledByItsAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	r, _ := s.addRun("a")
	if status, _ := s.post(b, ws+"/runs/"+r.ID+"/cancel?csrf="+csrf, url.Values{}); status != http.StatusForbidden {
		t.Errorf("with the token in the address: %d", status)
	}
	resp, err := b.Post(s.URL+ws+"/runs/"+r.ID+"/cancel", "application/x-www-form-urlencoded", strings.NewReader("csrf=%zz"))
	must(t, err)
	if status, page := readAll(t, resp); status != http.StatusBadRequest || !strings.Contains(page, "is not a form") {
		t.Errorf("what is no form: %d", status)
	}
	resp, err = b.Post(s.URL+ws+"/runs/"+r.ID+"/cancel", "application/x-www-form-urlencoded", strings.NewReader("csrf="+strings.Repeat("x", 3<<20)))
	must(t, err)
	if status, _ := readAll(t, resp); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too much: %d", status)
	}
	if got, err := s.db.AnyRun(t.Context(), r.ID); err != nil || !got.CancelAsked.IsZero() {
		t.Errorf("it was cancelled: %+v, %v", got, err)
	}
	if status, _ := s.post(b, ws+"/runs/"+r.ID+"/cancel?csrf=x", url.Values{"csrf": {csrf}}); status != http.StatusSeeOther {
		t.Errorf("with its own: %d", status)
	}
}

func TestMachinesAreNotSentOnToHTTPS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.server.URL = "https://portal.example"
	for path, want := range map[string]int{"/": 308, ws + "/runs": 308, "/api/user-info": 403, "/agent/tunnel": 403, "/agent/download/amd64": 403, "/metrics": 403} {
		w := httptest.NewRecorder()
		s.server.toHTTPS(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want || want == 403 && w.Header().Get("Location") != "" {
			t.Errorf("%s: %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
}
