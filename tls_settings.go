package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wherry/web/certificates"
	"wherry/web/studios"
)

// tlsSettings are what an operator can set about TLS. Without them the portal speaks HTTP, and a proxy in front TLS.
type tlsSettings struct {
	cert, key   string   // WHERRY_TLS_CERT, WHERRY_TLS_KEY: files of PEM
	domains     []string // WHERRY_TLS_ACME: names for which an authority gives certificates
	email       string   // WHERRY_TLS_ACME_EMAIL: whom the authority writes to
	directory   string   // WHERRY_TLS_ACME_DIRECTORY: the authority
	httpAddress string   // WHERRY_HTTP_ADDRESS: where to listen for plain HTTP, which is sent on to https
}

// acmeFolder is where account and certificates of an authority are kept, in the data folder.
const acmeFolder = "acme"

// on tells whether the portal itself speaks TLS.
func (s tlsSettings) on() bool { return s.cert != "" || len(s.domains) > 0 }

// readTLSSettings reads the variables, and refuses what is set by half or twice.
func readTLSSettings() (s tlsSettings, err error) {
	s = tlsSettings{cert: os.Getenv("WHERRY_TLS_CERT"), key: os.Getenv("WHERRY_TLS_KEY"), domains: listSetting("WHERRY_TLS_ACME"),
		email: os.Getenv("WHERRY_TLS_ACME_EMAIL"), directory: os.Getenv("WHERRY_TLS_ACME_DIRECTORY"), httpAddress: os.Getenv("WHERRY_HTTP_ADDRESS")}
	switch {
	case (s.cert == "") != (s.key == ""):
		return s, errors.New("of WHERRY_TLS_CERT and WHERRY_TLS_KEY only one is set; a certificate needs its key: set both, to files of PEM")
	case s.cert != "" && len(s.domains) > 0:
		return s, errors.New("WHERRY_TLS_CERT and WHERRY_TLS_ACME are both set; set the files where somebody else renews the certificate, and WHERRY_TLS_ACME where the portal does")
	case len(s.domains) == 0 && (s.email != "" || s.directory != ""):
		return s, errors.New("WHERRY_TLS_ACME_EMAIL and WHERRY_TLS_ACME_DIRECTORY mean nothing without WHERRY_TLS_ACME; set it to the names of the portal")
	case s.httpAddress != "" && !s.on():
		return s, errors.New("WHERRY_HTTP_ADDRESS is set, and the portal speaks no TLS to which it could send browsers on; set WHERRY_TLS_CERT and WHERRY_TLS_KEY, or WHERRY_TLS_ACME")
	}
	for _, name := range s.domains {
		if !domainName.MatchString(name) || net.ParseIP(name) != nil {
			return s, fmt.Errorf("WHERRY_TLS_ACME has %q; it must be names of domains, such as wherry.example.org, with commas between them", name)
		}
	}
	if _, err := mail.ParseAddress(s.email); s.email != "" && err != nil {
		return s, fmt.Errorf("WHERRY_TLS_ACME_EMAIL is %q; it must be an e-mail address", s.email)
	}
	if u, err := url.Parse(s.directory); s.directory != "" && (err != nil || u.Host == "" || u.Scheme != "https") {
		return s, fmt.Errorf("WHERRY_TLS_ACME_DIRECTORY is %q; it must be https:// and where the authority has its directory", s.directory)
	}
	if _, _, err := net.SplitHostPort(s.httpAddress); s.httpAddress != "" && err != nil {
		return s, fmt.Errorf("WHERRY_HTTP_ADDRESS is %q; it must be host:port, such as :80: %w", s.httpAddress, err)
	}
	return s, nil
}

// check holds TLS against the addresses that are told to browsers and machines.
func (s tlsSettings) check(portalURL, agentURL, studiosURL string) error {
	if !s.on() {
		return nil
	}
	if !strings.HasPrefix(portalURL, "https://") {
		return fmt.Errorf("the portal speaks TLS, and WHERRY_URL is %q; set it to https:// and the name in the certificate", portalURL)
	}
	for name, address := range map[string]string{"WHERRY_AGENT_PORTAL": agentURL, "WHERRY_STUDIOS_URL": studiosURL} {
		if strings.HasPrefix(address, "http://") {
			return fmt.Errorf("the portal speaks TLS, and %s is %q; set it to https://", name, address)
		}
	}
	for name, address := range map[string]string{"WHERRY_URL": portalURL, "WHERRY_STUDIOS_URL": studiosURL} {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		if len(s.domains) > 0 && address != "" && !slices.Contains(s.domains, strings.ToLower(u.Hostname())) {
			return fmt.Errorf("WHERRY_TLS_ACME is %q, and does not have %q, the host of %s; add it", strings.Join(s.domains, ","), u.Hostname(), name)
		}
	}
	return nil
}

// certificates are where TLS takes its certificates from; nil: the portal speaks none.
func (s tlsSettings) certificates(data string, st *studios.Studios, log *slog.Logger) (*certificates.Certificates, error) {
	switch {
	case s.cert != "":
		return certificates.FromFiles(s.cert, s.key, log)
	case len(s.domains) > 0:
		return certificates.FromACME(&certificates.ACME{Domains: s.domains, Email: s.email, Directory: s.directory, Folder: filepath.Join(data, acmeFolder), Known: st.Known, Log: log}), nil
	}
	return nil, nil
}

// listSetting reads a variable with commas between its parts, without capitals.
func listSetting(name string) (list []string) {
	for part := range strings.SplitSeq(os.Getenv(name), ",") {
		if part = strings.ToLower(strings.TrimSpace(part)); part != "" {
			list = append(list, part)
		}
	}
	return list
}
