package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTLSIsSetWholeAndOnce: what is set by half, twice, or against another setting is refused in words that name the variables.
func TestTLSIsSetWholeAndOnce(t *testing.T) {
	files := map[string]string{"WHERRY_TLS_CERT": "/c.pem", "WHERRY_TLS_KEY": "/k.pem", "WHERRY_URL": "https://portal.example.org"}
	acme := map[string]string{"WHERRY_TLS_ACME": "Portal.example.org, other.example.org", "WHERRY_URL": "https://portal.example.org"}
	for _, c := range []struct {
		what         string
		from         map[string]string
		name, value  string
		another, too string // one more variable
		want         string // empty: it is taken
	}{
		{what: "files", from: files},
		{what: "ACME", from: acme},
		{what: "ACME with all", from: acme, name: "WHERRY_TLS_ACME_EMAIL", value: "ops@example.org", another: "WHERRY_TLS_ACME_DIRECTORY", too: "https://acme.example.org/directory"},
		{what: "plain HTTP beside", from: files, name: "WHERRY_HTTP_ADDRESS", value: ":80"},
		{what: "no key", from: files, name: "WHERRY_TLS_KEY", want: "only one is set"},
		{what: "no certificate", from: files, name: "WHERRY_TLS_CERT", want: "only one is set"},
		{what: "both", from: files, name: "WHERRY_TLS_ACME", value: "portal.example.org", want: "both set"},
		{what: "in clear", from: files, name: "WHERRY_URL", value: "http://portal.example.org", want: `WHERRY_URL is "http://portal.example.org"`},
		{what: "no address", from: files, name: "WHERRY_URL", want: "set it to https://"},
		{what: "machines in clear", from: files, name: "WHERRY_AGENT_PORTAL", value: "http://portal.example.org", want: "WHERRY_AGENT_PORTAL"},
		{what: "Studios in clear", from: files, name: "WHERRY_STUDIOS_ADDRESS", value: ":8443", another: "WHERRY_STUDIOS_URL", too: "http://portal.example.org:8443", want: "WHERRY_STUDIOS_URL"},
		{what: "ACME for another name", from: acme, name: "WHERRY_URL", value: "https://elsewhere.example.org", want: `does not have "elsewhere.example.org"`},
		{what: "ACME without the Studios", from: acme, name: "WHERRY_STUDIOS_ADDRESS", value: ":8443", another: "WHERRY_STUDIOS_URL", too: "https://s.example.org:8443", want: "the host of WHERRY_STUDIOS_URL"},
		{what: "ACME for a wildcard", from: acme, name: "WHERRY_TLS_ACME", value: "*.example.org", want: `"*.example.org"`},
		{what: "ACME for a number", from: acme, name: "WHERRY_TLS_ACME", value: "10.0.0.1", want: `"10.0.0.1"`},
		{what: "no mail address", from: acme, name: "WHERRY_TLS_ACME_EMAIL", value: "ops", want: `"ops"`},
		{what: "an authority in clear", from: acme, name: "WHERRY_TLS_ACME_DIRECTORY", value: "http://acme.example.org", want: "must be https://"},
		{what: "an authority for nothing", name: "WHERRY_TLS_ACME_DIRECTORY", value: "https://acme.example.org", want: "without WHERRY_TLS_ACME"},
		{what: "plain HTTP alone", name: "WHERRY_HTTP_ADDRESS", value: ":80", want: "no TLS"},
		{what: "plain HTTP nowhere", from: files, name: "WHERRY_HTTP_ADDRESS", value: "80", want: `WHERRY_HTTP_ADDRESS is "80"`},
		{what: "proxies", name: "WHERRY_TRUSTED_PROXIES", value: "127.0.0.1, 10.1.2.3/16,2001:db8::/32"},
		{what: "a proxy by name", name: "WHERRY_TRUSTED_PROXIES", value: "127.0.0.1,proxy", want: `"proxy"`},
		{what: "everybody as a proxy", name: "WHERRY_TRUSTED_PROXIES", value: "0.0.0.0/0", want: "everybody"},
	} {
		t.Run(c.what, func(t *testing.T) {
			for name, value := range c.from {
				t.Setenv(name, value)
			}
			for name, value := range map[string]string{c.name: c.value, c.another: c.too} {
				if name != "" {
					t.Setenv(name, value)
				}
			}
			s, _, err := readSettings("serve", nil, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("it is answered with %v", err)
			}
			if c.what == "proxies" && (len(s.proxies) != 3 || s.proxies[0].String() != "127.0.0.1/32" || s.proxies[1].String() != "10.1.0.0/16") {
				t.Errorf("trusted are %v", s.proxies)
			}
		})
	}
}

// TestEveryListenerSpeaksTLSButThatOfPlainHTTP is of a portal whose Studios share an address.
func TestEveryListenerSpeaksTLSButThatOfPlainHTTP(t *testing.T) {
	t.Parallel()
	var d doctor
	withCertificate(t, &d, time.Hour, "portal.example.org")
	d.data, d.tls.httpAddress, d.studios.address, d.studios.url = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "https://portal.example.org:8443"
	p, _ := serving(t, d.settings)
	if p.jobs.PortalURL != "https://portal.example.org" {
		t.Errorf("machines are told %s", p.jobs.PortalURL)
	}
	for address, c := range map[string]struct {
		listener net.Listener
		status   int
		proto    string
	}{
		"https://portal.example.org/healthz": {p.listener, http.StatusOK, "HTTP/2.0"},
		"https://portal.example.org:8443/":   {p.studioListener, http.StatusUnauthorized, "HTTP/2.0"},
		"http://portal.example.org/sign-in":  {p.httpListener, http.StatusPermanentRedirect, "HTTP/1.1"},
	} {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, c.listener.Addr().String())
			}}
		req, err := http.NewRequest(http.MethodGet, address, nil)
		must(t, err)
		resp, err := transport.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != c.status || resp.Proto != c.proto {
			t.Errorf("%s: %s by %s", address, resp.Status, resp.Proto)
		}
	}
}
