package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// signedInAlone is a browser of a new user who is in nothing.
func (s *site) signedInAlone(name string) (*http.Client, string) {
	s.t.Helper()
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?1, ?1 || '@example.org', '', 0)`, name)
	a := &accessSite{site: s}
	b := s.browser()
	return b, a.signIn(b, s.userID(name))
}

// join makes a user a member of the organization lab.
func (s *site) join(name string, role platform.OrgRole) {
	s.t.Helper()
	s.exec(`INSERT INTO organization_members SELECT id, ?, ? FROM organizations WHERE name = 'lab'`, s.userID(name), role)
}

// form is a form with the session's token.
func form(csrf string, fields ...string) url.Values {
	f := url.Values{"csrf": {csrf}}
	for i := 0; i < len(fields); i += 2 {
		f.Set(fields[i], fields[i+1])
	}
	return f
}

// mustPost posts a form that must be answered so.
func (s *site) mustPost(b *http.Client, path string, want int, f url.Values) string {
	s.t.Helper()
	status, page := s.post(b, path, f)
	if status != want {
		s.t.Fatalf("POST %s %v: %d, want %d\n%s", path, f, status, want, page)
	}
	return page
}

func (s *site) user(name string) string { return fmt.Sprint(s.userID(name)) }

func (s *site) role(name string) platform.Role {
	s.t.Helper()
	m, err := s.db.Member(s.t.Context(), s.userID(name), "lab", "rivers")
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return ""
	}
	must(s.t, err)
	return m.Role
}

func TestTheLastOwnerOfAnOrganizationStays(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	me := s.user("ada")
	bob, bobs := s.signedInAlone("bob")
	s.join("bob", platform.OrgMember)
	s.exec(`UPDATE users SET admin = 1 WHERE user_name = 'bob'`)
	last := func(what string, b *http.Client, path string, f url.Values) {
		t.Helper()
		if page := s.mustPost(b, path, http.StatusConflict, f); !strings.Contains(page, "last owner of the organization lab") {
			t.Errorf("%s: the page does not say why not: %s", what, page)
		}
	}
	last("leaving", b, "/orgs/lab/leave", form(csrf))
	last("being demoted", b, "/orgs/lab/members/"+me+"/role", form(csrf, "role", "member"))
	last("being removed", b, "/orgs/lab/members/"+me+"/remove", form(csrf))
	last("being disabled", bob, "/admin/users/"+me+"/disable", form(bobs))
	if s.role("ada") != platform.RoleOwner {
		t.Error("the last owner is no owner any more")
	}

	s.mustPost(b, "/orgs/lab/members/"+s.user("bob")+"/role", http.StatusSeeOther, form(csrf, "role", "owner"))
	if s.role("bob") != platform.RoleOwner {
		t.Error("an owner of the organization is no owner of its workspace")
	}
	s.exec(`UPDATE users SET disabled_at = 1 WHERE user_name = 'bob'`)
	last("leaving beside an owner who was disabled", b, "/orgs/lab/leave", form(csrf))
	s.exec(`UPDATE users SET disabled_at = 0 WHERE user_name = 'bob'`)
	s.mustPost(b, "/orgs/lab/leave", http.StatusSeeOther, form(csrf))
	for _, path := range []string{"/orgs/lab", ws + "/runs", ws + "/participants"} {
		if status, _ := s.get(b, path); status != http.StatusNotFound {
			t.Errorf("after leaving, %s: %d", path, status)
		}
	}
	if status, page := s.get(b, "/"); status != http.StatusForbidden || !strings.Contains(page, "in no workspace and no organization") {
		t.Errorf("somebody who is in nothing is told %d %s", status, page)
	}
}

func TestTheHigherOfPersonalAndTeamRoleCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	bob, _ := s.signedInAlone("bob")
	s.join("bob", platform.OrgMember)
	s.mustPost(b, "/orgs/lab/teams", http.StatusSeeOther, form(csrf, "name", "divers", "description", "below the surface"))
	if page := s.mustPost(b, "/orgs/lab/teams", http.StatusUnprocessableEntity, form(csrf, "name", "Divers")); !strings.Contains(page, "a team of this name already") {
		t.Error("a name that is taken is not said to be")
	}
	s.mustPost(b, "/orgs/lab/teams/1/members", http.StatusSeeOther, form(csrf, "login", "bob@example.org"))
	if role := s.role("bob"); role != "" {
		t.Errorf("by a team that is in no workspace bob is %s", role)
	}
	s.mustPost(b, ws+"/participants/teams", http.StatusSeeOther, form(csrf, "team", "1", "role", "maintain"))
	s.mustPost(b, ws+"/participants", http.StatusSeeOther, form(csrf, "login", "bob", "role", "view"))
	if role := s.role("bob"); role != platform.RoleMaintain {
		t.Errorf("with view by name and maintain by a team bob is %s", role)
	}
	_, page := s.get(b, ws+"/participants")
	wants(t, "the page", page, "<strong>maintain</strong>", "view by name; maintain by the team divers")
	s.mustPost(b, ws+"/participants/"+s.user("bob")+"/role", http.StatusSeeOther, form(csrf, "role", "admin"))
	if role := s.role("bob"); role != platform.RoleAdmin {
		t.Errorf("with admin by name and maintain by a team bob is %s", role)
	}
	s.mustPost(b, ws+"/participants/"+s.user("bob")+"/remove", http.StatusSeeOther, form(csrf))
	if role := s.role("bob"); role != platform.RoleMaintain {
		t.Errorf("without a role by name bob is %s", role)
	}
	s.mustPost(b, "/orgs/lab/teams/1/members/"+s.user("bob")+"/remove", http.StatusSeeOther, form(csrf))
	if status, _ := s.get(bob, ws+"/runs"); status != http.StatusNotFound {
		t.Errorf("out of the team: %d", status)
	}
	s.mustPost(b, "/orgs/lab/teams/1/members", http.StatusSeeOther, form(csrf, "login", "bob"))
	s.mustPost(b, "/orgs/lab/teams/1/delete", http.StatusSeeOther, form(csrf))
	if role := s.role("bob"); role != "" {
		t.Errorf("by a team that was deleted bob is %s", role)
	}
}

func TestAnAdminGivesAndTakesRolesUpToTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	admin, csrf := s.signedInAs("bob", platform.RoleAdmin)
	s.signedInAs("cleo", platform.RoleOwner)
	s.signedInAs("dan", platform.RoleView)
	s.exec(`INSERT INTO teams (organization_id, name, description, created_at) SELECT id, 'divers', '', 0 FROM organizations`)
	at := ws + "/participants/"
	for what, c := range map[string]struct {
		path string
		form url.Values
	}{
		"makes an owner":                {at + s.user("dan") + "/role", form(csrf, "role", "owner")},
		"makes themselves owner":        {at + s.user("bob") + "/role", form(csrf, "role", "owner")},
		"demotes an owner":              {at + s.user("cleo") + "/role", form(csrf, "role", "view")},
		"removes an owner":              {at + s.user("cleo") + "/remove", form(csrf)},
		"lets a team own":               {at + "teams", form(csrf, "team", "1", "role", "owner")},
		"adds an owner":                 {ws + "/participants", form(csrf, "login", "ada", "role", "owner")},
		"invites an owner":              {ws + "/invitations", form(csrf, "role", "owner")},
		"demotes an organization owner": {at + s.user("ada") + "/role", form(csrf, "role", "view")},
	} {
		if status, page := s.post(admin, c.path, c.form); what != "adds an owner" && (status != http.StatusForbidden || !strings.Contains(page, "role")) {
			t.Errorf("an admin %s: %d", what, status)
		} else if status < 400 {
			t.Errorf("an admin %s: %d", what, status)
		}
	}
	for name, role := range map[string]platform.Role{"ada": platform.RoleOwner, "bob": platform.RoleAdmin, "cleo": platform.RoleOwner, "dan": platform.RoleView} {
		if got := s.role(name); got != role {
			t.Errorf("%s is %s now", name, got)
		}
	}
	s.mustPost(admin, at+s.user("dan")+"/role", http.StatusSeeOther, form(csrf, "role", "admin"))
	s.mustPost(admin, at+s.user("dan")+"/role", http.StatusUnprocessableEntity, form(csrf, "role", "king"))
	s.mustPost(admin, at+s.user("bob")+"/role", http.StatusSeeOther, form(csrf, "role", "launch"))
	s.mustPost(admin, at+s.user("bob")+"/role", http.StatusForbidden, form(csrf, "role", "admin"))
	if status, page := s.get(admin, ws+"/participants"); status != http.StatusOK || strings.Contains(page, "Invite somebody") || strings.Contains(page, "/role\"") {
		t.Errorf("who may launch is offered to change participants (%d)", status)
	}
}

func TestCollaboratorsSeeTheirWorkspaceAndNothingOfTheOrganization(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	bob, _ := s.signedInAlone("bob")
	if page := s.mustPost(b, ws+"/participants", http.StatusUnprocessableEntity, form(csrf, "login", "nobody@example.org", "role", "launch")); !strings.Contains(page, `id="login-error"`) || !strings.Contains(page, `value="nobody@example.org"`) {
		t.Errorf("somebody who is not known: %s", page)
	}
	s.mustPost(b, ws+"/participants", http.StatusSeeOther, form(csrf, "login", "bob", "role", "launch"))
	if status, _ := s.get(bob, ws+"/launchpad"); status != http.StatusOK {
		t.Errorf("the collaborator's workspace: %d", status)
	}
	for _, path := range []string{"/orgs/lab", "/orgs/lab/members", "/orgs/lab/teams", "/orgs/lab/invitations"} {
		if status, page := s.get(bob, path); status != http.StatusNotFound || strings.Contains(page, ">ada") || strings.Contains(page, "ada@") {
			t.Errorf("a collaborator at %s: %d", path, status)
		}
	}
	if _, page := s.get(bob, ws+"/launchpad"); strings.Contains(page, `href="/orgs/lab"`) {
		t.Error("the collaborator is led to the organization")
	}
	s.mustPost(b, "/orgs/lab/teams", http.StatusSeeOther, form(csrf, "name", "divers"))
	if page := s.mustPost(b, "/orgs/lab/teams/1/members", http.StatusUnprocessableEntity, form(csrf, "login", "bob")); !strings.Contains(page, "Only members of the organization are in its teams") {
		t.Error("a collaborator is in a team")
	}
}

func TestARemovedMemberIsOutAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	bob, _ := s.signedInAs("bob", platform.RoleMaintain)
	s.join("bob", platform.OrgMember)
	s.exec(`INSERT INTO teams (organization_id, name, description, created_at) SELECT id, 'divers', '', 0 FROM organizations`)
	s.exec(`INSERT INTO team_members (team_id, user_id) SELECT id, ? FROM teams`, s.userID("bob"))
	studio := platform.Studio{WorkspaceID: s.member.Workspace.ID, UserID: s.userID("bob"), ComputeEnvID: s.env.ID, Name: "den", Private: true, Config: platform.StudioConfig{Template: "jupyter"}}
	must(t, s.db.AddStudio(t.Context(), &studio))
	r, _ := s.addRun("a")
	streams := map[string]<-chan event{}
	for _, path := range []string{ws + "/events", ws + "/events?run=" + r.ID, ws + "/events?studio=" + studio.ID} {
		last, err := s.db.LastChange(t.Context())
		must(t, err)
		streams[path] = s.follow(bob, path, fmt.Sprintf("%d-0", last))
	}
	own := s.follow(b, ws+"/events", "")

	s.mustPost(b, "/orgs/lab/members/"+s.user("bob")+"/remove", http.StatusSeeOther, form(csrf))
	for path, events := range streams {
		if e := next(t, events); e.name != "signed-out" {
			t.Errorf("%s goes on with %+v", path, e)
		}
		select {
		case e, open := <-events:
			if open {
				t.Errorf("%s goes on with %+v", path, e)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s stays open", path)
		}
	}
	if e := next(t, own); e.name == "signed-out" {
		t.Error("the owner's own pages ended too")
	}
	for _, path := range []string{ws + "/runs", ws + "/events", "/orgs/lab", "/runs/" + r.ID} {
		if status, _ := s.get(bob, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	members, err := s.db.TeamMembers(t.Context(), 1, platform.ListPart{Limit: 9})
	if err != nil || len(members) > 0 {
		t.Errorf("still in the team: %v, %v", members, err)
	}
	s.mustPost(b, ws+"/studios/"+studio.ID+"/delete", http.StatusSeeOther, form(csrf))
}

var linkForm = regexp.MustCompile(`http://portal(/invitation\?token=[A-Za-z0-9_-]+)`)

