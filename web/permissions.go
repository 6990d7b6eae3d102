package web

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// allow lets only those through to a route who have the permission that it declares.
func (s *Server) allow(p platform.Permission, next echo.HandlerFunc) echo.HandlerFunc {
	next = s.countKnown(p, next)
	return func(c echo.Context) error {
		switch {
		case p == platform.ByAgent:
			return s.asAgent(c, next)
		case p == platform.Public:
			if err := s.findUser(c); err != nil {
				return err
			}
			return next(c)
		}
		return s.asUser(c, p, next)
	}
}

// findUser looks who is signed in, if anyone.
func (s *Server) findUser(c echo.Context) error {
	session, err := s.sessions.Get(c.Request(), s.sessions.name())
	if err != nil || session.IsNew {
		return err
	}
	user, err := s.DB.UserByID(c.Request().Context(), session.Values[valueUser].(int64))
	if err != nil {
		return err
	}
	handlers.SetUser(c, user, session.Values[valueCSRF].(string))
	return nil
}

func (s *Server) asUser(c echo.Context, p platform.Permission, next echo.HandlerFunc) error {
	if err := s.findUser(c); err != nil {
		return err
	}
	user, ok := handlers.User(c)
	if !ok {
		return platform.Errorf(platform.CodeUnauthorized, "Sign in to see this page.")
	}
	if err := checkCSRF(c); err != nil {
		return err
	}
	if p.InWorkspace() {
		member, err := s.DB.Member(c.Request().Context(), user.ID, c.Param("organization"), c.Param("workspace"))
		if err != nil {
			return err
		}
		if !member.Can(p) {
			return platform.Errorf(platform.CodeForbidden, "Your role in this workspace, %s, does not include this (%s). Ask an owner or admin of the workspace for another role.", member.Role, p)
		}
		handlers.SetMember(c, member)
	}
	return next(c)
}

// checkCSRF wants the session's token with every request that changes something.
func checkCSRF(c echo.Context) error {
	switch c.Request().Method {
	case http.MethodGet, http.MethodHead:
		return nil
	}
	sent := c.Request().Header.Get("X-CSRF-Token")
	if sent == "" {
		sent = c.FormValue("csrf")
	}
	if subtle.ConstantTimeCompare([]byte(sent), []byte(handlers.CSRF(c))) != 1 {
		return platform.Errorf(platform.CodeForbidden, "This form is from another session. Load the page again and repeat what you did.")
	}
	return nil
}

// asAgent lets the agent through whose key the request carries. A machine whose work is over has nothing more to say.
func (s *Server) asAgent(c echo.Context, next echo.HandlerFunc) error {
	key := agentKey(c.Request())
	if key == "" {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="wherry"`)
		return platform.Errorf(platform.CodeUnauthorized, "This address is for agents, with the key of their machine.")
	}
	m, err := s.DB.MachineByKey(c.Request().Context(), platform.HashToken(key))
	if err != nil {
		return err
	}
	if !m.State.Wanted() {
		return platform.Errorf(platform.CodeGone, "This machine's work is over.")
	}
	handlers.SetMachine(c, m)
	requestOf(c.Request().Context()).run = m.RunID
	return next(c)
}

// agentKey reads the key from "Bearer KEY", or from Basic authentication as user "@token", which is how the nf-tower
// plugin sends a token that is no JWT.
func agentKey(r *http.Request) string {
	header := r.Header.Get("Authorization")
	if key, ok := strings.CutPrefix(header, "Bearer "); ok {
		return key
	}
	encoded, ok := strings.CutPrefix(header, "Basic ")
	if !ok {
		return ""
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	key, ok := strings.CutPrefix(string(plain), "@token:")
	if !ok {
		return ""
	}
	return key
}
