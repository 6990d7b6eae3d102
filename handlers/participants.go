package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// maxChoices is how many teams or workspaces a choice offers.
const maxChoices = 1000

// Participants lists who is in a workspace.
func (h *Handlers) Participants(c echo.Context) error {
	return h.showParticipants(c, http.StatusOK, views.ParticipantList{})
}

func (h *Handlers) showParticipants(c echo.Context, status int, l views.ParticipantList) error {
	s, err := h.shell(c, "Participants", "participants")
	if err != nil {
		return err
	}
	ctx, w, part := c.Request().Context(), Member(c).Workspace, listPart(c)
	people, err := h.DB.Participants(ctx, w, part)
	if err != nil {
		return err
	}
	l.People, l.Part = cut(people, part, base(c)+"/participants")
	if l.Teams, err = h.DB.TeamParticipants(ctx, w.ID); err != nil {
		return err
	}
	if l.Role == "" {
		l.Role = platform.RoleLaunch
	}
	if Member(c).Can(platform.ManageMembers) {
		if err := h.fillParticipants(c, &l); err != nil {
			return err
		}
	}
	return render(c, status, views.ParticipantsPage(s, l))
}

// fillParticipants adds what those see who manage members.
func (h *Handlers) fillParticipants(c echo.Context, l *views.ParticipantList) error {
	ctx, w := c.Request().Context(), Member(c).Workspace
	teams, err := h.DB.Teams(ctx, w.Organization.ID, platform.ListPart{Limit: maxChoices})
	if err != nil {
		return err
	}
	l.OtherTeams = slices.DeleteFunc(teams, func(t platform.Team) bool {
		return slices.ContainsFunc(l.Teams, func(r platform.TeamRole) bool { return r.Team.ID == t.ID })
	})
	i := &l.Invitations
	i.Path, i.Mail, i.Now = base(c)+"/invitations", h.Mail != nil, time.Now()
	if i.Form.Role == "" {
		i.Form.Role = platform.RoleLaunch
	}
	i.Invitations, err = h.DB.Invitations(ctx, w.Organization.ID, w.ID)
	return err
}

// roleValue reads a role from the form; the database refuses what is none.
func roleValue(c echo.Context) platform.Role { return platform.Role(c.FormValue("role")) }

// AddParticipant gives somebody who has an account a role in the workspace.
func (h *Handlers) AddParticipant(c echo.Context) error {
	l := views.ParticipantList{Login: c.FormValue("login"), Role: roleValue(c)}
	_, err := h.DB.AddParticipant(c.Request().Context(), Member(c), l.Login, l.Role)
	errs, err := fieldErrors(err)
	switch {
	case err != nil:
		return err
	case errs != nil:
		l.Errors = errs
		return h.showParticipants(c, http.StatusUnprocessableEntity, l)
	}
	return redirect(c, base(c)+"/participants", "member-added")
}

// SetParticipant gives somebody who is in the workspace another role by name.
func (h *Handlers) SetParticipant(c echo.Context) error {
	return h.changeParticipants(c, "role-saved", func(role platform.Role) error {
		return h.DB.SetParticipant(c.Request().Context(), Member(c), IDParam(c, "user"), role)
	})
}

// AddTeamParticipant adds a team to the workspace.
func (h *Handlers) AddTeamParticipant(c echo.Context) error {
	return h.changeParticipants(c, "team-joined", func(role platform.Role) error {
		id, _ := strconv.ParseInt(c.FormValue("team"), 10, 64) // 0 is no team's
		return h.DB.SetTeamParticipant(c.Request().Context(), Member(c), id, role)
	})
}

// SetTeamParticipant gives a team another role.
func (h *Handlers) SetTeamParticipant(c echo.Context) error {
	return h.changeParticipants(c, "role-saved", func(role platform.Role) error {
		return h.DB.SetTeamParticipant(c.Request().Context(), Member(c), IDParam(c, "team"), role)
	})
}

func (h *Handlers) changeParticipants(c echo.Context, done string, change func(platform.Role) error) error {
	if err := change(roleValue(c)); err != nil {
		return err
	}
	return redirect(c, base(c)+"/participants", done)
}

// RemoveParticipant takes a role by name away.
func (h *Handlers) RemoveParticipant(c echo.Context) error {
	if err := h.DB.RemoveParticipant(c.Request().Context(), Member(c), IDParam(c, "user")); err != nil {
		return err
	}
	return redirect(c, base(c)+"/participants", "member-removed")
}

// RemoveTeamParticipant takes a team out of the workspace.
func (h *Handlers) RemoveTeamParticipant(c echo.Context) error {
	if err := h.DB.RemoveTeamParticipant(c.Request().Context(), Member(c), IDParam(c, "team")); err != nil {
		return err
	}
	return redirect(c, base(c)+"/participants", "member-removed")
}

// LeaveWorkspace takes who is signed in out of the workspace.
func (h *Handlers) LeaveWorkspace(c echo.Context) error {
	if err := h.DB.LeaveWorkspace(c.Request().Context(), Member(c)); err != nil {
		return err
	}
	return redirect(c, "/", "")
}

// WorkspaceSettings shows what can be set of a workspace.
func (h *Handlers) WorkspaceSettings(c echo.Context) error {
	return h.showSettings(c, http.StatusOK, views.SettingsView{FullName: Member(c).Workspace.FullName})
}

// SetWorkspaceSettings renames a workspace.
func (h *Handlers) SetWorkspaceSettings(c echo.Context) error {
	w := Member(c).Workspace
	w.FullName = c.FormValue("fullName")
	errs, err := fieldErrors(w.Clean())
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showSettings(c, http.StatusUnprocessableEntity, views.SettingsView{FullName: w.FullName, Errors: errs})
	}
	if err := h.DB.RenameWorkspace(c.Request().Context(), w); err != nil {
		return err
	}
	return redirect(c, base(c)+"/settings", "workspace-saved")
}

func (h *Handlers) showSettings(c echo.Context, status int, v views.SettingsView) error {
	s, err := h.shell(c, "Settings", "settings")
	if err != nil {
		return err
	}
	if v.Hindrances, err = h.DB.WorkspaceHindrances(c.Request().Context(), Member(c).Workspace.ID); err != nil {
		return err
	}
	return render(c, status, views.WorkspaceSettingsPage(s, v))
}

// DeleteWorkspace deletes a workspace in which nothing lives any more.
func (h *Handlers) DeleteWorkspace(c echo.Context) error {
	w := Member(c).Workspace
	if err := h.DB.DeleteWorkspace(c.Request().Context(), w); err != nil {
		return err
	}
	organization, err := h.DB.OrganizationMember(c.Request().Context(), Member(c).User.ID, w.Organization.Name)
	if err != nil {
		return redirect(c, "/", "") // a collaborator sees no more of the organization
	}
	return redirect(c, components.OrganizationPath(organization.Organization), "workspace-deleted")
}
