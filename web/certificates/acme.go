package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = autocert.DefaultACMEDirectory

// tellAgain is how long after a certificate could not be had this is said again.
const tellAgain = time.Minute

// ACME says how certificates are had from an authority.
type ACME struct {
	Domains   []string // names that are the portal's
	Email     string   // whom the authority writes to; may be empty
	Directory string   // the authority's address; empty: LetsEncrypt
	Folder    string   // where account and certificates are kept, readable for the portal's user alone
	// Known tells whether another name is the portal's too; nil: none is.
	Known func(ctx context.Context, name string) (bool, error)
	Log   *slog.Logger
	// Client speaks to the authority; nil: http.DefaultClient.
	Client *http.Client

	told told
}

// errNotOurs refuses names for which no certificate is asked: anyone can send any name, and authorities count what is asked.
var errNotOurs = errors.New("this name is not the portal's")

// FromACME has certificates made when a name is first asked for, and renewed a month before they end. The authority's challenge is
// answered by TLS itself (TLS-ALPN-01, RFC 8737), or by Challenges where that serves.
func FromACME(a *ACME) *Certificates {
	if a.Directory == "" {
		a.Directory = LetsEncrypt
	}
	manager := &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(a.Folder), HostPolicy: a.allowed, Email: a.Email,
		Client: &acme.Client{DirectoryURL: a.Directory, HTTPClient: a.Client, UserAgent: "wherry"}}
	get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := manager.GetCertificate(hello)
		if err != nil && hello.ServerName != "" && !errors.Is(err, errNotOurs) && a.told.first(time.Now()) {
			a.Log.Error("a certificate cannot be had", "name", hello.ServerName, "directory", a.Directory, "error", err)
		}
		return cert, err
	}
	return &Certificates{config: newConfig(get, acme.ALPNProto), Challenges: manager.HTTPHandler}
}

// allowed refuses names that are not the portal's.
func (a *ACME) allowed(ctx context.Context, host string) error {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil { // of a Host header
		name = h
	}
	name = strings.ToLower(name)
	if slices.Contains(a.Domains, name) {
		return nil
	}
	if a.Known != nil {
		if known, err := a.Known(ctx, name); known || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %q", errNotOurs, name)
}

// told remembers when something was last said, so that a name that is asked for a hundred times a second fills no log.
type told struct {
	mu   sync.Mutex
	last time.Time
}

func (t *told) first(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last) < tellAgain {
		return false
	}
	t.last = now
	return true
}
