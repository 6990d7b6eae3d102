package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAnAgentFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("another host got %s", r.URL) }))
	defer other.Close()
	portal := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer portal.Close()
	err := newPortal(Config{PortalURL: portal.URL}).call(t.Context(), http.MethodPost, "/agent/steps", nil, nil)
	if refused := (&refusal{}); !errors.As(err, &refused) || refused.status != http.StatusTemporaryRedirect {
		t.Errorf("the error is %v", err)
	}
}
