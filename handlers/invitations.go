package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// mailPatience is how long somebody waits for the mail of an invitation to be taken by the server.
const mailPatience = 15 * time.Second

// Invitations lists the open invitations of an organization.
func (h *Handlers) Invitations(c echo.Context) error {
	return h.showInvitations(c, http.StatusOK, views.InvitationList{Form: platform.Invitation{OrgRole: platform.OrgMember, Role: platform.RoleLaunch}})
}

func (h *Handlers) showInvitations(c echo.Context, status int, l views.InvitationList) error {
	s, err := h.shell(c, "Invitations", "invitations")
	if err != nil {
		return err
	}
	ctx, orgID := c.Request().Context(), OrganizationMember(c).Organization.ID
	l.Path, l.Mail, l.Now = orgPath(c)+"/invitations", h.Mail != nil, time.Now()
	if l.Invitations, err = h.DB.Invitations(ctx, orgID, 0); err != nil {
		return err
	}
	if l.Teams, err = h.DB.Teams(ctx, orgID, platform.ListPart{Limit: maxChoices}); err != nil {
		return err
	}
	if l.Workspaces, err = h.DB.Workspaces(ctx, orgID); err != nil {
		return err
	}
	return render(c, status, views.InvitationsPage(s, l))
}

// AddInvitation invites somebody into an organization.
func (h *Handlers) AddInvitation(c echo.Context) error {
	m := OrganizationMember(c)
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(c.FormValue(name), 10, 64)
		return n
	}
	i := platform.Invitation{Organization: m.Organization, InvitedBy: m.User, Email: c.FormValue("email"), OrgRole: platform.OrgRole(c.FormValue("orgRole")),
		TeamID: number("team"), WorkspaceID: number("workspace"), Role: platform.Role(c.FormValue("role"))}
	link, err := h.invite(c, &i)
	errs, err := fieldErrors(err)
	if err != nil {
		return err
	}
	if errs != nil {
		return h.showInvitations(c, http.StatusUnprocessableEntity, views.InvitationList{Form: i, Errors: errs})
	}
	return h.showInvitations(c, http.StatusOK, views.InvitationList{Form: platform.Invitation{OrgRole: platform.OrgMember, Role: platform.RoleLaunch}, Made: &i, Link: link})
}

// AddWorkspaceInvitation invites somebody into one workspace, as a collaborator.
func (h *Handlers) AddWorkspaceInvitation(c echo.Context) error {
	m := Member(c)
	i := platform.Invitation{Organization: m.Workspace.Organization, InvitedBy: m.User, Email: c.FormValue("email"),
		WorkspaceID: m.Workspace.ID, Workspace: m.Workspace.Name, Role: platform.Role(c.FormValue("role"))}
	link, err := h.invite(c, &i)
	errs, err := fieldErrors(err)
	if err != nil {
		return err
	}
	if errs != nil {
		return h.showParticipants(c, http.StatusUnprocessableEntity, views.ParticipantList{Invitations: views.InvitationList{Form: i, Errors: errs}})
	}
	return h.showParticipants(c, http.StatusOK, views.ParticipantList{Invitations: views.InvitationList{Made: &i, Link: link}})
}

// invite makes an invitation and sends it, and returns its link.
func (h *Handlers) invite(c echo.Context, i *platform.Invitation) (link string, err error) {
	if err := i.Clean(); err != nil {
		return "", err
	}
	token := platform.NewToken()
	if err := h.DB.AddInvitation(c.Request().Context(), i, platform.HashToken(token)); err != nil {
		return "", err
	}
	return h.sendInvitation(c, i, token)
}

// sendInvitation sends an invitation by mail, where there is mail and somebody to send it to, writes down what came of that, and
// returns the link.
func (h *Handlers) sendInvitation(c echo.Context, i *platform.Invitation, token string) (link string, err error) {
	link = h.PortalURL + "/invitation?token=" + token
	if h.Mail == nil || i.Email == "" {
		return link, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), mailPatience)
	defer cancel()
	problem := ""
	subject := "Invitation to " + i.Organization.FullName + " on Wherry"
	text := i.InvitedBy.UserName + " invites you to " + i.Organization.FullName + ", where pipelines run.\n\nTo join, open this link until " +
		i.Expires.Format("2 January 2006 15:04 UTC") + ". It works once, for this address:\n\n" + link + "\n\nIf you do not know what this is about, ignore it: nothing happens then.\n"
	if err := h.Mail(ctx, i.Email, subject, text); err != nil {
		problem = platform.WithDetails("The mail was not taken.", err.Error())
	}
	return link, h.DB.InvitationMailed(ctx, i, problem)
}

// RenewInvitation makes another link for an invitation of an organization, and sends it.
func (h *Handlers) RenewInvitation(c echo.Context) error {
	i, link, err := h.renewInvitation(c, OrganizationMember(c).Organization.ID, 0)
	if err != nil {
		return err
	}
	return h.showInvitations(c, http.StatusOK, views.InvitationList{Form: platform.Invitation{OrgRole: platform.OrgMember, Role: platform.RoleLaunch}, Made: &i, Link: link})
}

// RenewWorkspaceInvitation is the same for a collaborator of the workspace.
func (h *Handlers) RenewWorkspaceInvitation(c echo.Context) error {
	w := Member(c).Workspace
	i, link, err := h.renewInvitation(c, w.Organization.ID, w.ID)
	if err != nil {
		return err
	}
	return h.showParticipants(c, http.StatusOK, views.ParticipantList{Invitations: views.InvitationList{Made: &i, Link: link}})
}

func (h *Handlers) renewInvitation(c echo.Context, orgID, workspaceID int64) (i platform.Invitation, link string, err error) {
	if i, err = h.DB.Invitation(c.Request().Context(), orgID, workspaceID, c.Param("invitation")); err != nil {
		return i, "", err
	}
	token := platform.NewToken()
	by, _ := User(c)
	if err := h.DB.RenewInvitation(c.Request().Context(), &i, by, platform.HashToken(token)); err != nil {
		return i, "", err
	}
	link, err = h.sendInvitation(c, &i, token)
	return i, link, err
}

// RevokeInvitation takes an invitation of an organization back.
func (h *Handlers) RevokeInvitation(c echo.Context) error {
	return h.revokeInvitation(c, OrganizationMember(c).Organization.ID, 0, orgPath(c)+"/invitations")
}

// RevokeWorkspaceInvitation is the same for a collaborator of the workspace.
func (h *Handlers) RevokeWorkspaceInvitation(c echo.Context) error {
	w := Member(c).Workspace
	return h.revokeInvitation(c, w.Organization.ID, w.ID, base(c)+"/participants")
}

func (h *Handlers) revokeInvitation(c echo.Context, orgID, workspaceID int64, back string) error {
	i, err := h.DB.Invitation(c.Request().Context(), orgID, workspaceID, c.Param("invitation"))
	if err != nil {
		return err
	}
	by, _ := User(c)
	if err := h.DB.DeleteInvitation(c.Request().Context(), i, by); err != nil {
		return err
	}
	return redirect(c, back, "invitation-revoked")
}

// acceptURL is where an invitation is accepted.
func acceptURL(token string) string { return "/invitation?token=" + url.QueryEscape(token) }
