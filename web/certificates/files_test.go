package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pair makes a certificate with its key, as PEM.
func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "portal"}, DNSNames: []string{"portal.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines is a log that a test reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// serial makes a handshake and tells which certificate it showed.
func serial(t *testing.T, c *Certificates, ask *tls.Config) (int64, error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		_ = tls.Server(there, c.Config()).Handshake()
	}()
	ask.InsecureSkipVerify, ask.ServerName = true, "portal.example.org" // the test looks at the certificate itself
	conn := tls.Client(here, ask)
	if err := conn.Handshake(); err != nil {
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestACertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	t.Parallel()
	log, dir := new(lines), t.TempDir()
	f := &files{certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"), log: slog.New(slog.NewTextHandler(log, nil))}
	write := func(name string, text []byte) { must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600)) }
	cert, key := pair(t, 1)
	write("cert.pem", cert)
	write("key.pem", key)
	c, err := fromFiles(f)
	must(t, err)
	shows := func(what string, want int64) {
		t.Helper()
		if got, err := serial(t, c, new(tls.Config)); err != nil || got != want {
			t.Errorf("%s: it shows %d, %v", what, got, err)
		}
	}
	shows("at first", 1)
	cert, key = pair(t, 2)
	write("cert.pem", cert)
	shows("with the key of the one before", 1)
	shows("and again", 1)
	if n := log.count("cannot be used"); n != 1 {
		t.Errorf("a certificate without its key is said %d times", n)
	}
	write("key.pem", key)
	shows("with its own key", 2)
	if n := log.count("a new certificate is in use"); n != 1 {
		t.Errorf("the new certificate is said %d times", n)
	}
	write("cert.pem", []byte("nonsense"))
	shows("that is none", 2)
	must(t, os.Remove(filepath.Join(dir, "key.pem")))
	shows("with a key that is gone", 2)
	shows("and again", 2)
	if n := log.count("cannot be used"); n != 3 {
		t.Errorf("files that cannot be used are said %d times, not once each:\n%s", n, log.text.String())
	}
	cert, key = pair(t, 3)
	write("cert.pem", cert)
	write("key.pem", key)
	shows("when all is well", 3)
	if log.count("PRIVATE KEY") > 0 {
		t.Error("a key is in the log")
	}
}

func TestFilesThatAreNoCertificateAreAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, _ := pair(t, 1)
	_, key := pair(t, 2)
	for what, text := range map[string][]byte{"a key of another": key, "no key": []byte("x")} {
		must(t, os.WriteFile(certFile, cert, 0o600))
		must(t, os.WriteFile(keyFile, text, 0o600))
		if _, err := FromFiles(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), keyFile) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := FromFiles(filepath.Join(dir, "none.pem"), keyFile, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("no file: %v", err)
	}
}

func TestTLSBelow12IsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := pair(t, 1)
	must(t, os.WriteFile(certFile, cert, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	c, err := FromFiles(certFile, keyFile, slog.New(slog.DiscardHandler))
	must(t, err)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if _, err := serial(t, c, &tls.Config{MinVersion: version, MaxVersion: version}); (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}
