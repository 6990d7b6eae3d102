package handlers

import (
	"github.com/labstack/echo/v4"

	"wherry/platform"
)

// readNewUser reads what somebody entered who gets an account.
func readNewUser(c echo.Context) platform.NewUser {
	return platform.NewUser{Email: c.FormValue("email"), UserName: c.FormValue("userName"), Password: c.FormValue("password")}
}

// newUser checks what somebody entered who gets an account, and saves it with the hash of the password.
func (h *Handlers) newUser(in *platform.NewUser, save func(passwordHash string) error) error {
	if err := in.Clean(); err != nil {
		return err
	}
	hash, err := h.hashPassword(in.Password)
	if err != nil {
		return err
	}
	return save(hash)
}
