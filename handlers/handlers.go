// Package handlers answers requests: read the request, call the database, render. One file for each page or form.
// Handlers never wait for a cloud, except for reading a task's files, and never move a state: they write down facts
// and wishes, and the loops see them.
package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
	"wherry/views/components"
)

// Handlers answers the requests of pages.
type Handlers struct {
	DB     *db.DB
	Clouds map[platform.PlatformName]cloud.Cloud
	Log    *slog.Logger
	// Accounts are the platforms that need credentials.
	Accounts map[platform.PlatformName]cloud.Account
	Pending  *Pending
	// JumpRoleARN and InstanceCredentials are how this portal assumes the roles of credentials (cloud/aws).
	JumpRoleARN         string
	InstanceCredentials bool

	// AgentURLReachable is false when agents have only an address of this portal that means another host everywhere else, so
	// that no machine in a cloud could find its way back.
	AgentURLReachable bool
	// Price is what an hour of an environment's machine costs; the zero Price where that is not known.
	Price func(platform.ComputeEnv) platform.Price

	// BeginSession signs a user in, and EndSession out, by the browser's cookie; RenewSession gives it another token, because it was
	// just proved who is there. web/ knows how.
	BeginSession func(c echo.Context, userID int64, how platform.SignInMethod) error
	RenewSession func(c echo.Context) error
	EndSession   func(c echo.Context) error
	HTTPS        bool // the portal's address begins with https

	SignIns *SignInLimit
	started startedSignIns
	// Provider is by which people can sign in too; nil: there is none. NoPasswords says that they can by nothing else.
	Provider    *Provider
	NoPasswords bool
	// RequireSecondFactor leads whoever has no second factor to set one up, before anything else.
	RequireSecondFactor bool

	// PortalURL is the address under which people reach the portal.
	PortalURL string
	// Mail sends a text by mail; nil: the portal has no mail server.
	Mail func(ctx context.Context, to, subject, text string) error

	// Templates are the tools that Studios are made of.
	Templates []platform.StudioTemplate
	// OpenStudio returns the address that opens a Studio for the member who is signed in, once; web/studios knows how.
	OpenStudio func(c echo.Context, s platform.Studio) (url string, err error)
	// StudioConnections lists who has a Studio open now.
	StudioConnections func(studioID string) []platform.StudioConnection
}

// Keys under which web/ leaves in the echo.Context what it found out about the request.
const (
	keyMember  = "member"
	keyMachine = "machine"
	keyUser    = "user"
	keyCSRF    = "csrf"
	keyOrg     = "organization-member"
	keySession = "session"
)

// SetSession leaves the browser's session.
func SetSession(c echo.Context, s platform.Session) { c.Set(keySession, s) }

// Session is the browser's session, on routes for users that are no API.
func Session(c echo.Context) platform.Session {
	s, _ := c.Get(keySession).(platform.Session)
	return s
}

// SetMember leaves who is signed in and in which workspace.
func SetMember(c echo.Context, m platform.Member) { c.Set(keyMember, m) }

// Member is who is signed in, on routes whose permission is asked in a workspace.
func Member(c echo.Context) platform.Member { return c.Get(keyMember).(platform.Member) }

// SetOrganizationMember leaves who is signed in and in which organization.
func SetOrganizationMember(c echo.Context, m platform.OrganizationMember) { c.Set(keyOrg, m) }

// OrganizationMember is who is signed in, on routes whose permission is asked in an organization.
func OrganizationMember(c echo.Context) platform.OrganizationMember {
	return c.Get(keyOrg).(platform.OrganizationMember)
}

// SetUser leaves who is signed in and the session's CSRF token.
func SetUser(c echo.Context, u platform.User, csrf string) {
	c.Set(keyUser, u)
	c.Set(keyCSRF, csrf)
}

// User is who is signed in; ok is false for nobody.
func User(c echo.Context) (u platform.User, ok bool) {
	u, ok = c.Get(keyUser).(platform.User)
	return u, ok
}

// CSRF is the token that every form of the session carries; "" when nobody is signed in.
func CSRF(c echo.Context) string {
	token, _ := c.Get(keyCSRF).(string)
	return token
}

// SetMachine leaves whose agent is asking.
func SetMachine(c echo.Context, m platform.Machine) { c.Set(keyMachine, m) }

// Machine is whose agent is asking, on routes for agents.
func Machine(c echo.Context) platform.Machine { return c.Get(keyMachine).(platform.Machine) }

// shell fills in the frame of a page.
func (h *Handlers) shell(c echo.Context, title, active string) (components.Shell, error) {
	s := components.Shell{Title: title, Active: active, CSRF: CSRF(c), Notice: notices[c.QueryParam("done")]}
	user, ok := User(c)
	if !ok {
		return s, nil
	}
	members, err := h.DB.Memberships(c.Request().Context(), user.ID)
	if err != nil {
		return s, err
	}
	s.User = &user
	for _, m := range members {
		s.Workspaces = append(s.Workspaces, m.Workspace)
	}
	if m, ok := c.Get(keyMember).(platform.Member); ok {
		s.Member = &m
	}
	if m, ok := c.Get(keyOrg).(platform.OrganizationMember); ok {
		s.Organization = &m
	}
	s.Organizations, err = h.DB.OrganizationsOf(c.Request().Context(), user.ID)
	return s, err
}

// live makes the page follow the journal from now on. It is called before what the page shows is read, so that a change
// in between is seen twice and not never.
func (h *Handlers) live(c echo.Context, s *components.Shell, runID string) (err error) {
	s.Live, s.LiveRun = true, runID
	s.LastChange, err = h.DB.LastChange(c.Request().Context())
	return err
}

