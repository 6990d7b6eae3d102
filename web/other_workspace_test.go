package web

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// things are what the workspace lab/rivers has, by the name of the parameter that names it in a path.
func (s *site) things() map[string]string {
	s.t.Helper()
	ctx := s.t.Context()
	run, machine := s.addRun("a")
	studio := s.addStudio("a", false)
	session, studioMachine := s.runStudio(studio)
	checkpoint := platform.NewID()
	must(s.t, s.db.AddCheckpoints(ctx, studioMachine, []platform.CheckpointReport{{ID: checkpoint, Saved: time.Now(), Size: 1}}))
	creds := platform.Credentials{WorkspaceID: s.member.Workspace.ID, Name: "a", Mode: platform.CredentialsKeys, AccessKey: "AKIAEXAMPLE", SecretKey: platform.NewSecret("secret")}
	must(s.t, s.db.AddCredentials(ctx, &creds))
	pipeline := platform.Pipeline{WorkspaceID: s.member.Workspace.ID, Name: "a", Launch: platform.Launch{Pipeline: "nextflow-io/hello"}}
	must(s.t, s.db.AddPipeline(ctx, &pipeline))
	secret := platform.PipelineSecret{Owner: platform.SecretsOwner{WorkspaceID: s.member.Workspace.ID}, Name: "a", Value: platform.NewSecret("secret")}
	must(s.t, s.db.AddPipelineSecret(ctx, &secret))
	label := platform.WorkspaceLabel{WorkspaceID: s.member.Workspace.ID, Name: "a"}
	must(s.t, s.db.AddLabel(ctx, &label))
	team := platform.Team{OrganizationID: s.member.Workspace.Organization.ID, Name: "divers"}
	must(s.t, s.db.AddTeam(ctx, &team))
	must(s.t, s.db.SetTeamParticipant(ctx, s.member, team.ID, platform.RoleView))
	invitation := platform.Invitation{Organization: s.member.Workspace.Organization, InvitedBy: s.member.User, WorkspaceID: s.member.Workspace.ID, Role: platform.RoleView}
	must(s.t, s.db.AddInvitation(ctx, &invitation, platform.HashToken("a")))
	return map[string]string{"label": fmt.Sprint(label.ID), "secret": fmt.Sprint(secret.ID), "user": fmt.Sprint(s.member.User.ID), "team": fmt.Sprint(team.ID), "invitation": invitation.ID, "run": run.ID, "machine": machine.ID, "studio": studio.ID, "session": session.ID, "checkpoint": checkpoint, "env": s.env.ID,
		"credentials": creds.ID, "pipeline": fmt.Sprint(pipeline.ID), "task": "1", "stream": "stdout", "file": ".command.sh", "token": platform.NewID()}
}

// namesNothing are parameters that are no thing of a workspace's, or only of another thing's.
var namesNothing = map[string]bool{"organization": true, "workspace": true, "stream": true, "file": true, "field": true, "task": true, "token": true}

// rows is everything that the tables hold of a workspace, as text.
func (s *site) rows(workspaceID int64) string {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, db.FileName))
	must(s.t, err)
	defer raw.Close()
	tables, err := raw.Query(`SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'workspace_id' WHERE m.type = 'table' ORDER BY m.name`)
	must(s.t, err)
	var names []string
	for tables.Next() {
		var name string
		must(s.t, tables.Scan(&name))
		names = append(names, name)
	}
	must(s.t, tables.Err())
	var all strings.Builder
	for _, name := range names {
		if name != "audit_log" {
			s.dump(raw, &all, name, workspaceID)
		}
	}
	return all.String()
}

