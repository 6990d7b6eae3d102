package e2e

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"
	_ "modernc.org/sqlite"

	"wherry/cloud/aws/sandbox"
	"wherry/platform"
)

// toolTemplate is a file with a template of testdata/tool.py, a tool that is up at once.
func toolTemplate(t *testing.T) string {
	t.Helper()
	script, err := filepath.Abs("testdata/tool.py")
	must(t, err)
	text, err := json.Marshal([]platform.StudioTemplate{{ID: "tool", Name: "A tool", Description: "Serves files.", Image: "docker.io/library/python:3.13",
		Port: 8000, HostCommand: []string{"python3", script, "${PORT}"}}})
	must(t, err)
	path := filepath.Join(t.TempDir(), "templates.json")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

// startTool adds a Studio of the tool, and starts it.
func (p *portal) startTool(m platform.Member, e platform.ComputeEnv, change func(*platform.Studio)) platform.Studio {
	p.t.Helper()
	s := platform.Studio{WorkspaceID: m.Workspace.ID, UserID: m.User.ID, ComputeEnvID: e.ID, Name: "tool", Config: platform.StudioConfig{Template: "tool"}}
	if change != nil {
		change(&s)
	}
	must(p.t, p.db.AddStudio(p.t.Context(), &s))
	p.startStudio(s.ID, m.User.ID)
	return s
}

func (p *portal) startStudio(id string, userID int64) {
	p.t.Helper()
	s, err := p.db.AnyStudio(p.t.Context(), id)
	must(p.t, err)
	_, err = p.db.StartStudio(p.t.Context(), s, userID)
	must(p.t, err)
}

// fetch asks the open Studio for something, as its page's own script would.
func fetch(t *testing.T, tab playwright.Page, method, path, body string) string {
	t.Helper()
	got, err := tab.Evaluate(`async ([method, path, body]) => {
		const answer = await fetch(path, {method, body: method === "GET" ? undefined : body})
		return answer.status + " " + await answer.text()
	}`, []any{method, path, body})
	must(t, err)
	return got.(string)
}

// TestAStudioOnEC2KeepsItsWorkWhateverEndsIt takes the Spot instance of a Studio away, and then lets its lifespan end.
func TestAStudioOnEC2KeepsItsWorkWhateverEndsIt(t *testing.T) {
	t.Parallel()
	s := newCloudSite(t, func(_ *platform.ComputeEnv, o *sandbox.Options) { o.SpotNotice = 30 * time.Second }, "WHERRY_STUDIO_TEMPLATES="+toolTemplate(t))
	page := newPage(t)
	s.signIn(page)
	studio := s.startTool(s.owner, s.env, func(studio *platform.Studio) { studio.Config.Spot, studio.Config.LifespanHours = true, 1 })
	connect := s.url + "/orgs/lab/workspaces/rivers/studios/" + studio.ID + "/connect"
	first := s.studioIs(studio.ID, platform.StudioRunning, 90*time.Second)
	_, err := page.Goto(connect)
	must(t, err)
	if got := fetch(t, page, "PUT", "/rivers.csv", "Yare,84"); got != "201 " {
		t.Fatalf("writing a file: %s", got)
	}
	m, err := s.db.MachineOfStudioSession(t.Context(), first.Session.ID)
	must(t, err)
	if !m.Hardware.Spot {
		t.Errorf("the machine is On-Demand: %+v", m.Hardware)
	}
	must(t, s.hypervisor.Interrupt(m.InstanceID))
	stopped := s.studioIs(studio.ID, platform.StudioStopped, 90*time.Second)
	if stopped.Session.StopReason != platform.StopSpot {
		t.Errorf("it stopped because of %s: %s", stopped.Session.StopReason, stopped.Session.Message)
	}

	s.startStudio(studio.ID, s.owner.User.ID)
	again := s.studioIs(studio.ID, platform.StudioRunning, 90*time.Second)
	_, err = page.Goto(connect)
	must(t, err)
	if got := fetch(t, page, "GET", "/rivers.csv", ""); got != "200 Yare,84" {
		t.Errorf("after the interruption the file is: %s", got)
	}
	fetch(t, page, "PUT", "/later.csv", "Bure,50")
	s.timePasses(again.Session.ID)
	stopped = s.studioIs(studio.ID, platform.StudioStopped, 90*time.Second)
	if stopped.Session.StopReason != platform.StopLifespan || !strings.Contains(stopped.Session.Message, "lifespan") {
		t.Errorf("it stopped because of %s: %s", stopped.Session.StopReason, stopped.Session.Message)
	}
	list, err := s.db.Checkpoints(t.Context(), s.owner.Workspace.ID, studio.ID)
	must(t, err)
	if len(list) < 2 || !list[0].Final || list[0].Files != 2 {
		t.Errorf("the checkpoints are %+v", list)
	}
	eventually(t, time.Minute, "its machines are gone", func() bool { return len(s.hypervisor.Running()) == 0 })
	s.nothingLeft()
}

// timePasses brings the end of a session's lifespan near.
func (s *cloudSite) timePasses(sessionID string) {
	t := s.portal.t
	t.Helper()
	file, err := sql.Open("sqlite", filepath.Join(s.data, "wherry.db"))
	must(t, err)
	defer file.Close()
	_, err = file.Exec(`PRAGMA busy_timeout = 5000`)
	must(t, err)
	_, err = file.Exec(`UPDATE studio_sessions SET stop_at = ? WHERE id = ?`, time.Now().Add(time.Second).UnixMilli(), sessionID)
	must(t, err)
}