// notices are the sentences about what was just done, by the name that a redirect carries.
var notices = map[string]string{
	"pipeline-saved":       "The pipeline was saved.",
	"pipeline-deleted":     "The pipeline was deleted. Its runs are kept.",
	"compute-env-saved":    "The compute environment was saved.",
	"compute-env-deleted":  "The compute environment was deleted. Runs that used it are kept.",
	"compute-env-primary":  "New launches start with this compute environment now.",
	"compute-env-made":     "The compute environment was saved. What it needs in the account is being made.",
	"compute-env-deleting": "The compute environment is being deleted, with all that was made for it.",
	"compute-env-check":    "The compute environment is looked at now.",
	"compute-env-enabled":  "The compute environment takes runs again.",
	"compute-env-disabled": "The compute environment takes no new runs. Those that run go on.",
	"credentials-saved":    "The credentials were saved.",
	"credentials-deleted":  "The credentials were deleted.",
	"cancel-asked":         "Cancel was asked for. Nextflow stops its tasks first.",
	"machine-end-asked":    "The end of the machine was asked for.",
	"limits-saved":         "The limits were saved. Machines that wait for a place are looked at again now.",
	"studio-added":         "The Studio was added. Start it when you want to work in it.",
	"studio-saved":         "The Studio was saved. What was changed counts from its next start on.",
	"studio-deleted":       "The Studio was deleted, with all that it kept.",
	"studio-extended":      "The Studio's lifespan was extended.",
	"studio-not-running":   "Nobody could connect to the Studio just now, because it did not run.",
	"checkpoint-named":     "The checkpoint's name was saved.",
	"checkpoint-deleted":   "The checkpoint was deleted.",
	"signed-out":           "You are signed out.",
	"label-saved":          "The label was saved. Machines that are started from now on have it as a tag.",
	"label-deleted":        "The label was deleted, and taken off whatever had it.",
	"run-labels-saved":     "The labels of the run were saved.",
	"secret-saved":         "The secret was saved. Runs that start from now on are given this value.",
	"secret-deleted":       "The secret was deleted.",
	"password-set":         "The password was saved. Your sessions in other browsers have ended.",
	"email-set":            "The e-mail address was saved.",
	"session-revoked":      "The session was ended.",
	"sessions-revoked":     "All your other sessions were ended.",
	"token-revoked":        "The access token was revoked.",
	"second-factor-off":    "The second factor was turned off.",
	"sign-in-too-slow":     "That took too long. Sign in again.",
	"identity-linked":      "You can sign in by the identity provider from now on.",
	"identity-unlinked":    "The identity provider signs you in no more.",
	"workspace-added":      "The workspace was added. Owners of the organization are its owners; add others on the page of its participants.",
	"workspace-saved":      "The workspace was saved.",
	"workspace-deleted":    "The workspace was deleted.",
	"organization-saved":   "The organization was saved.",
	"organization-added":   "The organization was added.",
	"role-saved":           "The role was saved. It counts from now on.",
	"member-removed":       "They were taken out. Their pages and connections here end at once.",
	"member-added":         "They were added.",
	"team-joined":          "The team was added. Its members have the role from now on.",
	"team-added":           "The team was added. Put members in, and add it to the participants of workspaces.",
	"team-saved":           "The team was saved.",
	"team-deleted":         "The team was deleted.",
	"group-saved":          "The groups were saved. They count from each user's next sign-in on.",
	"invitation-revoked":   "The invitation was taken back. Its link opens nothing any more.",
	"joined":               "Welcome. You have what the invitation gives.",
	"user-saved":           "The user was saved.",
	"sessions-ended":       "The sessions were ended.",
}

// render answers with a page or a fragment.
func render(c echo.Context, status int, page templ.Component) error {
	c.Response().Header().Set(echo.HeaderContentType, echo.MIMETextHTMLCharsetUTF8)
	c.Response().WriteHeader(status)
	return page.Render(c.Request().Context(), c.Response())
}

// redirect sends the browser on after a form, with the name of a notice or "".
func redirect(c echo.Context, path, done string) error {
	if done != "" {
		path += "?done=" + done
	}
	if isHTMX(c) {
		c.Response().Header().Set("HX-Redirect", path)
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, path)
}

func isHTMX(c echo.Context) bool { return c.Request().Header.Get("HX-Request") == "true" }

// base is the path of the member's workspace.
func base(c echo.Context) string { return components.WorkspacePath(Member(c).Workspace) }

// fieldErrors splits off errors that belong beside fields. Any other error comes back as it is.
func fieldErrors(err error) (platform.FieldErrors, error) {
	var fields platform.FieldErrors
	if errors.As(err, &fields) {
		return fields, nil
	}
	return nil, err
}

// runParam reads the run that the path names, in the member's workspace.
func (h *Handlers) runParam(c echo.Context) (platform.Run, error) {
	id := c.Param("run")
	if !platform.ValidID(id) {
		return platform.Run{}, platform.Errorf(platform.CodeNotFound, "There is no such run in this workspace.")
	}
	return h.DB.Run(c.Request().Context(), Member(c).Workspace.ID, id)
}

// intParam reads a number from the query; what is no number is the fallback.
func intParam(c echo.Context, name string, fallback int64) int64 {
	n, err := strconv.ParseInt(c.QueryParam(name), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}

// IDParam reads a number that the path names; what is none is 0, which is the id of nothing.
func IDParam(c echo.Context, name string) int64 {
	id, _ := strconv.ParseInt(c.Param(name), 10, 64)
	return id
}
