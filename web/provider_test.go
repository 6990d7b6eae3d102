package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wherry/handlers"
	"wherry/oidc"
	"wherry/oidc/oidctest"
	"wherry/platform"
)

// eve is at the provider with a verified address that no user has.
var eve = oidctest.User{Login: "eve", Password: "eve's password", Subject: "subject-of-eve", Email: "Eve@example.org", Name: "Eve", UserName: "eve.o", Groups: []string{"genomics"}}

// withProvider lets people sign in by a real provider.
func (s *site) withProvider(change func(*handlers.Provider)) *oidctest.Provider {
	s.t.Helper()
	return s.withUsersAt(change, []oidctest.User{oidctest.Ada, oidctest.Ben, eve})
}

// withUsersAt is withProvider with other users there.
func (s *site) withUsersAt(change func(*handlers.Provider), users []oidctest.User) *oidctest.Provider {
	s.t.Helper()
	p := oidctest.Start(s.t, oidctest.Options{RedirectURIs: []string{s.URL + handlers.CallbackPath}, Users: users})
	config := oidc.Config{Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: platform.NewSecret(p.ClientSecret), RedirectURL: s.URL + handlers.CallbackPath, GroupsClaim: "groups", AllowPrivate: true}
	must(s.t, config.Check())
	s.server.Pages.Provider = &handlers.Provider{Client: oidc.New(config), Issuer: p.Issuer, Name: "the Institute", Groups: true}
	if change != nil {
		change(s.server.Pages.Provider)
	}
	return p
}

// by goes from a page of the portal through the provider and back, and tells what the portal answers then.
func (s *site) by(b *http.Client, path string, user oidctest.User) (status int, to, page string) {
	s.t.Helper()
	resp, err := b.Get(s.URL + path)
	must(s.t, err)
	if status, page := readAll(s.t, resp); status != http.StatusSeeOther {
		s.t.Fatalf("GET %s: %d\n%s", path, status, page)
	}
	back := oidctest.NewBrowser(s.t, s.URL).SignIn(resp.Header.Get("Location"), user)
	resp, err = b.Get(back.String())
	must(s.t, err)
	status, page = readAll(s.t, resp)
	return status, resp.Header.Get("Location"), page
}

// linkPath is where a browser's account page leads to link an identity.
func (s *site) linkPath(b *http.Client) string {
	s.t.Helper()
	_, page := s.get(b, "/account")
	match := regexp.MustCompile(`href="(/account/link\?by=[0-9a-f]+)"`).FindStringSubmatch(page)
	if match == nil {
		s.t.Fatalf("no link to the provider on %s", page)
	}
	return match[1]
}

// TestOnlyTheAccountsPageBeginsToLink: a link from elsewhere could link somebody else's identity.
func TestOnlyTheAccountsPageBeginsToLink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withProvider(nil)
	b, _ := s.withPassword()
	stranger, _ := s.signedInAs("bob", platform.RoleView)
	for _, path := range []string{"/account/link", "/account/link?by=", s.linkPath(stranger)} {
		resp, err := b.Get(s.URL + path)
		must(t, err)
		readAll(t, resp)
		if to := resp.Header.Get("Location"); to != "/account" {
			t.Errorf("%s leads to %s", path, to)
		}
	}
	s.exec(`UPDATE sessions SET confirmed_at = 0`)
	path := s.linkPath(b)
	resp, err := b.Get(s.URL + path)
	must(t, err)
	readAll(t, resp)
	if to := resp.Header.Get("Location"); to != "/account/confirm?next="+path {
		t.Errorf("who was confirmed long ago is led to %s", to)
	}
}

func TestWhoIsLinkedSignsInByTheProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withProvider(nil)
	if _, page := s.get(s.browser(), "/sign-in?next=/account"); !strings.Contains(page, "Continue with the Institute") || !strings.Contains(page, `href="/sign-in/oidc?next=%2Faccount"`) {
		t.Errorf("the sign-in page: %s", page)
	}
	// A verified address that is a user's is not enough.
	if status, _, page := s.by(s.browser(), "/sign-in/oidc", oidctest.Ada); status != http.StatusForbidden || !strings.Contains(page, "Sign in by your password") || !strings.Contains(page, `name="login"`) {
		t.Errorf("before it is linked: %d\n%s", status, page)
	}
	b, csrf := s.withPassword()
	before := cookieOf(t, s, b)
	if status, to, page := s.by(b, s.linkPath(b), oidctest.Ada); status != http.StatusSeeOther || !strings.HasPrefix(to, "/account") {
		t.Fatalf("linking: %d to %s\n%s", status, to, page)
	}
	if cookieOf(t, s, b) == before {
		t.Error("the session has its old token")
	}
	other := s.browser()
	if status, to, page := s.by(other, "/sign-in/oidc?next=/account", oidctest.Ada); status != http.StatusSeeOther || to != "/account" {
		t.Fatalf("signing in: %d to %s\n%s", status, to, page)
	}
	if _, page := s.get(other, "/account"); !strings.Contains(page, "by the identity provider") || !strings.Contains(page, "Unlink the Institute") {
		t.Errorf("the account: %s", page)
	}
	stranger, _ := s.signedInAs("bob", platform.RoleView)
	if status, _, page := s.by(stranger, s.linkPath(stranger), oidctest.Ada); status != http.StatusConflict || !strings.Contains(page, "belongs to a user") {
		t.Errorf("linking what is somebody else's: %d", status)
	}
	s.must303(b, "/account/unlink", url.Values{"csrf": {csrf}})
	if status, _, _ := s.by(s.browser(), "/sign-in/oidc", oidctest.Ada); status != http.StatusForbidden {
		t.Errorf("after it was unlinked: %d", status)
	}
	if got := append(s.audited("user.link-identity"), s.audited("user.unlink-identity")...); len(got) != 2 {
		t.Errorf("the audit log has %q", got)
	}
}

func TestWhoNobodyKnowsIsToldWhomToAsk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withProvider(nil)
	if status, _, page := s.by(s.browser(), "/sign-in/oidc", eve); status != http.StatusForbidden || !strings.Contains(page, "invite you by that address") || !strings.Contains(page, "eve@example.org") {
		t.Errorf("without an invitation: %d\n%s", status, page)
	}
	s.server.Pages.Provider.SignUp = true
	if status, _, page := s.by(s.browser(), "/sign-in/oidc", oidctest.Ben); status != http.StatusForbidden || !strings.Contains(page, "does not vouch") {
		t.Errorf("with an address that is not verified: %d\n%s", status, page)
	}
	if n, err := s.db.UserCount(t.Context()); err != nil || n != 1 {
		t.Errorf("there are %d users, %v", n, err)
	}
	if got := s.audited("user.sign-in-failed"); len(got) != 2 || !strings.HasPrefix(got[0], "Eve@example.org ") {
		t.Errorf("the audit log has %q", got)
	}
}

