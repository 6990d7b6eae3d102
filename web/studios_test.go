package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
)

// addStudio adds a Studio of the owner's.
func (s *site) addStudio(name string, private bool) platform.Studio {
	s.t.Helper()
	studio := platform.Studio{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: name, Private: private,
		Config: platform.StudioConfig{Template: "jupyter", LifespanHours: 8, Environment: []platform.Env{{Name: "RIVER", Value: "thames"}}}}
	must(s.t, s.db.AddStudio(s.t.Context(), &studio))
	return studio
}

// runStudio starts a Studio and has its tool answer.
func (s *site) runStudio(studio platform.Studio) (platform.StudioSession, platform.Machine) {
	s.t.Helper()
	session, m := s.startStudio(studio)
	must(s.t, s.db.MoveStudioSession(s.t.Context(), session.ID, platform.StudioStarting, platform.StudioEnd{State: platform.StudioRunning}))
	session, err := s.db.StudioSession(s.t.Context(), session.ID)
	must(s.t, err)
	return session, m
}

// signedInAs is a browser of another user, who has a role in the workspace.
func (s *site) signedInAs(name string, role platform.Role) (*http.Client, string) {
	s.t.Helper()
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?1, ?1 || '@example.org', '', 0)`, name)
	s.exec(`INSERT INTO participants SELECT ?, id, ? FROM users WHERE user_name = ?`, s.member.Workspace.ID, role, name)
	owner := s.member
	defer func() { s.member = owner }()
	members, err := s.db.Member(s.t.Context(), s.userID(name), "lab", "rivers")
	must(s.t, err)
	s.member = members
	return s.signedIn()
}

func (s *site) userID(name string) (id int64) {
	s.t.Helper()
	u, err := s.db.UserByLogin(s.t.Context(), name)
	must(s.t, err)
	return u.ID
}

func TestStudiosAreListedWithWhatTheyDoAndCost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	_, page := s.get(b, ws+"/studios")
	wants(t, "the empty page", page, "There is no Studio yet", "Add the first", `aria-current="page"`)

	idle, starting, running := s.addStudio("idle", false), s.addStudio("starting", false), s.addStudio("running", true)
	_, m := s.startStudio(starting)
	session, dear := s.runStudio(running)
	must(t, s.db.StudioUsed(t.Context(), dear, platform.Usage{CPU: 150, CPUs: 4, Memory: 3 << 30, MemoryMax: 8 << 30}))
	s.exec(`UPDATE machines SET launched_at = ?, hardware = '{"instanceType":"m5d.large","zone":"eu-west-1b","hourMicroUsd":1000000}' WHERE id = ?`, time.Now().Add(-30*time.Minute).UnixMilli(), dear.ID)
	s.exec(`UPDATE studio_sessions SET stop_at = ? WHERE id = ?`, time.Now().Add(12*time.Minute+30*time.Second).UnixMilli(), session.ID)
	s.server.Pages.StudioConnections = func(id string) []platform.StudioConnection {
		if id != running.ID {
			t.Errorf("who is connected to %s is asked", id)
		}
		return []platform.StudioConnection{{UserName: "ada"}, {UserName: "bob"}, {UserName: "ada"}}
	}
	_, page = s.get(b, ws+"/studios")
	wants(t, "the page", page, ">idle</a>", ">starting</a>", ">running</a>", "private", "JupyterLab", ">here</a>", "2 of 3 Studios on · Wherry", "Starting: the machine is being made",
		"12 min left", "ada, bob", "38 % of 4 CPUs", "3.0 GiB of 8.0 GiB", ">$0.5", "so far", "Starting: ", "/studios/"+running.ID+"/connect", "/studios/"+idle.ID+"/start", "/studios/"+starting.ID+"/stop",
		"/studios/new?from="+idle.ID, "/studios/"+idle.ID+"/edit", "Its checkpoints go too")
	for _, no := range []string{"/studios/" + idle.ID + "/connect", "/studios/" + starting.ID + "/connect", "/studios/" + running.ID + "/delete", "/studios/" + idle.ID + "/stop"} {
		if strings.Contains(page, no) {
			t.Errorf("it offers %s", no)
		}
	}
	must(t, s.db.MoveMachine(t.Context(), m, db.Move{To: platform.MachineBooting}))
	m.State = platform.MachineBooting
	must(t, s.db.MoveMachine(t.Context(), m, db.Move{To: platform.MachineWorking}))
	_, page = s.get(b, ws+"/studios?part=list&q=STARt")
	wants(t, "the part that was looked for", page, ">starting</a>", "Starting: preparing the tool", "<title>", "q=STARt")
	if strings.Contains(page, ">idle</a>") || strings.Contains(page, "<html") {
		t.Errorf("the part is not one: %s", page)
	}
	must(t, s.db.AddSteps(t.Context(), m, []platform.StepReport{{Name: platform.StepAgentUp, At: time.Now()}, {Name: platform.StepToolStarted, At: time.Now()}}))
	_, page = s.get(b, ws+"/studios?part=list")
	wants(t, "the part later", page, "Starting: waiting for the tool to answer")
	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioErrored, Message: "The disk is full."}))
	_, page = s.get(b, ws+"/studios?part=list")
	wants(t, "the part after the end of one", page, "errored", "The disk is full.", "/studios/"+running.ID+"/start")
	if _, page = s.get(b, ws+"/studios?q=nothing"); !strings.Contains(page, "No Studio fits") {
		t.Error("a search that finds nothing does not say so")
	}
}

// TestStudiosForEveryRole asks for each page and sends each form as each role: of a shared Studio, and of somebody else's private
// one.
func TestStudiosForEveryRole(t *testing.T) {
	t.Parallel()
	const see, connect, stop, change = 1, 2, 3, 4 // what is asked for
	type request struct {
		kind         int
		method, path string
		form         url.Values
		done         int // the status when it may
	}
	for _, c := range []struct {
		role            platform.Role
		shared, private []int // the kinds that it may
	}{
		{platform.RoleAdmin, []int{see, connect, stop, change}, []int{stop}}, {platform.RoleMaintain, []int{see, connect, stop, change}, nil},
		{platform.RoleLaunch, []int{see, connect}, nil}, {platform.RoleConnect, []int{see, connect}, nil}, {platform.RoleView, []int{see}, nil},
	} {
		t.Run(string(c.role), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.setUp()
			s.server.Pages.OpenStudio = func(c echo.Context, studio platform.Studio) (string, error) {
				return "https://" + studio.ID + ".studios.example.org/open", nil
			}
			b, csrf := s.signedInAs("bob", c.role)
			for private, allowed := range map[bool][]int{false: c.shared, true: c.private} {
				studio := s.addStudio(fmt.Sprintf("studio %v", private), private)
				session, m := s.runStudio(studio)
				kept := platform.CheckpointReport{ID: platform.NewID(), Saved: time.Now(), Size: 5, Files: 1}
				must(t, s.db.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{kept}))
				of, form := ws+"/studios/"+studio.ID, url.Values{"csrf": {csrf}}
				for _, r := range []request{
					{see, "GET", of + "?part=timeline", nil, 200}, {see, "GET", of + "?part=checkpoints", nil, 200}, {see, "GET", of + "?part=use", nil, 200}, {see, "GET", of + "?part=sessions", nil, 200},
					{see, "GET", of + "/sessions/" + session.ID + "/log/stdout", nil, 200}, {see, "GET", of + "/sessions/" + session.ID + "/log/stdout/search?q=x", nil, 200},
					{see, "GET", of + "/sessions/" + session.ID + "/log/stdout/download", nil, 200},
					{connect, "GET", of + "/connect", nil, 303},
					{change, "GET", ws + "/studios/new?from=" + studio.ID, nil, 200}, {change, "GET", ws + "/studios/new?checkpoint=" + kept.ID, nil, 200}, {change, "GET", of + "/edit", nil, 200},
					{change, "POST", of + "/extend", url.Values{"hours": {"2"}}, 303}, {change, "POST", of + "/checkpoints/" + kept.ID + "/name", url.Values{"name": {"good"}}, 303},
					{change, "POST", of + "/checkpoints/" + kept.ID + "/delete", nil, 303}, {change, "POST", of, url.Values{"name": {"x"}}, 422},
					{stop, "POST", of + "/stop", nil, 303}, {change, "POST", of + "/start", nil, 409}, {stop, "POST", of + "/delete", nil, 409},
				} {
					may := false
					for _, kind := range allowed {
						may = may || kind == r.kind
					}
					status, page := 0, ""
					if r.method == "GET" {
						status, page = s.get(b, r.path)
					} else {
						for name, values := range r.form {
							form[name] = values
						}
						status, page = s.post(b, r.path, form)
					}
					if want := map[bool]int{true: r.done, false: http.StatusForbidden}[may]; status != want {
						t.Errorf("private %v: %s %s: %d, want %d\n%s", private, r.method, strings.TrimPrefix(r.path, of), status, want, page)
					}
				}
				if got, err := s.db.StudioSession(t.Context(), session.ID); err != nil || got.StopAsked.IsZero() == (len(allowed) > 0 && allowed[len(allowed)-1] >= stop) {
					t.Errorf("private %v: the stop was asked for at %v, %v", private, got.StopAsked, err)
				}
				s.seesStudio(b, studio, private, c.role)
			}
		})
	}
}

// seesStudio checks what of a Studio its page shows to somebody else.
func (s *site) seesStudio(b *http.Client, studio platform.Studio, private bool, role platform.Role) {
	s.t.Helper()
	status, page := s.get(b, ws+"/studios/"+studio.ID)
	_, list := s.get(b, ws+"/studios")
	wants(s.t, "the page", page, studio.Name, "by ada")
	wants(s.t, "the list", list, studio.Name, "ada")
	for _, text := range []string{"thames", "log-view", "Kept work"} {
		if shown := strings.Contains(page, text); status != http.StatusOK || shown == private {
			s.t.Errorf("%s, private %v: %d, and %q is shown: %v", role, private, status, text, shown)
		}
	}
	for text, permission := range map[string]platform.Permission{"/studios/" + studio.ID + "/edit": platform.EditStudios, "/studios/new?from=" + studio.ID: platform.EditStudios,
		"/studios/" + studio.ID + "/connect": platform.ConnectToStudios, "/studios/" + studio.ID + "/extend": platform.EditStudios} {
		if strings.Contains(page+list, text) && (private || !role.Can(permission)) {
			s.t.Errorf("%s, private %v: %s is offered", role, private, text)
		}
	}
}

func TestAStudioIsShownLive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	studio := s.addStudio("rivers", false)
	_, page := s.get(b, ws+"/studios/"+studio.ID)
	wants(t, "one that was never started", page, "■ stopped rivers · Wherry", "It was never started", "Nothing is kept yet", "RIVER=thames", "8 hours", "/start", "Delete…", "/events?studio="+studio.ID)

	failing := s.addStudio("failing", false)
	failed, _ := s.runStudio(failing)
	must(t, s.db.MoveStudioSession(t.Context(), failed.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioErrored, Message: "The tool is missing."}))
	if _, page = s.get(b, ws+"/studios/"+failing.ID); strings.Contains(page, "What it had saved") || !strings.Contains(page, "The tool is missing.") {
		t.Error("one that saved nothing tells of what it saved")
	}
	unsaved := s.addStudio("unsaved", false)
	stopped, _ := s.runStudio(unsaved)
	must(t, s.db.MoveStudioSession(t.Context(), stopped.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioStopped, StopReason: platform.StopLifespan, Message: "It stopped because its lifespan had ended. Nothing of this session could be kept."}))
	_, page = s.get(b, ws+"/studios/"+unsaved.ID)
	wants(t, "one that stopped and lost its work", page, "Something went wrong as it stopped", "Nothing of this session could be kept.")
	session, m := s.runStudio(studio)
	must(t, s.db.StudioUsed(t.Context(), m, platform.Usage{CPU: 50, CPUs: 2, Memory: 1 << 30, MemoryMax: 4 << 30, Disk: 5 << 30, DiskMax: 50 << 30, GPU: 7, GPUs: 1, GPUMemory: 1 << 30, GPUMemMax: 16 << 30}))
	must(t, s.db.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: platform.NewID(), Saved: time.Now(), Size: 3 << 20, Files: 12}}))
	_, page = s.get(b, ws+"/studios/"+studio.ID)
	wants(t, "one that runs", page, "▶ running rivers", "7 h 59 min left", "25 % of 2 CPUs", "5.0 GiB of 50.0 GiB", "7 % of 1 GPU", "1.0 GiB of 16.0 GiB", "3.0 MiB", ">12<", "Start a new Studio from it",
		"Extend…", "Stop…", "programs and kernels that run", "log-view", session.ID, "nobody", m.ID)
	if strings.Contains(page, "Delete the Studio") || strings.Contains(page, "/start\"") {
		t.Error("one that runs can be deleted, or started")
	}
	if status, _ := s.get(b, ws+"/studios/"+studio.ID+"?part=log&have="+session.ID); status != http.StatusNoContent {
		t.Errorf("the log that the page has: %d", status)
	}
	if status, page := s.get(b, ws+"/studios/"+studio.ID+"?part=log&have="); status != http.StatusOK || !strings.Contains(page, session.ID) {
		t.Errorf("the log that the page has not: %d", status)
	}

	s.exec(`UPDATE studio_sessions SET stop_at = ? WHERE id = ?`, time.Now().Add(9*time.Minute+30*time.Second).UnixMilli(), session.ID)
	_, page = s.get(b, ws+"/studios/"+studio.ID+"?part=head")
	wants(t, "one that ends soon", page, "<title>⚠ 9 min left: rivers", "It stops in 9 min", "Extend by 8 hours")

	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioErrored, Message: "The disk is full.", Details: "No space left"}))
	_, page = s.get(b, ws+"/studios/"+studio.ID)
	wants(t, "one that failed", page, "✗ errored rivers", "Why it ended", "The disk is full.", "No space left", "What it had saved by then is kept", "/start", "Delete the Studio")
	again, _ := s.startStudio(studio)
	_, page = s.get(b, ws+"/studios/"+studio.ID+"?session="+session.ID)
	wants(t, "an earlier session", page, "Log of the session of", "/sessions/"+session.ID+"/log/stdout", "session="+again.ID)
}

func TestAMemberIsSentOnToTheStudiosOwnOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	s.server.Pages.OpenStudio = func(c echo.Context, studio platform.Studio) (string, error) {
		return "https://" + studio.ID + ".studios.example.org/?grant=secret", nil
	}
	studio := s.addStudio("rivers", true)
	open := func() (status int, to string) {
		resp, err := b.Get(s.URL + ws + "/studios/" + studio.ID + "/connect")
		must(t, err)
		status, _ = readAll(t, resp)
		return status, resp.Header.Get("Location")
	}
	if status, to := open(); status != http.StatusSeeOther || to != ws+"/studios/"+studio.ID+"?done=studio-not-running" {
		t.Errorf("one that does not run: %d to %s", status, to)
	}
	s.runStudio(studio)
	if status, to := open(); status != http.StatusSeeOther || to != "https://"+studio.ID+".studios.example.org/?grant=secret" {
		t.Errorf("one that runs: %d to %s", status, to)
	}
}

func TestAStudioIsExtendedNamedAndDeletedByItsForms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	studio := s.addStudio("rivers", false)
	session, m := s.runStudio(studio)
	post := func(path string, form url.Values) (int, string) {
		t.Helper()
		form.Set("csrf", csrf)
		return s.post(b, ws+"/studios/"+studio.ID+path, form)
	}
	for _, hours := range []string{"", "x", "0", "-1", "121"} {
		if status, page := post("/extend", url.Values{"hours": {hours}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, "1 to 120 hours") {
			t.Errorf("extended by %q: %d", hours, status)
		}
	}
	if status, _ := post("/extend", url.Values{"hours": {"3"}}); status != http.StatusSeeOther {
		t.Errorf("extended: %d", status)
	}
	if got, err := s.db.StudioSession(t.Context(), session.ID); err != nil || got.StopAt.Sub(session.StopAt) != 3*time.Hour {
		t.Errorf("it ends at %v, %v, and ended at %v", got.StopAt, err, session.StopAt)
	}
	kept := platform.NewID()
	must(t, s.db.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: kept, Saved: time.Now(), Files: 1}}))
	if status, page := post("/checkpoints/"+kept+"/name", url.Values{"name": {strings.Repeat("a", 81)}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, "at most 80") {
		t.Errorf("a long name: %d", status)
	}
	if status, _ := post("/checkpoints/"+kept+"/name", url.Values{"name": {" before the flood "}}); status != http.StatusSeeOther {
		t.Errorf("a name: %d", status)
	}
	_, page := s.get(b, ws+"/studios/"+studio.ID)
	wants(t, "the page", page, "before the flood")
	other := s.addStudio("lakes", false)
	if status, _ := s.post(b, ws+"/studios/"+other.ID+"/checkpoints/"+kept+"/delete", url.Values{"csrf": {csrf}}); status != http.StatusNotFound {
		t.Errorf("another Studio's checkpoint: %d", status)
	}
	if status, _ := s.get(b, ws+"/studios/"+other.ID+"/sessions/"+session.ID+"/log/stdout"); status != http.StatusNotFound {
		t.Errorf("another Studio's log: %d", status)
	}
	if status, _ := s.get(b, ws+"/studios/"+studio.ID+"/sessions/"+session.ID+"/log/nextflow"); status != http.StatusNotFound {
		t.Errorf("a log that Studios do not have: %d", status)
	}
	if status, _ := post("/checkpoints/"+kept+"/delete", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("deleted: %d", status)
	}
	if status, page := post("/delete", url.Values{}); status != http.StatusConflict || !strings.Contains(page, "Stop it first") {
		t.Errorf("deleted while it runs: %d", status)
	}
	if status, _ := post("/stop", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("stopped: %d", status)
	}
	must(t, s.db.MoveStudioSession(t.Context(), session.ID, platform.StudioRunning, platform.StudioEnd{State: platform.StudioStopped, Message: "It was stopped by ada."}))
	_, page = s.get(b, ws+"/studios/"+studio.ID)
	wants(t, "the page of one that was stopped", page, "It was stopped by ada.")
	if status, _ := post("/delete", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("deleted: %d", status)
	}
	for _, path := range []string{"", "/edit", "/connect"} {
		if status, _ := s.get(b, ws+"/studios/"+studio.ID+path); status != http.StatusNotFound {
			t.Errorf("a deleted one's %q: %d", path, status)
		}
	}
}

func TestAStudiosPageFollowsItAndItsLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	studio, other := s.addStudio("rivers", false), s.addStudio("lakes", true)
	session, m := s.runStudio(studio)
	theirs, theirMachine := s.runStudio(other)
	last, err := s.db.LastChange(t.Context())
	must(t, err)
	_, err = s.db.AppendLog(t.Context(), m, platform.LogOutput, 0, []byte("one\ntwo\n"))
	must(t, err)
	events := s.follow(b, fmt.Sprintf("%s/events?studio=%s&after=%d&log=stdout&work=%s&line=1", ws, studio.ID, last, session.ID), "")
	if e := next(t, events); e.name != "log" || !strings.Contains(e.data, `"first":1,"lines":["two"]`) {
		t.Errorf("%+v", e)
	}
	must(t, s.db.AddSteps(t.Context(), theirMachine, []platform.StepReport{{Name: platform.StepAgentUp, At: time.Now()}}))
	must(t, s.db.AddSteps(t.Context(), m, []platform.StepReport{{Name: platform.StepAgentUp, At: time.Now()}}))
	if e := next(t, events); e.name != "change" || !strings.Contains(e.data, studio.ID) {
		t.Errorf("%+v", e)
	}
	_, err = s.db.AppendLog(t.Context(), m, platform.LogOutput, 8, []byte("three\n"))
	must(t, err)
	if e := next(t, events); e.name != "log" || !strings.Contains(e.data, `"lines":["three"]`) {
		t.Errorf("%+v", e)
	}

	// Somebody else's private Studio tells that it changes, and not what it prints.
	bob, _ := s.signedInAs("bob", platform.RoleAdmin)
	_, err = s.db.AppendLog(t.Context(), theirMachine, platform.LogOutput, 0, []byte("secret\n"))
	must(t, err)
	for _, path := range []string{"studio=" + other.ID, "studio=" + studio.ID} {
		status, body := s.get(bob, fmt.Sprintf("%s/events?%s&after=%d&log=stdout&work=%s&once=1", ws, path, last, theirs.ID))
		if status != http.StatusOK || strings.Contains(body, "secret") || !strings.Contains(body, "event: change") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestTheLogOfAStudioThatBecomesPrivateEndsForOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	studio := s.addStudio("rivers", false)
	other := s.member
	other.User.ID++
	st := &stream{Server: s.server, client: &client{of: studio.ID}, log: platform.LogOutput,
		c: echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder())}
	if err := st.stillLooking(other); err != nil || st.log == "" {
		t.Errorf("while it is shared: %q, %v", st.log, err)
	}
	studio.Private = true
	must(t, s.db.UpdateStudio(t.Context(), studio))
	if err := st.stillLooking(s.member); err != nil || st.log == "" {
		t.Errorf("for whose it is: %q, %v", st.log, err)
	}
	if err := st.stillLooking(other); err != nil || st.log != "" {
		t.Errorf("once it is private: %q, %v", st.log, err)
	}
	st.log = platform.LogOutput
	must(t, s.db.DeleteStudio(t.Context(), studio.WorkspaceID, studio.ID))
	if err := st.stillLooking(s.member); err != nil || st.log != "" {
		t.Errorf("once it is deleted: %q, %v", st.log, err)
	}
}

func TestTheMachineOfAStudioIsEndedOnTheStudiosPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	studio := s.addStudio("rivers", false)
	_, m := s.runStudio(studio)
	_, page := s.get(b, ws+"/machines")
	wants(t, "the page", page, `/studios/`+studio.ID+`">rivers</a>`, "To the Studio", ">ada</td>")
	if strings.Contains(page, "End…") {
		t.Error("it offers to end the machine")
	}
	if status, page := s.post(b, ws+"/machines/"+m.ID+"/end", url.Values{"csrf": {csrf}}); status != http.StatusConflict || !strings.Contains(page, "Stop the Studio") {
		t.Errorf("its end: %d", status)
	}
	must(t, s.db.AskStudioStop(t.Context(), studio.ID, platform.StopUser, "ada"))
	_, page = s.get(b, ws+"/machines")
	wants(t, "the page after", page, "Its Studio is being stopped.", "ending…")
}
