package oidc_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"wherry/oidc"
	"wherry/oidc/oidctest"
)

// proxy stands in front of a real provider and changes its answers.
type proxy struct {
	*httptest.Server
	mu      sync.Mutex
	to      *url.URL
	changes map[string]func(answer []byte) []byte // by path
	status  map[string]int
	calls   map[string]int
}

// behindProxy starts a provider behind a proxy, under whose name it is known.
func behindProxy(t *testing.T, o oidctest.Options) (*proxy, *oidctest.Provider) {
	t.Helper()
	x := &proxy{changes: map[string]func([]byte) []byte{}, status: map[string]int{}, calls: map[string]int{}}
	forward := &httputil.ReverseProxy{ModifyResponse: x.change, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(x.to)
		r.Out.Host = r.In.Host
		r.Out.Header.Del("Accept-Encoding")
	}}
	x.Server = httptest.NewServer(forward)
	t.Cleanup(x.Close)
	o.Issuer, o.RedirectURIs = x.URL, []string{back}
	p := oidctest.Start(t, o)
	to, err := url.Parse(p.Address)
	if err != nil {
		t.Fatal(err)
	}
	x.to = to
	return x, p
}

// on changes the answers at a path from now on; nil: no more.
func (x *proxy) on(path string, change func([]byte) []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes[path] = change
}

// count tells how often a path was asked for.
func (x *proxy) count(path string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.calls[path]
}

func (x *proxy) change(answer *http.Response) error {
	x.mu.Lock()
	change, status := x.changes[answer.Request.URL.Path], x.status[answer.Request.URL.Path]
	x.calls[answer.Request.URL.Path]++
	x.mu.Unlock()
	if status != 0 {
		answer.StatusCode, answer.Status = status, http.StatusText(status)
	}
	if change == nil {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	body = change(body)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.ContentLength = int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// members changes members of an object; nil takes one away.
func members(changes map[string]any) func([]byte) []byte {
	return func(answer []byte) []byte {
		object := map[string]any{}
		if err := json.Unmarshal(answer, &object); err != nil {
			return answer
		}
		for name, value := range changes {
			if object[name] = value; value == nil {
				delete(object, name)
			}
		}
		changed, _ := json.Marshal(object)
		return changed
	}
}

// forger has a key of its own, which it says is the provider's: it stands for a provider that is wrong or malicious.
type forger struct {
	key *ecdsa.PrivateKey
}

func newForger(t *testing.T) *forger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{key}
}

// keys is the answer of jwks_uri.
func (f *forger) keys([]byte) []byte {
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: f.key.Public(), KeyID: "forged", Algorithm: "ES256", Use: "sig"}}})
	return set
}

// sign changes claims of the ID token in the answer of the token endpoint, and signs it again.
func (f *forger) sign(t *testing.T, changes map[string]any) func([]byte) []byte {
	return func(answer []byte) []byte {
		var tokens struct {
			ID string `json:"id_token"`
		}
		if err := json.Unmarshal(answer, &tokens); err != nil || tokens.ID == "" {
			return answer
		}
		claims, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens.ID, ".")[1])
		if err != nil {
			t.Error(err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: f.key, KeyID: "forged"}}, nil)
		if err != nil {
			t.Error(err)
		}
		signed, err := signer.Sign(members(changes)(claims))
		if err != nil {
			t.Error(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Error(err)
		}
		return members(map[string]any{"id_token": compact})(answer)
	}
}

// ofProxy is a client of the provider behind a proxy.
func ofProxy(t *testing.T, p *oidctest.Provider) *oidc.Client {
	t.Helper()
	return newClient(t, configOf(p))
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(text string) string {
	plain, _ := base64.RawURLEncoding.DecodeString(text)
	return string(plain)
}
