// Package certificates gives the portal's TLS its certificates: from files that somebody else renews, or from a certificate
// authority by ACME (RFC 8555).
package certificates

import (
	"crypto/tls"
	"net/http"
	"strings"
)

// Certificates are where TLS takes its certificates from.
type Certificates struct {
	config *tls.Config
	// Challenges answers what the authority asks in clear (HTTP-01, RFC 8555 section 8.3), and leaves all else to next.
	Challenges func(next http.Handler) http.Handler
}

// Config is how a listener speaks TLS. HTTP/2 is offered; browsers and agents ask for HTTP/1.1 where they open a WebSocket.
func (c *Certificates) Config() *tls.Config { return c.config.Clone() }

// newConfig is what all have in common. The choice of suites and curves is Go's, which keeps it up to date, but for suites without
// authenticated encryption, which TLS 1.2 still has and RFC 9325 advises against (4.2). Below TLS 1.2 nothing is safe any more (RFC 8996).
func newConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: authenticated(), GetCertificate: get, NextProtos: append([]string{"h2", "http/1.1"}, protocols...)}
}

// authenticated are the suites of TLS 1.2 with forward secrecy and authenticated encryption. Those of TLS 1.3 all have both.
func authenticated() (ids []uint16) {
	for _, suite := range tls.CipherSuites() {
		if strings.Contains(suite.Name, "_ECDHE_") && (strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_CHACHA20_POLY1305")) {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}
