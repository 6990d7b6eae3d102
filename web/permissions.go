package web

import (
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// allow lets only those through to a route who have the permission that it declares, and says to the audit log who they are.
func (s *Server) allow(p platform.Permission, next echo.HandlerFunc) echo.HandlerFunc {
	next = s.countKnown(p, next)
	return func(c echo.Context) error {
		actAs(c, platform.Actor{Kind: platform.ActorNobody})
		switch {
		case p == platform.ByAgent:
			return s.asAgent(c, next)
		case p == platform.Public:
			if err := s.findUser(c); err != nil {
				return err
			}
			if err := readForm(c); err != nil {
				return err
			}
			return next(c)
		case strings.HasPrefix(c.Request().URL.Path, "/api/"):
			return s.asClient(c, p, next)
		}
		return s.asUser(c, p, next)
	}
}

// actAs says who does what the request does.
func actAs(c echo.Context, a platform.Actor) {
	a.Address, a.UserAgent, a.Request = c.RealIP(), c.Request().UserAgent(), c.Response().Header().Get(echo.HeaderXRequestID)
	ctx := platform.WithActor(c.Request().Context(), a)
	c.SetRequest(c.Request().WithContext(platform.WithPurpose(ctx, purpose(c.Request().URL.Path))))
}

// purpose is for what a request uses credentials, as the audit log tells it: the page's thing, such as "runs/3kq…", and not every
// file of it.
func purpose(path string) string {
	if _, in, ok := strings.Cut(path, "/workspaces/"); ok {
		_, path, _ = strings.Cut(in, "/")
	}
	parts := strings.SplitN(strings.Trim(path, "/"), "/", 3)
	return platform.Shorten(strings.Join(parts[:min(len(parts), 2)], "/"), 200)
}

// findUser looks who is signed in, if anyone.
func (s *Server) findUser(c echo.Context) error {
	session, err := s.sessions.Get(c.Request(), s.sessions.name())
	if err != nil || session.IsNew {
		return err
	}
	about := session.Values[valueSession].(platform.Session)
	user, err := s.DB.UserByID(c.Request().Context(), about.UserID)
	if err != nil || !user.Disabled.IsZero() {
		return err
	}
	handlers.SetUser(c, user, about.CSRF)
	handlers.SetSession(c, about)
	actAs(c, platform.Actor{Kind: platform.ActorUser, UserID: user.ID, UserName: user.UserName})
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
	if err := readForm(c); err != nil {
		return err
	}
	if err := checkCSRF(c); err != nil {
		return err
	}
	if s.lacksSecondFactor(c) {
		return c.Redirect(http.StatusSeeOther, "/account/second-factor")
	}
	if err := s.permit(c, user, p); err != nil {
		return err
	}
	return next(c)
}

// lacksSecondFactor tells whether the user has to set up a second factor before anything else.
func (s *Server) lacksSecondFactor(c echo.Context) bool {
	path := c.Request().URL.Path
	return s.Pages.RequireSecondFactor && !handlers.Session(c).SecondFactor && path != "/sign-out" && path != "/account/confirm" && path != "/account/password" &&
		path != "/account/second-factor" && !strings.HasPrefix(path, "/account/second-factor/")
}

// permit asks whether the user has the permission, where the request's path, or the API's workspaceId, says.
func (s *Server) permit(c echo.Context, user platform.User, p platform.Permission) error {
	ctx := c.Request().Context()
	switch {
	case p == platform.AdministerPortal && !user.Admin:
		return platform.Errorf(platform.CodeForbidden, "Only who administers this portal may do this. Whoever operates it can make somebody an administrator.")
	case p.InOrganization():
		member, err := s.DB.OrganizationMember(ctx, user.ID, c.Param("organization"))
		if err != nil {
			c.Set(outside, true)
			return err
		}
		if err := member.Require(p); err != nil {
			return err
		}
		handlers.SetOrganizationMember(c, member)
	case p.InWorkspace():
		member, err := s.member(c, user.ID)
		if err != nil {
			c.Set(outside, true)
			return err
		}
		if err := member.Require(p); err != nil {
			return err
		}
		handlers.SetMember(c, member)
	}
	return nil
}

func (s *Server) member(c echo.Context, userID int64) (platform.Member, error) {
	if name := c.Param("workspace"); name != "" {
		return s.DB.Member(c.Request().Context(), userID, c.Param("organization"), name)
	}
	id, err := strconv.ParseInt(c.QueryParam("workspaceId"), 10, 64)
	if err != nil {
		return platform.Member{}, platform.Errorf(platform.CodeInvalid, "Name a workspace: workspaceId is missing in the address, or is no number.")
	}
	return s.DB.MemberOf(c.Request().Context(), userID, id)
}

// asClient lets a user through by an access token. A client of the API has no cookie, and so needs no CSRF token.
func (s *Server) asClient(c echo.Context, p platform.Permission, next echo.HandlerFunc) error {
	token := bearer(c.Request())
	if token == "" {
		return unauthorized(c, "Send an access token: Authorization: Bearer TOKEN. Your account page makes one.")
	}
	ctx := c.Request().Context()
	user, name, err := s.DB.UserByToken(ctx, platform.HashToken(token), c.RealIP())
	if platform.ErrorCode(err) == platform.CodeNotFound {
		if p == platform.ByClient && !strings.HasPrefix(token, platform.AccessTokenPrefix) {
			return s.asAgent(c, next)
		}
		return unauthorized(c, "This access token is not known, was revoked, or has expired.")
	}
	if err != nil {
		return err
	}
	handlers.SetUser(c, user, "")
	actAs(c, platform.Actor{Kind: platform.ActorUser, UserID: user.ID, UserName: user.UserName, Token: name})
	if err := s.permit(c, user, p); err != nil {
		return err
	}
	return next(c)
}

func unauthorized(c echo.Context, message string) error {
	c.Response().Header().Set("WWW-Authenticate", `Bearer realm="wherry"`)
	return platform.Errorf(platform.CodeUnauthorized, "%s", message)
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
	key := bearer(c.Request())
	if key == "" {
		return unauthorized(c, "This address is for agents, with the key of their machine.")
	}
	m, err := s.DB.MachineByKey(c.Request().Context(), platform.HashToken(key))
	if err != nil {
		return err
	}
	if !m.State.Wanted() {
		return platform.Errorf(platform.CodeGone, "This machine's work is over.")
	}
	handlers.SetMachine(c, m)
	actAs(c, platform.Actor{Kind: platform.ActorAgent, UserName: m.ID})
	requestOf(c.Request().Context()).run = m.RunID
	return next(c)
}

// bearer reads an access token, or an agent's key, from "Bearer KEY", or from Basic authentication as user "@token", which is how the nf-tower
// plugin sends a token that is no JWT.
func bearer(r *http.Request) string {
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
