package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"strings"
	"syscall"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"wherry/platform"
)

const (
	// sendLimit is for one mail, however slow the server is: a person waits for it.
	sendLimit    = 30 * time.Second
	connectLimit = 10 * time.Second
	maxSubject   = 200 // in bytes
	maxDetails   = 500 // of what a server says, in bytes
	maxAddress   = 254 // RFC 5321, 4.5.3.1.3, without the brackets
)

// Sender sends mail.
type Sender struct {
	settings    Settings
	authorities *x509.CertPool // of certificates; the system's if nil
	limit       time.Duration
}

// New makes a sender of settings that passed their Check. It connects to nothing.
func New(s Settings) *Sender { return &Sender{settings: s, limit: sendLimit} }

// Send sends a text to one address, and returns when the server has taken it. What is wrong with the address is an error of the code
// invalid, what is wrong with the server one of the code not-ready or conflict.
func (s *Sender) Send(ctx context.Context, to, subject, text string) error {
	address, err := CheckAddress(to)
	if err != nil {
		return err
	}
	message, err := s.message(address, subject, text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	client, err := s.client(ctx)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, message); err != nil {
		return s.explain(ctx, err)
	}
	return nil
}

// CheckAddress returns an address to which mail can be sent, or an error of the code invalid.
func CheckAddress(text string) (string, error) {
	text = strings.TrimSpace(text)
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Address != text || len(text) > maxAddress || hasControl(text) {
		return "", platform.Errorf(platform.CodeInvalid, "%q is not an e-mail address. It looks like name@example.org.", platform.Shorten(text, 60))
	}
	return text, nil
}

// message is the mail. It says that nobody wrote it, so that absence notes are not sent back (RFC 3834).
func (s *Sender) message(to, subject, text string) (*gomail.Msg, error) {
	from, err := mail.ParseAddress(s.settings.From)
	if err != nil {
		return nil, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(from)
	if err := m.To(to); err != nil {
		return nil, err
	}
	m.Subject(oneLine(subject))
	m.SetDate()
	m.SetMessageIDWithValue(rand.Text() + from.Address[strings.LastIndex(from.Address, "@"):]) // and not this host's name
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, text)
	return m, nil
}

// oneLine is a text without line ends: one in a subject would begin another header.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	return platform.Shorten(strings.Join(strings.Fields(text), " "), maxSubject)
}

// mechanisms are the ways to sign in, the better ones first. PLAIN and LOGIN show the password to the server, over TLS only.
var mechanisms = []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin}

// client is for one mail, which ends with ctx.
func (s *Sender) client(ctx context.Context) (*gomail.Client, error) {
	set := s.settings
	options := []gomail.Option{gomail.WithPort(set.port()), gomail.WithTimeout(connectLimit), gomail.WithTLSConfig(s.encryption()),
		gomail.WithDialContextFunc(func(dial context.Context, network, address string) (net.Conn, error) {
			conn, err := s.dial(dial, network, address)
			if err == nil { // the library watches ctx only until it is connected
				context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		})}
	auth := gomail.WithOpportunisticSMTPAuth(mechanisms...)
	switch set.mode() {
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case TLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS)) // the connection has it already
	case None:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
		auth = gomail.WithSMTPAuth(gomail.SMTPAuthPlainNoEnc) // it does not leave this host
	}
	if set.User != "" {
		options = append(options, auth, gomail.WithUsername(set.User), gomail.WithPassword(set.Password.Reveal()))
	}
	return gomail.NewClient(set.Host, options...)
}

// encryption is how a server proves who it is.
func (s *Sender) encryption() *tls.Config {
	return &tls.Config{RootCAs: s.authorities, ServerName: s.settings.Host, MinVersion: tls.VersionTLS12}
}

// dial connects, with TLS at once where that is the mode. Without TLS only this host is connected to, whatever its name leads to.
func (s *Sender) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectLimit}
	switch s.settings.mode() {
	case TLS:
		return (&tls.Dialer{NetDialer: dialer, Config: s.encryption()}).DialContext(ctx, network, address)
	case None:
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%s is not this host, and mail leaves it only encrypted", address)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// explain is an error for people. What a server says may have anything in it, but not the password.
func (s *Sender) explain(ctx context.Context, err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if password := s.settings.Password.Reveal(); password != "" {
		text = strings.ReplaceAll(text, password, "••••")
	}
	details := platform.Shorten(text, maxDetails)
	tell := func(code platform.Code, message string) error {
		return platform.Errorf(code, "%s", platform.WithDetails(message, details))
	}
	var sending *gomail.SendError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return tell(platform.CodeConflict, "The mail server's certificate is not valid for its name, so no mail was sent. Whoever operates the portal checks WHERRY_SMTP_HOST and the certificate.")
	case errors.As(err, &sending) && sending.Reason == gomail.ErrSMTPRcptTo && !sending.IsTemp():
		return tell(platform.CodeInvalid, "The mail server does not send mail to this address.")
	case errors.As(err, &sending):
		return tell(platform.CodeNotReady, "The mail server did not take the mail. Try again in a moment; if it lasts, tell whoever operates the portal.")
	case ctx.Err() != nil:
		return tell(platform.CodeNotReady, "The mail server took too long, so the mail may not have been sent. Try again in a moment.")
	case strings.Contains(text, "SMTP AUTH"):
		return tell(platform.CodeConflict, "The mail server does not let the portal sign in. Whoever operates the portal checks WHERRY_SMTP_USER and WHERRY_SMTP_PASSWORD.")
	case strings.Contains(text, "STARTTLS"):
		return tell(platform.CodeConflict, "The mail server has no encryption by STARTTLS, so no mail was sent. Whoever operates the portal sets WHERRY_SMTP_TLS to tls, if the server has that.")
	}
	return tell(platform.CodeNotReady, "The mail server does not answer, so no mail was sent. Try again in a moment; if it lasts, tell whoever operates the portal.")
}
