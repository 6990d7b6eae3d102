package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

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
	hash, err := h.hashPassword(in.Password)
	if err != nil {
		return err
	}
	m, err := h.DB.SetUp(c.Request().Context(), in, hash)
	if err != nil {
		return err
	}
	if err := h.BeginSession(c, m.User.ID, platform.SignInBySetUp); err != nil {
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
	return h.showSignIn(c, http.StatusOK, views.SignIn{Next: localPath(c.QueryParam("next"))})
}

func (h *Handlers) showSignIn(c echo.Context, status int, p views.SignIn) error {
	p.Passwords = !h.NoPasswords
	if h.Provider != nil {
		p.Provider = h.Provider.Name
	}
	return render(c, status, views.SignInPage(components.Shell{Title: "Sign in", Notice: notices[c.QueryParam("done")]}, p))
}

// SignIn signs someone in by their password. It does not tell whether it was the login or the password that was wrong.
func (h *Handlers) SignIn(c echo.Context) error {
	login, next := strings.TrimSpace(c.FormValue("login")), localPath(c.FormValue("next"))
	refuse := func(status int, message string) error {
		return h.showSignIn(c, status, views.SignIn{Login: login, Next: next, Error: message})
	}
	if h.NoPasswords {
		return refuse(http.StatusForbidden, "This portal takes no passwords.")
	}
	now := time.Now()
	if wait := h.SignIns.Begin(now, loginKey(login), c.RealIP()); wait > 0 {
		return refuse(http.StatusTooManyRequests, tooMany(wait))
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
		if err := h.DB.SignInFailed(c.Request().Context(), user, loginForAudit(login), "wrong password"); err != nil {
			return err
		}
		return refuse(http.StatusUnprocessableEntity, "This login and password do not belong together. Try again.")
	}
	h.SignIns.Right(now, loginKey(login), c.RealIP())
	return h.signIn(c, user, platform.SignInByPassword, next)
}

func tooMany(wait time.Duration) string {
	return fmt.Sprintf("Too many attempts failed. Try again in %s.", components.Duration(wait))
}

// loginForAudit is what the audit log tells of a login that somebody tried. What looks like none may be a password that was typed
// into the wrong field.
func loginForAudit(login string) string {
	if platform.CheckEmail(strings.ToLower(login)) == nil || platform.IsUserName(login) {
		return platform.Shorten(login, platform.MaxEmailLength)
	}
	return "(neither a user name nor an e-mail address)"
}

var errDisabled = platform.Errorf(platform.CodeForbidden, "This user was disabled. Whoever administers this portal can enable it again.")

// signIn begins the session of someone who has proved who they are by one factor. Who has a second is asked for it first.
func (h *Handlers) signIn(c echo.Context, user platform.User, how platform.SignInMethod, next string) error {
	if !user.Disabled.IsZero() {
		return errDisabled
	}
	second, err := h.DB.HasSecondFactor(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	if second {
		h.start(c, startedSignIn{userID: user.ID, how: how, next: next})
		return c.Redirect(http.StatusSeeOther, "/sign-in/second-factor")
	}
	if err := h.BeginSession(c, user.ID, how); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, next)
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
	return h.signIn(c, user, platform.SignInByLink, "/")
}

// SignOut ends the session.
func (h *Handlers) SignOut(c echo.Context) error {
	if err := h.EndSession(c); err != nil {
		return err
	}
	return redirect(c, "/sign-in", "signed-out")
}

// maxNext bounds where to go after signing in, which is kept meanwhile, in bytes. The longest addresses of pages are filters of lists.
const maxNext = 2048

// localPath is where to go after signing in: a path of this portal, never another site.
func localPath(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
