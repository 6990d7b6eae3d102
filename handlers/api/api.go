// Package api answers requests in JSON: of agents, of Nextflow's nf-tower plugin, and of other clients of the API.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
)

// API answers requests in JSON.
type API struct {
	DB        *db.DB
	Key       []byte // db.MachineKey; claim tokens come from it
	PortalURL string
	Version   string
	Log       *slog.Logger
	// Templates are the tools that Studios are made of.
	Templates []platform.StudioTemplate
	// StudioURL is where people open a Studio.
	StudioURL func(studioID string) string

	waiters waiters
	once    sync.Once
}

// readJSON reads a request's body. What does not fit is an error for whoever sent it.
func readJSON(c echo.Context, v any) error {
	err := json.NewDecoder(c.Request().Body).Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return echo.NewHTTPError(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return platform.Errorf(platform.CodeInvalid, "The body ends early.")
	}
	return platform.Errorf(platform.CodeInvalid, "The body is not what this address takes: %v", err)
}

// empty is the answer that says only "taken".
type empty struct{}
