package handlers

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Account shows a user what is theirs alone: how they sign in, and where they are signed in.
func (h *Handlers) Account(c echo.Context) error {
	s, err := h.shell(c, "Your account", "")
	if err != nil {
		return err
	}
	user, _ := User(c)
	ctx, now := c.Request().Context(), time.Now()
	a := views.Account{User: user, This: Session(c), Now: now}
	if a.Sessions, err = h.DB.Sessions(ctx, user.ID, now); err != nil {
		return err
	}
	tokens, err := h.DB.AccessTokens(ctx, user.ID)
	if err != nil {
		return err
	}
	secrets, err := h.DB.PipelineSecrets(ctx, platform.SecretsOwner{UserID: user.ID})
	if err != nil {
		return err
	}
	a.Tokens, a.Secrets = len(tokens), len(secrets)
	if a.Factor, err = h.factor(c); err != nil {
		return err
	}
	a.NoPasswords = h.NoPasswords
	if h.Provider != nil {
		a.Provider = h.Provider.Name
		identities, err := h.DB.Identities(ctx, user.ID)
		if err != nil {
			return err
		}
		a.Linked = slices.ContainsFunc(identities, func(i platform.Identity) bool { return i.Issuer == h.Provider.Issuer })
	}
	return render(c, http.StatusOK, views.AccountPage(s, a))
}

// PasswordForm asks for another password.
func (h *Handlers) PasswordForm(c echo.Context) error {
	if user, _ := User(c); user.PasswordHash == "" && !h.fresh(c) {
		return h.askToConfirm(c, "/account/password")
	}
	return h.showPasswordForm(c, http.StatusOK, nil)
}

func (h *Handlers) showPasswordForm(c echo.Context, status int, errs platform.FieldErrors) error {
	s, err := h.shell(c, "Password", "")
	if err != nil {
		return err
	}
	user, _ := User(c)
	return render(c, status, views.PasswordPage(s, user, errs))
}

// SetPassword changes the password. All other sessions of the user end with the old one.
func (h *Handlers) SetPassword(c echo.Context) error {
	user, _ := User(c)
	if user.PasswordHash == "" && !h.fresh(c) {
		return h.askToConfirm(c, "/account/password")
	}
	errs := platform.FieldErrors{}
	if user.PasswordHash != "" {
		problem, err := h.provePassword(c, user, c.FormValue("current"))
		if err != nil {
			return err
		}
		if problem != "" {
			errs.Add("current", "%s", problem)
		}
	}
	password := c.FormValue("password")
	if err := platform.CheckPassword(password, user.UserName, user.Email); err != nil {
		errs.Add("password", "%s", err.Error())
	}
	if len(errs) > 0 {
		return h.showPasswordForm(c, http.StatusUnprocessableEntity, errs)
	}
	hash, err := h.hashPassword(password)
	if err != nil {
		return err
	}
	if err := h.DB.SetPassword(c.Request().Context(), user.ID, hash, Session(c).ID); err != nil {
		return err
	}
	if err := h.RenewSession(c); err != nil {
		return err
	}
	return redirect(c, "/account", "password-set")
}

// EmailForm asks for another e-mail address.
func (h *Handlers) EmailForm(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, "/account/email")
	}
	user, _ := User(c)
	return h.showEmailForm(c, http.StatusOK, user.Email, nil)
}

func (h *Handlers) showEmailForm(c echo.Context, status int, email string, errs platform.FieldErrors) error {
	s, err := h.shell(c, "E-mail address", "")
	if err != nil {
		return err
	}
	return render(c, status, views.EmailPage(s, email, errs))
}

// SetEmail changes the e-mail address, by which the user signs in.
func (h *Handlers) SetEmail(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, "/account/email")
	}
	user, _ := User(c)
	email := strings.ToLower(strings.TrimSpace(c.FormValue("email")))
	if err := platform.CheckEmail(email); err != nil {
		return h.showEmailForm(c, http.StatusUnprocessableEntity, c.FormValue("email"), platform.FieldErrors{"email": err.Error()})
	}
	errs, err := fieldErrors(h.DB.SetEmail(c.Request().Context(), user.ID, email))
	if err != nil {
		return err
	}
	if errs != nil {
		return h.showEmailForm(c, http.StatusUnprocessableEntity, email, errs)
	}
	return redirect(c, "/account", "email-set")
}

// RevokeSession ends one of the user's sessions.
func (h *Handlers) RevokeSession(c echo.Context) error {
	user, _ := User(c)
	if c.Param("session") == Session(c).ID {
		return h.SignOut(c)
	}
	if err := h.DB.RevokeSession(c.Request().Context(), user.ID, c.Param("session")); err != nil {
		return err
	}
	return redirect(c, "/account", "session-revoked")
}

// RevokeOtherSessions ends all sessions of the user but this one.
func (h *Handlers) RevokeOtherSessions(c echo.Context) error {
	user, _ := User(c)
	if _, err := h.DB.RevokeOtherSessions(c.Request().Context(), user.ID, Session(c).ID); err != nil {
		return err
	}
	return redirect(c, "/account", "sessions-revoked")
}

// SignOutEverywhere ends all sessions of the user, this one too.
func (h *Handlers) SignOutEverywhere(c echo.Context) error {
	user, _ := User(c)
	if _, err := h.DB.RevokeOtherSessions(c.Request().Context(), user.ID, Session(c).ID); err != nil {
		return err
	}
	return h.SignOut(c)
}
