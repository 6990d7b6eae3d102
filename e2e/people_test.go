package e2e

import (
	"testing"
)

// TestPeopleInTheBrowser walks from a new team over an invitation to the participants of a workspace, with axe on each page.
func TestPeopleInTheBrowser(t *testing.T) {
	t.Parallel()
	s, page := newStillSite(t), newPage(t)
	s.signIn(page)
	s.open(page, "/orgs/lab")
	inspect(t, page, "organization")
	s.open(page, "/orgs/lab/teams")
	inspect(t, page, "teams-empty")
	fill(t, page, "Name", "divers")
	click(t, page, "button", "Add the team")
	shows(t, page, "tbody", "divers")
	inspect(t, page, "teams")

	s.open(page, "/orgs/lab/invitations")
	fill(t, page, "E-mail address", "nobody")
	click(t, page, "button", "Make the invitation")
	shows(t, page, ".error", "Enter an e-mail address")
	inspect(t, page, "invitations-error")
	fill(t, page, "E-mail address", "ben@example.org")
	click(t, page, "button", "Make the invitation")
	shows(t, page, "#made", "It works once, for an account of ben@example.org")
	inspect(t, page, "invitations")
	link, err := page.Locator("#invitation-link").TextContent()
	must(t, err)

	guest := newPage(t)
	s.open(guest, link) // this site does not know its own address
	shows(t, guest, "h1", "Join lab")
	inspect(t, guest, "invitation")
	fill(t, guest, "User name", "ben")
	fill(t, guest, "Password", "a river runs under it")
	click(t, guest, "button", "Make the account and join")
	shows(t, guest, "main", "Welcome")
	inspect(t, guest, "organization-member")

	s.open(page, "/orgs/lab/members")
	shows(t, page, "tbody", "ben")
	inspect(t, page, "members")
	s.open(page, "/orgs/lab/teams/1")
	fill(t, page, "User name or e-mail address", "ben")
	click(t, page, "button", "Add to the team")
	shows(t, page, "tbody", "ben")
	inspect(t, page, "team")
	s.openPage(page, "/participants")
	click(t, page, "button", "Add the team")
	shows(t, page, "tbody", "launch by the team divers")
	inspect(t, page, "participants")
	s.openPage(page, "/settings")
	inspect(t, page, "workspace-settings")
	s.open(page, "/permissions")
	inspect(t, page, "permissions")
	s.open(page, "/admin/users")
	inspect(t, page, "users")
	s.open(page, "/admin/organizations")
	inspect(t, page, "organizations")
}
