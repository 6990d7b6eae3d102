package main

import (
	"slices"
	"strings"
	"testing"

	"wherry/mail"
)

// set sets variables; those of single sign-on and mail that are not named are empty.
func set(t *testing.T, values map[string]string) {
	t.Helper()
	for _, name := range []string{"WHERRY_OIDC_ISSUER", "WHERRY_OIDC_CLIENT_ID", "WHERRY_OIDC_CLIENT_SECRET", "WHERRY_OIDC_SCOPES", "WHERRY_OIDC_GROUPS_CLAIM",
		"WHERRY_OIDC_NAME", "WHERRY_OIDC_PRIVATE", "WHERRY_SMTP_HOST", "WHERRY_SMTP_PORT", "WHERRY_SMTP_USER", "WHERRY_SMTP_PASSWORD", "WHERRY_SMTP_FROM", "WHERRY_SMTP_TLS"} {
		t.Setenv(name, values[name])
	}
}

func TestSingleSignOnIsSetUpByVariables(t *testing.T) {
	set(t, nil)
	s, err := readOIDCSettings()
	if client, clientErr := s.client("https://portal.example.org"); err != nil || client != nil || clientErr != nil {
		t.Errorf("without any there is %v, %v, %v", client, err, clientErr)
	}
	right := map[string]string{"WHERRY_OIDC_ISSUER": "https://login.example.org/realm", "WHERRY_OIDC_CLIENT_ID": "wherry", "WHERRY_OIDC_CLIENT_SECRET": "the-secret"}
	set(t, right)
	s, err = readOIDCSettings()
	client, clientErr := s.client("https://portal.example.org")
	if err != nil || client == nil || clientErr != nil || s.name != "Single sign-on" || s.config.GroupsClaim != "groups" || s.config.AllowPrivate || len(s.config.Scopes) != 0 {
		t.Errorf("with three there is %+v, %v, %v", s, err, clientErr)
	}
	for name, value := range map[string]string{"WHERRY_OIDC_SCOPES": "openid groups", "WHERRY_OIDC_GROUPS_CLAIM": "roles", "WHERRY_OIDC_NAME": "Example", "WHERRY_OIDC_PRIVATE": "true"} {
		t.Setenv(name, value)
	}
	if s, err = readOIDCSettings(); err != nil || s.name != "Example" || s.config.GroupsClaim != "roles" || !s.config.AllowPrivate || !slices.Equal(s.config.Scopes, []string{"openid", "groups"}) {
		t.Errorf("with all there is %+v, %v", s, err)
	}
	for _, c := range []struct{ name, value string }{
		{"WHERRY_OIDC_ISSUER", ""}, {"WHERRY_OIDC_ISSUER", "login.example.org"}, {"WHERRY_OIDC_ISSUER", "http://login.example.org"}, {"WHERRY_OIDC_ISSUER", "https://10.1.2.3"},
		{"WHERRY_OIDC_CLIENT_ID", ""}, {"WHERRY_OIDC_CLIENT_SECRET", ""}, {"WHERRY_OIDC_SCOPES", `openid "email"`}, {"WHERRY_OIDC_NAME", strings.Repeat("long ", 20)},
		{"WHERRY_OIDC_PRIVATE", "perhaps"},
	} {
		set(t, right)
		t.Setenv(c.name, c.value)
		if _, err := readOIDCSettings(); err == nil || !strings.Contains(err.Error(), c.name) || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s=%q is answered with %v", c.name, c.value, err)
		}
	}
}

func TestMailIsSetUpByVariables(t *testing.T) {
	set(t, nil)
	s, err := readMailSettings()
	if err != nil || newMailSender(s) != nil {
		t.Errorf("without any there is %+v, %v", s, err)
	}
	right := map[string]string{"WHERRY_SMTP_HOST": "smtp.example.org", "WHERRY_SMTP_PORT": "2525", "WHERRY_SMTP_USER": "wherry", "WHERRY_SMTP_PASSWORD": "the-secret",
		"WHERRY_SMTP_FROM": "Wherry <wherry@example.org>", "WHERRY_SMTP_TLS": "tls"}
	set(t, right)
	s, err = readMailSettings()
	if err != nil || newMailSender(s) == nil || s.Port != 2525 || s.TLS != mail.TLS || s.Password.Reveal() != "the-secret" {
		t.Errorf("with all there is %+v, %v", s, err)
	}
	for _, c := range []struct{ name, value string }{
		{"WHERRY_SMTP_HOST", ""}, {"WHERRY_SMTP_PORT", "smtp"}, {"WHERRY_SMTP_PORT", "0"}, {"WHERRY_SMTP_PORT", "65536"}, {"WHERRY_SMTP_USER", ""}, {"WHERRY_SMTP_FROM", ""},
		{"WHERRY_SMTP_TLS", "none"},
	} {
		set(t, right)
		t.Setenv(c.name, c.value)
		if _, err := readMailSettings(); err == nil || !strings.Contains(err.Error(), c.name) || strings.Contains(err.Error(), "the-secret") {
			t.Errorf("%s=%q is answered with %v", c.name, c.value, err)
		}
	}
}
