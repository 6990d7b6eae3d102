package e2e

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// visitor is a browser without pages: it has cookies, follows redirects, and finds every Studio's name at the portal's address.
type visitor struct {
	http.Client
	p    *portal
	csrf string
}

// visitor is somebody who is signed in as that user; of user 0, nobody is.
func (p *portal) visitor(userID int64) *visitor {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	must(p.t, err)
	v := &visitor{p: p, Client: http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.addr)
		}}}}
	if userID != 0 {
		token, now := platform.NewToken(), time.Now()
		v.csrf = platform.NewToken()
		must(p.t, p.db.AddSession(p.t.Context(), platform.HashToken(token), db.Session{UserID: userID, CSRF: v.csrf, Created: now, Seen: now, Expires: now.Add(time.Hour)}))
		at, err := url.Parse(p.url)
		must(p.t, err)
		jar.SetCookies(at, []*http.Cookie{{Name: "wherry_session", Value: token, Path: "/"}})
	}
	return v
}

// do asks for something and returns where that led to, with the answer; an error of the connection is an answer too.
func (v *visitor) do(method, address, body string) (at *url.URL, status int, text string) {
	v.p.t.Helper()
	req, err := http.NewRequestWithContext(v.p.t.Context(), method, address, strings.NewReader(body))
	must(v.p.t, err)
	req.Header.Set("Sec-Fetch-Dest", "document")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.Do(req)
	if err != nil {
		return req.URL, 0, err.Error()
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return resp.Request.URL, 0, err.Error()
	}
	return resp.Request.URL, resp.StatusCode, string(all)
}

// connect opens a Studio as its button does, and returns its origin.
func (v *visitor) connect(id string) (origin string, status int, text string) {
	v.p.t.Helper()
	at, status, text := v.do(http.MethodGet, v.p.url+"/orgs/lab/workspaces/rivers/studios/"+id+"/connect", "")
	return at.Scheme + "://" + at.Host, status, text
}

// opened connects to a Studio that runs.
func (v *visitor) opened(id string) (origin string) {
	v.p.t.Helper()
	origin, status, text := v.connect(id)
	if status != http.StatusOK || origin == v.p.url {
		v.p.t.Fatalf("connecting to the Studio: %d at %s: %s", status, origin, text)
	}
	return origin
}

// wants asks an open Studio for something and compares.
func (v *visitor) wants(method, address, body string, status int, text string) {
	v.p.t.Helper()
	if _, got, answer := v.do(method, address, body); got != status || answer != text {
		v.p.t.Errorf("%s %s: %d %q, want %d %q", method, address, got, answer, status, text)
	}
}

// press presses a button of a Studio's page: start or stop.
func (v *visitor) press(button, id string) (status int, text string) {
	v.p.t.Helper()
	_, status, text = v.do(http.MethodPost, v.p.url+"/orgs/lab/workspaces/rivers/studios/"+id+"/"+button, url.Values{"csrf": {v.csrf}}.Encode())
	return status, text
}

// presses wants the button to do what it says.
func (v *visitor) presses(button, id string) {
	v.p.t.Helper()
	if status, text := v.press(button, id); status != http.StatusOK {
		v.p.t.Fatalf("%s: %d %s", button, status, text)
	}
}

// startTool adds a Studio of the tool, and starts it.
func (v *visitor) startTool(m platform.Member, e platform.ComputeEnv, name string, private bool) platform.Studio {
	v.p.t.Helper()
	s := platform.Studio{WorkspaceID: m.Workspace.ID, UserID: m.User.ID, ComputeEnvID: e.ID, Name: name, Private: private, Config: platform.StudioConfig{Template: "tool"}}
	must(v.p.t, v.p.db.AddStudio(v.p.t.Context(), &s))
	v.presses("start", s.ID)
	return s
}

// TestStudioChaosOfVisitors sends everybody to a Studio's own origin: who may connect comes in, and others are told why not, a
// member who is removed while connected too.
func TestStudioChaosOfVisitors(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	owner := p.visitor(m.User.ID)
	shared, private := owner.startTool(m, e, "tool", false), owner.startTool(m, e, "private", true)
	p.studioIs(shared.ID, platform.StudioRunning, time.Minute)
	p.studioIs(private.ID, platform.StudioRunning, time.Minute)
	origin, secret := owner.opened(shared.ID), owner.opened(private.ID)
	owner.wants("PUT", secret+"/secret.txt", "the owner's", http.StatusCreated, "")
	owner.wants("PUT", origin+"/rivers.csv", "Yare,84", http.StatusCreated, "")

	for _, role := range platform.Roles {
		v := p.visitor(p.otherMember(m, role))
		want := http.StatusOK
		if role == platform.RoleView {
			want = http.StatusForbidden
		}
		if _, status, text := v.connect(shared.ID); status != want {
			t.Errorf("%s connects: %d %s", role, status, text)
		}
		if _, status, text := v.do("GET", origin+"/rivers.csv", ""); status != want || (want == http.StatusOK) != (text == "Yare,84") {
			t.Errorf("%s on the Studio's origin: %d %s", role, status, text)
		}
		if _, status, _ := v.connect(private.ID); status != http.StatusForbidden {
			t.Errorf("%s connects to a private Studio: %d", role, status)
		}
		if at, status, text := v.do("GET", secret+"/secret.txt", ""); status != http.StatusForbidden || strings.Contains(text, "the owner's") {
			t.Errorf("%s on a private Studio's origin: %d %s at %s", role, status, text, at)
		}
	}

	nobody := p.visitor(0)
	if at, _, text := nobody.do("GET", origin+"/rivers.csv", ""); at.Host != p.addr || at.Path != "/sign-in" || strings.Contains(text, "Yare") {
		t.Errorf("a signed-out visitor of the Studio's origin comes to %s: %s", at, text)
	}
	removed := p.otherMember(m, platform.RoleConnect)
	v := p.visitor(removed)
	v.wants("GET", v.opened(shared.ID)+"/rivers.csv", "", http.StatusOK, "Yare,84")
	p.exec(`DELETE FROM participants WHERE user_id = ?`, removed)
	if _, status, text := v.do("GET", origin+"/rivers.csv", ""); status != http.StatusForbidden {
		t.Errorf("a removed member: %d %s", status, text)
	}
}

// otherMember adds a user with a role to the owner's workspace.
func (p *portal) otherMember(m platform.Member, role platform.Role) int64 {
	p.t.Helper()
	name := string(role) + strings.ToLower(platform.NewID())
	p.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?1, ?1 || '@example.org', '', 0)`, name)
	u, err := p.db.UserByLogin(p.t.Context(), name)
	must(p.t, err)
	p.exec(`INSERT INTO participants VALUES (?, ?, ?)`, m.Workspace.ID, u.ID, role)
	return u.ID
}

// exec changes the portal's database as nothing in the program does yet.
func (p *portal) exec(query string, args ...any) {
	p.t.Helper()
	file, err := sql.Open("sqlite", filepath.Join(p.data, "wherry.db"))
	must(p.t, err)
	defer file.Close()
	_, err = file.ExecContext(p.t.Context(), `PRAGMA busy_timeout = 5000`)
	must(p.t, err)
	_, err = file.ExecContext(p.t.Context(), query, args...)
	must(p.t, err)
}
