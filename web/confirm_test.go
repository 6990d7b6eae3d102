package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"wherry/views"
)

func TestWhoHasASecondFactorProvesBothAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	secret, _ := s.withSecondFactor(b, csrf)
	s.exec(`UPDATE sessions SET confirmed_at = ?`, time.Now().Add(-16*time.Minute).UnixMilli())
	if _, page := s.get(b, "/account/confirm?next=/account/email"); !strings.Contains(page, `name="code"`) {
		t.Errorf("the page asks for no code: %s", page)
	}
	const next = "/account/email"
	for what, c := range map[string]struct{ password, code, field string }{
		"a wrong password": {"wrong wrong", code(t, secret, time.Now()), "password"},
		"no code":          {goodPassword, "", "code"},
		"a wrong code":     {goodPassword, "000000", "code"},
	} {
		status, page := s.post(b, "/account/confirm", url.Values{"csrf": {csrf}, "password": {c.password}, "code": {c.code}, "next": {next}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+c.field+`-error"`) {
			t.Errorf("%s: %d", what, status)
		}
	}
	if to := s.must303(b, next, url.Values{"csrf": {csrf}, "email": {"eve@example.org"}}); !strings.HasPrefix(to, "/account/confirm") {
		t.Errorf("without a proof the address is changed: %s", to)
	}
	if to := s.must303(b, "/account/confirm", url.Values{"csrf": {csrf}, "password": {goodPassword}, "code": {code(t, secret, time.Now())}, "next": {next}}); to != next {
		t.Errorf("with both it leads to %s", to)
	}
}

// TestAnotherSiteBeginsNoSignInAndNoLink: its page could have signed the browser in at the provider as somebody else.
func TestAnotherSiteBeginsNoSignInAndNoLink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.withPassword()
	ask := func(path, site string) (status int, to, page string) {
		r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		must(t, err)
		for name, value := range map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"} {
			r.Header.Set(name, value)
		}
		resp, err := b.Do(r)
		must(t, err)
		status, page = readAll(t, resp)
		return status, resp.Header.Get("Location"), page
	}
	for path, want := range map[string]string{"/sign-in/oidc?next=/account": "/sign-in?next=%2Faccount", views.LinkPath(csrf): "/account"} {
		for _, site := range []string{"cross-site", "same-site"} {
			if status, to, _ := ask(path, site); status != http.StatusSeeOther || to != want {
				t.Errorf("%s from a %s page: %d to %q", path, site, status, to)
			}
		}
		for _, site := range []string{"same-origin", "none"} {
			if status, to, _ := ask(path, site); status != http.StatusNotFound { // this portal has no provider
				t.Errorf("%s, %s: %d to %q", path, site, status, to)
			}
		}
	}
	if _, _, page := ask("/account/confirm?next=/account/link", "cross-site"); !strings.Contains(page, `value="/account"`) || strings.Contains(page, "/account/link") {
		t.Error("another site's page chooses what is confirmed")
	}
}
