package handlers

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// orgPath is the path of the organization whose page it is.
func orgPath(c echo.Context) string {
	return components.OrganizationPath(OrganizationMember(c).Organization)
}

// Organization shows an organization and its workspaces.
func (h *Handlers) Organization(c echo.Context) error {
	return h.showOrganization(c, http.StatusOK, views.OrganizationView{FullName: OrganizationMember(c).Organization.FullName})
}

// AddWorkspace adds a workspace.
func (h *Handlers) AddWorkspace(c echo.Context) error {
	w := platform.Workspace{Organization: OrganizationMember(c).Organization, Name: c.FormValue("name"), FullName: c.FormValue("fullName")}
	err := w.Clean()
	if err == nil {
		err = h.DB.AddWorkspace(c.Request().Context(), &w)
	}
	errs, err := fieldErrors(err)
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showOrganization(c, http.StatusUnprocessableEntity, views.OrganizationView{New: w, FullName: w.Organization.FullName, Errors: errs})
	}
	return redirect(c, orgPath(c), "workspace-added")
}

// RenameOrganization gives an organization another full name.
func (h *Handlers) RenameOrganization(c echo.Context) error {
	o := OrganizationMember(c).Organization
	o.FullName = c.FormValue("organizationFullName")
	errs, err := fieldErrors(o.Clean())
	switch {
	case err != nil:
		return err
	case errs != nil:
		return h.showOrganization(c, http.StatusUnprocessableEntity, views.OrganizationView{FullName: o.FullName, NameErrors: errs})
	}
	if err := h.DB.RenameOrganization(c.Request().Context(), o); err != nil {
		return err
	}
	return redirect(c, orgPath(c), "organization-saved")
}

func (h *Handlers) showOrganization(c echo.Context, status int, v views.OrganizationView) (err error) {
	m, ctx := OrganizationMember(c), c.Request().Context()
	s, err := h.shell(c, m.Organization.FullName, "")
	if err != nil {
		return err
	}
	if v.Workspaces, err = h.DB.Workspaces(ctx, m.Organization.ID); err != nil {
		return err
	}
	mine, err := h.DB.Memberships(ctx, m.User.ID)
	if err != nil {
		return err
	}
	v.Mine = map[int64]platform.Role{}
	for _, member := range mine {
		v.Mine[member.Workspace.ID] = member.Role
	}
	return render(c, status, views.OrganizationPage(s, v))
}

// LeaveOrganization takes who is signed in out of an organization.
func (h *Handlers) LeaveOrganization(c echo.Context) error {
	m := OrganizationMember(c)
	if err := h.DB.RemoveOrganizationMember(c.Request().Context(), m.Organization.ID, m.User.ID); err != nil {
		return err
	}
	return redirect(c, "/", "")
}

// OrganizationMembers lists the members of an organization.
func (h *Handlers) OrganizationMembers(c echo.Context) error {
	s, err := h.shell(c, "Members", "members")
	if err != nil {
		return err
	}
	part := listPart(c)
	members, err := h.DB.OrganizationMembers(c.Request().Context(), OrganizationMember(c).Organization.ID, part)
	if err != nil {
		return err
	}
	l := views.MemberList{}
	l.Members, l.Part = cut(members, part, orgPath(c)+"/members")
	return render(c, http.StatusOK, views.MembersPage(s, l))
}

// SetOrganizationRole changes the role of a member.
func (h *Handlers) SetOrganizationRole(c echo.Context) error {
	role := platform.OrgRole(c.FormValue("role"))
	if role != platform.OrgOwner && role != platform.OrgMember {
		return platform.Errorf(platform.CodeInvalid, "A member of an organization is owner or member.")
	}
	if err := h.DB.SetOrganizationRole(c.Request().Context(), OrganizationMember(c).Organization.ID, IDParam(c, "user"), role); err != nil {
		return err
	}
	return redirect(c, orgPath(c)+"/members", "role-saved")
}

// RemoveOrganizationMember takes a member out of an organization, its teams and workspaces.
func (h *Handlers) RemoveOrganizationMember(c echo.Context) error {
	if err := h.DB.RemoveOrganizationMember(c.Request().Context(), OrganizationMember(c).Organization.ID, IDParam(c, "user")); err != nil {
		return err
	}
	return redirect(c, orgPath(c)+"/members", "member-removed")
}

// listPart reads which part of a long list is asked for: one more than a page shows, to see whether there is more.
func listPart(c echo.Context) platform.ListPart {
	return platform.ListPart{Text: strings.TrimSpace(c.QueryParam("q")), Offset: int(max(0, intParam(c, "from", 0))), Limit: platform.PartSize + 1}
}

// cut takes away what is more than a page shows.
func cut[T any](list []T, part platform.ListPart, path string) ([]T, views.Part) {
	p := views.Part{ListPart: part, Path: path, More: len(list) > platform.PartSize}
	if p.More {
		list = list[:platform.PartSize]
	}
	return list, p
}
