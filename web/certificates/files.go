package certificates

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// reloadPause is how long files count as unchanged after they were read: handshakes may come by the hundred.
const reloadPause = time.Second

// files are a certificate with its chain, and its key, as PEM.
type files struct {
	certFile, keyFile string
	log               *slog.Logger
	pause             time.Duration

	mu        sync.Mutex
	looked    time.Time
	cert, key []byte // as they were last read, also where they were no good
	current   *tls.Certificate
}

// FromFiles takes the certificate from a file of PEM with the whole chain, and its key from another. When they change they are read
// again at the next handshake; where they make no sense then, the ones before are kept and the log says why.
func FromFiles(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	return fromFiles(&files{certFile: certFile, keyFile: keyFile, log: log, pause: reloadPause})
}

func fromFiles(f *files) (*Certificates, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	return &Certificates{config: newConfig(f.get), Challenges: func(next http.Handler) http.Handler { return next }}, nil
}

func (f *files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < f.pause {
		return f.current, nil
	}
	before := f.current
	if err := f.read(); err != nil {
		f.log.Error("the new certificate cannot be used; the one before stays in use", "error", err, "until", before.Leaf.NotAfter)
	} else if f.current != before {
		f.log.Info("a new certificate is in use", "file", f.certFile, "until", f.current.Leaf.NotAfter)
	}
	return f.current, nil
}

// read reads the files and uses what is in them, unless that is what was there at the last look.
func (f *files) read() error {
	f.looked = time.Now()
	cert, key, err := readBoth(f.certFile, f.keyFile)
	if err == nil && bytes.Equal(cert, f.cert) && bytes.Equal(key, f.key) {
		return nil
	}
	if err != nil && f.current != nil && f.cert == nil {
		return nil // this was said already
	}
	f.cert, f.key = cert, key
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("the certificate in %s and the key in %s: %w", f.certFile, f.keyFile, err)
	}
	f.current = &pair
	return nil
}

func readBoth(certFile, keyFile string) (cert, key []byte, err error) {
	if cert, err = os.ReadFile(certFile); err != nil {
		return nil, nil, err
	}
	if key, err = os.ReadFile(keyFile); err != nil {
		return nil, nil, err
	}
	return cert, key, nil
}
