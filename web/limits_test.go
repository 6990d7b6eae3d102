package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"wherry/handlers"
	"wherry/platform"
)

// few is an allowance that a test uses up, and that does not come back while it runs.
func few(n int) *meter { return newMeter(allowance{rate.Every(time.Hour), n}) }

// asks makes a request with headers, as name and value one after the other.
func (s *site) asks(b *http.Client, method, path string, headers ...string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, nil)
	must(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.Do(req)
	must(s.t, err)
	status, body := readAll(s.t, resp)
	return status, body, resp.Header
}

func TestStrangersAreLimitedByAddressAndNobodyElseWithThem(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	member, _ := s.signedIn()
	_, m := s.addRun("a")
	call := s.claimed(m)
	s.server.Monitor.Token = platform.NewSecret("the-token")
	s.server.limits.addresses = few(5)
	b := s.browser()
	for _, path := range []string{"/sign-in", "/runs", "/nothing", "/healthz", "/static/none", ws + "/runs"} { // four of them count
		if status, _ := s.get(b, path); status == http.StatusTooManyRequests {
			t.Fatalf("%s is refused", path)
		}
	}
	if status, _, _ := s.asks(b, http.MethodGet, "/api/user-info", "Authorization", "Bearer nonsense"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", status)
	}
	status, page, h := s.asks(b, http.MethodGet, "/sign-in")
	if wait, err := strconv.Atoi(h.Get("Retry-After")); status != http.StatusTooManyRequests || err != nil || wait < 3000 || wait > 3600 || !strings.Contains(page, "Too many requests") || !strings.Contains(page, "<html") {
		t.Errorf("the sixth: %d, again after %q: %s", status, h.Get("Retry-After"), page)
	}
	for what, headers := range map[string][]string{"a wrong token": {"Authorization", "Bearer nonsense"}, "none": {}, "an address of one's own making": {"X-Forwarded-For", "9.9.9.9"}} {
		if status, body, _ := s.asks(b, http.MethodGet, "/api/user-info", headers...); status != http.StatusTooManyRequests || !strings.HasPrefix(body, `{"message":`) {
			t.Errorf("a program with %s: %d %s", what, status, body)
		}
	}
	if status, _, _ := s.asks(b, http.MethodGet, "/", "Cookie", cookieName+"=nonsense"); status != http.StatusTooManyRequests {
		t.Errorf("with a cookie that is none: %d", status)
	}
	for _, path := range []string{"/healthz", "/readyz", "/favicon.ico"} {
		if status, _ := s.get(b, path); status == http.StatusTooManyRequests {
			t.Errorf("%s is refused", path)
		}
	}
	if status, _ := s.get(member, ws+"/launchpad"); status != http.StatusOK {
		t.Errorf("a member at the same address: %d", status)
	}
	if status := call(http.MethodPost, "/agent/steps", "[]"); status >= 300 {
		t.Errorf("a machine at the same address: %d", status)
	}
	s.server.limits.addresses = few(9)
	if _, text := s.metrics("the-token"); !strings.Contains(text, `wherry_http_refused_total{by="address"} 5`) {
		t.Errorf("the metrics do not have the five that were refused:\n%s", text)
	}
}

func TestUsersAreLimitedInAllTheirWindows(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	one, csrf := s.signedIn()
	two, _ := s.signedIn()
	s.server.limits.users = few(4)
	s.server.limits.addresses = few(0)
	for i, ask := range []func() (int, string){
		func() (int, string) { return s.get(one, ws+"/launchpad") },
		func() (int, string) { return s.get(two, "/nothing") },
		func() (int, string) { return s.get(two, "/orgs/lab/workspaces/other/runs") }, // of no workspace of theirs
		func() (int, string) { return s.post(one, ws+"/launch", nil) },                // without the form's token
	} {
		if status, page := ask(); status == http.StatusTooManyRequests {
			t.Errorf("request %d: %s", i, page)
		}
	}
	for _, b := range []*http.Client{one, two} {
		if status, _ := s.get(b, ws+"/launchpad"); status != http.StatusTooManyRequests {
			t.Errorf("the next: %d", status)
		}
	}
	status, text, _ := s.asks(one, http.MethodGet, ws+"/launch/name", "HX-Request", "true")
	if status != http.StatusTooManyRequests || strings.Contains(text, "<") {
		t.Errorf("a part of a page: %d %s", status, text)
	}
	if status, _, _ := s.asks(one, http.MethodPost, "/sign-out", "X-CSRF-Token", csrf); status != http.StatusTooManyRequests {
		t.Errorf("a change: %d", status)
	}
}

func TestMachinesAreLimitedEachByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	_, m := s.addRun("a")
	_, n := s.addRun("b")
	one, two := s.claimed(m), s.claimed(n)
	s.server.limits.addresses = few(0)
	if status := one(http.MethodGet, "/api/user-info", ""); status != http.StatusOK {
		t.Errorf("a machine where a user's token may be, too: %d", status)
	}
	s.server.limits.machines = few(2)
	for i, want := range []bool{true, true, false} {
		if status := one(http.MethodPost, "/agent/steps", "[]"); (status < 300) != want || !want && status != http.StatusTooManyRequests {
			t.Errorf("request %d of a machine: %d", i, status)
		}
	}
	if status := two(http.MethodPost, "/agent/steps", "[]"); status >= 300 {
		t.Errorf("another machine: %d", status)
	}
	s.server.limits.fleets = few(1)
	for i, want := range []int{http.StatusUnprocessableEntity, http.StatusTooManyRequests} {
		if status, _ := s.post(s.browser(), "/agent/claim", nil); status != want {
			t.Errorf("claim %d: %d", i, status)
		}
	}
}

func TestAMeterForgetsWhoCameLongestAgo(t *testing.T) {
	t.Parallel()
	m, now := newMeter(allowance{1, 2}), time.Now()
	m.max = 3
	for i, want := range []time.Duration{0, 0, time.Second} {
		if got := m.take("a", now); got != want {
			t.Errorf("request %d waits %s", i, got)
		}
	}
	if got := m.take("a", now.Add(time.Second)); got != 0 {
		t.Errorf("a second later it waits %s", got)
	}
	if got := m.take("a", now.Add(time.Second)); got == 0 {
		t.Error("a refused request has cost nothing, and yet one more is allowed")
	}
	for i := range 1000 {
		m.take(fmt.Sprint(i), now)
		if i < 2 { // "a" came later than these
			m.take("a", now.Add(time.Second))
		}
	}
	if len(m.byKey) != 3 || m.newest.Len() != 3 {
		t.Errorf("it remembers %d", len(m.byKey))
	}
	if _, ok := m.byKey["a"]; ok {
		t.Error("who came longest ago is remembered")
	}
}

func TestAnAddressOfIPv6CountsWithItsNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::1%eth0": "2001:db8:1:2::/64", "x": ""} {
		if got := handlers.AddressKey(address); got != want {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestXForwardedForCountsFromTrustedProxiesAlone(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::5/128")}
	for _, c := range []struct {
		what, from, said string
		trusted          []netip.Prefix
		want             string
	}{
		{"nobody is trusted", "127.0.0.1:5", "9.9.9.9", nil, "127.0.0.1"},
		{"this host is no proxy", "127.0.0.1:5", "9.9.9.9", trusted, "127.0.0.1"},
		{"nor is a private address", "192.168.1.1:5", "9.9.9.9", trusted, "192.168.1.1"},
		{"a proxy", "10.1.2.3:5", "9.9.9.9", trusted, "9.9.9.9"},
		{"a proxy by IPv6", "[2001:db8::5]:5", "9.9.9.9", trusted, "9.9.9.9"},
		{"its neighbour", "[2001:db8::6]:5", "9.9.9.9", trusted, "2001:db8::6"},
		{"two proxies", "10.1.2.3:5", "9.9.9.9, 10.1.9.9", trusted, "9.9.9.9"},
		{"a client's own words", "10.1.2.3:5", "1.1.1.1, 9.9.9.9", trusted, "9.9.9.9"},
		{"a client who claims to be a proxy's client", "10.1.2.3:5", "1.1.1.1, 10.1.0.9, 9.9.9.9", trusted, "9.9.9.9"},
		{"nonsense", "10.1.2.3:5", "1.1.1.1, x", trusted, "10.1.2.3"},
		{"nothing", "10.1.2.3:5", "", trusted, "10.1.2.3"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		if c.said != "" {
			r.Header.Set("X-Forwarded-For", c.said)
		}
		r.Header.Set("X-Real-IP", "8.8.8.8")
		r.Header.Set("Forwarded", "for=8.8.8.8")
		if got := clientAddress(c.trusted)(r); got != c.want {
			t.Errorf("%s: %s", c.what, got)
		}
	}
}
