package outbound

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a DNS server that answers with each of its addresses in turn, and with the last one for ever.
func names(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go serveNames(conn, addresses)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func serveNames(conn net.PacketConn, addresses []string) {
	for buffer := make([]byte, 1500); ; {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q, address := m.Questions[0], netip.MustParseAddr(addresses[0])
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
		m.Additionals = nil
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0}
		if q.Type == dnsmessage.TypeA && address.Is4() {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}}
		} else if q.Type == dnsmessage.TypeAAAA && address.Is6() {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}}
		}
		if len(m.Answers) > 0 && len(addresses) > 1 {
			addresses = addresses[1:]
		}
		packed, _ := m.Pack()
		conn.WriteTo(packed, from)
	}
}

// server is one with TLS whose certificate is of example.com and 127.0.0.1. It counts the requests that reach it.
type server struct {
	*httptest.Server
	requests atomic.Int64
	TLS      *tls.Config // for its clients
}

func newServer(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	authorities := x509.NewCertPool()
	authorities.AddCert(s.Certificate())
	s.TLS = &tls.Config{RootCAs: authorities}
	return s
}

// named is the server's address by a name.
func (s *server) named() string { return "https://example.com:" + s.port() }

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") }

// get makes a request and reads the answer.
func get(t *testing.T, client *http.Client, address string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	var refusal *RefusedError
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Error(), why) {
		t.Errorf("it ends with %v, want a refusal with %q", err, why)
	}
}

func TestAPrivateHostIsReachedOnlyWhereThatIsAllowed(t *testing.T) {
	t.Parallel()
	s := newServer(t, ok)
	for _, address := range []string{s.named(), s.URL} {
		_, err := get(t, NewClient(Options{TLS: s.TLS, Resolver: names(t, "127.0.0.1")}), address)
		refused(t, err, "private network")
	}
	if n := s.requests.Load(); n != 0 {
		t.Errorf("%d requests reached it", n)
	}
	for _, address := range []string{s.named(), s.URL} {
		if text, err := get(t, NewClient(Options{AllowPrivate: true, TLS: s.TLS, Resolver: names(t, "127.0.0.1")}), address); err != nil || text != "reached" {
			t.Errorf("where it is allowed, %s says %q, %v", address, text, err)
		}
	}
}

func TestANameThatLeadsElsewhereAMomentLaterGainsNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, ok)
	resolver := names(t, "8.8.8.8", "127.0.0.1")
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "example.com")
	if err != nil || len(first) != 1 || kindOf(first[0]) != public {
		t.Fatalf("the name is %v at first, %v", first, err)
	}
	_, err = get(t, NewClient(Options{TLS: s.TLS, Resolver: resolver}), s.named())
	refused(t, err, "127.0.0.1")
	if n := s.requests.Load(); n != 0 {
		t.Errorf("%d requests reached it", n)
	}
}

func TestAMetadataServiceIsNeverReached(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::"} {
		for _, client := range []*http.Client{
			NewClient(Options{AllowPrivate: true, Resolver: names(t, address)}),
			NewClient(Options{Resolver: names(t, address)}),
		} {
			for _, u := range []string{"https://metadata.example.com/latest", "https://" + net.JoinHostPort(address, "443") + "/latest", "http://" + net.JoinHostPort(address, "80") + "/latest"} {
				_, err := get(t, client, u)
				refused(t, err, "")
			}
		}
	}
}

func TestOnlyThisHostIsReachedWithoutTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(ok))
	t.Cleanup(s.Close)
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	if text, err := get(t, NewClient(Options{AllowPrivate: true}), s.URL); err != nil || text != "reached" {
		t.Errorf("it says %q, %v", text, err)
	}
	if text, err := get(t, NewClient(Options{AllowPrivate: true}), "http://localhost"+port); err != nil || text != "reached" {
		t.Errorf("as localhost it says %q, %v", text, err)
	}
	for _, c := range []struct {
		address string
		allow   bool
	}{{s.URL, false}, {"http://localhost" + port, false}, {"http://example.com" + port, true}, {"http://10.0.0.1/", true}, {"http://8.8.8.8/", true},
		{"ftp://127.0.0.1/", true}, {"https://user:password@127.0.0.1/", true}} {
		_, err := get(t, NewClient(Options{AllowPrivate: c.allow, Resolver: names(t, "127.0.0.1")}), c.address)
		refused(t, err, "https://")
		if err != nil && strings.Contains(err.(*url.Error).Err.Error(), "password@") {
			t.Errorf("the refusal has the password: %v", err)
		}
	}
}

