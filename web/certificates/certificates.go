// Package certificates gives the portal's TLS its certificates: from files that somebody else renews, or from a certificate
// authority by ACME (RFC 8555).
package certificates

import (
	"crypto/tls"
	"net/http"
)

// Certificates are where TLS takes its certificates from.
type Certificates struct {
	config *tls.Config
	// Challenges answers what the authority asks in clear (HTTP-01, RFC 8555 section 8.3), and leaves all else to next.
	Challenges func(next http.Handler) http.Handler
}

// Config is how a listener speaks TLS. HTTP/2 is offered; browsers and agents ask for HTTP/1.1 where they open a WebSocket.
func (c *Certificates) Config() *tls.Config { return c.config.Clone() }

// newConfig is what all have in common. The choice of suites and curves is Go's, which keeps it up to date. Below TLS 1.2 nothing
// is safe any more (RFC 8996).
func newConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: get, NextProtos: append([]string{"h2", "http/1.1"}, protocols...)}
}
