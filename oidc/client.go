package oidc

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"wherry/outbound"
	"wherry/platform"
)

const (
	// refreshAfter is how long what a provider says of itself is believed. Keys are asked for again when one is not known.
	refreshAfter = time.Hour
	// retryAfter bounds how often a provider that does not answer is asked, however many people want to sign in.
	retryAfter = 5 * time.Second
	// discoveryLimit ends an attempt; others wait for it meanwhile.
	discoveryLimit = 10 * time.Second
)

// Client signs people in at one provider.
type Client struct {
	config Config
	http   *http.Client
	now    func() time.Time

	asking chan struct{} // holds the one place of who asks the provider

	mu    sync.Mutex
	known *provider // what the provider said last, or nil
	tried time.Time // when it was asked last
	err   error     // what came of that
}

// provider is what a provider says of itself.
type provider struct {
	*gooidc.Provider
	told       time.Time
	exchange   oauth2.Config
	IssInQuery bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	Challenges []string `json:"code_challenge_methods_supported"`
	AuthStyles []string `json:"token_endpoint_auth_methods_supported"`
	EndSession string   `json:"end_session_endpoint"`
	AuthURL    string   `json:"authorization_endpoint"`
	TokenURL   string   `json:"token_endpoint"`
	KeysURL    string   `json:"jwks_uri"`
}

// New makes a client. It asks nobody for anything, so a provider that is down does not keep a portal from starting. The
// configuration must have passed its Check.
func New(config Config) *Client {
	return &Client{config: config, now: time.Now, asking: make(chan struct{}, 1),
		http: outbound.NewClient(outbound.Options{AllowPrivate: config.AllowPrivate})}
}

// Problem is what came of asking the provider last: nil where it answered or was not asked yet. It asks nobody itself, so a page
// can show it at once.
func (c *Client) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Check asks the provider for what it says of itself, unless that was done a moment ago.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.discover(ctx)
	return err
}

// discover returns what the provider says of itself. Only one caller asks at a time, and after a failure nobody for a while.
func (c *Client) discover(ctx context.Context) (*provider, error) {
	if p, err, fresh := c.remembered(); fresh {
		return p, err
	}
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p, err, fresh := c.remembered(); fresh { // somebody else asked meanwhile
		return p, err
	}
	// It is for everybody, so the end of the one who asked does not end it.
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoveryLimit)
	defer cancel()
	p, err := c.ask(asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried, c.err = c.now(), err
	if err == nil {
		c.known = p
	}
	if c.known != nil { // what it said before is better than nothing
		return c.known, nil
	}
	return nil, err
}

// remembered is what was learned last, and whether that is to be used as it is.
func (c *Client) remembered() (p *provider, err error, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := c.err != nil && c.now().Sub(c.tried) < retryAfter
	if c.known != nil {
		return c.known, nil, waits || c.now().Sub(c.known.told) < refreshAfter
	}
	return nil, c.err, waits
}

// ask makes the request.
func (c *Client) ask(ctx context.Context) (*provider, error) {
	found, err := gooidc.NewProvider(gooidc.ClientContext(ctx, c.http), c.config.Issuer)
	if err != nil {
		return nil, c.unusable(err)
	}
	p := &provider{Provider: found, told: c.now()}
	if err := found.Claims(p); err != nil {
		return nil, c.unusable(err)
	}
	if err := c.checkProvider(p); err != nil {
		return nil, err
	}
	p.exchange = oauth2.Config{ClientID: c.config.ClientID, ClientSecret: c.config.ClientSecret.Reveal(), RedirectURL: c.config.RedirectURL,
		Scopes: c.config.scopes(), Endpoint: found.Endpoint()}
	// Without an AuthStyle the secret would be sent in both ways, one after the other. Basic is the default of the standard.
	p.exchange.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if len(p.AuthStyles) > 0 && !slices.Contains(p.AuthStyles, "client_secret_basic") {
		p.exchange.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return p, nil
}

// checkProvider refuses a provider with which signing in would not be safe, or could not end well.
func (c *Client) checkProvider(p *provider) error {
	rules := outbound.Options{AllowPrivate: c.config.AllowPrivate}
	for name, address := range map[string]string{"authorization_endpoint": p.AuthURL, "token_endpoint": p.TokenURL, "jwks_uri": p.KeysURL} {
		u, err := url.Parse(address)
		if err == nil {
			err = rules.CheckURL(u)
		}
		if err != nil {
			return problem(platform.CodeConflict, "What the sign-in provider says of itself cannot be used. Whoever operates the portal compares WHERRY_OIDC_ISSUER with the provider's documentation.",
				"%s: %v", name, err)
		}
	}
	// A provider that does not list the methods may have PKCE all the same; one that lists others does not have this one.
	if len(p.Challenges) > 0 && !slices.Contains(p.Challenges, "S256") {
		return problem(platform.CodeConflict, "The sign-in provider does not support PKCE with S256, without which signing in would not be safe. Whoever operates the portal turns it on there.",
			"code_challenge_methods_supported: %q", p.Challenges)
	}
	return nil
}
