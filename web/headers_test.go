package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"wherry/platform"
	"wherry/web/studios"
)

// TestEveryAnswerOfThePortalCarriesItsPolicies, also those that refuse.
func TestEveryAnswerOfThePortalCarriesItsPolicies(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	secure := &Server{DB: s.db, Hub: s.server.Hub, Pages: s.server.Pages, API: s.server.API, Log: s.server.Log, HTTPS: true}
	for _, https := range []bool{false, true} {
		handler := s.Config.Handler
		if https {
			handler = secure.Handler()
		}
		for path, want := range map[string]int{"/sign-in": 200, "/nothing": 404, ws + "/runs": 303, "/api/user-info": 401, "/healthz": 200, "/static/none": 404} {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			h := w.Header()
			for name, part := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Permissions-Policy": "camera=()"} {
				if !strings.HasPrefix(h.Get(name), part) || len(h.Values(name)) != 1 {
					t.Errorf("%s: %s is %q", path, name, h.Values(name))
				}
			}
			if got := h.Get("Strict-Transport-Security"); (got == "max-age=31536000; includeSubDomains") != https {
				t.Errorf("%s, by https %v: Strict-Transport-Security is %q", path, https, got)
			}
			if w.Code != want {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	}
}

func TestSigningInLeadsToNoOtherSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser()
	owner := url.Values{"email": {"ada@example.org"}, "userName": {"ada"}, "password": {"a long way down the river"}, "organization": {"lab"}, "workspace": {"rivers"}}
	if status, page := s.post(b, "/set-up", owner); status != http.StatusSeeOther {
		t.Fatalf("the set-up: %d %s", status, page)
	}
	for next, want := range map[string]string{"/runs/x?a=1": "/runs/x?a=1", "//elsewhere.example": "/", "https://elsewhere.example/": "/", `/\elsewhere.example`: "/", "/\t/elsewhere.example": "/", "javascript:alert(1)": "/", "elsewhere.example": "/"} {
		resp, err := s.browser().PostForm(s.URL+"/sign-in", url.Values{"login": {"ada"}, "password": owner["password"], "next": {next}})
		must(t, err)
		resp.Body.Close()
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%q leads to %q, with %s", next, got, resp.Status)
		}
	}
}

func TestStudiosAreReachedByHTTPSAloneOnceTheyWere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for portal, want := range map[string]string{"https://portal.example.org": "max-age=31536000", "http://portal.example.org": ""} {
		st := studios.New(studios.Config{DB: s.db, Log: s.server.Log, Origins: studios.NewOrigins(portal, "studios.example.org", ""), PortalURL: portal})
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = st.Origins.Host(platform.NewID())
		st.Beside(http.NotFoundHandler()).ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != want || w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d with %q", portal, w.Code, got)
		}
	}
}
