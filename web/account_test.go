package web

import (
	"database/sql"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"wherry/platform"
)

const goodPassword = "rowing on the yare"

// must303 posts a form that is to be taken, and returns where it leads.
func (s *site) must303(b *http.Client, path string, form url.Values) string {
	s.t.Helper()
	resp, err := b.PostForm(s.URL+path, form)
	must(s.t, err)
	status, page := readAll(s.t, resp)
	if status != http.StatusSeeOther {
		s.t.Fatalf("POST %s: %d\n%s", path, status, page)
	}
	return resp.Header.Get("Location")
}

// withPassword signs the owner in and gives them the good password.
func (s *site) withPassword() (*http.Client, string) {
	s.t.Helper()
	b, csrf := s.signedIn()
	s.must303(b, "/account/password", url.Values{"csrf": {csrf}, "password": {goodPassword}})
	return b, csrf
}

// raw is the database's file beside the portal, until the test ends.
func (s *site) raw() *sql.DB {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, "wherry.db")+"?_pragma=busy_timeout(10000)")
	must(s.t, err)
	s.t.Cleanup(func() { raw.Close() })
	return raw
}

func oldHash(t *testing.T, password string) string {
	t.Helper()
	hash, err := argon2id.CreateHash(password, argon2id.DefaultParams)
	must(t, err)
	return hash
}

// audited lists the actions that the audit log has of a user, with what they became.
func (s *site) audited(action string) (list []string) {
	s.t.Helper()
	rows, err := s.raw().Query(`SELECT target_name || ' ' || after FROM audit_log WHERE action = ? ORDER BY seq`, action)
	must(s.t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		must(s.t, rows.Scan(&text))
		list = append(list, text)
	}
	return list
}

// TestWhoCameByALinkSetsAPassword, and signs in by it, however a keyboard writes it.
func TestWhoCameByALinkSetsAPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	for password, want := range map[string]string{"too short": "Use at least 15 characters", "passwordpassword": "tried first", "ada ada ada wherry": "others know of you"} {
		status, page := s.post(b, "/account/password", url.Values{"csrf": {csrf}, "password": {password}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, want) || !strings.Contains(page, `id="password-error"`) {
			t.Errorf("%q: %d\n%s", password, status, page)
		}
	}
	s.must303(b, "/account/password", url.Values{"csrf": {csrf}, "password": {"Bru\u0308cken u\u0308ber die Ouse"}})
	if status, _ := s.get(b, "/account"); status != http.StatusOK {
		t.Errorf("whoever set it is signed out: %d", status)
	}
	other := s.browser()
	if to := s.must303(other, "/sign-in", url.Values{"login": {"ADA@example.org"}, "password": {"Brücken über die Ouse"}, "next": {"/account"}}); to != "/account" {
		t.Errorf("it leads to %q", to)
	}
	if got := s.audited("user.set-password"); len(got) != 1 || got[0] != `ada {"secretChanged":true}` {
		t.Errorf("the audit log has %q", got)
	}
}

func TestAPasswordIsChangedByWhoKnowsIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	other := s.browser()
	s.must303(other, "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}})
	const next = "herons in the morning"
	status, page := s.post(b, "/account/password", url.Values{"csrf": {csrf}, "current": {"not this one at all"}, "password": {next}})
	if status != http.StatusUnprocessableEntity || !strings.Contains(page, "This is not your password.") {
		t.Errorf("with a wrong one: %d", status)
	}
	before := cookieOf(t, s, b)
	s.must303(b, "/account/password", url.Values{"csrf": {csrf}, "current": {goodPassword}, "password": {next}})
	if cookieOf(t, s, b) == before {
		t.Error("the session has its old token")
	}
	if status, _ := s.get(other, "/account"); status != http.StatusSeeOther {
		t.Errorf("the other browser is still signed in: %d", status)
	}
	if status, _ := s.post(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}}); status != http.StatusUnprocessableEntity {
		t.Errorf("the old password: %d", status)
	}
	s.must303(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {next}})
}

// TestAHashOfAPasswordThatWasNotNormalizedStillWorks, from a portal before that.
func TestAHashOfAPasswordThatWasNotNormalizedStillWorks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	const old = "u\u0308ber die Ouse"
	s.exec(`UPDATE users SET password_hash = ?`, oldHash(t, old))
	s.must303(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {old}})
}

