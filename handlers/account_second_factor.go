package handlers

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"wherry/platform"
	"wherry/views"
)

const pathSecondFactor = "/account/second-factor"

// factor is the user's second factor; the zero one where there is none.
func (h *Handlers) factor(c echo.Context) (platform.SecondFactor, error) {
	user, _ := User(c)
	f, err := h.DB.SecondFactor(c.Request().Context(), user.ID)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		return platform.SecondFactor{}, nil
	}
	return f, err
}

// SecondFactor shows whether the user has a second factor, and how to set one up or turn it off.
func (h *Handlers) SecondFactor(c echo.Context) error {
	return h.showSecondFactor(c, http.StatusOK, nil)
}

func (h *Handlers) showSecondFactor(c echo.Context, status int, errs platform.FieldErrors) error {
	s, err := h.shell(c, "Second factor", "")
	if err != nil {
		return err
	}
	p := views.SecondFactor{Required: h.RequireSecondFactor, Now: time.Now(), Errors: errs}
	p.User, _ = User(c)
	if p.Factor, err = h.factor(c); err != nil {
		return err
	}
	return render(c, status, views.SecondFactorAccountPage(s, p))
}

// BeginSecondFactor makes the secret of a new second factor.
func (h *Handlers) BeginSecondFactor(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, pathSecondFactor)
	}
	user, _ := User(c)
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: user.Email, Period: totpPeriod})
	if err != nil {
		return err
	}
	if err := h.DB.BeginSecondFactor(c.Request().Context(), user.ID, platform.NewSecret(key.Secret())); err != nil {
		return err
	}
	return redirect(c, pathSecondFactor+"/set-up", "")
}

// issuer is what apps call this portal.
const issuer = "Wherry"

// SetUpSecondFactor shows the secret, and asks for a first code.
func (h *Handlers) SetUpSecondFactor(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, pathSecondFactor+"/set-up")
	}
	return h.showSetUpSecondFactor(c, http.StatusOK, nil)
}

func (h *Handlers) showSetUpSecondFactor(c echo.Context, status int, errs platform.FieldErrors) error {
	factor, err := h.factor(c)
	if err != nil {
		return err
	}
	if factor.Secret.IsZero() || !factor.Confirmed.IsZero() {
		return redirect(c, pathSecondFactor, "")
	}
	s, err := h.shell(c, "Set up a second factor", "")
	if err != nil {
		return err
	}
	user, _ := User(c)
	picture, err := qrCode(user, factor.Secret)
	if err != nil {
		return err
	}
	return render(c, status, views.SetUpSecondFactorPage(s, picture, factor.Secret, errs))
}

// qrCode is the picture that apps read a secret from, as a data: address.
func qrCode(user platform.User, secret platform.Secret) (string, error) {
	address := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + user.Email,
		RawQuery: url.Values{"secret": {secret.Reveal()}, "issuer": {issuer}}.Encode()}
	key, err := otp.NewKeyFromURL(address.String())
	if err != nil {
		return "", err
	}
	picture, err := key.Image(240, 240)
	if err != nil {
		return "", err
	}
	var file bytes.Buffer
	if err := png.Encode(&file, picture); err != nil {
		return "", err
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(file.Bytes()), nil
}

// ConfirmSecondFactor takes the first code, makes the second factor count, and shows the recovery codes, this once.
func (h *Handlers) ConfirmSecondFactor(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, pathSecondFactor+"/set-up")
	}
	user, _ := User(c)
	factor, err := h.factor(c)
	if err != nil {
		return err
	}
	step := stepOf(factor.Secret, c.FormValue("code"), time.Now())
	if step == 0 {
		return h.showSetUpSecondFactor(c, http.StatusUnprocessableEntity, platform.FieldErrors{
			"code": "This is not the code that your app should show now. Is the clock of your phone right?"})
	}
	codes, hashes := recoveryCodes()
	if err := h.DB.ConfirmSecondFactor(c.Request().Context(), user.ID, step, hashes, Session(c).ID); err != nil {
		return err
	}
	return h.showRecoveryCodes(c, codes)
}

func recoveryCodes() (codes, hashes []string) {
	codes = platform.NewRecoveryCodes()
	for _, code := range codes {
		hashes = append(hashes, platform.HashRecoveryCode(code))
	}
	return codes, hashes
}

func (h *Handlers) showRecoveryCodes(c echo.Context, codes []string) error {
	if err := h.RenewSession(c); err != nil {
		return err
	}
	s, err := h.shell(c, "Recovery codes", "")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.RecoveryCodesPage(s, codes))
}

// NewRecoveryCodes replaces the recovery codes, and shows the new ones, this once.
func (h *Handlers) NewRecoveryCodes(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, pathSecondFactor)
	}
	user, _ := User(c)
	if factor, err := h.factor(c); err != nil || factor.Confirmed.IsZero() {
		return redirectOr(c, err, pathSecondFactor)
	}
	codes, hashes := recoveryCodes()
	if err := h.DB.SetRecoveryCodes(c.Request().Context(), user.ID, hashes); err != nil {
		return err
	}
	return h.showRecoveryCodes(c, codes)
}

// redirectOr answers with an error, or leads to a page where there is none.
func redirectOr(c echo.Context, err error, path string) error {
	if err != nil {
		return err
	}
	return redirect(c, path, "")
}

// RemoveSecondFactor turns the second factor off. It wants the password and a code: who has only one of them may be somebody else.
func (h *Handlers) RemoveSecondFactor(c echo.Context) error {
	user, _ := User(c)
	if user.PasswordHash == "" && !h.fresh(c) {
		return h.askToConfirm(c, pathSecondFactor)
	}
	if factor, err := h.factor(c); err != nil || factor.Confirmed.IsZero() {
		return redirectOr(c, err, pathSecondFactor)
	}
	if user.PasswordHash != "" {
		problem, err := h.provePassword(c, user, c.FormValue("password"))
		if err != nil {
			return err
		}
		if problem != "" {
			return h.showSecondFactor(c, http.StatusUnprocessableEntity, platform.FieldErrors{"password": problem})
		}
	}
	_, problem, err := h.proveSecondFactor(c, user, c.FormValue("code"), true)
	if err != nil {
		return err
	}
	if problem != "" {
		return h.showSecondFactor(c, http.StatusUnprocessableEntity, platform.FieldErrors{"code": problem})
	}
	if err := h.DB.RemoveSecondFactor(c.Request().Context(), user.ID, Session(c).ID); err != nil {
		return err
	}
	if err := h.RenewSession(c); err != nil {
		return err
	}
	return redirect(c, pathSecondFactor, "second-factor-off")
}
