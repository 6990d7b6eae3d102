package static

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestVendoredFilesAreAsTheyWerePublished(t *testing.T) {
	t.Parallel()
	sums, err := files.ReadFile("vendor/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(sums)), "\n")
	if len(lines) < 3 {
		t.Fatalf("only %d digests", len(lines))
	}
	for _, line := range lines {
		want, name, _ := strings.Cut(line, "  ")
		text, err := files.ReadFile("vendor/" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := sha256.Sum256(text); hex.EncodeToString(got[:]) != want {
			t.Errorf("%s differs from its digest", name)
		}
	}
}

func TestFilesAreServedForEverUnderTheirDigest(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]struct {
		status int
		cache  string
	}{
		URL("app.css"):                  {http.StatusOK, "public, max-age=31536000, immutable"},
		"/static/old/app.css":           {http.StatusOK, "no-cache"},
		"/static/x/vendor/nothing.js":   {http.StatusNotFound, ""},
		"/static/x/vendor/":             {http.StatusNotFound, ""},
		"/static/x/../static/static.go": {http.StatusNotFound, ""},
	} {
		w := httptest.NewRecorder()
		http.StripPrefix("/static/", Handler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want.status || w.Header().Get("Cache-Control") != want.cache {
			t.Errorf("%s: %d %q, want %d %q", path, w.Code, w.Header().Get("Cache-Control"), want.status, want.cache)
		}
	}
}
