// Package mail sends mail by an SMTP server that an operator has named.
package mail

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"

	"wherry/outbound"
	"wherry/platform"
)

// How the connection to a server is encrypted.
const (
	StartTLS = "starttls" // from its first moments on; a server that cannot is refused
	TLS      = "tls"      // from the start (RFC 8314)
	None     = "none"     // not at all, for a server on this host
)

// ports are those that servers have if nobody says otherwise.
var ports = map[string]int{StartTLS: 587, TLS: 465, None: 25}

// Settings say by which server mail is sent, and as whom. The zero Settings send none.
type Settings struct {
	Host     string
	Port     int    // Port is the usual one of TLS if it is 0.
	User     string // User is empty where the server wants nobody to sign in.
	Password platform.Secret
	From     string // From is an address, or a name and an address: Wherry <wherry@example.org>.
	TLS      string // TLS is StartTLS if it is empty.
}

// Check tells what is wrong. The names are those of the variables.
func (s Settings) Check() error {
	port, known := ports[s.mode()]
	switch {
	case s.Host == "" || strings.ContainsFunc(s.Host, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '/' || r == '@' }):
		return fmt.Errorf("WHERRY_SMTP_HOST is %q; it must be the name or address of a mail server, such as smtp.example.org", s.Host)
	case !known:
		return fmt.Errorf("WHERRY_SMTP_TLS is %q; it must be starttls, tls or none", s.TLS)
	case s.mode() == None && !outbound.IsLoopback(s.Host):
		return fmt.Errorf("WHERRY_SMTP_TLS is none, and %s is not this host; mail leaves it only encrypted: set starttls or tls", s.Host)
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("WHERRY_SMTP_PORT is %d; it must be a port, such as %d", s.Port, port)
	case (s.User == "") != s.Password.IsZero():
		return fmt.Errorf("only one of WHERRY_SMTP_USER and WHERRY_SMTP_PASSWORD is set; set both, or none where the server wants nobody to sign in")
	}
	if _, err := mail.ParseAddress(s.From); err != nil || hasControl(s.From) {
		return fmt.Errorf("WHERRY_SMTP_FROM is %q; it must be an address, such as wherry@example.org or Wherry <wherry@example.org>", s.From)
	}
	return nil
}

func (s Settings) mode() string {
	if s.TLS == "" {
		return StartTLS
	}
	return s.TLS
}

func (s Settings) port() int {
	if s.Port == 0 {
		return ports[s.mode()]
	}
	return s.Port
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
