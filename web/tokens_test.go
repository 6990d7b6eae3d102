package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// newToken makes an access token on the account's page.
func (s *site) newToken(b *http.Client, csrf, name, days string) string {
	s.t.Helper()
	status, page := s.post(b, "/account/tokens", url.Values{"csrf": {csrf}, "name": {name}, "days": {days}})
	match := regexp.MustCompile(`id="token">(wherry_[A-Za-z0-9_-]{43})<`).FindStringSubmatch(page)
	if status != http.StatusOK || match == nil {
		s.t.Fatalf("making %s: %d\n%s", name, status, page)
	}
	return match[1]
}

// ask calls an address with a token, as Bearer or as the password of @token.
func (s *site) ask(method, path, token string, basic bool) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader("{}"))
	must(s.t, err)
	if basic {
		req.SetBasicAuth("@token", token)
	} else {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.browser().Do(req)
	must(s.t, err)
	return readAll(s.t, resp)
}

func TestAnAccessTokenIsItsUserInTheAPIAndNowhereElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	if _, page := s.get(b, "/account/tokens"); !strings.Contains(page, "Make the first") {
		t.Error("an empty list does not say what to do")
	}
	token := s.newToken(b, csrf, "laptop", "30")
	for _, basic := range []bool{false, true} {
		if status, body := s.ask(http.MethodGet, "/api/user-info", token, basic); status != http.StatusOK || !strings.Contains(body, `"userName":"ada"`) {
			t.Errorf("user-info: %d %s", status, body)
		}
	}
	for _, route := range s.server.routes() {
		if route.Permission == platform.Public || strings.HasPrefix(route.Path, "/api/") || strings.HasPrefix(route.Path, "/agent/") {
			continue
		}
		path := strings.NewReplacer(":organization", "lab", ":workspace", "rivers").Replace(route.Path)
		if status, _ := s.ask(route.Method, path, token, false); status != http.StatusSeeOther && status != http.StatusUnauthorized {
			t.Errorf("%s %s by a token: %d", route.Method, path, status)
		}
	}
	if status, body := s.ask(http.MethodGet, "/api/user-info", token+"x", false); status != http.StatusUnauthorized || !strings.Contains(body, "This access token is not known") {
		t.Errorf("a token that is not known: %d %s", status, body)
	}
	_, page := s.get(b, "/account/tokens")
	if !strings.Contains(page, "laptop") || !strings.Contains(page, "from 127.0.0.1") || strings.Contains(page, token) {
		t.Errorf("the list: %s", page)
	}
	var kept string
	must(t, s.raw().QueryRow(`SELECT token_hash FROM access_tokens`).Scan(&kept))
	if kept != platform.HashToken(token) {
		t.Error("what is kept is not the hash")
	}
	if got := s.audited("access-token.create"); len(got) != 1 || strings.Contains(got[0], token) || !strings.HasPrefix(got[0], "laptop ") {
		t.Errorf("the audit log has %q", got)
	}
}

func TestAccessTokensEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	works := func(token string) bool {
		status, _ := s.ask(http.MethodGet, "/api/user-info", token, false)
		return status == http.StatusOK
	}
	revoked, expired, forever := s.newToken(b, csrf, "a", "90"), s.newToken(b, csrf, "b", "365"), s.newToken(b, csrf, "c", "0")
	tokens, err := s.db.AccessTokens(t.Context(), s.member.User.ID)
	must(t, err)
	stranger, theirs := s.signedInAs("bob", platform.RoleOwner)
	id := strconv.FormatInt(tokens[0].ID, 10)
	if status, _ := s.post(stranger, "/account/tokens/"+id+"/revoke", url.Values{"csrf": {theirs}}); status != http.StatusNotFound || !works(revoked) {
		t.Errorf("somebody else revoked it: %d", status)
	}
	s.must303(b, "/account/tokens/"+id+"/revoke", url.Values{"csrf": {csrf}})
	s.exec(`UPDATE access_tokens SET expires_at = ? WHERE name = 'b'`, time.Now().Add(-time.Second).UnixMilli())
	if works(revoked) || works(expired) || !works(forever) {
		t.Errorf("revoked %v, expired %v, for ever %v", works(revoked), works(expired), works(forever))
	}
	s.exec(`UPDATE users SET disabled_at = 1 WHERE user_name = 'ada'`)
	if works(forever) {
		t.Error("the token of a disabled user works")
	}
}

func TestABadTokenFormMakesNothingAndKeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	s.newToken(b, csrf, "Taken", "30")
	for _, c := range []struct{ name, days, field string }{{"", "30", "name"}, {strings.Repeat("x", 51), "30", "name"}, {"taken", "365", "name"}, {"kept", "31", "days"}, {"kept", "", "days"}} {
		status, page := s.post(b, "/account/tokens", url.Values{"csrf": {csrf}, "name": {c.name}, "days": {c.days}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+c.field+`-error"`) || !strings.Contains(page, `value="`+c.name+`"`) {
			t.Errorf("%+v: %d\n%s", c, status, page)
		}
	}
	if tokens, err := s.db.AccessTokens(t.Context(), s.member.User.ID); err != nil || len(tokens) != 1 {
		t.Errorf("%v, %v", tokens, err)
	}
}

func TestTheAPIListsAndRevokesTokensAndMakesNone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	token, other := s.newToken(b, csrf, "a", "30"), s.newToken(b, csrf, "b", "30")
	if status, body := s.ask(http.MethodGet, "/api/tokens", token, false); status != http.StatusOK || !strings.Contains(body, `"name":"b"`) || !strings.Contains(body, `"lastUsed":null`) || strings.Contains(body, "wherry_") {
		t.Errorf("the list: %d %s", status, body)
	}
	if status, body := s.ask(http.MethodPost, "/api/tokens", token, false); status != http.StatusForbidden || !strings.Contains(body, "/account/tokens") {
		t.Errorf("making one: %d %s", status, body)
	}
	tokens, err := s.db.AccessTokens(t.Context(), s.member.User.ID)
	must(t, err)
	for path, want := range map[string]int{"/api/tokens/x": 422, "/api/tokens/999": 404, "/api/tokens/" + strconv.FormatInt(tokens[1].ID, 10): 204} {
		if status, body := s.ask(http.MethodDelete, path, token, false); status != want {
			t.Errorf("DELETE %s: %d %s, want %d", path, status, body, want)
		}
	}
	if status, _ := s.ask(http.MethodGet, "/api/user-info", other, false); status != http.StatusUnauthorized {
		t.Errorf("the revoked token: %d", status)
	}
	if status, _ := s.ask(http.MethodDelete, "/api/tokens/delete-all", token, false); status != http.StatusNoContent {
		t.Errorf("delete-all: %d", status)
	}
	if status, _ := s.ask(http.MethodGet, "/api/tokens", token, false); status != http.StatusUnauthorized {
		t.Errorf("then: %d", status)
	}
	if got := s.audited("access-token.revoke"); len(got) != 2 {
		t.Errorf("the audit log has %q", got)
	}
}
