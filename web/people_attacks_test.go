package web

import (
	"net/http"
	"testing"

	"wherry/platform"
)

// TestNobodyRenewsAnInvitationThatTheyCouldNotMake: its new link is shown to them, and they could use it themselves.
func TestNobodyRenewsAnInvitationThatTheyCouldNotMake(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	admin, admins := s.signedInAs("bob", platform.RoleAdmin)
	link := s.invite(b, ws+"/invitations", form(csrf, "role", "owner"))
	list, err := s.db.Invitations(t.Context(), s.member.Workspace.Organization.ID, s.member.Workspace.ID)
	must(t, err)
	path := ws + "/invitations/" + list[0].ID
	s.mustPost(admin, path+"/renew", http.StatusForbidden, form(admins))
	s.mustPost(admin, path+"/revoke", http.StatusForbidden, form(admins))
	if status, _ := s.get(s.browser(), link); status != http.StatusOK {
		t.Errorf("the owner's link opens nothing any more: %d", status)
	}
	if role := s.role("bob"); role != platform.RoleAdmin {
		t.Errorf("an admin has made themselves %s", role)
	}
	s.invite(b, path+"/renew", form(csrf))
}

// TestARenewedInvitationIsByWhoRenewedIt, so that it is worth what they may give.
func TestARenewedInvitationIsByWhoRenewedIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	admin, admins := s.signedInAs("bob", platform.RoleAdmin)
	s.invite(b, ws+"/invitations", form(csrf, "role", "view"))
	list, err := s.db.Invitations(t.Context(), s.member.Workspace.Organization.ID, s.member.Workspace.ID)
	must(t, err)
	link := s.invite(admin, ws+"/invitations/"+list[0].ID+"/renew", form(admins))
	s.mustPost(b, ws+"/participants/"+s.user("bob")+"/role", http.StatusSeeOther, form(csrf, "role", "view"))
	other, others := s.signedInAlone("eve")
	s.mustPost(other, "/invitation", http.StatusGone, form(others, "token", tokenOf(link)))
}
