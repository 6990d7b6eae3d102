package e2e

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// newToolPortal is a portal with a Studio's tool that is up at once.
func newToolPortal(t *testing.T) (*portal, platform.Member, platform.ComputeEnv) {
	t.Helper()
	p := newPortalWith(t, false, "WHERRY_STUDIO_TEMPLATES="+toolTemplate(t))
	m := p.member()
	return p, m, p.computeEnv(m)
}

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

// studioMachine reads the machine of a Studio's newest session.
func (p *portal) studioMachine(id string) platform.Machine {
	p.t.Helper()
	s, err := p.db.AnyStudio(p.t.Context(), id)
	must(p.t, err)
	m, err := p.db.MachineOfStudioSession(p.t.Context(), s.Session.ID)
	must(p.t, err)
	return m
}

// nothingLeftOf waits until a Studio's machine is gone, and wants none of its processes left.
func (p *portal) nothingLeftOf(id string) {
	p.t.Helper()
	eventually(p.t, time.Minute, "the Studio's machine is gone", func() bool { return p.studioMachine(id).State == platform.MachineTerminated })
	if left := processesOf(p.t, p.studioMachine(id).ID); len(left) > 0 {
		p.t.Errorf("processes are left: %v", left)
	}
	p.nothingLeft()
}

// checkStudioLog compares a session's log in the portal with the file on its machine.
func (p *portal) checkStudioLog(s platform.Studio) {
	p.t.Helper()
	want, err := os.ReadFile(filepath.Join(p.data, "local", "machines", p.studioMachine(s.ID).ID, "stdout.log"))
	must(p.t, err)
	if got := p.output(s.Session.ID, platform.LogOutput); got != string(want) || !strings.Contains(got, "serving ") {
		p.t.Errorf("the portal has %q of the Studio's log, and the machine %q", got, want)
	}
}

// TestStudioChaosAPortalThatIsKilledFindsItsStudioAgain kills the portal at one point of a Studio's life and starts it again: the
// Studio comes to run, or to its end, with its log and its work whole.
func TestStudioChaosAPortalThatIsKilledFindsItsStudioAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		stopping bool // the Studio ran before, and its stop was asked for
		at       func(p *portal, id string) bool
	}{
		{"when its start was just wished for", false, func(*portal, string) bool { return true }},
		{"when its machine is requested", false, func(p *portal, id string) bool { return p.studioMachine(id).State != platform.MachineWanted }},
		{"when its agent has claimed it", false, func(p *portal, id string) bool { return !p.studioMachine(id).Claimed.IsZero() }},
		{"when its stop was just asked for", true, func(*portal, string) bool { return true }},
		{"when its end is reported", true, func(p *portal, id string) bool {
			s, err := p.db.AnyStudio(p.t.Context(), id)
			return err == nil && s.Session.End != nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, m, e := newToolPortal(t)
			v := p.visitor(m.User.ID)
			s := v.startTool(m, e, "tool", false)
			if !c.stopping {
				p.killAt(s.ID, c.name, c.at)
			}
			p.studioIs(s.ID, platform.StudioRunning, time.Minute)
			origin := v.opened(s.ID)
			v.wants("PUT", origin+"/rivers.csv", "Yare,84", http.StatusCreated, "")
			v.presses("stop", s.ID)
			if c.stopping {
				p.killAt(s.ID, c.name, c.at)
			}
			s = p.studioIs(s.ID, platform.StudioStopped, time.Minute)
			if s.Session.StopReason != platform.StopUser || s.Session.Message != "It was stopped by ada." {
				t.Errorf("it stopped because of %q: %s", s.Session.StopReason, s.Session.Message)
			}
			list, err := p.db.Checkpoints(t.Context(), m.Workspace.ID, s.ID)
			must(t, err)
			if len(list) == 0 || !list[0].Final || list[0].Files != 1 {
				t.Errorf("its checkpoints are %+v", list)
			}
			sessions, err := p.db.StudioSessions(t.Context(), s.ID, 10)
			must(t, err)
			if len(sessions) != 1 {
				t.Errorf("one start made %d sessions", len(sessions))
			}
			p.nothingLeftOf(s.ID)
			p.checkStudioLog(s)
		})
	}
}

// killAt kills the portal at a point, and starts it again.
func (p *portal) killAt(id, name string, at func(p *portal, id string) bool) {
	p.t.Helper()
	eventually(p.t, time.Minute, name, func() bool { return at(p, id) })
	p.kill()
	p.start()
}