func TestWhoIsInvitedBecomesAUser(t *testing.T) {
	t.Parallel()
	for name, let := range map[string]func(*site){
		"by an invitation": func(s *site) {
			s.exec(`INSERT INTO invitations (id, organization_id, org_role, role, email, token_hash, invited_by, created_at, expires_at) SELECT 'i', id, 'member', '', 'eve@example.org', 'h', 1, 0, 9999999999999 FROM organizations`)
		},
		"where everybody may": func(s *site) { s.server.Pages.Provider.SignUp = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.setUp()
			s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('EVE-o', 'other@example.org', '', 0)`)
			s.withProvider(nil)
			let(s)
			b := s.browser()
			if status, to, page := s.by(b, "/sign-in/oidc?next=/account", eve); status != http.StatusSeeOther || to != "/account" {
				t.Fatalf("%d to %s\n%s", status, to, page)
			}
			u, err := s.db.UserByLogin(t.Context(), "eve@example.org")
			if err != nil || u.UserName != "eve-o-2" || u.PasswordHash != "" || u.Admin {
				t.Errorf("the user is %+v, %v", u, err)
			}
			_, err = s.db.OrganizationMember(t.Context(), u.ID, "lab")
			if invited := name == "by an invitation"; (err == nil) != invited {
				t.Errorf("in the organization: %v, and invited %v", err, invited)
			}
			_, page := s.get(b, "/account")
			csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)[1]
			if status, page := s.post(b, "/account/unlink", url.Values{"csrf": {csrf}}); status != http.StatusConflict || !strings.Contains(page, "could not come in any more") {
				t.Errorf("unlinking the only way in: %d", status)
			}
		})
	}
}

// TestAnOperatorMayTrustTheProvidersAddresses, and only verified ones.
func TestAnOperatorMayTrustTheProvidersAddresses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('ben', 'ben@example.org', '', 0)`)
	s.withProvider(func(p *handlers.Provider) { p.TrustEmail = true })
	if status, _, page := s.by(s.browser(), "/sign-in/oidc", oidctest.Ada); status != http.StatusSeeOther {
		t.Errorf("a verified address: %d\n%s", status, page)
	}
	if status, _, _ := s.by(s.browser(), "/sign-in/oidc", oidctest.Ben); status != http.StatusForbidden {
		t.Errorf("one that is not verified: %d", status)
	}
}

// TestATypedAddressIsNotTakenForAPersons: whoever has typed somebody else's would keep a password to the account in which they work then.
func TestATypedAddressIsNotTakenForAPersons(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(s *site){
		"with an invitation for whoever has it": func(s *site) {
			b, csrf := s.signedIn()
			link := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "member"))
			s.mustPost(s.browser(), "/invitation/account", http.StatusSeeOther, url.Values{"token": {tokenOf(link)}, "email": {"eve@example.org"}, "userName": {"mallory"}, "password": {"a river runs under it"}})
		},
		"on the account's page": func(s *site) {
			b, csrf := s.signedInAs("mallory", platform.RoleView)
			s.mustPost(b, "/account/email", http.StatusSeeOther, form(csrf, "email", "Eve@example.org"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.setUp()
			s.withProvider(func(p *handlers.Provider) { p.TrustEmail = true })
			take(s)
			if status, to, page := s.by(s.browser(), "/sign-in/oidc", eve); status != http.StatusForbidden || !strings.Contains(page, "has to be shown once") {
				t.Errorf("%d to %s\n%s", status, to, page)
			}
		})
	}
}

func TestGroupsPutIntoTeamsAndTakeOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	users := []oidctest.User{eve}
	provider := s.withUsersAt(func(p *handlers.Provider) { p.SignUp = true }, users)
	for _, query := range []string{
		`INSERT INTO teams (organization_id, name, description, created_at) SELECT id, 'sequencers', '', 0 FROM organizations`,
		`INSERT INTO teams (organization_id, name, description, created_at) SELECT id, 'by hand', '', 0 FROM organizations`,
		`INSERT INTO team_participants SELECT w.id, t.id, 'launch' FROM workspaces w, teams t WHERE t.name = 'sequencers'`,
		`INSERT INTO idp_groups (organization_id, name, team_id) SELECT organization_id, 'genomics', id FROM teams`,
	} {
		s.exec(query)
	}
	b := s.browser()
	s.by(b, "/sign-in/oidc", eve)
	if status, page := s.get(b, ws+"/launch"); status != http.StatusOK {
		t.Fatalf("in the group: %d\n%s", status, page)
	}
	if m, err := s.db.OrganizationMember(t.Context(), s.userID("eve-o"), "lab"); err != nil || m.Role != platform.OrgMember {
		t.Errorf("in the organization: %+v, %v", m, err)
	}
	s.exec(`UPDATE team_members SET from_group = 0 WHERE team_id = (SELECT id FROM teams WHERE name = 'by hand')`)
	provider.Stop()
	users[0].Groups = nil // she has left them
	provider.Restart()
	if status, _, page := s.by(s.browser(), "/sign-in/oidc", users[0]); status != http.StatusSeeOther {
		t.Fatalf("without groups: %d\n%s", status, page)
	}
	if status, _ := s.get(b, ws+"/launch"); status != http.StatusNotFound {
		t.Errorf("out of the group: %d", status)
	}
	var teams string
	must(t, s.raw().QueryRow(`SELECT group_concat(t.name) FROM team_members m JOIN teams t ON t.id = m.team_id`).Scan(&teams))
	if teams != "by hand" {
		t.Errorf("the teams are %q, want the one that somebody chose", teams)
	}
	if in, out := s.audited("team.add-member"), s.audited("team.remove-member"); len(in) != 2 || len(out) != 1 || !strings.Contains(in[0], `"group":"genomics"`) {
		t.Errorf("the audit log has %q and %q", in, out)
	}
}

