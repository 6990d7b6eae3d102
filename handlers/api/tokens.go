package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// accessToken is a token as the API shows it: without its secret, which nothing has.
type accessToken struct {
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	DateCreated time.Time  `json:"dateCreated"`
	LastUsed    *time.Time `json:"lastUsed"`
}

// Tokens lists the access tokens of the user whose token asks.
func (a *API) Tokens(c echo.Context) error {
	user, _ := handlers.User(c)
	tokens, err := a.DB.AccessTokens(c.Request().Context(), user.ID)
	if err != nil {
		return err
	}
	list := make([]accessToken, 0, len(tokens))
	for _, t := range tokens {
		shown := accessToken{ID: t.ID, Name: t.Name, DateCreated: t.Created}
		if !t.LastUsed.IsZero() {
			shown.LastUsed = &t.LastUsed
		}
		list = append(list, shown)
	}
	return c.JSON(http.StatusOK, map[string]any{"tokens": list})
}

// CreateToken refuses: a token that got into wrong hands must not make itself others that outlive it.
func (a *API) CreateToken(echo.Context) error {
	return platform.Errorf(platform.CodeForbidden, "A token cannot make another one. Sign in, and make it on your account page, /account/tokens.")
}

// DeleteToken revokes one of the user's tokens, which may be the one that asks.
func (a *API) DeleteToken(c echo.Context) error {
	user, _ := handlers.User(c)
	id, err := strconv.ParseInt(c.Param("tokenId"), 10, 64)
	if err != nil {
		return platform.Errorf(platform.CodeInvalid, "The id of a token is a number.")
	}
	if err := a.DB.RevokeAccessToken(c.Request().Context(), user.ID, id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// DeleteAllTokens revokes all tokens of the user, the one that asks too.
func (a *API) DeleteAllTokens(c echo.Context) error {
	user, _ := handlers.User(c)
	if _, err := a.DB.RevokeAllAccessTokens(c.Request().Context(), user.ID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
