package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
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
