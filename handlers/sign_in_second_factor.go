package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// totpPeriod is how long a code counts, in seconds, and totpSkew how many periods a clock may be off. Apps know no other period.
const (
	totpPeriod = 30
	totpSkew   = 1
)

// stepOf finds of which step a code is; 0 for none that counts now.
func stepOf(secret platform.Secret, code string, now time.Time) int64 {
	current := now.Unix() / totpPeriod
	for step := current - totpSkew; step <= current+totpSkew; step++ {
		right, err := hotp.ValidateCustom(code, uint64(step), secret.Reveal(), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && right {
			return step
		}
	}
	return 0
}

// proveSecondFactor takes a code of the user's app, or with recovery also a recovery code, each once. by says which it was; problem why
// none is taken.
func (h *Handlers) proveSecondFactor(c echo.Context, user platform.User, code string, recovery bool) (by, problem string, err error) {
	now, key := time.Now(), proofOf(user)
	if wait := h.SignIns.Begin(now, key, c.RealIP()); wait > 0 {
		return "", tooMany(wait), nil
	}
	ctx := c.Request().Context()
	factor, err := h.DB.SecondFactor(ctx, user.ID)
	if err != nil {
		return "", "", err
	}
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	var right bool
	if step := stepOf(factor.Secret, code, now); step != 0 && !factor.Confirmed.IsZero() {
		by = "totp"
		right, err = h.DB.UseSecondFactor(ctx, user.ID, step)
	} else if recovery && len(code) > int(otp.DigitsSix) {
		by = "recovery-code"
		right, err = h.DB.UseRecoveryCode(ctx, user.ID, platform.HashRecoveryCode(code))
	}
	if right {
		h.SignIns.Right(now, key, c.RealIP())
	}
	if err != nil || right {
		return by, "", err
	}
	return "", "This code is not right, or was used already. Enter the one that your app shows now.",
		h.DB.SignInFailed(ctx, user, user.UserName, "wrong code")
}

// SecondFactorForm asks for the second factor of someone who has proved the first.
func (h *Handlers) SecondFactorForm(c echo.Context) error {
	if started, ok := h.startedHere(c); !ok || started.userID == 0 {
		return c.Redirect(http.StatusSeeOther, "/sign-in")
	}
	return render(c, http.StatusOK, views.SecondFactorPage(components.Shell{Title: "Sign in"}, nil))
}

// SignInSecondFactor takes the second factor, and signs in.
func (h *Handlers) SignInSecondFactor(c echo.Context) error {
	started, ok := h.startedHere(c)
	if !ok || started.userID == 0 {
		return redirect(c, "/sign-in", "sign-in-too-slow")
	}
	user, err := h.DB.UserByID(c.Request().Context(), started.userID)
	if err != nil {
		return err
	}
	by, problem, err := h.proveSecondFactor(c, user, c.FormValue("code"), true)
	if err != nil {
		return err
	}
	if problem != "" {
		status := http.StatusUnprocessableEntity
		if h.SignIns.Closed(time.Now(), proofOf(user), c.RealIP()) > 0 {
			status = http.StatusTooManyRequests
		}
		return render(c, status, views.SecondFactorPage(components.Shell{Title: "Sign in"}, platform.FieldErrors{"code": problem}))
	}
	h.endStarted(c)
	if !user.Disabled.IsZero() {
		return errDisabled
	}
	if err := h.BeginSession(c, user.ID, started.how+platform.SignInMethod("+"+by)); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, started.next)
}
