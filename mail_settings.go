package main

import (
	"fmt"
	"os"
	"strconv"

	"wherry/mail"
	"wherry/platform"
)

// readMailSettings reads by which server mail is sent. The zero Settings, where no variable is set, send none.
func readMailSettings() (mail.Settings, error) {
	s := mail.Settings{Host: os.Getenv("WHERRY_SMTP_HOST"), User: os.Getenv("WHERRY_SMTP_USER"), Password: platform.NewSecret(os.Getenv("WHERRY_SMTP_PASSWORD")),
		From: os.Getenv("WHERRY_SMTP_FROM"), TLS: os.Getenv("WHERRY_SMTP_TLS")}
	if port := os.Getenv("WHERRY_SMTP_PORT"); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return s, fmt.Errorf("WHERRY_SMTP_PORT is %q; it must be a port, such as 587", port)
		}
		s.Port = int(n)
	}
	if s == (mail.Settings{}) {
		return s, nil
	}
	return s, s.Check()
}

// newMailSender sends by these settings; nil where mail is not set up.
func newMailSender(s mail.Settings) *mail.Sender {
	if s.Host == "" {
		return nil
	}
	return mail.New(s)
}
