package handlers

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// Invitation asks whoever has opened an invitation's link for the click that uses it up.
func (h *Handlers) Invitation(c echo.Context) error {
	token := c.QueryParam("token")
	i, err := h.DB.OpenInvitation(c.Request().Context(), platform.HashToken(token))
	if err != nil {
		return err
	}
	return h.showInvitation(c, http.StatusOK, views.AcceptView{Invitation: i, Token: token})
}

func (h *Handlers) showInvitation(c echo.Context, status int, v views.AcceptView) error {
	s, err := h.shell(c, "Join "+v.Invitation.Organization.FullName, "")
	if err != nil {
		return err
	}
	v.NoPasswords = h.NoPasswords
	v.SignIn = "/sign-in?next=" + url.QueryEscape(acceptURL(v.Token))
	return render(c, status, views.AcceptPage(s, v))
}

// AcceptInvitation lets who is signed in into what an invitation gives.
func (h *Handlers) AcceptInvitation(c echo.Context) error {
	user, ok := User(c)
	if !ok {
		return c.Redirect(http.StatusSeeOther, acceptURL(c.FormValue("token")))
	}
	if subtle.ConstantTimeCompare([]byte(c.FormValue("csrf")), []byte(CSRF(c))) != 1 {
		return platform.Errorf(platform.CodeForbidden, "This form is from another session. Open the link again and repeat what you did.")
	}
	i, err := h.DB.AcceptInvitation(c.Request().Context(), platform.HashToken(c.FormValue("token")), user)
	if err != nil {
		return err
	}
	return h.welcome(c, user, i)
}

// JoinByInvitation makes an account for somebody who has an invitation, and lets them in.
func (h *Handlers) JoinByInvitation(c echo.Context) error {
	token, now := c.FormValue("token"), time.Now()
	if _, ok := User(c); ok {
		return c.Redirect(http.StatusSeeOther, acceptURL(token))
	}
	i, err := h.DB.OpenInvitation(c.Request().Context(), platform.HashToken(token))
	if err != nil {
		return err
	}
	if h.NoPasswords { // who made one here would come in past the provider
		return platform.Errorf(platform.CodeForbidden, "This portal takes no passwords, and so makes no account with one. Open the invitation's link again, and sign in.")
	}
	v := views.AcceptView{Invitation: i, Token: token, In: readNewUser(c)}
	if v.In.EmailChosen = i.Email == ""; !v.In.EmailChosen {
		v.In.Email = i.Email
	}
	// Which addresses have an account, nobody finds out by trying.
	if wait := h.SignIns.Begin(now, "invitation "+i.ID, c.RealIP()); wait > 0 {
		v.Errors = platform.FieldErrors{"": fmt.Sprintf("Too many attempts failed. Try again in %s.", components.Duration(wait))}
		return h.showInvitation(c, http.StatusTooManyRequests, v)
	}
	var user platform.User
	err = h.newUser(&v.In, func(hash string) (err error) {
		user, i, err = h.DB.JoinByInvitation(c.Request().Context(), platform.HashToken(token), v.In, hash)
		return err
	})
	if v.Errors, err = fieldErrors(err); err != nil {
		return err
	}
	if v.Errors[""] == "" {
		h.SignIns.Right(now, "invitation "+i.ID, c.RealIP())
	}
	if v.Errors != nil {
		return h.showInvitation(c, http.StatusUnprocessableEntity, v)
	}
	if err := h.BeginSession(c, user.ID, platform.SignInByInvitation); err != nil {
		return err
	}
	return h.welcome(c, user, i)
}

// welcome leads to what an invitation gave: its workspace, or another of the user's, or the organization.
func (h *Handlers) welcome(c echo.Context, user platform.User, i platform.Invitation) error {
	if i.Workspace != "" {
		w := platform.Workspace{Name: i.Workspace, Organization: i.Organization}
		return redirect(c, components.WorkspacePath(w)+"/launchpad", "joined")
	}
	return redirect(c, components.OrganizationPath(i.Organization), "joined")
}