// invite makes an invitation and returns the path of its link.
func (s *site) invite(b *http.Client, path string, f url.Values) string {
	s.t.Helper()
	page := s.mustPost(b, path, http.StatusOK, f)
	match := linkForm.FindStringSubmatch(page)
	if match == nil {
		s.t.Fatalf("no link in %s", page)
	}
	return match[1]
}

func tokenOf(link string) string { return strings.TrimPrefix(link, "/invitation?token=") }

func TestAnInvitationLetsOnePersonInOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.mustPost(b, "/orgs/lab/teams", http.StatusSeeOther, form(csrf, "name", "divers"))
	link := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "member", "team", "1", "workspace", "1", "role", "maintain"))
	if _, page := s.get(b, "/orgs/lab/invitations"); strings.Contains(page, tokenOf(link)) || !strings.Contains(page, "member of the organization, in the team divers, maintain in rivers") {
		t.Error("the list of invitations shows the link again, or does not show what it gives")
	}

	visitor := s.browser()
	for range 2 { // a mail program opens links on its own
		status, page := s.get(visitor, link)
		if status != http.StatusOK {
			t.Fatalf("the link: %d", status)
		}
		wants(t, "the page of the link", page, "ada invites you", "/sign-in?next=%2Finvitation%3Ftoken%3D")
	}
	account := url.Values{"token": {tokenOf(link)}, "email": {"ben@example.org"}, "userName": {"ben"}, "password": {"short"}}
	if page := s.mustPost(visitor, "/invitation/account", http.StatusUnprocessableEntity, account); !strings.Contains(page, `id="password-error"`) || !strings.Contains(page, `value="ben@example.org"`) {
		t.Error("a bad password is not said to be one, or what was typed is gone")
	}
	account.Set("password", "a river runs under it")
	taken := url.Values{"token": account["token"], "email": {"ada@example.org"}, "userName": {"ben"}, "password": account["password"]}
	takenName := url.Values{"token": account["token"], "email": {"ben@example.org"}, "userName": {"ADA"}, "password": account["password"]}
	first, second := s.mustPost(visitor, "/invitation/account", http.StatusUnprocessableEntity, taken), s.mustPost(visitor, "/invitation/account", http.StatusUnprocessableEntity, takenName)
	if !strings.Contains(first, "No account can be made") || !strings.Contains(second, "No account can be made") {
		t.Error("it shows which addresses have an account")
	}
	s.mustPost(visitor, "/invitation/account", http.StatusSeeOther, account)
	if role := s.role("ben"); role != platform.RoleMaintain {
		t.Errorf("ben is %q in the workspace", role)
	}
	if status, _ := s.get(visitor, "/orgs/lab/teams/1"); status != http.StatusOK {
		t.Errorf("ben is signed in, and sees the team: %d", status)
	}
	for _, again := range []*http.Client{visitor, s.browser()} {
		if status, page := s.get(again, link); status != http.StatusGone || !strings.Contains(page, "accepted already, was taken back, or is too old") {
			t.Errorf("the used link: %d", status)
		}
	}
	if status, _ := s.post(s.browser(), "/invitation/account", url.Values{"token": account["token"], "email": {"eve@example.org"}, "userName": {"eve"}, "password": account["password"]}); status != http.StatusGone {
		t.Errorf("the used link makes another account: %d", status)
	}
}

