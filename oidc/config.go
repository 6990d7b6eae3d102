// Package oidc lets people sign in with an OpenID Connect provider: the authorization code flow with PKCE. It keeps nothing but
// what the provider says of itself; who may come in, and what a group means, is decided elsewhere.
package oidc

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"wherry/outbound"
	"wherry/platform"
)

// Config says who the provider is and who the portal is there.
type Config struct {
	Issuer       string // Issuer is the provider's name, a URL: below it is /.well-known/openid-configuration.
	ClientID     string
	ClientSecret platform.Secret
	RedirectURL  string   // RedirectURL is the portal's address to which the provider sends browsers back.
	Scopes       []string // Scopes are DefaultScopes if there are none; openid is asked for in any case.
	GroupsClaim  string   // GroupsClaim is the claim that holds a person's groups; empty: they are not asked for.
	AllowPrivate bool     // AllowPrivate lets the provider be in a private network or, also with http://, on this host.
}

// DefaultScopes is what is asked for where an operator says nothing else.
var DefaultScopes = []string{"openid", "email", "profile"}

// Check tells what is wrong with the configuration, as far as that is known without asking anybody.
func (c Config) Check() error {
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.RawQuery != "" || issuer.Fragment != "" {
		return fmt.Errorf("the issuer is %q; it must be a URL without a query, as the provider writes it", c.Issuer)
	}
	if err := (outbound.Options{AllowPrivate: c.AllowPrivate}).CheckURL(issuer); err != nil {
		return fmt.Errorf("the issuer %q cannot be used: %w", c.Issuer, err)
	}
	if back, err := url.Parse(c.RedirectURL); err != nil || back.Host == "" || (back.Scheme != "https" && back.Scheme != "http") {
		return fmt.Errorf("the redirect URL is %q; it must be an address of the portal", c.RedirectURL)
	}
	if c.ClientID == "" || c.ClientSecret.IsZero() {
		return fmt.Errorf("the client ID or its secret is missing; the provider gives both when the portal is registered there")
	}
	for _, scope := range c.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\\t\r\n") {
			return fmt.Errorf("%q is not a scope", scope)
		}
	}
	return nil
}

// scopes are those to ask for.
func (c Config) scopes() []string {
	scopes := slices.Clone(c.Scopes)
	if len(scopes) == 0 {
		scopes = slices.Clone(DefaultScopes)
	}
	if !slices.Contains(scopes, "openid") {
		scopes = append([]string{"openid"}, scopes...)
	}
	return scopes
}
