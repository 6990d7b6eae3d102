package web

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"wherry/platform"
)

// code is what an app shows at a moment.
func code(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, at)
	must(t, err)
	return c
}

// withSecondFactor turns the owner's second factor on, and returns its secret and the recovery codes. No step has counted then.
func (s *site) withSecondFactor(b *http.Client, csrf string) (secret string, recovery []string) {
	s.t.Helper()
	s.must303(b, "/account/second-factor", url.Values{"csrf": {csrf}})
	_, page := s.get(b, "/account/second-factor/set-up")
	match := regexp.MustCompile(`id="secret">([A-Z2-7]{32})<`).FindStringSubmatch(page)
	if match == nil {
		s.t.Fatalf("there is no secret on %s", page)
	}
	status, page := s.post(b, "/account/second-factor/confirm", url.Values{"csrf": {csrf}, "code": {code(s.t, match[1], time.Now())}})
	recovery = regexp.MustCompile(`[a-z2-7]{4}(?:-[a-z2-7]{4}){5}`).FindAllString(page, -1)
	if status != http.StatusOK || len(recovery) != platform.RecoveryCodeCount {
		s.t.Fatalf("%d with %d recovery codes: %s", status, len(recovery), page)
	}
	s.exec(`UPDATE second_factors SET last_step = 0`)
	return match[1], recovery
}

func (s *site) signInBrowser() (b *http.Client, to string) {
	s.t.Helper()
	b = s.browser()
	return b, s.must303(b, "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}, "next": {ws + "/runs"}})
}

func TestASecondFactorIsSetUpAndAskedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	s.must303(b, "/account/second-factor", url.Values{"csrf": {csrf}})
	_, page := s.get(b, "/account/second-factor/set-up")
	picture := regexp.MustCompile(`src="data:image/png;base64,([^"]+)"`).FindStringSubmatch(page)
	if picture == nil {
		t.Fatalf("there is no picture on %s", page)
	}
	file, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(picture[1], "&#43;", "+"))
	must(t, err)
	if _, err := png.Decode(bytes.NewReader(file)); err != nil {
		t.Errorf("the picture: %v", err)
	}
	if status, page := s.post(b, "/account/second-factor/confirm", url.Values{"csrf": {csrf}, "code": {"000000"}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="code-error"`) {
		t.Errorf("a wrong first code: %d", status)
	}
	if _, to := s.signInBrowser(); to != ws+"/runs" {
		t.Errorf("a second factor that is not confirmed is asked for: %s", to)
	}
	secret, _ := s.withSecondFactor(b, csrf)
	if _, page := s.get(b, "/account/second-factor"); !strings.Contains(page, "It is on") || !strings.Contains(page, "10 recovery codes") || strings.Contains(page, secret) {
		t.Errorf("its page: %s", page)
	}
	other, to := s.signInBrowser()
	if to != "/sign-in/second-factor" {
		t.Fatalf("the password alone leads to %s", to)
	}
	if status, _ := s.get(other, ws+"/runs"); status != http.StatusSeeOther {
		t.Errorf("a page between the two steps: %d", status)
	}
	if status, page := s.post(other, "/sign-in/second-factor", url.Values{"code": {"000000"}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="code-error"`) {
		t.Errorf("a wrong code: %d", status)
	}
	if status, _ := s.post(s.browser(), "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now())}}); status != http.StatusSeeOther {
		t.Errorf("a right code in another browser: %d", status)
	}
	if to := s.must303(other, "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now())}}); to != ws+"/runs" {
		t.Errorf("a right code leads to %s", to)
	}
	if _, page := s.get(other, "/account"); !strings.Contains(page, "by password and a code") {
		t.Errorf("the account does not tell how: %s", page)
	}
}

func TestACodeCountsOnceAndForAMoment(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	for _, c := range []struct {
		what string
		at   time.Duration
		want int
	}{{"of two minutes ago", -2 * time.Minute, 422}, {"of the period before", -30 * time.Second, 303}, {"of the period before, again", -30 * time.Second, 422}, {"of the next", 30 * time.Second, 303}, {"of now, after the next", 0, 422}} {
		other, _ := s.signInBrowser()
		if left := 30*time.Second - time.Duration(time.Now().UnixNano())%(30*time.Second); left < 3*time.Second {
			time.Sleep(left) // so that the period does not change on the way
		}
		if status, _ := s.post(other, "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now().Add(c.at))}}); status != c.want {
			t.Errorf("a code %s: %d, want %d", c.what, status, c.want)
		}
	}
}

func TestRecoveryCodesCountOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	_, codes := s.withSecondFactor(b, csrf)
	for _, c := range []struct {
		code string
		want int
	}{{codes[0], 303}, {codes[0], 422}, {strings.ToUpper(strings.ReplaceAll(codes[1], "-", " ")), 303}} {
		other, _ := s.signInBrowser()
		if status, _ := s.post(other, "/sign-in/second-factor", url.Values{"code": {c.code}}); status != c.want {
			t.Errorf("%q: %d, want %d", c.code, status, c.want)
		}
	}
	var kept int
	must(t, s.raw().QueryRow(`SELECT count(*) FROM recovery_codes WHERE code_hash LIKE '%' || ? || '%'`, codes[2]).Scan(&kept))
	if got := s.audited("user.use-recovery-code"); kept != 0 || len(got) != 2 || got[1] != `ada {"left":8}` {
		t.Errorf("%d are kept in clear; the audit log has %q", kept, got)
	}
	status, page := s.post(b, "/account/second-factor/codes", url.Values{"csrf": {csrf}})
	if status != http.StatusOK || strings.Contains(page, codes[3]) {
		t.Errorf("new codes: %d", status)
	}
	other, _ := s.signInBrowser()
	if status, _ := s.post(other, "/sign-in/second-factor", url.Values{"code": {codes[3]}}); status != 422 {
		t.Errorf("an old code after that: %d", status)
	}
}

func TestGuessingCodesIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	for range 10 {
		other, _ := s.signInBrowser() // beginning anew opens nothing
		s.post(other, "/sign-in/second-factor", url.Values{"code": {"000000"}})
	}
	other, _ := s.signInBrowser()
	if status, page := s.post(other, "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now())}}); status != http.StatusTooManyRequests || !strings.Contains(page, "Try again in") {
		t.Errorf("then: %d", status)
	}
}

func TestTurningTheSecondFactorOffNeedsBoth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	for _, c := range []struct{ password, code, field string }{{"wrong", code(t, secret, time.Now()), "password"}, {goodPassword, "000000", "code"}} {
		status, page := s.post(b, "/account/second-factor/remove", url.Values{"csrf": {csrf}, "password": {c.password}, "code": {c.code}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+c.field+`-error"`) {
			t.Errorf("%+v: %d", c, status)
		}
	}
	before := cookieOf(t, s, b)
	s.must303(b, "/account/second-factor/remove", url.Values{"csrf": {csrf}, "password": {goodPassword}, "code": {code(t, secret, time.Now())}})
	if cookieOf(t, s, b) == before {
		t.Error("the session has its old token")
	}
	if _, to := s.signInBrowser(); to != ws+"/runs" {
		t.Errorf("then the password leads to %s", to)
	}
	for action, want := range map[string]int{"user.add-second-factor": 1, "user.remove-second-factor": 1} {
		if got := s.audited(action); len(got) != want {
			t.Errorf("the audit log has %q of %s", got, action)
		}
	}
}

// TestASignInLinkStandsForThePasswordAlone, and not for the second factor.
func TestASignInLinkStandsForThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	token := platform.NewToken()
	must(t, s.db.AddSignInLink(t.Context(), s.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	other := s.browser()
	if to := s.must303(other, "/sign-in/link", url.Values{"token": {token}}); to != "/sign-in/second-factor" {
		t.Errorf("a link leads to %s", to)
	}
	s.must303(other, "/sign-in/second-factor", url.Values{"code": {code(t, secret, time.Now())}})
	if n := s.stillIn([]*http.Client{other}); n != 1 {
		t.Error("the code signs nobody in")
	}
}

func TestWhereASecondFactorIsRequiredNothingElseComesFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	s.server.Pages.RequireSecondFactor = true
	for _, path := range []string{"/account", "/account/tokens/new", ws + "/launchpad", ws + "/events"} {
		resp, err := b.Get(s.URL + path)
		must(t, err)
		if status, _ := readAll(t, resp); status != http.StatusSeeOther || resp.Header.Get("Location") != "/account/second-factor" {
			t.Errorf("%s: %d to %s", path, status, resp.Header.Get("Location"))
		}
	}
	if to := s.must303(b, ws+"/launch", url.Values{"csrf": {csrf}}); to != "/account/second-factor" {
		t.Errorf("a form leads to %s", to)
	}
	if _, page := s.get(b, "/account/second-factor"); !strings.Contains(page, "Everybody on this portal needs a second factor") {
		t.Error("the page does not say why one is here")
	}
	s.withSecondFactor(b, csrf)
	if status, _ := s.get(b, ws+"/launchpad"); status != http.StatusOK {
		t.Errorf("with a second factor: %d", status)
	}
}

func TestTheSecretOfASecondFactorIsSealed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	var kept string
	must(t, s.raw().QueryRow(`SELECT secret FROM second_factors`).Scan(&kept))
	if kept == "" || strings.Contains(kept, secret) {
		t.Errorf("it is kept as %q", kept)
	}
}