func (s *site) dump(raw *sql.DB, to *strings.Builder, table string, workspaceID int64) {
	s.t.Helper()
	rows, err := raw.Query(`SELECT * FROM `+table+` WHERE workspace_id = ?`, workspaceID)
	must(s.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(s.t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		must(s.t, rows.Scan(values...))
		fmt.Fprintf(to, "%s:", table)
		for i := range values {
			fmt.Fprintf(to, " %s=%v", columns[i], *values[i].(*any))
		}
		fmt.Fprintln(to)
	}
	must(s.t, rows.Err())
}

// TestThingsOfAnotherWorkspaceAreNotFound asks for each thing of a workspace under the address of another one, as that one's
// owner, who is not in the first.
func TestThingsOfAnotherWorkspaceAreNotFound(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	things := s.things()
	s.exec(`INSERT INTO organizations (name, full_name, created_at) VALUES ('mill', 'mill', 0)`)
	s.exec(`INSERT INTO workspaces (organization_id, name, full_name, created_at) SELECT id, 'lakes', 'lakes', 0 FROM organizations WHERE name = 'mill'`)
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('mallory', 'mallory@example.org', '', 0)`)
	s.exec(`INSERT INTO organization_members SELECT id, ?, 'owner' FROM organizations WHERE name = 'mill'`, s.userID("mallory"))
	owner := s.member
	member, err := s.db.Member(t.Context(), s.userID("mallory"), "mill", "lakes")
	must(t, err)
	s.member = member
	a := &accessSite{site: s}
	b := s.browser()
	csrf := a.signIn(b, member.User.ID)
	before := s.rows(owner.Workspace.ID)
	asked := 0
	for _, r := range s.server.routes() {
		params := pathParam.FindAllString(r.Path, -1)
		path, named := strings.NewReplacer(":organization", "mill", ":workspace", "lakes").Replace(r.Path), false
		for _, p := range params {
			name := strings.TrimPrefix(p, ":")
			id, known := things[name]
			if !known && !namesNothing[name] && r.Permission.InWorkspace() && name != "*" {
				t.Errorf("%s %s: what is %s? Tell this test", r.Method, r.Path, p)
			}
			named = named || (known && !namesNothing[name])
			path = strings.Replace(path, p, id, 1)
		}
		if !named || !r.Permission.InWorkspace() || r.isAPI() {
			continue
		}
		asked++
		req, err := http.NewRequest(r.Method, s.URL+path, http.NoBody)
		must(t, err)
		req.Header.Set("X-CSRF-Token", csrf)
		resp, err := b.Do(req)
		must(t, err)
		if status, page := readAll(t, resp); status != http.StatusNotFound {
			t.Errorf("%s %s: %d\n%.300s", r.Method, r.Path, status, page)
		}
		if now := s.rows(owner.Workspace.ID); now != before {
			t.Fatalf("%s %s changed something of the other workspace:\n%s\nbefore:\n%s", r.Method, r.Path, now, before)
		}
	}
	if asked < 30 {
		t.Errorf("only %d addresses were asked", asked)
	}
}

// TestALaunchThatNamesAnothersPipelineTellsNothingOfIt: the number comes from the form.
func TestALaunchThatNamesAnothersPipelineTellsNothingOfIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.exec(`INSERT INTO organizations (name, full_name, created_at) VALUES ('other', 'other', 0)`)
	s.exec(`INSERT INTO workspaces (organization_id, name, full_name, created_at) SELECT id, 'lakes', 'lakes', 0 FROM organizations WHERE name = 'other'`)
	var workspaceID int64
	must(t, s.raw().QueryRow(`SELECT id FROM workspaces WHERE name = 'lakes'`).Scan(&workspaceID))
	theirs := platform.Pipeline{WorkspaceID: workspaceID, Name: "secret-merger", Launch: platform.Launch{Pipeline: "nextflow-io/hello"}}
	must(t, s.db.AddPipeline(t.Context(), &theirs))
	s.mustPost(b, ws+"/launch", http.StatusSeeOther, form(csrf, "pipeline", "nextflow-io/hello", "computeEnvId", s.env.ID, "runName", "brisk_thames", "pipelineId", fmt.Sprint(theirs.ID)))
	if _, page := s.get(b, ws+"/runs"); !strings.Contains(page, "brisk_thames") || strings.Contains(page, theirs.Name) {
		t.Errorf("the list of runs: %s", page)
	}
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 10})
	if err != nil || len(runs) != 1 || runs[0].PipelineName != "" {
		t.Errorf("runs: %+v, %v", runs, err)
	}
}
