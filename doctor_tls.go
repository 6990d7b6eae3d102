package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wherry/platform"
	"wherry/web/certificates"
)

// renewSoon is how long before its end a certificate should have been renewed.
const renewSoon = 14 * 24 * time.Hour

// checkTLS looks at what the portal speaks TLS with.
func (d *doctor) checkTLS(ctx context.Context) {
	switch {
	case d.tls.cert != "":
		d.checkCertificate()
	case len(d.tls.domains) > 0:
		d.checkACME(ctx)
	case strings.HasPrefix(d.url, "https://"):
		d.note("TLS", fine, "something in front of the portal speaks it", "")
	default:
		d.note("TLS", skipped, "the portal is reached by http://", "")
	}
}

// checkCertificate looks at the files of a certificate: whether they belong together, how long they hold, and for which names.
func (d *doctor) checkCertificate() {
	if info, err := os.Stat(d.tls.key); err == nil && info.Mode().Perm()&0o007 != 0 {
		d.note("TLS", unsure, fmt.Sprintf("%s has the mode %#o", d.tls.key, info.Mode().Perm()), "let the portal's user alone read it")
	}
	pair, err := tls.LoadX509KeyPair(d.tls.cert, d.tls.key)
	if err != nil {
		d.note("TLS", wrong, err.Error(), "give WHERRY_TLS_CERT a certificate with its chain, and WHERRY_TLS_KEY its key, both PEM")
		return
	}
	left := time.Until(pair.Leaf.NotAfter)
	found := "the certificate is good until " + pair.Leaf.NotAfter.UTC().Format(time.DateTime) + " UTC"
	switch {
	case left < 0 || time.Now().Before(pair.Leaf.NotBefore):
		d.note("TLS", wrong, fmt.Sprintf("the certificate is good from %s to %s only", pair.Leaf.NotBefore.UTC().Format(time.DateTime), pair.Leaf.NotAfter.UTC().Format(time.DateTime)), "renew it, and look at the clock")
	default:
		d.noteIf(left < renewSoon, "TLS", unsure, found, "see that it is renewed")
	}
	for _, name := range d.tlsNames() {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			d.note("TLS", wrong, err.Error(), "get a certificate for "+name)
		}
	}
	if chains, err := pair.Leaf.Verify(x509.VerifyOptions{Intermediates: intermediates(pair), CurrentTime: pair.Leaf.NotBefore.Add(time.Second)}); len(chains) == 0 {
		d.note("TLS", unsure, "this host does not trust the certificate: "+err.Error(), "put the whole chain into WHERRY_TLS_CERT; machines must trust its authority too")
	}
}

// tlsNames are those that the certificate must have: the portal's, and one such as Studios have.
func (d *doctor) tlsNames() (names []string) {
	for _, address := range []string{d.url, d.agentURL, d.studios.url} {
		if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
			names = append(names, u.Hostname())
		}
	}
	if d.studios.domain != "" {
		names = append(names, "a."+d.studios.domain)
	}
	return names
}

func intermediates(pair tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(c)
		}
	}
	return pool
}

// checkACME looks at where certificates are kept, and with --online whether the authority answers.
func (d *doctor) checkACME(ctx context.Context) {
	folder := filepath.Join(d.data, acmeFolder)
	if info, err := os.Stat(folder); err == nil {
		d.noteIf(info.Mode().Perm()&0o077 != 0, "TLS", wrong, fmt.Sprintf("%s has the mode %#o", folder, info.Mode().Perm()), "chmod 700: keys of certificates are in it")
	}
	if _, port, _ := net.SplitHostPort(d.address); port != "443" && d.tls.httpAddress == "" {
		d.note("TLS", unsure, "the portal listens on "+d.address+"; authorities ask at port 443", "let port 443 lead there, or listen on it")
	}
	directory := d.tls.directory
	if directory == "" {
		directory = certificates.LetsEncrypt
	}
	if !d.online {
		d.note("TLS", skipped, directory+" was not asked", "--online asks whether it answers")
		return
	}
	err, found := reach(ctx, directory), directory+" answers"
	if err != nil {
		found = err.Error()
	}
	d.noteIf(err != nil, "TLS", wrong, found, "look at name resolution, firewalls and WHERRY_TLS_ACME_DIRECTORY")
}

// checkProxies looks whether who asks can be told apart where a proxy is in front.
func (d *doctor) checkProxies() {
	var list []string
	for _, p := range d.proxies {
		list = append(list, p.String())
	}
	switch {
	case len(list) > 0:
		d.note("proxies", fine, "X-Forwarded-For counts from "+strings.Join(list, ", "), "")
	case strings.HasPrefix(d.url, "https://") && !d.tls.on():
		d.note("proxies", unsure, "a proxy is in front of the portal, and WHERRY_TRUSTED_PROXIES names none: all who ask have its address, and share limits",
			"set it to the proxy's address as the portal sees it")
	default:
		d.note("proxies", fine, "none is trusted", "")
	}
}

// checkStudios looks whether Studios have an address, and whether it leads here.
func (d *doctor) checkStudios(ctx context.Context) {
	if d.url == "" && d.studios.domain == "" && d.studios.address == "" {
		d.note("Studios", fine, "they are opened below studios.localhost, on this host alone", "")
		return
	}
	origins, err := d.studios.origins(d.url)
	switch {
	case err != nil:
		d.note("Studios", wrong, err.Error(), "set WHERRY_STUDIOS_DOMAIN")
		return
	case origins.None():
		d.note("Studios", unsure, "they run, and cannot be opened: they have no address", "set WHERRY_STUDIOS_DOMAIN, or WHERRY_STUDIOS_ADDRESS")
		return
	}
	address := origins.URL(platform.NewID())
	if strings.HasPrefix(address, "http://") && !isLoopback(address) && !strings.HasSuffix(address, "localhost") && d.studios.domain+d.studios.address != "" {
		d.note("Studios", unsure, "they are opened at "+address+", in clear", "use https://: browsers keep Studios apart from the portal only there")
	}
	if !d.served {
		d.note("Studios", skipped, address+" was not asked, because no portal works", "start it, and ask the doctor again")
		return
	}
	err, found := leadsToStudios(ctx, address), address+" leads to this portal's Studios"
	if err != nil {
		found = err.Error()
	}
	d.noteIf(err != nil, "Studios", wrong, found, "let all names below the domain lead to the portal with the Host header as it is; the proxy's certificate must have them too")
}

// leadsToStudios tells why an address is not where a portal answers for a Studio. Of one that does not exist it knows that nobody may
// come in, and says so to programs with 401; a portal's page or another server's is no such answer.
func leadsToStudios(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/", nil)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	if strings.HasSuffix(req.URL.Hostname(), ".localhost") { // which browsers take for this host, and resolvers may not know
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("%s answers %s, and not as a Studio does to strangers", address, resp.Status)
	}
	return nil
}
