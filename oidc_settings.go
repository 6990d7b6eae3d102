package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"

	"wherry/handlers"
	"wherry/oidc"
	"wherry/platform"
)

// oidcSettings are what an operator can set about single sign-on. Without an issuer there is none.
type oidcSettings struct {
	config oidc.Config // all but the redirect URL, which follows from the portal's own
	name   string      // WHERRY_OIDC_NAME: what the button says
}

// readOIDCSettings reads the variables.
func readOIDCSettings() (s oidcSettings, err error) {
	s = oidcSettings{name: envOr("WHERRY_OIDC_NAME", "Single sign-on"), config: oidc.Config{Issuer: os.Getenv("WHERRY_OIDC_ISSUER"),
		ClientID: os.Getenv("WHERRY_OIDC_CLIENT_ID"), ClientSecret: platform.NewSecret(os.Getenv("WHERRY_OIDC_CLIENT_SECRET")),
		Scopes: strings.Fields(os.Getenv("WHERRY_OIDC_SCOPES")), GroupsClaim: envOr("WHERRY_OIDC_GROUPS_CLAIM", "groups")}}
	if s.config.AllowPrivate, err = boolSetting("WHERRY_OIDC_PRIVATE"); err != nil {
		return s, err
	}
	if len(s.name) > 60 || strings.ContainsFunc(s.name, unicode.IsControl) {
		return s, fmt.Errorf("WHERRY_OIDC_NAME is %q; it must be a short text, such as Example University", s.name)
	}
	if s.config.Issuer == "" {
		if s.config.ClientID != "" || !s.config.ClientSecret.IsZero() {
			return s, fmt.Errorf("WHERRY_OIDC_CLIENT_ID or WHERRY_OIDC_CLIENT_SECRET is set, and WHERRY_OIDC_ISSUER is not; set all three, or none for a portal without single sign-on")
		}
		return s, nil
	}
	if s.config.ClientID == "" || s.config.ClientSecret.IsZero() {
		return s, fmt.Errorf("WHERRY_OIDC_ISSUER is set, and WHERRY_OIDC_CLIENT_ID or WHERRY_OIDC_CLIENT_SECRET is not; the provider gives both when the portal is registered there")
	}
	_, err = s.client("https://portal.example.org") // the portal's own address is checked elsewhere
	return s, err
}

// client signs people in at the provider, for a portal that browsers reach at portalURL; nil where there is no single sign-on. It
// asks the provider for nothing yet.
func (s oidcSettings) client(portalURL string) (*oidc.Client, error) {
	if s.config.Issuer == "" {
		return nil, nil
	}
	config := s.config
	config.RedirectURL = portalURL + handlers.CallbackPath
	if err := config.Check(); err != nil {
		return nil, fmt.Errorf("single sign-on (WHERRY_OIDC_ISSUER, WHERRY_OIDC_SCOPES, WHERRY_OIDC_PRIVATE): %w", err)
	}
	return oidc.New(config), nil
}