// TestAProvidersAnswerIsForTheBrowserThatAsked, once.
func TestAProvidersAnswerIsForTheBrowserThatAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withProvider(func(p *handlers.Provider) { p.SignUp = true })
	b, other := s.browser(), s.browser()
	begin := func(b *http.Client) string {
		resp, err := b.Get(s.URL + "/sign-in/oidc")
		must(t, err)
		readAll(t, resp)
		return resp.Header.Get("Location")
	}
	back := oidctest.NewBrowser(t, s.URL).SignIn(begin(b), eve).RequestURI()
	begin(other)
	for what, c := range map[string]*http.Client{"a browser that began nothing": s.browser(), "one that began another": other} {
		if status, _ := s.get(c, back); status == http.StatusSeeOther || s.stillIn([]*http.Client{c}) != 0 {
			t.Errorf("%s: %d", what, status)
		}
	}
	if status, page := s.get(b, back); status != http.StatusSeeOther {
		t.Errorf("the one that asked: %d\n%s", status, page)
	}
	if status, _ := s.get(b, back); status != http.StatusGone {
		t.Errorf("again: %d", status)
	}
}

func TestWhileTheProviderIsDownPasswordsWork(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withPassword()
	s.withProvider(nil).Stop()
	status, page := s.get(s.browser(), "/sign-in/oidc")
	if status != http.StatusServiceUnavailable || !strings.Contains(page, "does not answer") {
		t.Errorf("the provider: %d\n%s", status, page)
	}
	s.must303(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}})
}

func TestPasswordsCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withPassword()
	s.withProvider(nil)
	s.server.Pages.NoPasswords = true
	if _, page := s.get(s.browser(), "/sign-in"); strings.Contains(page, `name="password"`) || !strings.Contains(page, "Continue with the Institute") {
		t.Errorf("the page: %s", page)
	}
	if status, _ := s.post(s.browser(), "/sign-in", url.Values{"login": {"ada"}, "password": {goodPassword}}); status != http.StatusForbidden {
		t.Errorf("a password all the same: %d", status)
	}
	b, csrf := s.signedIn() // an operator's link
	link := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "member"))
	if _, page := s.get(s.browser(), link); strings.Contains(page, `name="password"`) || !strings.Contains(page, "/sign-in?next=%2Finvitation") {
		t.Errorf("the page of an invitation: %s", page)
	}
	account := url.Values{"token": {tokenOf(link)}, "email": {"ben@example.org"}, "userName": {"ben"}, "password": {"a river runs under it"}}
	s.mustPost(s.browser(), "/invitation/account", http.StatusForbidden, account)
}

// TestASecondFactorIsAskedForBehindTheProviderToo.
func TestASecondFactorIsAskedForBehindTheProviderToo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withProvider(func(p *handlers.Provider) { p.TrustEmail = true })
	b, csrf := s.withPassword()
	s.withSecondFactor(b, csrf)
	if _, to, _ := s.by(s.browser(), "/sign-in/oidc", oidctest.Ada); to != "/sign-in/second-factor" {
		t.Errorf("it leads to %s", to)
	}
}
