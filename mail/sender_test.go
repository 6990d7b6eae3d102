package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	stdmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"wherry/platform"
)

var password = platform.NewSecret("the-password-of+mail")

// server is a mail server on this host. Who signs in there is "wherry".
type server struct {
	port        int
	authorities *x509.CertPool

	mu       sync.Mutex
	received []received
	signedIn []string // mechanisms
}

type received struct{ from, to, text string }

// serve starts a server; its certificate is of 127.0.0.1 and example.com.
func serve(t *testing.T, mode string) *server {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	web.Close() // only its certificate is wanted
	s := &server{authorities: x509.NewCertPool()}
	s.authorities.AddCert(web.Certificate())
	smtpd := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: s}, nil }))
	smtpd.Domain, smtpd.AllowInsecureAuth, smtpd.ErrorLog = "localhost", true, quiet{}
	config := &tls.Config{Certificates: web.TLS.Certificates}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	switch mode {
	case TLS:
		l = tls.NewListener(l, config)
	case StartTLS:
		smtpd.TLSConfig = config
	}
	go smtpd.Serve(l)
	t.Cleanup(func() { smtpd.Close() })
	return s
}

// quiet keeps what a server says of connections that broke out of the tests' output.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type session struct {
	server *server
	known  bool
	mail   received
}

func (s *session) AuthMechanisms() []string { return []string{"PLAIN"} }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != "wherry" || pass != password.Reveal() {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "I do not know " + user + " with " + pass}
		}
		s.known = true
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.signedIn = append(s.server.signedIn, mechanism)
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	switch to {
	case "nobody@example.org":
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	case "later@example.org":
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Greylisted"}
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.text = string(text)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.received = append(s.server.received, s.mail)
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// sender is one of a server.
func (s *server) sender(t *testing.T, mode string) *Sender {
	t.Helper()
	settings := Settings{Host: "127.0.0.1", Port: s.port, User: "wherry", Password: password, From: "Wherry at Ö <wherry@example.org>", TLS: mode}
	if err := settings.Check(); err != nil {
		t.Fatal(err)
	}
	sender := New(settings)
	sender.authorities = s.authorities
	return sender
}

// only returns the one mail that a server got, and its text.
func (s *server) only(t *testing.T) (received, *stdmail.Message, string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) != 1 {
		t.Fatalf("the server got %d mails", len(s.received))
	}
	m, err := stdmail.ReadMessage(strings.NewReader(s.received[0].text))
	if err != nil {
		t.Fatal(err)
	}
	body := io.Reader(m.Body)
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return s.received[0], m, strings.ReplaceAll(string(text), "\r\n", "\n")
}

func fails(t *testing.T, err error, code platform.Code, words string) {
	t.Helper()
	if err == nil || platform.ErrorCode(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("it ends with %q: %v\nwant %q with %q", platform.ErrorCode(err), err, code, words)
	}
	if err != nil && strings.Contains(err.Error(), password.Reveal()) {
		t.Errorf("it tells the password: %v", err)
	}
}

func TestMailArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	const text = "Grüße,\n\n.a line that begins with a dot\n.\nhttps://wherry.example.org/invitations/abcdefghijklmnopqrstuvwxyz0123456789?a=b&c=d\n"
	for _, mode := range []string{StartTLS, TLS, None} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := serve(t, mode)
			if err := s.sender(t, mode).Send(t.Context(), " ada@example.org", "You are invited to Größe", text); err != nil {
				t.Fatal(err)
			}
			got, m, body := s.only(t)
			if got.from != "wherry@example.org" || got.to != "ada@example.org" || strings.TrimRight(body, "\n") != strings.TrimRight(text, "\n") {
				t.Errorf("it is from %s to %s:\n%s", got.from, got.to, body)
			}
			subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			from, err := stdmail.ParseAddress(m.Header.Get("From"))
			if err != nil || subject != "You are invited to Größe" || from.Name != "Wherry at Ö" || m.Header.Get("To") != "<ada@example.org>" ||
				m.Header.Get("Auto-Submitted") != "auto-generated" || !strings.HasSuffix(m.Header.Get("Message-ID"), "@example.org>") {
				t.Errorf("the headers are %v, %v", m.Header, err)
			}
			if at, err := m.Header.Date(); err != nil || time.Since(at).Abs() > time.Hour {
				t.Errorf("it is of %v, %v", at, err)
			}
			if len(s.signedIn) != 1 {
				t.Errorf("it signed in by %v", s.signedIn)
			}
		})
	}
}

