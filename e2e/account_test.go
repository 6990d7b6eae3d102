package e2e

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"wherry/oidc/oidctest"
)

// TestAUserLooksAfterTheirAccount: password, second factor, sessions and access tokens, as a browser shows them.
func TestAUserLooksAfterTheirAccount(t *testing.T) {
	t.Parallel()
	const password = "rowing on the yare"
	p, page := newPortal(t, false), newPage(t)
	p.member()
	p.signIn(page)
	visit := func(path string) {
		_, err := page.Goto(p.url + path)
		must(t, err)
	}
	visit("/account")
	shows(t, page, "#content", "This one")
	inspect(t, page, "account")
	click(t, page, "link", "Set: Password")
	fill(t, page, "New password", "too short")
	click(t, page, "button", "Save the password")
	shows(t, page, "#password-error", "at least 15 characters")
	inspect(t, page, "account-password")
	must(t, page.GetByLabel("Show the new password").Check())
	must(t, expectations.Locator(page.Locator("#password")).ToHaveAttribute("type", "text"))
	fill(t, page, "New password", password)
	click(t, page, "button", "Save the password")
	shows(t, page, ".notice", "The password was saved.")

	click(t, page, "link", "Change: E-mail address")
	inspect(t, page, "account-email")
	visit("/account/confirm?next=/account/email")
	inspect(t, page, "account-confirm")
	fill(t, page, "Password", password)
	click(t, page, "button", "Confirm")
	shows(t, page, "h1", "Change your e-mail address")

	visit("/account/tokens")
	inspect(t, page, "tokens-empty")
	click(t, page, "link", "Make the first")
	inspect(t, page, "tokens-new")
	fill(t, page, "Name", "laptop")
	click(t, page, "button", "Make the token")
	shows(t, page, "#token", "wherry_")
	inspect(t, page, "tokens-made")
	click(t, page, "link", "Done")
	shows(t, page, "tbody", "laptop")
	inspect(t, page, "tokens")

	visit("/account/second-factor")
	inspect(t, page, "second-factor-none")
	click(t, page, "button", "Set it up")
	secret, err := page.Locator("#secret").TextContent()
	must(t, err)
	inspect(t, page, "second-factor-set-up")
	code := func(at time.Time) string {
		c, err := totp.GenerateCode(secret, at)
		must(t, err)
		return c
	}
	fill(t, page, "Code", code(time.Now().Add(-20*time.Second)))
	click(t, page, "button", "Turn it on")
	shows(t, page, "h1", "Your recovery codes")
	codes, err := page.Locator("#codes").TextContent()
	must(t, err)
	inspect(t, page, "recovery-codes")
	visit("/account/second-factor")
	shows(t, page, "#content", "10 recovery codes")
	inspect(t, page, "second-factor-on")

	other := newPage(t)
	_, err = other.Goto(p.url + "/sign-in")
	must(t, err)
	inspect(t, other, "sign-in")
	fill(t, other, "E-mail address or user name", "ada")
	fill(t, other, "Password", password)
	click(t, other, "button", "Sign in")
	shows(t, other, "h1", "Your code")
	inspect(t, other, "sign-in-code")
	fill(t, other, "Code", strings.Fields(codes)[0])
	click(t, other, "button", "Sign in")
	must(t, expectations.Page(other).ToHaveTitle("Launchpad · Wherry"))
	visit("/account")
	shows(t, page, "#content", "by password and a recovery code")
	click(t, page, "button", "End all others")
	shows(t, page, ".notice", "All your other sessions were ended.")
	_, err = other.Reload()
	must(t, err)
	must(t, expectations.Page(other).ToHaveTitle("Sign in · Wherry"))
}

// TestABrowserSignsInByAnIdentityProvider, with the cookies that it sends to one site from another, and no Content-Security-Policy
// in the way.
func TestABrowserSignsInByAnIdentityProvider(t *testing.T) {
	t.Parallel()
	address := "http://" + freeAddress(t)
	provider := oidctest.Start(t, oidctest.Options{RedirectURIs: []string{address + "/sign-in/oidc/callback"}})
	p, page := newPortalWith(t, false, "WHERRY_AGENT_PORTAL="+address, "WHERRY_OIDC_ISSUER="+provider.Issuer, "WHERRY_OIDC_CLIENT_ID="+provider.ClientID,
		"WHERRY_OIDC_CLIENT_SECRET="+provider.ClientSecret, "WHERRY_OIDC_NAME=the Institute", "WHERRY_OIDC_PRIVATE=true", "WHERRY_OIDC_TRUST_EMAIL=true", "WHERRY_PASSWORDS=false"), newPage(t, "status of 404") // the provider has no icon
	p.member()
	_, err := page.Goto(p.url + "/account")
	must(t, err)
	inspect(t, page, "sign-in-provider")
	click(t, page, "link", "Continue with the Institute")
	fill(t, page, "Login", oidctest.Ada.Login)
	fill(t, page, "Password", oidctest.Ada.Password)
	must(t, page.Locator("button[type=submit], button").First().Click())
	must(t, expectations.Page(page).ToHaveTitle("Your account · Wherry"))
	shows(t, page, "#content", "by the identity provider")
	inspect(t, page, "account-provider")
	if at, err := url.Parse(page.URL()); err != nil || at.Path != "/account" || at.RawQuery != "" {
		t.Errorf("it is at %s", page.URL())
	}
}