func TestAnInvitationForAnAddressFitsItsAccountAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	eve, eves := s.signedInAlone("eve")
	ben, bens := s.signedInAlone("ben")
	link := s.invite(b, "/orgs/lab/invitations", form(csrf, "email", " Ben@example.org", "orgRole", "member"))
	if status, page := s.get(eve, link); status != http.StatusOK || !strings.Contains(page, "This invitation is for ben@example.org") {
		t.Errorf("somebody else: %d", status)
	}
	s.mustPost(eve, "/invitation", http.StatusForbidden, form(eves, "token", tokenOf(link)))
	s.mustPost(ben, "/invitation", http.StatusForbidden, form("x", "token", tokenOf(link)))
	s.mustPost(ben, "/invitation", http.StatusSeeOther, form(bens, "token", tokenOf(link)))
	if status, _ := s.get(ben, "/orgs/lab"); status != http.StatusOK {
		t.Errorf("ben sees the organization: %d", status)
	}
	fresh := s.invite(b, "/orgs/lab/invitations", form(csrf, "email", "cleo@example.org", "orgRole", "", "workspace", "1", "role", "view"))
	visitor := s.browser()
	s.mustPost(visitor, "/invitation/account", http.StatusSeeOther, url.Values{"token": {tokenOf(fresh)}, "email": {"other@example.org"}, "userName": {"cleo"}, "password": {"a river runs under it"}})
	u, err := s.db.UserByLogin(t.Context(), "cleo")
	if err != nil || u.Email != "cleo@example.org" {
		t.Errorf("the account is of %s, %v", u.Email, err)
	}
}

