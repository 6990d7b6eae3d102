package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// authority is Pebble, the small certificate authority that Let's Encrypt tests clients with, with a name server for which every name is this
// host.
type authority struct {
	*httptest.Server
	roots  *x509.CertPool
	orders atomic.Int64
}

// newAuthority asks for challenges at two ports of this host.
func newAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	resolver := net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(t)))
	names, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{resolver}, Log: quiet})
	must(t, err)
	names.SetDefaultDNSIPv4("127.0.0.1")
	names.SetDefaultDNSIPv6("")
	go names.Run()
	t.Cleanup(names.Shutdown)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	front := wfe.New(quiet, store, va.New(quiet, httpPort, tlsPort, true, resolver, store), issuer, []string{"pebble.letsencrypt.org"}, true, false, 0, 0)
	a := &authority{roots: x509.NewCertPool()}
	handler := front.Handler()
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/order-plz") {
			a.orders.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	root := issuer.GetRootCert(0)
	if !a.roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Cert.Raw})) {
		t.Fatal("the authority has no root")
	}
	return a
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return l, l.Addr().(*net.TCPAddr).Port
}

// portal serves with certificates of the authority, until the test ends.
func portal(t *testing.T, l net.Listener, c *Certificates) {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }), ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(tls.NewListener(l, c.Config()))
	t.Cleanup(func() { server.Close() })
}

// ask opens a page by a name, and trusts the authority alone.
func (a *authority) ask(t *testing.T, port int, name string) (string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: a.roots}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
		}}}
	resp, err := client.Get("https://" + name + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestCertificatesComeFromARealAuthorityByTLSItself(t *testing.T) {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	l, port := listen(t)
	a := newAuthority(t, freePort(t), port)
	said, folder := new(lines), filepath.Join(t.TempDir(), "acme")
	settings := func() *ACME {
		return &ACME{Domains: []string{"portal.example.org"}, Email: "ops@example.org", Directory: a.URL + wfe.DirectoryPath, Folder: folder, Client: a.Client(),
			Known: func(_ context.Context, name string) (bool, error) { return name == "studio.studios.example.org", nil },
			Log:   slog.New(slog.NewTextHandler(said, nil))}
	}
	portal(t, l, FromACME(settings()))
	for _, name := range []string{"portal.example.org", "Portal.Example.ORG", "studio.studios.example.org"} {
		if got, err := a.ask(t, port, name); err != nil || got != "HTTP/2.0" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if n := a.orders.Load(); n != 2 {
		t.Errorf("%d certificates were ordered for two names", n)
	}
	for _, name := range []string{"other.example.org", "none.studios.example.org"} {
		if _, err := a.ask(t, port, name); err == nil {
			t.Errorf("%s has a certificate", name)
		}
	}
	if n := a.orders.Load(); n != 2 || said.count("cannot be had") > 0 {
		t.Errorf("%d were ordered after names that are not the portal's; the log: %s", n, said.text.String())
	}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %s", path, info.Mode())
		}
		return err
	}))
	// A portal that starts again has what it got.
	again, other := listen(t)
	portal(t, again, FromACME(settings()))
	if got, err := a.ask(t, other, "portal.example.org"); err != nil || got != "HTTP/2.0" || a.orders.Load() != 2 {
		t.Errorf("after a start: %q, %v, %d ordered", got, err, a.orders.Load())
	}
}

func TestCertificatesComeByPlainHTTPWhereTheAuthorityReachesThatAlone(t *testing.T) {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	l, port := listen(t)
	plain, plainPort := listen(t)
	a := newAuthority(t, plainPort, freePort(t))
	c := FromACME(&ACME{Domains: []string{"portal.example.org"}, Directory: a.URL + wfe.DirectoryPath, Folder: t.TempDir(), Client: a.Client(), Log: slog.New(slog.DiscardHandler)})
	beside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	server := &http.Server{Handler: c.Challenges(beside)}
	go server.Serve(plain)
	t.Cleanup(func() { server.Close() })
	portal(t, l, c)
	if got, err := a.ask(t, port, "portal.example.org"); err != nil || got != "HTTP/2.0" {
		t.Errorf("%q, %v", got, err)
	}
	resp, err := http.Get("http://" + plain.Addr().String() + "/page")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusTeapot {
		t.Errorf("another page: %s", resp.Status)
	}
}

func TestAnAuthorityThatCannotBeReachedIsSaidOnce(t *testing.T) {
	t.Parallel()
	l, port := listen(t)
	said := new(lines)
	portal(t, l, FromACME(&ACME{Domains: []string{"portal.example.org"}, Directory: fmt.Sprintf("https://127.0.0.1:%d/dir", freePort(t)), Folder: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(said, nil))}))
	a := &authority{roots: x509.NewCertPool()}
	for range 3 {
		if _, err := a.ask(t, port, "portal.example.org"); err == nil {
			t.Error("there is a certificate")
		}
	}
	if n := said.count("cannot be had"); n != 1 {
		t.Errorf("it is said %d times: %s", n, said.text.String())
	}
}
