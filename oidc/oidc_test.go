package oidc_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"wherry/oidc"
	"wherry/oidc/oidctest"
	"wherry/platform"
)

// back is where the portal would be; nobody answers there.
const back = "http://127.0.0.1:9/auth/oidc/callback"

// setUp starts a provider and makes a client of it.
func setUp(t *testing.T, o oidctest.Options) (*oidctest.Provider, *oidc.Client) {
	t.Helper()
	o.RedirectURIs = []string{back}
	p := oidctest.Start(t, o)
	return p, newClient(t, configOf(p))
}

func configOf(p *oidctest.Provider) oidc.Config {
	return oidc.Config{Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: platform.NewSecret(p.ClientSecret), RedirectURL: back,
		GroupsClaim: "groups", AllowPrivate: true}
}

func newClient(t *testing.T, config oidc.Config) *oidc.Client {
	t.Helper()
	if err := config.Check(); err != nil {
		t.Fatal(err)
	}
	return oidc.New(config)
}

// begin starts a sign-in.
func begin(t *testing.T, c *oidc.Client) (string, oidc.Flow) {
	t.Helper()
	to, flow, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return to, flow
}

// signIn goes the whole way.
func signIn(t *testing.T, c *oidc.Client, user oidctest.User) (oidc.Identity, error) {
	t.Helper()
	to, flow := begin(t, c)
	return c.Finish(t.Context(), flow, oidctest.NewBrowser(t, back).SignIn(to, user).Query())
}

// fails demands an error for people with a code and some words in its message.
func fails(t *testing.T, err error, code platform.Code, words string) {
	t.Helper()
	if err == nil {
		t.Errorf("it worked, want an error with %q", words)
		return
	}
	message, _ := platform.SplitDetails(err.Error())
	if platform.ErrorCode(err) != code || !strings.Contains(message, words) {
		t.Errorf("it is %q: %s\nwant %q with %q", platform.ErrorCode(err), err, code, words)
	}
}

func TestSomebodySignsInAtARealProvider(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]oidctest.Options{
		"with everything in the ID token":    {},
		"with UserInfo":                      {ClaimsInUserInfo: true},
		"with ES256":                         {Algorithm: "ES256"},
		"with the secret in the body":        {SecretInBody: true},
		"with the groups in a claim like it": {GroupsClaim: "https://example.org/groups"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.RedirectURIs = []string{back}
			config := configOf(oidctest.Start(t, o))
			if o.GroupsClaim != "" {
				config.GroupsClaim = o.GroupsClaim
			}
			c := newClient(t, config)
			who, err := signIn(t, c, oidctest.Ada)
			if err != nil {
				t.Fatal(err)
			}
			if who.Issuer != config.Issuer || who.Subject != "subject-of-ada" || who.Email != "ada@example.org" || !who.EmailVerified ||
				who.UserName != "ada" || who.Name != "Ada Lovelace" || !slices.Equal(who.Groups, []string{"genomics", "admins"}) {
				t.Errorf("it is %+v", who)
			}
			if who, err = signIn(t, c, oidctest.Ben); err != nil || who.EmailVerified || who.Groups != nil || who.Email != "ben@example.org" {
				t.Errorf("the next is %+v, %v", who, err)
			}
		})
	}
}

func TestASignInAsksForWhatItShould(t *testing.T) {
	t.Parallel()
	_, c := setUp(t, oidctest.Options{})
	to, flow := begin(t, c)
	other, otherFlow := begin(t, c)
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"response_type": "code", "client_id": "wherry", "redirect_uri": back, "scope": "openid email profile",
		"state": flow.State, "nonce": flow.Nonce, "code_challenge_method": "S256"} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(to, flow.Verifier) || len(flow.State) < 43 || len(flow.Nonce) < 43 || len(flow.Verifier) < 43 {
		t.Errorf("the secrets of %s are short or shown", to)
	}
	if to == other || flow.State == otherFlow.State || flow.Nonce == otherFlow.Nonce || flow.Verifier == otherFlow.Verifier {
		t.Error("two sign-ins have the same secrets")
	}
}