func TestANameOfThisHostThatLeadsElsewhereIsNotReachedWithoutTLS(t *testing.T) {
	t.Parallel()
	// Which name that is, is a matter of the host's own files, so the connection is tried by itself.
	transport := NewClient(Options{AllowPrivate: true, Resolver: names(t, "10.0.0.1")}).Transport.(*rules).http
	_, err := transport.DialContext(t.Context(), "tcp", "localhost.example.com:80")
	refused(t, err, "http:// is only for this host")
}

func TestRedirectsHoldTheSameRules(t *testing.T) {
	t.Parallel()
	var to atomic.Value
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			ok(w, r)
			return
		}
		http.Redirect(w, r, to.Load().(string), http.StatusTemporaryRedirect)
	})
	plain := httptest.NewServer(http.HandlerFunc(ok))
	t.Cleanup(plain.Close)
	client := NewClient(Options{AllowPrivate: true, TLS: s.TLS, Resolver: names(t, "127.0.0.1")})
	to.Store(s.named() + "/end")
	if text, err := get(t, client, s.URL); err != nil || text != "reached" {
		t.Errorf("to a host that may be reached it says %q, %v", text, err)
	}
	for address, why := range map[string]string{"https://169.254.169.254/": "169.254.169.254", plain.URL: "from https:// to http://", s.URL: "more than 3 redirects",
		"file:///etc/passwd": "https://"} {
		to.Store(address)
		_, err := get(t, client, s.URL)
		refused(t, err, why)
	}
	to.Store(s.named() + "/end")
	answer, err := client.Post(s.URL, "text/plain", strings.NewReader("secret"))
	if err == nil {
		answer.Body.Close()
	}
	refused(t, err, "POST is not redirected")
}

func TestAnAnswerIsReadOnlySoFar(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		text := strings.Repeat("x", 1000)
		if r.URL.Path == "/more" {
			text += "x"
		}
		if r.URL.Path != "/packed" {
			io.WriteString(w, text)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		for range 5000 {
			io.WriteString(packed, text)
		}
		packed.Close()
	})
	client := NewClient(Options{AllowPrivate: true, TLS: s.TLS, MaxBytes: 1000})
	if text, err := get(t, client, s.URL); err != nil || len(text) != 1000 {
		t.Errorf("what just fits has %d bytes, %v", len(text), err)
	}
	for _, path := range []string{"/more", "/packed"} {
		if text, err := get(t, client, s.URL+path); !errors.Is(err, ErrTooLarge) || len(text) != 1000 {
			t.Errorf("%s ends after %d bytes with %v", path, len(text), err)
		}
	}
}

func TestAServerThatTakesTooLongIsLeft(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			fmt.Fprint(w, "a part")
			w.(http.Flusher).Flush()
		}
		<-stop
	})
	defer close(stop) // the server's end waits for its requests
	client := NewClient(Options{AllowPrivate: true, TLS: s.TLS, Timeout: 200 * time.Millisecond})
	for _, path := range []string{"/silent", "/slow"} {
		_, err := get(t, client, s.URL+path)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s ends with %v", path, err)
		}
	}
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	s := newServer(t, ok)
	proxy := newServer(t, ok)
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	if text, err := get(t, NewClient(Options{AllowPrivate: true, TLS: s.TLS, Resolver: names(t, "127.0.0.1")}), s.named()); err != nil || text != "reached" {
		t.Errorf("it says %q, %v", text, err)
	}
	if n := proxy.requests.Load(); n != 0 {
		t.Errorf("%d requests went to the proxy", n)
	}
}
