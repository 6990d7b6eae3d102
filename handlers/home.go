package handlers

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/static"
	"wherry/views"
	"wherry/views/components"
)

// Home sends everyone where they have something to do: to set the portal up, to sign in, or to their workspace.
func (h *Handlers) Home(c echo.Context) error {
	user, ok := User(c)
	if !ok {
		return h.SignInForm(c)
	}
	members, err := h.DB.Memberships(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		return h.homeless(c, user)
	}
	return c.Redirect(http.StatusSeeOther, components.WorkspacePath(members[0].Workspace)+"/launchpad")
}

// homeless sends who is in no workspace to their organization, where an owner can make one.
func (h *Handlers) homeless(c echo.Context, user platform.User) error {
	organizations, err := h.DB.OrganizationsOf(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	if len(organizations) == 0 {
		return platform.Errorf(platform.CodeForbidden, "You are in no workspace and no organization. Ask an owner of one to add or invite you.")
	}
	return c.Redirect(http.StatusSeeOther, components.OrganizationPath(organizations[0]))
}

// Workspace sends on to a workspace's Launchpad.
func (h *Handlers) Workspace(c echo.Context) error {
	return c.Redirect(http.StatusSeeOther, base(c)+"/launchpad")
}

// RunByID sends on to a run of whatever workspace the user is in.
func (h *Handlers) RunByID(c echo.Context) error {
	return h.sendOn(c, "run", func(m platform.Member) (path string, err error) {
		r, err := h.DB.Run(c.Request().Context(), m.Workspace.ID, c.Param("run"))
		return "/runs/" + r.ID, err
	})
}

// StudioByID leads from a Studio's own origin, which knows its id alone, to where a member connects to it.
func (h *Handlers) StudioByID(c echo.Context) error {
	return h.sendOn(c, "Studio", func(m platform.Member) (path string, err error) {
		s, err := h.DB.Studio(c.Request().Context(), m.Workspace.ID, c.Param("studio"))
		return "/studios/" + s.ID + "/connect?way=" + url.QueryEscape(c.QueryParam("way")), err // which browser asks (web/studios)
	})
}

// sendOn leads to a page of the first of the user's workspaces in which find finds what was asked for.
func (h *Handlers) sendOn(c echo.Context, what string, find func(platform.Member) (path string, err error)) error {
	user, _ := User(c)
	members, err := h.DB.Memberships(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if path, err := find(m); err == nil {
			return c.Redirect(http.StatusSeeOther, components.WorkspacePath(m.Workspace)+path)
		}
	}
	return platform.Errorf(platform.CodeNotFound, "There is no such %s in your workspaces.", what)
}

// Health tells a load balancer or monitor whether the portal can work.
func (h *Handlers) Health(c echo.Context) error {
	if err := h.DB.Ping(c.Request().Context()); err != nil {
		return err
	}
	return c.String(http.StatusOK, "ok\n")
}

// Favicon sends on browsers that ask for the icon's old name.
func (h *Handlers) Favicon(c echo.Context) error {
	return c.Redirect(http.StatusFound, static.URL("favicon.svg"))
}

// ErrorPage says what went wrong.
func (h *Handlers) ErrorPage(c echo.Context, status int, message string) error {
	title := map[int]string{http.StatusNotFound: "Not found", http.StatusForbidden: "Not allowed", http.StatusConflict: "That does not go now",
		http.StatusGone: "No longer there", http.StatusRequestEntityTooLarge: "Too large", http.StatusUnprocessableEntity: "That cannot be read"}[status]
	if title == "" {
		title = "Something went wrong"
	}
	s, err := h.shell(c, title, "")
	if err != nil {
		s = components.Shell{Title: title}
	}
	return render(c, status, views.ErrorPage(s, title, message))
}
