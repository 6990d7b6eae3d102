package handlers

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Teams lists the teams of an organization.
func (h *Handlers) Teams(c echo.Context) error {
	return h.showTeams(c, http.StatusOK, views.TeamList{})
}

// AddTeam adds a team.
func (h *Handlers) AddTeam(c echo.Context) error {
	t, err := h.saveTeam(c, platform.Team{OrganizationID: OrganizationMember(c).Organization.ID}, h.DB.AddTeam)
	errs, err := fieldErrors(err)
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showTeams(c, http.StatusUnprocessableEntity, views.TeamList{New: t, Errors: errs})
	}
	return redirect(c, orgPath(c)+"/teams", "team-added")
}

// saveTeam reads a team from the form and saves it.
func (h *Handlers) saveTeam(c echo.Context, t platform.Team, save func(context.Context, *platform.Team) error) (platform.Team, error) {
	t.Name, t.Description = c.FormValue("name"), c.FormValue("description")
	err := t.Clean()
	if err == nil {
		err = save(c.Request().Context(), &t)
	}
	return t, err
}

func (h *Handlers) showTeams(c echo.Context, status int, l views.TeamList) error {
	s, err := h.shell(c, "Teams", "teams")
	if err != nil {
		return err
	}
	m, ctx, part := OrganizationMember(c), c.Request().Context(), listPart(c)
	teams, err := h.DB.Teams(ctx, m.Organization.ID, part)
	if err != nil {
		return err
	}
	l.Teams, l.Part = cut(teams, part, orgPath(c)+"/teams")
	if m.Can(platform.ManageOrganization) {
		if l.Groups, err = h.DB.IdentityGroups(ctx, m.Organization.ID); err != nil {
			return err
		}
	}
	return render(c, status, views.TeamsPage(s, l))
}

// teamParam reads the team that the path names, in the organization.
func (h *Handlers) teamParam(c echo.Context) (platform.Team, error) {
	return h.DB.Team(c.Request().Context(), OrganizationMember(c).Organization.ID, IDParam(c, "team"))
}

// Team shows a team.
func (h *Handlers) Team(c echo.Context) error {
	t, err := h.teamParam(c)
	if err != nil {
		return err
	}
	return h.showTeam(c, http.StatusOK, views.TeamView{Team: t, Form: t})
}

// UpdateTeam saves a team's name and description.
func (h *Handlers) UpdateTeam(c echo.Context) error {
	t, err := h.teamParam(c)
	if err != nil {
		return err
	}
	form, err := h.saveTeam(c, t, func(ctx context.Context, t *platform.Team) error { return h.DB.UpdateTeam(ctx, *t) })
	errs, err := fieldErrors(err)
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showTeam(c, http.StatusUnprocessableEntity, views.TeamView{Team: t, Form: form, Errors: errs})
	}
	return redirect(c, teamPath(c), "team-saved")
}

func teamPath(c echo.Context) string { return orgPath(c) + "/teams/" + c.Param("team") }

func (h *Handlers) showTeam(c echo.Context, status int, v views.TeamView) error {
	s, err := h.shell(c, v.Team.Name, "teams")
	if err != nil {
		return err
	}
	ctx, part := c.Request().Context(), listPart(c)
	members, err := h.DB.TeamMembers(ctx, v.Team.ID, part)
	if err != nil {
		return err
	}
	v.Members, v.Part = cut(members, part, orgPath(c)+"/teams/"+c.Param("team"))
	if v.Workspaces, err = h.DB.TeamWorkspaces(ctx, v.Team.ID); err != nil {
		return err
	}
	return render(c, status, views.TeamPage(s, v))
}

// DeleteTeam deletes a team.
func (h *Handlers) DeleteTeam(c echo.Context) error {
	if err := h.DB.DeleteTeam(c.Request().Context(), OrganizationMember(c).Organization.ID, IDParam(c, "team")); err != nil {
		return err
	}
	return redirect(c, orgPath(c)+"/teams", "team-deleted")
}

// AddTeamMember puts a member of the organization into a team.
func (h *Handlers) AddTeamMember(c echo.Context) error {
	t, err := h.teamParam(c)
	if err != nil {
		return err
	}
	login := c.FormValue("login")
	errs, err := fieldErrors(h.DB.AddTeamMember(c.Request().Context(), t, login))
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showTeam(c, http.StatusUnprocessableEntity, views.TeamView{Team: t, Form: t, Login: login, LoginError: errs})
	}
	return redirect(c, teamPath(c), "member-added")
}

// RemoveTeamMember takes somebody out of a team.
func (h *Handlers) RemoveTeamMember(c echo.Context) error {
	t, err := h.teamParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.RemoveTeamMember(c.Request().Context(), t, IDParam(c, "user")); err != nil {
		return err
	}
	return redirect(c, teamPath(c), "member-removed")
}

// AddIdentityGroup leads from a group of the identity provider to a team.
func (h *Handlers) AddIdentityGroup(c echo.Context) error {
	l := views.TeamList{Group: strings.TrimSpace(c.FormValue("group")), New: platform.Team{Name: strings.TrimSpace(c.FormValue("teamName"))}}
	errs, err := fieldErrors(h.addGroup(c, l.Group, l.New.Name))
	switch {
	case err != nil:
		return err
	case errs != nil:
		l.GroupErrors = errs
		return h.showTeams(c, http.StatusUnprocessableEntity, l)
	}
	return redirect(c, orgPath(c)+"/teams", "group-saved")
}

func (h *Handlers) addGroup(c echo.Context, group, team string) error {
	ctx, orgID := c.Request().Context(), OrganizationMember(c).Organization.ID
	errs := platform.FieldErrors{}
	if group == "" || len(group) > platform.MaxGroupName {
		errs.Add("group", "Enter the group's name, of at most %d characters.", platform.MaxGroupName)
	}
	t, err := h.DB.TeamByName(ctx, orgID, team)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		errs.Add("teamName", "This organization has no team of this name.")
	} else if err != nil {
		return err
	}
	if len(errs) > 0 {
		return errs
	}
	return h.DB.AddIdentityGroup(ctx, &platform.IdentityGroup{OrganizationID: orgID, Name: group, Team: t})
}

// RemoveIdentityGroup ends that a group puts people into a team.
func (h *Handlers) RemoveIdentityGroup(c echo.Context) error {
	if err := h.DB.RemoveIdentityGroup(c.Request().Context(), OrganizationMember(c).Organization.ID, IDParam(c, "group")); err != nil {
		return err
	}
	return redirect(c, orgPath(c)+"/teams", "group-saved")
}
