package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"wherry/platform"
)

// statusReached is the answer of a handler that was reached, in newAccessSite.
const statusReached = http.StatusTeapot

// visitor is one of those who come to every address.
type visitor struct {
	name    string
	browser *http.Client
	csrf    string
	token   string // for the API; empty: none
	// may tells by platform's tables whether the visitor has a permission of organization or workspace.
	may func(platform.Permission) bool
}

// accessSite is a portal in which every handler answers statusReached, so that nothing but access decides about an answer.
type accessSite struct {
	*site
	visitors []visitor
	machine  string // an agent's key
}

func newAccessSite(t *testing.T) *accessSite {
	t.Helper()
	s := &accessSite{site: newSite(t)}
	s.setUp()
	s.exec(`INSERT INTO organizations (name, full_name, created_at) VALUES ('mill', 'mill', 0)`)
	s.exec(`INSERT INTO workspaces (organization_id, name, full_name, created_at) SELECT id, 'rivers', 'rivers', 0 FROM organizations WHERE name = 'mill'`)
	s.exec(`INSERT INTO workspaces (organization_id, name, full_name, created_at) SELECT id, 'lakes', 'lakes', 0 FROM organizations WHERE name = 'lab'`)
	s.addVisitors()
	_, m := s.addRun("a")
	s.machine = platform.NewToken()
	s.exec(`UPDATE machines SET key_hash = ? WHERE id = ?`, platform.HashToken(s.machine), m.ID)
	s.server.reached = func(Route) echo.HandlerFunc {
		return func(c echo.Context) error { return c.NoContent(statusReached) }
	}
	s.Server.Close()
	handler := s.server.Handler()
	s.server.limits.addresses = newMeter(allowance{rate.Inf, 1}) // all of them come from here
	s.Server = httptest.NewServer(handler)
	return s
}

// addVisitors makes a user for each way of being in the workspace lab/rivers, or not in it.
func (s *accessSite) addVisitors() {
	none := func(platform.Permission) bool { return false }
	roleOf := func(role platform.Role, org platform.OrgRole, admin bool) func(platform.Permission) bool {
		return func(p platform.Permission) bool {
			return role.Can(p) || org.Can(p) || p == platform.SignedIn || p == platform.ByClient || (admin && p == platform.AdministerPortal)
		}
	}
	const inLab = `INSERT INTO organization_members SELECT id, ?, 'member' FROM organizations WHERE name = 'lab'`
	team := `INSERT INTO teams (organization_id, name, description, created_at) SELECT id, 'divers', '', 0 FROM organizations WHERE name = 'lab'`
	s.exec(team)
	s.exec(`INSERT INTO team_participants SELECT ?, id, 'maintain' FROM teams`, s.member.Workspace.ID)
	for _, role := range platform.Roles {
		s.addVisitor(string(role)+", a member of the organization", roleOf(role, platform.OrgMember, false), inLab, `INSERT INTO participants VALUES (`+fmt.Sprint(s.member.Workspace.ID)+`, ?, '`+string(role)+`')`)
		s.addVisitor(string(role)+", a collaborator", roleOf(role, "", false), `INSERT INTO participants VALUES (`+fmt.Sprint(s.member.Workspace.ID)+`, ?, '`+string(role)+`')`)
	}
	const inTeam = `INSERT INTO team_members (team_id, user_id) SELECT id, ? FROM teams`
	s.addVisitor("of a team that maintains, and view by name", roleOf(platform.RoleMaintain, platform.OrgMember, false), inLab, inTeam, `INSERT INTO participants VALUES (`+fmt.Sprint(s.member.Workspace.ID)+`, ?, 'view')`)
	s.addVisitor("of a team that maintains, and admin by name", roleOf(platform.RoleAdmin, platform.OrgMember, false), inLab, inTeam, `INSERT INTO participants VALUES (`+fmt.Sprint(s.member.Workspace.ID)+`, ?, 'admin')`)
	s.addVisitor("an owner of the organization", roleOf(platform.RoleOwner, platform.OrgOwner, false), `INSERT INTO organization_members SELECT id, ?, 'owner' FROM organizations WHERE name = 'lab'`)
	s.addVisitor("a member of the organization, in no workspace", roleOf("", platform.OrgMember, false), inLab)
	s.addVisitor("owner of a workspace beside", roleOf("", platform.OrgMember, false), inLab, `INSERT INTO participants SELECT id, ?, 'owner' FROM workspaces WHERE name = 'lakes'`)
	s.addVisitor("owner of another organization", roleOf("", "", false), `INSERT INTO organization_members SELECT id, ?, 'owner' FROM organizations WHERE name = 'mill'`)
	s.addVisitor("in nothing", roleOf("", "", false))
	s.addVisitor("administrator of the portal", roleOf("", "", true), `UPDATE users SET admin = 1 WHERE id = ?`)
	s.addVisitor("an owner who was disabled", none, `INSERT INTO organization_members SELECT id, ?, 'owner' FROM organizations WHERE name = 'lab'`)
	s.exec(`UPDATE users SET disabled_at = 1 WHERE user_name = ?`, fmt.Sprintf("visitor%d", len(s.visitors)-1))
	s.visitors = append(s.visitors, visitor{name: "signed out", browser: s.browser(), may: none})
}

