package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// AccessTokens lists the user's access tokens.
func (h *Handlers) AccessTokens(c echo.Context) error {
	s, err := h.shell(c, "Access tokens", "")
	if err != nil {
		return err
	}
	user, _ := User(c)
	list, err := h.DB.AccessTokens(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.AccessTokensPage(s, views.AccessTokens{Tokens: list, Now: time.Now()}))
}

// NewAccessToken asks what a new token is for.
func (h *Handlers) NewAccessToken(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, "/account/tokens/new")
	}
	return h.showTokenForm(c, http.StatusOK, views.AccessTokenForm{Days: "90"})
}

func (h *Handlers) showTokenForm(c echo.Context, status int, f views.AccessTokenForm) error {
	s, err := h.shell(c, "New access token", "")
	if err != nil {
		return err
	}
	return render(c, status, views.AccessTokenFormPage(s, f))
}

// AddAccessToken makes a token and shows it, this once.
func (h *Handlers) AddAccessToken(c echo.Context) error {
	if !h.fresh(c) {
		return h.askToConfirm(c, "/account/tokens/new")
	}
	user, _ := User(c)
	f := views.AccessTokenForm{Name: c.FormValue("name"), Days: c.FormValue("days")}
	token := platform.AccessToken{UserID: user.ID, Name: f.Name}
	days, err := strconv.Atoi(f.Days)
	if err != nil || !slices.Contains(platform.AccessTokenDays, days) {
		f.Errors = platform.FieldErrors{"days": "Choose when the token expires."}
		return h.showTokenForm(c, http.StatusUnprocessableEntity, f)
	}
	if days > 0 {
		token.Expires = time.Now().AddDate(0, 0, days)
	}
	secret := platform.NewAccessToken()
	if err = token.Clean(); err == nil {
		err = h.DB.AddAccessToken(c.Request().Context(), &token, platform.HashToken(secret.Reveal()))
	}
	if f.Errors, err = fieldErrors(err); f.Errors != nil {
		return h.showTokenForm(c, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	s, err := h.shell(c, "New access token", "")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.NewAccessTokenPage(s, token, secret))
}

// RevokeAccessToken ends a token.
func (h *Handlers) RevokeAccessToken(c echo.Context) error {
	user, _ := User(c)
	id, err := strconv.ParseInt(c.Param("token"), 10, 64)
	if err != nil {
		return platform.Errorf(platform.CodeNotFound, "You have no such access token.")
	}
	if err := h.DB.RevokeAccessToken(c.Request().Context(), user.ID, id); err != nil {
		return err
	}
	return redirect(c, "/account/tokens", "token-revoked")
}
