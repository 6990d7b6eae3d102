package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// openStudio returns the address that opens a Studio for who is signed in. The way in ends with their sign-in session.
func (s *Server) openStudio(c echo.Context, studio platform.Studio) (string, error) {
	session, err := s.sessions.Get(c.Request(), s.sessions.name())
	if err != nil {
		return "", err
	}
	token, ok := session.Values[valueToken].(string)
	if !ok {
		return "", platform.Errorf(platform.CodeUnauthorized, "Sign in to open a Studio.")
	}
	return s.Studios.Ticket(studio, session.Values[valueSession].(platform.Session).UserID, platform.HashToken(token), c.QueryParam("way"))
}

// tunnel takes the tunnel of a Studio's agent. Its answer lasts as long as the tunnel.
func (s *Server) tunnel(c echo.Context) error {
	m := handlers.Machine(c)
	if m.StudioSessionID == "" {
		return echo.NewHTTPError(http.StatusBadRequest, "This machine runs no Studio, so the portal takes no tunnel from it.")
	}
	return s.Studios.AcceptTunnel(c.Response(), c.Request(), m)
}
