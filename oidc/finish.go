package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/url"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"wherry/platform"
)

// clockLeeway is how far the provider's clock and this host's may be apart.
const clockLeeway = time.Minute

// Finish takes what the provider sent the browser back with, and tells who has signed in. The flow must be the one that this
// browser began, and must not be used again, whatever comes of it.
func (c *Client) Finish(ctx context.Context, flow Flow, query url.Values) (Identity, error) {
	who, err := c.finish(ctx, flow, query)
	return who, hide(err, query.Get("code"), flow.State, flow.Nonce, flow.Verifier, c.config.ClientSecret.Reveal())
}

func (c *Client) finish(ctx context.Context, flow Flow, query url.Values) (Identity, error) {
	if err := c.checkReturn(flow, query); err != nil {
		return Identity{}, err
	}
	p, err := c.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	if err := c.checkIssuer(p, query); err != nil {
		return Identity{}, err
	}
	if code := query.Get("error"); code != "" {
		return Identity{}, denied(code, query.Get("error_description"))
	}
	if query.Get("code") == "" {
		return Identity{}, problem(platform.CodeInvalid, "The sign-in provider sent no answer with you."+again, "There is neither code nor error in the address.")
	}
	ctx = gooidc.ClientContext(ctx, c.http) // which is oauth2.HTTPClient too
	token, err := p.exchange.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(flow.Verifier))
	if err != nil {
		return Identity{}, c.notExchanged(err)
	}
	verified, err := c.verify(ctx, p, flow, token)
	if err != nil {
		return Identity{}, err
	}
	return c.identity(ctx, p, verified, token)
}

// checkReturn is about the browser: it must be the one that began, and not too late.
func (c *Client) checkReturn(flow Flow, query url.Values) error {
	for name, values := range query {
		if len(values) > 1 { // RFC 6749, 3.1
			return problem(platform.CodeInvalid, "The sign-in provider's answer is not whole or was changed."+again, "The parameter %q is there %d times.", platform.Shorten(name, 40), len(values))
		}
	}
	if flow.State == "" || flow.Nonce == "" || flow.Verifier == "" || !same(flow.State, query.Get("state")) {
		return problem(platform.CodeInvalid, "This answer does not belong to a sign-in that this browser began last."+again, "The state differs.")
	}
	if age := c.now().Sub(flow.Created); age > FlowLifetime || age < -clockLeeway {
		return problem(platform.CodeGone, "This sign-in began more than 10 minutes ago."+again, "")
	}
	return nil
}

// checkIssuer finds an answer that another provider gave (RFC 9207).
func (c *Client) checkIssuer(p *provider, query url.Values) error {
	if issuer := query.Get("iss"); issuer == c.config.Issuer || issuer == "" && !query.Has("iss") && !p.IssInQuery {
		return nil
	}
	return problem(platform.CodeInvalid, "This answer is not from the provider at which the sign-in began."+again, "The provider is %q, the answer says %q.", c.config.Issuer, query.Get("iss"))
}

// verify checks the ID token by OpenID Connect Core, 3.1.3.7.
func (c *Client) verify(ctx context.Context, p *provider, flow Flow, token *oauth2.Token) (*gooidc.IDToken, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return nil, problem(platform.CodeConflict, "The sign-in provider did not say who you are. Whoever operates the portal registers it there as a client of OpenID Connect, and keeps openid in WHERRY_OIDC_SCOPES.", "There is no ID token in the answer.")
	}
	// An expiry a moment ago is forgiven.
	now := func() time.Time { return c.now().Add(-clockLeeway) }
	verified, err := p.Verifier(&gooidc.Config{ClientID: c.config.ClientID, Now: now}).Verify(ctx, raw)
	var expired *gooidc.TokenExpiredError
	switch {
	case errors.As(err, &expired):
		return nil, c.clocksDiffer("The ID token expired at %s", expired.Expiry)
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // the library keeps nothing of its cause but the text
		return nil, problem(platform.CodeNotReady, "The sign-in provider's keys could not be fetched. Try again in a moment; if it lasts, tell whoever operates the portal.", "%v", err)
	case err != nil:
		return nil, forged("%v", err)
	case !same(flow.Nonce, verified.Nonce):
		return nil, forged("The nonce differs: the ID token is of another sign-in.")
	case verified.IssuedAt.After(c.now().Add(clockLeeway)):
		return nil, c.clocksDiffer("The ID token is of %s", verified.IssuedAt)
	}
	if verified.AccessTokenHash != "" && verified.VerifyAccessToken(token.AccessToken) != nil {
		return nil, forged("at_hash differs: ID token and access token do not belong together.")
	}
	return verified, c.checkParty(verified)
}

// checkParty finds an ID token that was made for another client, although it names this one too.
func (c *Client) checkParty(verified *gooidc.IDToken) error {
	var claims struct {
		Party *string `json:"azp"`
	}
	if err := verified.Claims(&claims); err != nil {
		return forged("azp is not a text.")
	}
	if claims.Party != nil && *claims.Party != c.config.ClientID || claims.Party == nil && len(verified.Audience) > 1 {
		return forged("azp: the ID token was made for another client.")
	}
	return nil
}

// forged is for an ID token that does not prove anything.
func forged(format string, args ...any) error {
	return problem(platform.CodeUnauthorized, "What the sign-in provider says of you could not be verified, so you are not signed in."+again+" If that does not help, tell whoever operates the portal.", format, args...)
}

func (c *Client) clocksDiffer(what string, at time.Time) error {
	return problem(platform.CodeConflict, "The clocks of the portal and of the sign-in provider differ by more than a minute. Whoever operates the portal sets the host's clock, or has it set by NTP.",
		what+"; here it is %s.", at.UTC().Format(time.RFC3339), c.now().UTC().Format(time.RFC3339))
}

// same compares secrets in a time that does not tell how alike they are.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
