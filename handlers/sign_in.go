package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// passwordCost is argon2id as OWASP's Password Storage Cheat Sheet recommends it, with memory to spare.
var passwordCost = &argon2id.Params{Memory: 64 << 10, Iterations: 3, Parallelism: 2, SaltLength: 16, KeyLength: 32}

// nobodysHash is compared with when there is no such user, so that the answer takes as long as for one there is.
const nobodysHash = "$argon2id$v=19$m=65536,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$pGaxd9VLbiVZYrFcz2mhCjvA6hpl8QRbyS52+XsSzLg"

// SetUpForm shows the set-up page of a portal that has no user yet.
func (h *Handlers) SetUpForm(c echo.Context) error {
	users, err := h.DB.UserCount(c.Request().Context())
	if err != nil {
		return err
	}
	if users > 0 {
		return c.Redirect(http.StatusSeeOther, "/sign-in")
	}
	return render(c, http.StatusOK, views.SetUpPage(components.Shell{Title: "Set up"}, platform.SetUp{}, nil))
}

// SetUp makes the first owner and signs them in.
func (h *Handlers) SetUp(c echo.Context) error {
	in := platform.SetUp{Email: c.FormValue("email"), UserName: c.FormValue("userName"), Password: c.FormValue("password"),
		Organization: c.FormValue("organization"), Workspace: c.FormValue("workspace")}
	if errs, err := fieldErrors(in.Clean()); errs != nil {
		return render(c, http.StatusUnprocessableEntity, views.SetUpPage(components.Shell{Title: "Set up"}, in, errs))
	} else if err != nil {
		return err
	}
	var hash string
	err := h.SignIns.Hash(func() (err error) {
		hash, err = argon2id.CreateHash(in.Password, passwordCost)
		return err
	})
	if err != nil {
		return err
	}
	m, err := h.DB.SetUp(c.Request().Context(), in, hash)
	if err != nil {
		return err
	}
	if err := h.BeginSession(c, m.User.ID); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, components.WorkspacePath(m.Workspace)+"/launchpad")
}

// SignInForm asks who someone is.
func (h *Handlers) SignInForm(c echo.Context) error {
	users, err := h.DB.UserCount(c.Request().Context())
	if err != nil {
		return err
	}
	if users == 0 {
		return c.Redirect(http.StatusSeeOther, "/set-up")
	}
	if _, ok := User(c); ok {
		return c.Redirect(http.StatusSeeOther, "/")
	}
	s := components.Shell{Title: "Sign in", Notice: notices[c.QueryParam("done")]}
	return render(c, http.StatusOK, views.SignInPage(s, "", localPath(c.QueryParam("next")), nil))
}

// SignIn signs someone in by their password. It does not tell whether it was the login or the password that was wrong.
func (h *Handlers) SignIn(c echo.Context) error {
	login, next := strings.TrimSpace(c.FormValue("login")), localPath(c.FormValue("next"))
	refuse := func(status int, message string) error {
		return render(c, status, views.SignInPage(components.Shell{Title: "Sign in"}, login, next, platform.FieldErrors{"": message}))
	}
	now := time.Now()
	if wait := h.SignIns.Closed(now, login, c.RealIP()); wait > 0 {
		return refuse(http.StatusTooManyRequests, fmt.Sprintf("Too many attempts failed. Try again in %s.", components.Duration(wait)))
	}
	user, err := h.DB.UserByLogin(c.Request().Context(), login)
	if err != nil && platform.ErrorCode(err) != platform.CodeNotFound {
		return err
	}
	right, err := h.passwordIs(user, c.FormValue("password"))
	if err != nil {
		return err
	}
	if !right {
		h.SignIns.Failed(now, login, c.RealIP())
		return refuse(http.StatusUnprocessableEntity, "This login and password do not belong together. Try again.")
	}
	if err := h.BeginSession(c, user.ID); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, next)
}

// passwordIs compares a password, in the same time for a user that does not exist or has no password.
func (h *Handlers) passwordIs(user platform.User, password string) (right bool, err error) {
	hash := user.PasswordHash
	if hash == "" {
		hash = nobodysHash
	}
	err = h.SignIns.Hash(func() (err error) {
		right, err = argon2id.ComparePasswordAndHash(password, hash)
		return err
	})
	return right && user.PasswordHash != "", err
}

// SignInLinkForm asks for the click that uses a one-time link.
func (h *Handlers) SignInLinkForm(c echo.Context) error {
	return render(c, http.StatusOK, views.SignInLinkPage(components.Shell{Title: "Sign in"}, c.QueryParam("token")))
}

// SignInLink signs someone in by a one-time link.
func (h *Handlers) SignInLink(c echo.Context) error {
	user, err := h.DB.UseSignInLink(c.Request().Context(), platform.HashToken(c.FormValue("token")))
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return platform.Errorf(platform.CodeGone, "This link was used already, or is too old. Whoever operates the portal can print a new one.")
	}
	if err != nil {
		return err
	}
	if err := h.BeginSession(c, user.ID); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

// SignOut ends the session.
func (h *Handlers) SignOut(c echo.Context) error {
	if err := h.EndSession(c); err != nil {
		return err
	}
	return redirect(c, "/sign-in", "signed-out")
}

// localPath is where to go after signing in: a path of this portal, never another site.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
