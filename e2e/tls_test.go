package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"wherry/platform"
)

// certificate writes a certificate for this host and its Studios, and its key.
func certificate(t *testing.T, serial int64, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "a portal of the tests"}, DNSNames: []string{"localhost", "*.studios.localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// TestEverythingWorksOverThePortalsOwnTLS: pages that follow a run, its agent, a Studio with its tunnel and WebSockets; the certificate is
// replaced meanwhile.
func TestEverythingWorksOverThePortalsOwnTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, 1, certFile, keyFile)
	trusted, err := os.ReadFile(certFile)
	must(t, err)
	roots := filepath.Join(dir, "roots.pem")
	must(t, os.WriteFile(roots, trusted, 0o600))
	_, port, err := net.SplitHostPort(freeAddress(t))
	must(t, err)
	plain := freeAddress(t)
	p := newStudioPortal(t, "WHERRY_URL=https://localhost:"+port, "WHERRY_TLS_CERT="+certFile, "WHERRY_TLS_KEY="+keyFile, "WHERRY_HTTP_ADDRESS="+plain, "SSL_CERT_FILE="+roots)
	page := newPage(t)
	pictureOfFailure(t, page, "tls")
	m := p.member()
	r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("crossing")})
	p.signIn(page)
	_, err = page.Goto(p.url + "/runs/" + r.ID)
	must(t, err)
	shows(t, page, "#run-head .badge", "SUCCEEDED")
	shows(t, page, "#run-timeline", "terminated")
	protocol, err := page.Evaluate(`performance.getEntriesByType("navigation")[0].nextHopProtocol`)
	if must(t, err); protocol != "h2" {
		t.Errorf("the page came by %v", protocol)
	}

	_, err = page.Goto(p.url + "/orgs/lab/workspaces/rivers/studios/new")
	must(t, err)
	fill(t, page, "Name", "notes")
	click(t, page, "button", "Add and start")
	shows(t, page, "#studio-head .badge", "running")
	tab, err := page.ExpectPopup(func() error {
		return page.GetByRole("link", playwright.PageGetByRoleOptions{Name: "Connect"}).First().Click()
	})
	must(t, err)
	pictureOfFailure(t, tab, "tls-notebook")
	must(t, tab.GetByText("Python 3 (ipykernel)").First().Click())
	must(t, expectations.Locator(tab.Locator("#jp-main-statusbar")).ToContainText("| Idle"))
	runCell(t, tab, "print(6 * 7, 'boats')", "42 boats")

	certificate(t, 2, certFile, keyFile)
	eventually(t, 10*time.Second, "the new certificate is in use", func() bool {
		resp, err := unchecked.Get(p.url + "/healthz")
		must(t, err)
		resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64() == 2
	})
	runCell(t, tab, "print(7 * 7, 'boats')", "49 boats") // who is connected stays so

	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get("http://" + plain + "/sign-in")
	must(t, err)
	resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || got != p.url+"/sign-in" {
		t.Errorf("plain HTTP: %s to %q", resp.Status, got)
	}
	certificate(t, 1, certFile, keyFile)
	doctor := exec.Command(wherry, "doctor", "--data", p.data, "--address", p.addr)
	trusted, err = os.ReadFile(certFile)
	must(t, err)
	must(t, os.WriteFile(roots, trusted, 0o600))
	doctor.Env = p.env
	time.Sleep(1100 * time.Millisecond) // for which files count as unchanged
	found, err := doctor.CombinedOutput()
	for _, want := range []string{"the certificate is good until", "https://localhost:" + port + " answers", "leads to this portal's Studios"} {
		if !strings.Contains(string(found), want) {
			t.Errorf("the doctor does not find that %q, %v:\n%s", want, err, found)
		}
	}
	must(t, p.db.AskStudioStop(t.Context(), p.studio(m, "notes").ID, platform.StopUser, "ada"))
	p.studioIs(p.studio(m, "notes").ID, platform.StudioStopped, time.Minute)
}
