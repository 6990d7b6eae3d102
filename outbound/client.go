// Package outbound makes requests to addresses that a person or another server has named. They could be made to lead to what
// only this host reaches, such as the cloud's metadata service with the host's credentials, so each connection is checked
// when it is made, when names are resolved already: a name that leads elsewhere a moment later gains nothing.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// The bounds of a request.
const (
	DefaultTimeout  = 15 * time.Second // for the whole of it
	DefaultMaxBytes = 1 << 20          // of an answer, unpacked

	connectTimeout = 5 * time.Second
	maxHeaderBytes = 64 << 10
	maxRedirects   = 3
)

// Options say what a client may do.
type Options struct {
	// AllowPrivate lets it reach hosts of the operator's own network and this host, and http:// on this host. Metadata services and
	// link-local addresses stay refused.
	AllowPrivate bool
	Timeout      time.Duration // DefaultTimeout if 0
	MaxBytes     int64         // DefaultMaxBytes if 0
	Resolver     *net.Resolver // the system's if nil
	TLS          *tls.Config   // the system's authorities if nil
}

// RefusedError tells that a request was not made, or not followed, because of where it leads.
type RefusedError struct {
	Where string // a host, an address, or a URL without its query
	Why   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("a request to %s is refused: %s", e.Where, e.Why)
}

// ErrTooLarge is what reading an answer ends with that is larger than Options.MaxBytes.
var ErrTooLarge = errors.New("the answer is larger than is read")

// NewClient makes a client that holds the rules of this package. It keeps no cookies and uses no proxy: a proxy would resolve
// names itself, where they cannot be checked.
func NewClient(o Options) *http.Client {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	rules := &rules{Options: o}
	rules.https, rules.http = rules.transport(rules.mayConnect), rules.transport(rules.mayConnectPlainly)
	return &http.Client{Transport: rules, Timeout: o.Timeout, CheckRedirect: mayFollow}
}

// rules is a transport that looks at requests, connections and answers.
type rules struct {
	Options
	https, http *http.Transport
}

// RoundTrip makes one request, a redirected one too.
func (r *rules) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := r.CheckURL(request.URL); err != nil {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, err
	}
	transport := r.https
	if request.URL.Scheme == "http" {
		transport = r.http
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	answer.Body = &bounded{answer.Body, r.MaxBytes}
	return answer, nil
}

// CheckURL tells what is wrong with a URL as far as that is known before its host is asked for: for a setting or a form.
func (o Options) CheckURL(u *url.URL) error {
	where := u.Scheme + "://" + u.Host
	if u.Hostname() == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return &RefusedError{where, "it must be https:// and a host, without a user or password in it"}
	}
	if u.Scheme == "http" && (!o.AllowPrivate || !IsLoopback(u.Hostname())) {
		return &RefusedError{where, "it must be https://; http:// is only for this host, where private addresses are allowed"}
	}
	if address, err := netip.ParseAddr(u.Hostname()); err == nil {
		return o.check(address)
	}
	return nil
}

// check tells whether an address may be connected to.
func (o Options) check(address netip.Addr) error {
	switch kindOf(address) {
	case never:
		return &RefusedError{address.String(), "nothing that the portal needs is at such an address (link-local, metadata service, multicast or reserved)"}
	case private:
		if !o.AllowPrivate {
			return &RefusedError{address.String(), "it is in a private network, which is not allowed here"}
		}
	}
	return nil
}

// transport makes connections that a rule lets pass.
func (r *rules) transport(rule func(netip.AddrPort) error) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: r.Resolver, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			resolved, err := netip.ParseAddrPort(address)
			if err != nil || (network != "tcp4" && network != "tcp6") {
				return &RefusedError{network + " " + address, "it is not an address of TCP"}
			}
			return rule(resolved)
		}}
	return &http.Transport{Proxy: nil, DialContext: dialer.DialContext, TLSClientConfig: r.TLS.Clone(), ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: r.Timeout, MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost: 2, MaxConnsPerHost: 16, IdleConnTimeout: time.Minute}
}

func (r *rules) mayConnect(to netip.AddrPort) error { return r.check(to.Addr()) }

// mayConnectPlainly is for http://: what is not encrypted does not leave this host, whatever a name leads to.
func (r *rules) mayConnectPlainly(to netip.AddrPort) error {
	if !r.AllowPrivate || !to.Addr().Unmap().IsLoopback() {
		return &RefusedError{to.Addr().String(), "http:// is only for this host"}
	}
	return nil
}

// mayFollow bounds redirects. What was sent with another method than GET holds secrets and is for one address.
func mayFollow(next *http.Request, before []*http.Request) error {
	first := before[0]
	where := next.URL.Scheme + "://" + next.URL.Host
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return &RefusedError{where, "a " + first.Method + " is not redirected"}
	case len(before) > maxRedirects:
		return &RefusedError{where, fmt.Sprintf("more than %d redirects", maxRedirects)}
	case before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https":
		return &RefusedError{where, "a redirect from https:// to http:// is not followed"}
	}
	return nil
}

// bounded reads at most so many bytes, and ends with ErrTooLarge where there are more.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(into []byte) (int, error) {
	if int64(len(into)) > b.left+1 {
		into = into[:b.left+1]
	}
	n, err := b.ReadCloser.Read(into)
	if int64(n) > b.left {
		n, err = int(b.left), ErrTooLarge
	}
	b.left -= int64(n)
	return n, err
}