func TestInvitationsEndWithTheirTimeTheirRevocationAndTheRightToInvite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	ids := func() []platform.Invitation {
		list, err := s.db.Invitations(t.Context(), s.member.Workspace.Organization.ID, 0)
		must(t, err)
		return list
	}
	gone := func(what, link string) {
		t.Helper()
		if status, _ := s.post(s.browser(), "/invitation/account", url.Values{"token": {tokenOf(link)}, "email": {"x@example.org"}, "userName": {"x"}, "password": {"a river runs under it"}}); status != http.StatusGone {
			t.Errorf("%s: %d", what, status)
		}
	}
	revoked := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "member"))
	s.mustPost(b, "/orgs/lab/invitations/"+ids()[0].ID+"/revoke", http.StatusSeeOther, form(csrf))
	gone("an invitation that was taken back", revoked)

	old := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "member"))
	renewed := s.invite(b, "/orgs/lab/invitations/"+ids()[0].ID+"/renew", form(csrf))
	gone("the link before the new one", old)
	s.exec(`UPDATE invitations SET expires_at = ?`, time.Now().Add(-time.Second).UnixMilli())
	gone("an invitation that is too old", renewed)
	if len(ids()) > 0 {
		t.Error("an invitation that is too old is listed as open")
	}

	admin, admins := s.signedInAs("bob", platform.RoleAdmin)
	link := s.invite(admin, ws+"/invitations", form(admins, "email", "x@example.org", "role", "launch"))
	other := s.invite(b, "/orgs/lab/invitations", form(csrf, "orgRole", "owner"))
	if status, _ := s.post(admin, ws+"/invitations/"+ids()[0].ID+"/revoke", form(admins)); status != http.StatusNotFound {
		t.Errorf("an admin of a workspace takes back an invitation to the organization: %d", status)
	}
	s.mustPost(b, ws+"/participants/"+s.user("bob")+"/role", http.StatusSeeOther, form(csrf, "role", "launch"))
	gone("an invitation by somebody who may not invite any more", link)
	s.join("bob", platform.OrgOwner)
	s.exec(`UPDATE users SET disabled_at = 1 WHERE user_name = 'ada'`)
	gone("an invitation by somebody who was disabled", other)
}