// stop stops the portal as an upgrade does. It takes as long as the requests under way, and agents' long polls are none of them.
func (p *portal) stop() {
	p.t.Helper()
	begun := time.Now()
	must(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	must(p.t, p.cmd.Wait())
	if took := time.Since(begun); took > 9*time.Second { // the limit is 10 s
		p.t.Errorf("the portal took %s to stop", took)
	}
}

// TestStudioChaosATunnelIsBackWithItsPortal kills and stops the portal while a Studio runs: its tool is reached again within 5 seconds of the
// portal's return, by whoever was connected, and goes on as the same process.
func TestStudioChaosATunnelIsBackWithItsPortal(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	origin := v.opened(s.ID)
	v.wants("PUT", origin+"/rivers.csv", "Yare,84", http.StatusCreated, "")
	before := processesOf(t, p.studioMachine(s.ID).ID)
	for _, end := range []func(){p.kill, p.stop, p.kill} {
		end()
		p.start()
		back := time.Now()
		eventually(t, time.Minute, "the Studio is reached again", func() bool {
			_, status, text := v.do("GET", origin+"/rivers.csv", "")
			return status == http.StatusOK && text == "Yare,84"
		})
		took := time.Since(back)
		t.Logf("reached again %s after the portal's return", took.Round(time.Millisecond))
		if took > 15*time.Second { // 5 s on a host that has nothing else to do
			t.Errorf("the Studio was reached again only %s after the portal's return", took)
		}
	}
	after := processesOf(t, p.studioMachine(s.ID).ID)
	for pid, command := range before {
		if after[pid] != command {
			t.Errorf("the process %d of the machine, %q, did not live on", pid, command)
		}
	}
	v.presses("stop", s.ID)
	s = p.studioIs(s.ID, platform.StudioStopped, time.Minute)
	p.nothingLeftOf(s.ID)
	p.checkStudioLog(s)
}

// TestStudioChaosOnTheMachine kills what a Studio runs with, or ends its tool: it says why it ended, and nothing of it is left.
func TestStudioChaosOnTheMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		kill    func(p *portal, v *visitor, id, origin string)
		message string
	}{
		{"the agent is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "\x00agent\x00") }, "the agent was killed by signal 9"},
		{"the supervisor is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "\x00machine\x00") }, "its supervisor was killed"},
		{"the tool is killed", func(p *portal, _ *visitor, id, _ string) { p.killOfStudio(id, "tool.py\x00") }, "was stopped by a signal (killed)"},
		{"the tool ends itself", func(_ *portal, v *visitor, _, origin string) { v.do("POST", origin+"/", "") }, "exit status 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, m, e := newToolPortal(t)
			v := p.visitor(m.User.ID)
			s := v.startTool(m, e, "tool", false)
			p.studioIs(s.ID, platform.StudioRunning, time.Minute)
			origin := v.opened(s.ID)
			c.kill(p, v, s.ID, origin)
			s = p.endedStudio(s.ID)
			if s.State() != platform.StudioErrored || !strings.Contains(s.Session.Message, c.message) {
				t.Errorf("the Studio is %s: %q; want that it errored because %q", s.State(), s.Session.Message, c.message)
			}
			p.nothingLeftOf(s.ID)
			if _, status, text := v.do("GET", origin+"/", ""); status != http.StatusServiceUnavailable || !strings.Contains(text, "tool ended with an error") {
				t.Errorf("its origin answers: %d %s", status, text)
			}
		})
	}
}

// killOfStudio kills the process of a Studio's machine whose command line contains that.
func (p *portal) killOfStudio(id, command string) {
	p.t.Helper()
	for pid, line := range processesOf(p.t, p.studioMachine(id).ID) {
		if strings.Contains(line, command) {
			must(p.t, syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	p.t.Fatalf("the machine has no process %q", command)
}

// endedStudio waits until a Studio's session has ended, however.
func (p *portal) endedStudio(id string) (s platform.Studio) {
	p.t.Helper()
	eventually(p.t, time.Minute, "the Studio's session has ended", func() bool {
		var err error
		s, err = p.db.AnyStudio(p.t.Context(), id)
		must(p.t, err)
		return s.State().Ended() && !s.Session.Ended.IsZero()
	})
	return s
}

// TestStudioChaosOfStartsAndStops starts one Studio from many sides at once, stops it while it starts, and starts it again.
func TestStudioChaosOfStartsAndStops(t *testing.T) {
	t.Parallel()
	p, m, e := newToolPortal(t)
	v := p.visitor(m.User.ID)
	s := v.startTool(m, e, "tool", false)
	for _, c := range []struct {
		name string
		at   func() bool
	}{
		{"when it was just started", func() bool { return true }},
		{"when its machine is on its way", func() bool { return p.studioMachine(s.ID).State != platform.MachineWanted }},
		{"when its agent has claimed it", func() bool { return !p.studioMachine(s.ID).Claimed.IsZero() }},
	} {
		eventually(t, time.Minute, c.name, c.at)
		v.presses("stop", s.ID)
		if ended := p.endedStudio(s.ID); ended.State() != platform.StudioStopped || ended.Session.StopReason != platform.StopUser {
			t.Errorf("stopped %s, the Studio is %s because of %q: %s %s", c.name, ended.State(), ended.Session.StopReason, ended.Session.Message, ended.Session.Details)
		}
		p.nothingLeftOf(s.ID)
		if started := v.startAtOnce(s.ID, 4); started != 1 {
			t.Errorf("of 4 starts at once %d were taken", started)
		}
	}
	p.studioIs(s.ID, platform.StudioRunning, time.Minute)
	v.opened(s.ID)
	sessions, err := p.db.StudioSessions(t.Context(), s.ID, 10)
	must(t, err)
	if len(sessions) != 4 {
		t.Errorf("4 starts made %d sessions", len(sessions))
	}
}

// startAtOnce presses start n times at once and tells how often it was taken.
func (v *visitor) startAtOnce(id string, n int) (started int) {
	v.p.t.Helper()
	answers := make([]int, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], _ = v.press("start", id) })
	}
	all.Wait()
	for _, status := range answers {
		switch status {
		case http.StatusOK:
			started++
		case http.StatusConflict:
		default:
			v.p.t.Errorf("a start beside another is answered with %d", status)
		}
	}
	return started
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
