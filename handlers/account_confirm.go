package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// fresh tells whether it was proved a short time ago who sits at the browser, as the most sensitive changes want it.
func (h *Handlers) fresh(c echo.Context) bool { return Session(c).FreshlyConfirmed(time.Now()) }

// askToConfirm leads to the form in which the user proves again who they are, and from there to a page.
func (h *Handlers) askToConfirm(c echo.Context, next string) error {
	return c.Redirect(http.StatusSeeOther, "/account/confirm?next="+next)
}

// ConfirmForm asks the user to prove again who they are.
func (h *Handlers) ConfirmForm(c echo.Context) error {
	next := accountPath(c.QueryParam("next"))
	if fromElsewhere(c) {
		next = "/account" // another site's page does not choose what is confirmed
	}
	return h.showConfirm(c, http.StatusOK, next, nil)
}

func (h *Handlers) showConfirm(c echo.Context, status int, next string, errs platform.FieldErrors) error {
	s, err := h.shell(c, "Confirm that it is you", "")
	if err != nil {
		return err
	}
	user, _ := User(c)
	return render(c, status, views.ConfirmPage(s, user, Session(c).SecondFactor, next, errs))
}

// Confirm takes the password again, and a code of who has a second factor, and lets the most sensitive changes through for a while.
func (h *Handlers) Confirm(c echo.Context) error {
	user, _ := User(c)
	next := accountPath(c.FormValue("next"))
	problem, err := h.provePassword(c, user, c.FormValue("password"))
	if err != nil {
		return err
	}
	if problem != "" {
		return h.showConfirm(c, http.StatusUnprocessableEntity, next, platform.FieldErrors{"password": problem})
	}
	if Session(c).SecondFactor {
		_, problem, err := h.proveSecondFactor(c, user, c.FormValue("code"), true)
		if err != nil {
			return err
		}
		if problem != "" {
			return h.showConfirm(c, http.StatusUnprocessableEntity, next, platform.FieldErrors{"code": problem})
		}
	}
	if err := h.RenewSession(c); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, next)
}

// accountPath is where to go after confirming: a page of the account.
func accountPath(next string) string {
	if next = localPath(next); strings.HasPrefix(next, "/account") {
		return next
	}
	return "/account"
}

// provePassword compares the password of someone who is signed in, as often as sign-in would. problem says why it is not taken.
func (h *Handlers) provePassword(c echo.Context, user platform.User, password string) (problem string, err error) {
	now, key := time.Now(), proofOf(user)
	if wait := h.SignIns.Begin(now, key, c.RealIP()); wait > 0 {
		return tooMany(wait), nil
	}
	right, err := h.passwordIs(user, password)
	if right {
		h.SignIns.Right(now, key, c.RealIP())
	}
	if err != nil || right {
		return "", err
	}
	return "This is not your password.", h.DB.SignInFailed(c.Request().Context(), user, user.UserName, "wrong password, signed in")
}

// proofOf is what a user's further proofs are counted for, apart from the passwords that anybody can try.
func proofOf(user platform.User) string { return fmt.Sprintf("proof %d", user.ID) }