func TestInvitationsAreSentByMailAndFailuresShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	var sent []string
	broken := errors.New("550 no such mailbox")
	s.server.Pages.Mail = func(_ context.Context, to, subject, text string) error {
		sent = append(sent, to+"\n"+subject+"\n"+text)
		return broken
	}
	page := s.mustPost(b, "/orgs/lab/invitations", http.StatusOK, form(csrf, "email", "ben@example.org", "orgRole", "member"))
	wants(t, "the page", page, "It could not be sent to ben@example.org", "550 no such mailbox", "Send again")
	if len(sent) != 1 || !strings.HasPrefix(sent[0], "ben@example.org\nInvitation to lab") || !linkForm.MatchString(sent[0]) {
		t.Fatalf("sent: %q", sent)
	}
	list, err := s.db.Invitations(t.Context(), s.member.Workspace.Organization.ID, 0)
	must(t, err)
	broken = nil
	page = s.mustPost(b, "/orgs/lab/invitations/"+list[0].ID+"/renew", http.StatusOK, form(csrf))
	wants(t, "the page", page, "It was sent to ben@example.org")
	if status, _ := s.get(s.browser(), linkForm.FindStringSubmatch(sent[0])[1]); status != http.StatusGone {
		t.Errorf("the first link: %d", status)
	}
	if status, _ := s.get(s.browser(), linkForm.FindStringSubmatch(sent[1])[1]); status != http.StatusOK {
		t.Errorf("the second link: %d", status)
	}
	s.mustPost(b, "/orgs/lab/invitations", http.StatusOK, form(csrf, "orgRole", "member"))
	if len(sent) != 2 {
		t.Error("an invitation for nobody's address was sent")
	}
}

