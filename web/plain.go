package web

import (
	"context"
	"net"
	"net/http"
	"strings"
)

// ServePlain answers plain HTTP beside TLS until ctx is done: challenges of a certificate authority, and for all else where https is.
func (s *Server) ServePlain(ctx context.Context, listener net.Listener, challenges func(http.Handler) http.Handler) error {
	return s.serve(ctx, listener, s.bounded(challenges(http.HandlerFunc(s.toHTTPS))))
}

// toHTTPS sends browsers on to the same page by https. It leads to the portal and its Studios alone, whatever a request names as its
// host. What is sent in clear is not taken: a program that is told so is set right, and one that was sent on would go on.
func (s *Server) toHTTPS(w http.ResponseWriter, r *http.Request) {
	to := s.Studios.Origins.At(r.Host)
	if r.Method != http.MethodGet && r.Method != http.MethodHead || to == "" && ((Route{Path: r.URL.Path}).machineToMachine() || r.URL.Path == "/metrics") {
		http.Error(w, "This portal is reached by https:// only. Nothing was done.", http.StatusForbidden)
		return
	}
	if to == "" {
		to = s.URL
	}
	to += "/" + strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, to, http.StatusPermanentRedirect)
}