func TestNobodyWritesHeadersIntoAMail(t *testing.T) {
	t.Parallel()
	s := serve(t, None)
	sender := s.sender(t, None)
	for _, to := range []string{"ada@example.org\r\nBcc: eve@example.org", "ada@example.org, eve@example.org", "Ada <ada@example.org>", "ada@example.org>\r\nDATA", "ada", "", "a b@example.org",
		strings.Repeat("a", 250) + "@example.org", "\"a\\\r\n\"@example.org"} {
		fails(t, sender.Send(t.Context(), to, "subject", "text"), platform.CodeInvalid, "is not an e-mail address")
	}
	if err := sender.Send(t.Context(), "ada@example.org", "One\r\nBcc: eve@example.org\r\n\r\nbody\u2028 "+strings.Repeat("long ", 100), "text"); err != nil {
		t.Fatal(err)
	}
	_, m, body := s.only(t)
	subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if m.Header.Get("Bcc") != "" || !strings.HasPrefix(subject, "One Bcc: eve@example.org body long") || len(subject) > 210 || strings.TrimSpace(body) != "text" {
		t.Errorf("the headers are %v and the text %q", m.Header, body)
	}
}

func TestAServerThatDoesNotTakeAMailIsNamed(t *testing.T) {
	t.Parallel()
	s := serve(t, StartTLS)
	wrong := s.sender(t, StartTLS)
	wrong.settings.Password = platform.NewSecret("not-the-password")
	err := wrong.Send(t.Context(), "ada@example.org", "subject", "text")
	fails(t, err, platform.CodeConflict, "WHERRY_SMTP_PASSWORD")
	if strings.Contains(fmt.Sprint(err), "not-the-password") {
		t.Errorf("it tells the password: %v", err)
	}
	fails(t, s.sender(t, StartTLS).Send(t.Context(), "nobody@example.org", "subject", "text"), platform.CodeInvalid, "to this address")
	fails(t, s.sender(t, StartTLS).Send(t.Context(), "later@example.org", "subject", "text"), platform.CodeNotReady, "did not take the mail")
	stranger := s.sender(t, StartTLS)
	stranger.authorities = x509.NewCertPool()
	fails(t, stranger.Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeConflict, "certificate")
	if len(s.received) != 0 {
		t.Errorf("it got %v", s.received)
	}
}

func TestMailIsNotSentWithoutEncryption(t *testing.T) {
	t.Parallel()
	s := serve(t, None)
	fails(t, s.sender(t, StartTLS).Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeConflict, "WHERRY_SMTP_TLS")
	fails(t, s.sender(t, TLS).Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeNotReady, "does not answer")
	if len(s.received) != 0 || len(s.signedIn) != 0 {
		t.Errorf("it got %v and %v", s.received, s.signedIn)
	}
	sender := s.sender(t, None)
	sender.settings.Host = "192.0.2.1" // which Check refuses
	fails(t, sender.Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeNotReady, "only encrypted")
}

func TestAServerThatIsSilentIsLeft(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &server{port: l.Addr().(*net.TCPAddr).Port}
	for _, mode := range []string{StartTLS, TLS, None} {
		sender := s.sender(t, mode)
		sender.limit = 100 * time.Millisecond
		began := time.Now()
		fails(t, sender.Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeNotReady, "took too long")
		if took := time.Since(began); took > connectLimit-time.Second { // which is the library's own limit, for each command
			t.Errorf("with %s it took %s", mode, took)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.sender(t, None).Send(gone, "ada@example.org", "subject", "text"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("for somebody who is gone it ends with %v", err)
	}
	l.Close()
	fails(t, s.sender(t, None).Send(t.Context(), "ada@example.org", "subject", "text"), platform.CodeNotReady, "does not answer")
}

func TestMailSettingsAreChecked(t *testing.T) {
	t.Parallel()
	right := Settings{Host: "smtp.example.org", User: "wherry", Password: password, From: "wherry@example.org"}
	for _, change := range []func(*Settings){func(*Settings) {}, func(s *Settings) { s.TLS = TLS }, func(s *Settings) { s.TLS, s.Host = None, "localhost" },
		func(s *Settings) { s.TLS, s.Host = None, "::1" }, func(s *Settings) { s.User, s.Password = "", platform.Secret{} }, func(s *Settings) { s.From = "W <w@example.org>" }} {
		s := right
		change(&s)
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for name, changes := range map[string][]func(*Settings){
		"WHERRY_SMTP_HOST":     {func(s *Settings) { s.Host = "" }, func(s *Settings) { s.Host = "a b" }, func(s *Settings) { s.Host = "smtp://a" }},
		"WHERRY_SMTP_TLS":      {func(s *Settings) { s.TLS = "ssl" }, func(s *Settings) { s.TLS = None }},
		"WHERRY_SMTP_PORT":     {func(s *Settings) { s.Port = 65536 }, func(s *Settings) { s.Port = -1 }},
		"WHERRY_SMTP_USER":     {func(s *Settings) { s.User = "" }},
		"WHERRY_SMTP_PASSWORD": {func(s *Settings) { s.Password = platform.Secret{} }},
		"WHERRY_SMTP_FROM":     {func(s *Settings) { s.From = "" }, func(s *Settings) { s.From = "wherry" }, func(s *Settings) { s.From = "a@b.org\r\nBcc: c@d.org" }},
	} {
		for _, change := range changes {
			s := right
			change(&s)
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), password.Reveal()) {
				t.Errorf("%+v: %v, want one of %s", s, err, name)
			}
		}
	}
}