func TestAWorkspaceIsDeletedWhenNothingInItLives(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.things()
	page := s.mustPost(b, ws+"/delete", http.StatusConflict, form(csrf))
	wants(t, "the page", page, "runs that have not ended: a", "Studios: a", "compute environments: here")
	if _, page := s.get(b, ws+"/settings"); !strings.Contains(page, "compute environments: here") {
		t.Error("the settings do not say what stands in the way")
	}
	s.mustPost(b, ws+"/settings", http.StatusSeeOther, form(csrf, "fullName", "All rivers"))
	s.exec(`UPDATE runs SET state = 'SUCCEEDED'`)
	s.exec(`UPDATE studios SET deleted_at = 1`)
	s.exec(`UPDATE machines SET state = 'terminated'`)
	s.exec(`UPDATE compute_envs SET deleted_at = 1`)
	_, page = s.get(b, "/orgs/lab")
	wants(t, "the organization", page, "All rivers", ws+"/settings")
	s.mustPost(b, ws+"/delete", http.StatusSeeOther, form(csrf))
	if status, _ := s.get(b, ws+"/runs"); status != http.StatusNotFound {
		t.Errorf("it is still there: %d", status)
	}
	if rest := regexp.MustCompile(`(?m)^(\w+):`).FindAllString(s.rows(s.member.Workspace.ID), -1); len(rest) > 0 {
		for _, table := range rest {
			if table != "changes:" {
				t.Errorf("there is still something in %s", table)
			}
		}
	}
	s.mustPost(b, "/orgs/lab/workspaces", http.StatusSeeOther, form(csrf, "name", "rivers"))
	s.mustPost(b, "/orgs/lab/workspaces", http.StatusUnprocessableEntity, form(csrf, "name", "Rivers"))
	if status, _ := s.get(b, ws+"/launchpad"); status != http.StatusOK {
		t.Errorf("a new one of the same name: %d", status)
	}
}

func TestAdministratorsManageAccounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	bob, bobs := s.signedInAs("bob", platform.RoleLaunch)
	a := &accessSite{site: s}
	token := a.addToken(s.userID("bob"), "t", 0)
	s.exec(`INSERT INTO second_factors (id, secret, confirmed_at) VALUES (?, '', 1)`, s.userID("bob"))
	s.exec(`INSERT INTO recovery_codes VALUES (?, 'x')`, s.userID("bob"))
	at := "/admin/users/" + s.user("bob")
	_, page := s.get(b, "/admin/users?q=BO")
	wants(t, "the page", page, "bob@example.org", at+"/disable", at+"/reset-second-factor")
	if strings.Contains(page, "ada@example.org</small>") && strings.Contains(page, "/admin/users/"+s.user("ada")+"/") {
		t.Error("looking for one user shows the other")
	}
	if page := s.mustPost(b, "/admin/users/"+s.user("ada")+"/unmake-administrator", http.StatusConflict, form(csrf)); !strings.Contains(page, "last administrator") {
		t.Error("the last administrator is not said to be it")
	}
	s.mustPost(bob, "/admin/users/"+s.user("bob")+"/make-administrator", http.StatusForbidden, form(bobs))
	s.mustPost(b, at+"/reset-second-factor", http.StatusSeeOther, form(csrf))
	if status, _ := s.get(bob, ws+"/runs"); status != http.StatusSeeOther {
		t.Errorf("the session goes on with a factor less: %d", status)
	}
	a.signIn(bob, s.userID("bob"))
	events := s.follow(bob, ws+"/events", "")
	s.mustPost(b, at+"/disable", http.StatusSeeOther, form(csrf))
	for e := range events {
		if e.name == "signed-out" {
			break
		}
	}
	if status, _ := s.get(bob, ws+"/runs"); status != http.StatusSeeOther {
		t.Errorf("a page: %d", status)
	}
	ask := func() int {
		req, err := http.NewRequest(http.MethodGet, s.URL+"/api/user-info", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := s.browser().Do(req)
		must(t, err)
		status, _ := readAll(t, resp)
		return status
	}
	if status := ask(); status != http.StatusUnauthorized {
		t.Errorf("the access token: %d", status)
	}
	s.mustPost(b, at+"/enable", http.StatusSeeOther, form(csrf))
	if status := ask(); status != http.StatusOK {
		t.Errorf("the access token of a user who was enabled again: %d", status)
	}
	s.mustPost(b, "/admin/users/999/disable", http.StatusNotFound, form(csrf))

	if page := s.mustPost(b, "/admin/organizations", http.StatusUnprocessableEntity, form(csrf, "name", "Lab", "owner", "bob")); !strings.Contains(page, "an organization of this name already") {
		t.Error("a name that is taken is not said to be")
	}
	s.mustPost(b, "/admin/organizations", http.StatusUnprocessableEntity, form(csrf, "name", "mill", "owner", "nobody"))
	s.mustPost(b, "/admin/organizations", http.StatusSeeOther, form(csrf, "name", "mill", "owner", "bob"))
	a.signIn(bob, s.userID("bob"))
	if status, _ := s.get(bob, "/orgs/mill/invitations"); status != http.StatusOK {
		t.Errorf("the owner of the new organization: %d", status)
	}
	if status, _ := s.get(b, "/orgs/mill"); status != http.StatusNotFound {
		t.Errorf("the administrator sees it: %d", status)
	}
}

func TestLongListsAreSearchedAndTurned(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	s.exec(`WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
		INSERT INTO users (user_name, email, password_hash, created_at) SELECT 'rower' || i, 'rower' || i || '@example.org', '', 0 FROM n`)
	s.exec(`INSERT INTO organization_members SELECT 1, id, 'member' FROM users WHERE user_name LIKE 'rower%'`)
	s.exec(`INSERT INTO participants SELECT 1, id, 'launch' FROM users WHERE user_name LIKE 'rower%'`)
	s.exec(`INSERT INTO teams (organization_id, name, description, created_at) VALUES (1, 'rowers', '', 0)`)
	s.exec(`INSERT INTO team_members (team_id, user_id) SELECT 1, id FROM users WHERE user_name LIKE 'rower%'`)
	for _, path := range []string{"/orgs/lab/members", ws + "/participants", "/orgs/lab/teams/1", "/admin/users"} {
		_, page := s.get(b, path)
		wants(t, path, page, "rower120", `name="q"`, path+"?from=50")
		if strings.Contains(page, "rower300") {
			t.Errorf("%s shows everybody", path)
		}
		_, page = s.get(b, path+"?from=50")
		wants(t, path+", second page", page, "rower151", path+"?from=100")
		_, page = s.get(b, path+"?q=Rower399")
		wants(t, path+", looked for", page, "rower399@example.org")
		if strings.Contains(page, "rower120") {
			t.Errorf("%s shows others than who was looked for", path)
		}
	}
}

func TestEverybodySeesTheTableOfPermissions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedInAlone("bob")
	status, page := s.get(b, "/permissions")
	if status != http.StatusOK {
		t.Errorf("%d", status)
	}
	wants(t, "the page", page, "Launch runs", "Manage workspaces, members, teams and invitations")
}