// addVisitor makes a user, runs statements with the user's id, and signs in.
func (s *accessSite) addVisitor(name string, may func(platform.Permission) bool, statements ...string) {
	s.t.Helper()
	user := fmt.Sprintf("visitor%d", len(s.visitors))
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?1, ?1 || '@example.org', '', 0)`, user)
	id := s.userID(user)
	for _, statement := range statements {
		s.exec(statement, id)
	}
	v := visitor{name: name, browser: s.browser(), token: s.addToken(id, "token", 0), may: may}
	v.csrf = s.signIn(v.browser, id)
	s.visitors = append(s.visitors, v)
}

// addToken makes an access token that expires then; 0: never.
func (s *accessSite) addToken(userID int64, name string, expires int64) string {
	token := platform.NewToken()
	s.exec(`INSERT INTO access_tokens (user_id, name, token_hash, created_at, expires_at) VALUES (?, ?, ?, 0, ?)`, userID, name, platform.HashToken(token), expires)
	return token
}

// signIn signs a browser in and returns its CSRF token.
func (s *accessSite) signIn(b *http.Client, userID int64) (csrf string) {
	s.t.Helper()
	token := platform.NewToken()
	must(s.t, s.db.AddSignInLink(s.t.Context(), userID, platform.HashToken(token), time.Now().Add(time.Minute)))
	resp, err := b.PostForm(s.URL+"/sign-in/link", url.Values{"token": {token}})
	must(s.t, err)
	resp.Body.Close()
	base, err := url.Parse(s.URL)
	must(s.t, err)
	for _, cookie := range b.Jar.Cookies(base) {
		if cookie.Name == cookieName {
			session, err := s.db.Session(s.t.Context(), platform.HashToken(cookie.Value), time.Now())
			must(s.t, err)
			return session.CSRF
		}
	}
	s.t.Fatalf("user %d got no session", userID)
	return ""
}

var pathParam = regexp.MustCompile(`:\w+|\*`)

// address is a route's, in the workspace lab/rivers, with something for each of its other parameters.
func (s *accessSite) address(r Route) string {
	path := strings.NewReplacer(":organization", "lab", ":workspace", "rivers", ":userId", "1").Replace(r.Path)
	path = s.URL + pathParam.ReplaceAllString(path, "1")
	if strings.HasPrefix(r.Path, "/api/") && r.Permission.InWorkspace() {
		path += "?workspaceId=" + fmt.Sprint(s.member.Workspace.ID)
	}
	return path
}

// ask sends a request that means nothing to a handler.
func (s *accessSite) ask(b *http.Client, r Route, headers ...string) (status int, location string) {
	s.t.Helper()
	req, err := http.NewRequest(r.Method, s.address(r), http.NoBody)
	must(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.Do(req)
	must(s.t, err)
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

func (r Route) isAPI() bool { return strings.HasPrefix(r.Path, "/api/") }

// refused tells whether an answer keeps a visitor out, and says why they stay out.
func refused(status int, location string) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	case http.StatusSeeOther:
		return strings.HasPrefix(location, "/sign-in")
	}
	return false
}

// TestEveryRouteLetsInWhomTheTableSaysAndNobodyElse sends everybody everywhere.
func TestEveryRouteLetsInWhomTheTableSaysAndNobodyElse(t *testing.T) {
	t.Parallel()
	s := newAccessSite(t)
	asked := 0
	for _, r := range s.server.routes() {
		for _, v := range s.visitors {
			want := r.Permission == platform.Public || v.may(r.Permission)
			headers := []string{"X-CSRF-Token", v.csrf}
			if r.isAPI() {
				headers = []string{"Authorization", "Bearer " + v.token}
			}
			if r.Permission == platform.ByAgent {
				want = false
			}
			asked++
			status, location := s.ask(v.browser, r, headers...)
			if (status == statusReached) != want || (!want && !refused(status, location)) {
				t.Errorf("%s %s (%s) for %s: %d %s, reached should be %t", r.Method, r.Path, r.Permission, v.name, status, location, want)
			}
		}
	}
	t.Logf("%d questions", asked)
}

func TestAFormWithoutItsSessionsTokenReachesNoHandler(t *testing.T) {
	t.Parallel()
	s := newAccessSite(t)
	owner, other := s.visitors[0], s.visitors[2]
	for _, r := range s.server.routes() {
		if r.Method == http.MethodGet || r.Permission == platform.Public || r.machineToMachine() {
			continue
		}
		for what, token := range map[string]string{"no token": "", "a wrong one": owner.csrf + "x", "another session's": other.csrf} {
			if status, _ := s.ask(owner.browser, r, "X-CSRF-Token", token); status != http.StatusForbidden {
				t.Errorf("%s %s with %s: %d", r.Method, r.Path, what, status)
			}
		}
		if status, _ := s.ask(owner.browser, r, "X-CSRF-Token", owner.csrf, "Sec-Fetch-Site", "same-site"); status != http.StatusForbidden {
			t.Errorf("%s %s from a neighbouring origin: %d", r.Method, r.Path, status)
		}
	}
}

func TestAccessTokensOpenTheAPIAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newAccessSite(t)
	ada := s.member.User.ID
	good, expired := s.addToken(ada, "good", time.Now().Add(time.Hour).UnixMilli()), s.addToken(ada, "expired", 1)
	revoked := s.addToken(ada, "revoked", 0)
	s.exec(`DELETE FROM access_tokens WHERE name = 'revoked'`)
	for _, r := range s.server.routes() {
		if r.Permission == platform.Public {
			continue
		}
		for what, token := range map[string]string{"a good token": good, "an expired one": expired, "a revoked one": revoked, "no token": "", "an agent's key": s.machine} {
			var reach bool
			switch r.Permission {
			case platform.ByAgent:
				reach = token == s.machine
			case platform.ByClient:
				reach = token == s.machine || token == good
			default:
				reach = r.isAPI() && token == good
			}
			status, location := s.ask(s.browser(), r, "Authorization", "Bearer "+token)
			if (status == statusReached) != reach || (!reach && !refused(status, location)) {
				t.Errorf("%s %s (%s) with %s: %d %s, reached should be %t", r.Method, r.Path, r.Permission, what, status, location, reach)
			}
		}
	}
}

func TestACookieDoesNotOpenTheAPI(t *testing.T) {
	t.Parallel()
	s := newAccessSite(t)
	owner := s.visitors[0]
	for _, r := range s.server.routes() {
		if r.isAPI() && r.Permission != platform.Public {
			if status, _ := s.ask(owner.browser, r, "X-CSRF-Token", owner.csrf); status != http.StatusUnauthorized {
				t.Errorf("%s %s by a cookie: %d", r.Method, r.Path, status)
			}
		}
	}
}
