package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Users lists the users of the portal, for who administers it.
func (h *Handlers) Users(c echo.Context) error {
	s, err := h.shell(c, "Users", "admin/users")
	if err != nil {
		return err
	}
	part := listPart(c)
	accounts, err := h.DB.UserAccounts(c.Request().Context(), part)
	if err != nil {
		return err
	}
	l := views.UserList{Now: time.Now()}
	l.Accounts, l.Part = cut(accounts, part, "/admin/users")
	return render(c, http.StatusOK, views.UsersPage(s, l))
}

// DisableUser keeps a user out.
func (h *Handlers) DisableUser(c echo.Context) error {
	return changeUser(c, "user-saved", h.DB.DisableUser)
}

// EnableUser lets a user in again.
func (h *Handlers) EnableUser(c echo.Context) error {
	return changeUser(c, "user-saved", h.DB.EnableUser)
}

// MakeAdministrator makes a user an administrator of the portal.
func (h *Handlers) MakeAdministrator(c echo.Context) error {
	return changeUser(c, "user-saved", func(ctx context.Context, id int64) error { return h.DB.SetAdministrator(ctx, id, true) })
}

// UnmakeAdministrator ends that a user administers the portal.
func (h *Handlers) UnmakeAdministrator(c echo.Context) error {
	return changeUser(c, "user-saved", func(ctx context.Context, id int64) error { return h.DB.SetAdministrator(ctx, id, false) })
}

// EndUserSessions ends all sessions of a user.
func (h *Handlers) EndUserSessions(c echo.Context) error {
	return changeUser(c, "sessions-ended", h.DB.EndSessionsOf)
}

// ResetSecondFactor takes a lost second factor away.
func (h *Handlers) ResetSecondFactor(c echo.Context) error {
	return changeUser(c, "user-saved", h.DB.ResetSecondFactor)
}

// changeUser changes the user that the path names.
func changeUser(c echo.Context, done string, change func(ctx context.Context, id int64) error) error {
	id := IDParam(c, "user")
	if err := change(c.Request().Context(), id); err != nil {
		return err
	}
	if me, _ := User(c); me.ID == id && done != "user-saved" {
		return c.Redirect(http.StatusSeeOther, "/sign-in")
	}
	return redirect(c, "/admin/users", done)
}

// AdminOrganizations lists the organizations of the portal.
func (h *Handlers) AdminOrganizations(c echo.Context) error {
	me, _ := User(c)
	return h.showOrganizations(c, http.StatusOK, views.AdminOrganizations{Owner: me.UserName})
}

// AddOrganization adds an organization, whose owner is the administrator or another user.
func (h *Handlers) AddOrganization(c echo.Context) error {
	v := views.AdminOrganizations{New: platform.Organization{Name: c.FormValue("name"), FullName: c.FormValue("fullName")}, Owner: c.FormValue("owner")}
	err := v.New.Clean()
	if err == nil {
		err = h.DB.AddOrganization(c.Request().Context(), &v.New, v.Owner)
	}
	errs, err := fieldErrors(err)
	switch {
	case err != nil:
		return err
	case errs != nil:
		v.Errors = errs
		return h.showOrganizations(c, http.StatusUnprocessableEntity, v)
	}
	return redirect(c, "/admin/organizations", "organization-added")
}

func (h *Handlers) showOrganizations(c echo.Context, status int, v views.AdminOrganizations) error {
	s, err := h.shell(c, "Organizations", "admin/organizations")
	if err != nil {
		return err
	}
	if v.Organizations, err = h.DB.Organizations(c.Request().Context()); err != nil {
		return err
	}
	return render(c, status, views.AdminOrganizationsPage(s, v))
}

// Permissions shows who may do what.
func (h *Handlers) Permissions(c echo.Context) error {
	s, err := h.shell(c, "Roles and permissions", "permissions")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.PermissionsPage(s))
}