func cookieOf(t *testing.T, s *site, b *http.Client) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	must(t, err)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == cookieName {
			return c.Value
		}
	}
	t.Fatal("there is no cookie of the session")
	return ""
}

func TestFailedSignInsAreWrittenDownWithWhoWasTried(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	for _, login := range []string{"ada", "bob@example.org", "my secret password!"} {
		s.post(s.browser(), "/sign-in", url.Values{"login": {login}, "password": {"wrong"}})
	}
	want := []string{`ada {"reason":"wrong password"}`, `bob@example.org {"reason":"wrong password"}`, `(neither a user name nor an e-mail address) {"reason":"wrong password"}`}
	if got := s.audited("user.sign-in-failed"); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the audit log has %q", got)
	}
}

func TestSessionsAreListedAndRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	others := []*http.Client{}
	for range 3 {
		o := s.browser()
		s.must303(o, "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}})
		others = append(others, o)
	}
	_, page := s.get(b, "/account")
	ids := regexp.MustCompile(`/account/sessions/([0-9A-Za-z]+)/revoke"`).FindAllStringSubmatch(page, -1)
	if len(ids) != 3 || strings.Count(page, "This one") != 1 || !strings.Contains(page, "by password") || !strings.Contains(page, "Go-http-client") {
		t.Fatalf("%d others on %s", len(ids), page)
	}
	s.must303(b, "/account/sessions/"+ids[0][1]+"/revoke", url.Values{"csrf": {csrf}})
	if n := s.stillIn(others); n != 2 {
		t.Errorf("%d others are signed in, want 2", n)
	}
	stranger, theirs := s.signedInAs("bob", platform.RoleOwner)
	if status, _ := s.post(stranger, "/account/sessions/"+ids[1][1]+"/revoke", url.Values{"csrf": {theirs}}); status != http.StatusNotFound {
		t.Errorf("somebody else's session: %d", status)
	}
	s.must303(b, "/account/sessions/revoke", url.Values{"csrf": {csrf}})
	if n := s.stillIn(others); n != 0 {
		t.Errorf("%d others are signed in, want none", n)
	}
	s.must303(b, "/account/sessions/revoke-all", url.Values{"csrf": {csrf}})
	if n := s.stillIn([]*http.Client{b, stranger}); n != 1 {
		t.Errorf("after signing out everywhere %d are signed in, want the other user", n)
	}
}

func (s *site) stillIn(browsers []*http.Client) (n int) {
	for _, b := range browsers {
		if status, _ := s.get(b, "/account"); status == http.StatusOK {
			n++
		}
	}
	return n
}

// TestAnOpenPageKeepsNoSessionAlive, but what somebody does in it.
func TestAnOpenPageKeepsNoSessionAlive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	long := time.Now().Add(-time.Hour).UnixMilli()
	seen := func() (at int64) {
		must(t, s.raw().QueryRow(`SELECT seen_at FROM sessions`).Scan(&at))
		return at
	}
	s.exec(`UPDATE sessions SET seen_at = ?`, long)
	s.get(b, ws+"/events?once=1")
	req, err := http.NewRequest(http.MethodGet, s.URL+ws+"/runs?part=list", nil)
	must(t, err)
	req.Header.Set("Wherry-By-Itself", "1")
	resp, err := b.Do(req)
	must(t, err)
	readAll(t, resp)
	if seen() != long {
		t.Error("a page that followed the portal by itself prolonged the session")
	}
	s.get(b, ws+"/runs")
	if seen() == long {
		t.Error("a page that somebody opened did not")
	}
}

func TestSessionsEndByTheSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.db.SessionTimes = platform.SessionTimes{Idle: time.Hour, Limit: 3 * time.Hour}
	for what, c := range map[string]struct {
		age, idle time.Duration
		in        int
	}{"fresh": {0, 0, 1}, "idle": {70 * time.Minute, 70 * time.Minute, 0}, "busy, too old": {3*time.Hour + time.Minute, 0, 0}, "busy": {2 * time.Hour, 50 * time.Minute, 1}} {
		b, _ := s.signedIn()
		now := time.Now()
		s.exec(`UPDATE sessions SET created_at = ?, seen_at = ?`, now.Add(-c.age).UnixMilli(), now.Add(-c.idle).UnixMilli())
		if n := s.stillIn([]*http.Client{b}); n != c.in {
			t.Errorf("%s: %d signed in, want %d", what, n, c.in)
		}
		s.exec(`DELETE FROM sessions`)
	}
}

func TestAUserWhoWasDisabledIsOutAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.withPassword()
	s.exec(`UPDATE users SET disabled_at = 1`)
	if status, _ := s.get(b, "/account"); status != http.StatusSeeOther {
		t.Errorf("a page: %d", status)
	}
	if _, err := s.db.LookAtSession(t.Context(), platform.HashToken(cookieOf(t, s, b)), time.Now()); platform.ErrorCode(err) != platform.CodeNotFound {
		t.Errorf("the session of an open page: %v", err)
	}
	if status, _ := s.post(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}}); status != http.StatusUnprocessableEntity {
		t.Errorf("signing in again: %d", status)
	}
}

// TestTheMostSensitiveThingsNeedAFreshProof: a sign-in of the last quarter of an hour, or the password again.
func TestTheMostSensitiveThingsNeedAFreshProof(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	s.exec(`UPDATE sessions SET confirmed_at = ?`, time.Now().Add(-16*time.Minute).UnixMilli())
	for _, path := range []string{"/account/email", "/account/tokens/new"} {
		resp, err := b.Get(s.URL + path)
		must(t, err)
		if status, _ := readAll(t, resp); status != http.StatusSeeOther || resp.Header.Get("Location") != "/account/confirm?next="+path {
			t.Errorf("%s: %d to %s", path, status, resp.Header.Get("Location"))
		}
	}
	for path, form := range map[string]url.Values{"/account/email": {"csrf": {csrf}, "email": {"eve@example.org"}}, "/account/tokens": {"csrf": {csrf}, "name": {"x"}, "days": {"30"}}} {
		if to := s.must303(b, path, form); !strings.HasPrefix(to, "/account/confirm") {
			t.Errorf("a form to %s leads to %s", path, to)
		}
	}
	if u, err := s.db.UserByID(t.Context(), s.member.User.ID); err != nil || u.Email != "ada@example.org" {
		t.Errorf("the address is %q, %v", u.Email, err)
	}
	if status, page := s.post(b, "/account/confirm", url.Values{"csrf": {csrf}, "password": {"wrong"}, "next": {"/account/email"}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, "not your password") {
		t.Errorf("a wrong password: %d", status)
	}
	if to := s.must303(b, "/account/confirm", url.Values{"csrf": {csrf}, "password": {goodPassword}, "next": {"https://evil.example"}}); to != "/account" {
		t.Errorf("it leads to %s", to)
	}
	s.must303(b, "/account/email", url.Values{"csrf": {csrf}, "email": {" Ada@Example.com "}})
	if u, err := s.db.UserByLogin(t.Context(), "ada@example.com"); err != nil || u.ID != s.member.User.ID {
		t.Errorf("the new address finds %+v, %v", u, err)
	}
	s.signedInAs("bob", platform.RoleView)
	if status, page := s.post(b, "/account/email", url.Values{"csrf": {csrf}, "email": {"bob@example.org"}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="email-error"`) {
		t.Errorf("somebody else's address: %d", status)
	}
}

// TestWhoHasNoPasswordSignsInAgainToConfirm, and is told so.
func TestWhoHasNoPasswordSignsInAgainToConfirm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.exec(`UPDATE sessions SET confirmed_at = 0`)
	if to := s.must303(b, "/account/password", url.Values{"csrf": {csrf}, "password": {goodPassword}}); !strings.HasPrefix(to, "/account/confirm") {
		t.Errorf("setting a password leads to %s", to)
	}
	if _, page := s.get(b, "/account/confirm?next=/account/password"); !strings.Contains(page, "You have no password") {
		t.Errorf("the page does not say what to do: %s", page)
	}
	if status, _ := s.post(b, "/account/confirm", url.Values{"csrf": {csrf}, "password": {""}}); status != http.StatusUnprocessableEntity {
		t.Errorf("an empty password: %d", status)
	}
}
