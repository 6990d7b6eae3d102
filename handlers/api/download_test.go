package api

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"wherry/agent/binaries"
	"wherry/platform"
)

// download asks for an agent as a machine does.
func download(arch string, header map[string]string) (*httptest.ResponseRecorder, error) {
	r := httptest.NewRequest(http.MethodGet, "/agent/download/"+arch, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c := echo.New().NewContext(r, w)
	c.SetParamNames("arch")
	c.SetParamValues(arch)
	return w, (&API{}).Download(c)
}

func TestAMachineGetsTheAgentOfItsArchitecture(t *testing.T) {
	t.Parallel()
	for _, arch := range binaries.Architectures {
		_, digest, ok := binaries.Get(arch)
		if !ok {
			if _, err := download(arch, nil); platform.ErrorCode(err) != platform.CodeNotFound || !strings.Contains(err.Error(), "was built without") {
				t.Errorf("without an agent for %s: %v", arch, err)
			}
			continue
		}
		for _, accept := range []string{"", "gzip", "br, gzip;q=0.5", "gzip;q=0"} {
			w, err := download(arch, map[string]string{"Accept-Encoding": accept})
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = w.Body
			if w.Header().Get("Content-Encoding") == "gzip" {
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			} else if strings.Contains(accept, "gzip") && !strings.Contains(accept, "q=0") {
				t.Errorf("%q was answered without compression", accept)
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, body); err != nil || hex.EncodeToString(sum.Sum(nil)) != digest {
				t.Errorf("%s with %q: digest %x, want %s, %v", arch, accept, sum.Sum(nil), digest, err)
			}
			again, err := download(arch, map[string]string{"Accept-Encoding": accept, "If-None-Match": w.Header().Get("ETag")})
			if err != nil || again.Code != http.StatusNotModified || again.Body.Len() > 0 {
				t.Errorf("%s with %q again: %d with %d bytes, %v", arch, accept, again.Code, again.Body.Len(), err)
			}
		}
	}
}

func TestThereIsNoAgentForAnotherArchitecture(t *testing.T) {
	t.Parallel()
	if _, err := download("riscv64", nil); platform.ErrorCode(err) != platform.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestWhoTakesGzip(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{"": false, "gzip": true, "GZIP": true, "br": false, "deflate, gzip": true, "gzip;q=0": false,
		"gzip; q=0.3": true, "gzip;q=nothing": false} {
		if got := acceptsGzip(accept); got != want {
			t.Errorf("%q: %t", accept, got)
		}
	}
}
