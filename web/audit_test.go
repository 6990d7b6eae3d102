package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

// newest are entries of the audit log, the newest first.
func (s *site) newest(f db.AuditFilter) []platform.AuditEntry {
	s.t.Helper()
	entries, err := s.db.AuditLog(s.t.Context(), f)
	must(s.t, err)
	return entries
}

// TestWhatPeopleDoIsInTheAuditLog sends every form with a canary as each of its secrets, too.
func TestWhatPeopleDoIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	cloudy := s.withCloud()
	b, csrf := s.signedIn()
	const canary = "canary0123456789012345678901234567890123"
	creds := s.addCredentials(s.member.Workspace.ID, "ours")
	unused := s.addCredentials(s.member.Workspace.ID, "unused")
	studio := s.addStudio("rivers", false)
	run, _ := s.addRun("a-run")
	warm := s.warm(s.cloudEnv("warm", platform.AWSCloud{}))
	other := platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "other", Platform: platform.PlatformLocal, WorkDir: s.env.WorkDir, Status: platform.ComputeEnvAvailable}
	must(t, s.db.AddComputeEnv(t.Context(), &other))
	pipeline := platform.Pipeline{WorkspaceID: s.member.Workspace.ID, Name: "boats", Launch: platform.Launch{Pipeline: "https://example.org/boats"}}
	must(t, s.db.AddPipeline(t.Context(), &pipeline))
	for _, step := range []struct {
		path, action string
		form         url.Values
	}{
		{"/credentials", "credentials.add", url.Values{"name": {"keys"}, "mode": {"keys"}, "accessKey": {"AKIAIOSFODNN7EXAMPLE"}, "secretKey": {canary}}},
		{"/credentials/" + creds.ID, "credentials.update", url.Values{"name": {"ours"}, "mode": {"keys"}, "accessKey": {"AKIAIOSFODNN7EXAMPLF"}, "secretKey": {canary}}},
		{"/credentials/" + unused.ID + "/delete", "credentials.delete", nil},
		{"/compute-envs", "compute-env.add", url.Values{"platform": {"aws-cloud"}, "name": {"new"}, "region": {"eu-west-1"}, "workDir": {"s3://rivers/work"}, "credentialsId": {creds.ID},
			"accessToken": {canary}, "environment": {"PASSWORD=" + canary}}},
		{"/compute-envs/" + s.env.ID, "compute-env.update", url.Values{"platform": {"local"}, "name": {"renamed"}, "workDir": {s.env.WorkDir}, "environment": {"PASSWORD=" + canary}}},
		{"/compute-envs/" + other.ID + "/primary", "compute-env.primary", nil},
		{"/compute-envs/" + other.ID + "/check", "compute-env.check", nil},
		{"/compute-envs/" + other.ID + "/disable", "compute-env.disable", nil},
		{"/compute-envs/" + other.ID + "/enable", "compute-env.enable", nil},
		{"/compute-envs/" + other.ID + "/delete", "compute-env.delete", nil},
		{"/compute-envs/" + other.ID + "/forget", "compute-env.forget", nil},
		{"/pipelines", "pipeline.add", url.Values{"name": {"canoes"}, "pipeline": {"https://example.org/canoes"}, "computeEnvId": {s.env.ID}, "environment": {"PASSWORD=" + canary}}},
		{fmt.Sprintf("/pipelines/%d", pipeline.ID), "pipeline.update", url.Values{"name": {"ships"}, "pipeline": {"https://example.org/boats"}, "computeEnvId": {s.env.ID}}},
		{fmt.Sprintf("/pipelines/%d/delete", pipeline.ID), "pipeline.delete", nil},
		{"/launch", "run.launch", url.Values{"pipeline": {"https://example.org/boats"}, "computeEnvId": {s.env.ID}, "runName": {"mine"}, "environment": {"PASSWORD=" + canary}}},
		{"/runs/" + run.ID + "/cancel", "run.cancel", nil},
		{"/machines/" + warm.ID + "/end", "machine.end", nil},
		{"/limits", "limits.update", url.Values{"instances": {"7"}}},
		{"/studios", "studio.add", with(goodStudio(csrf, cloudy.ID), "name", "lakes")},
		{"/studios/" + studio.ID, "studio.update", with(with(goodStudio(csrf, cloudy.ID), "name", "seas"), "environment", "PASSWORD="+canary)},
		{"/studios/" + studio.ID + "/start", "studio.start", nil},
		{"/studios/" + studio.ID + "/stop", "studio.stop", nil},
	} {
		form := url.Values{"csrf": {csrf}}
		for name, values := range step.form {
			form[name] = values
		}
		before := s.newest(db.AuditFilter{Limit: 1})[0].Seq
		status, page := s.post(b, ws+step.path, form)
		entries := s.newest(db.AuditFilter{})
		entries = entries[:slices.IndexFunc(entries, func(e platform.AuditEntry) bool { return e.Seq == before })]
		i := slices.IndexFunc(entries, func(e platform.AuditEntry) bool { return e.Action == step.action })
		if status >= 400 || i < 0 {
			t.Errorf("%s: %d, %v, and these entries: %+v", step.path, status, fieldError.FindAllString(page, -1), entries)
			continue
		}
		e := entries[i]
		if e.UserName != "ada" || e.Kind != platform.ActorUser || e.Address == "" || e.UserAgent == "" || e.Request == "" || e.WorkspaceID != s.member.Workspace.ID || e.OrganizationID != s.member.Workspace.Organization.ID {
			t.Errorf("%s: who, from where or where is missing: %+v", step.action, e)
		}
	}
	for _, e := range s.newest(db.AuditFilter{}) {
		if strings.Contains(fmt.Sprintf("%+v", e), canary) {
			t.Errorf("a secret is in the audit log: %+v", e)
		}
	}
	_, err := s.db.VerifyAudit(t.Context(), db.AuditHead{})
	must(t, err)
}

func TestTheAuditLogIsSearchedPagedAndExported(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.exec(`INSERT INTO organizations (name, full_name, created_at) VALUES ('mill', 'mill', 0)`)
	s.exec(`INSERT INTO workspaces (organization_id, name, full_name, created_at) SELECT id, 'wheat', 'wheat', 0 FROM organizations WHERE name = 'mill'`)
	theirs := platform.Pipeline{WorkspaceID: s.member.Workspace.ID + 1, Name: "grinding"}
	must(t, s.db.AddPipeline(t.Context(), &theirs))
	for i := range 60 {
		s.post(b, ws+"/limits", url.Values{"csrf": {csrf}, "instances": {fmt.Sprint(i + 1)}})
	}
	must(t, s.db.AddPipeline(t.Context(), &platform.Pipeline{WorkspaceID: s.member.Workspace.ID, Name: "=cmd()", Launch: platform.Launch{Pipeline: "x"}}))

	const page = "/orgs/lab/audit"
	status, html := s.get(b, page)
	wants(t, "the first page", html, "Audit log", "limits.update", "pipeline =cmd()", "lab/rivers", "ada", ">Older<")
	if status != http.StatusOK || strings.Contains(html, "grinding") {
		t.Errorf("the first page: %d, and has what is of another organization: %v", status, strings.Contains(html, "grinding"))
	}
	oldest := s.newest(db.AuditFilter{OrganizationID: s.member.Workspace.Organization.ID, Limit: 50})[49]
	_, html = s.get(b, fmt.Sprintf("%s?before=%d", page, oldest.Seq))
	wants(t, "the second page", html, "portal.set-up", ">Newest<")
	if strings.Contains(html, ">Older<") {
		t.Error("the last page leads on")
	}
	_, html = s.get(b, page+"?action=pipeline&who=portal&q=CMD&from=2020-01-01&target=cmd")
	wants(t, "what was looked for", html, "pipeline =cmd()")
	if strings.Contains(html, ">limits.update</td>") {
		t.Error("what was looked for has other entries, too")
	}
	_, html = s.get(b, page+"?who=eve")
	wants(t, "nothing", html, "No entry fits")
	status, html = s.get(b, page+"?from=yesterday&q=kept")
	wants(t, "a day that is none", html, "Enter a day", `value="yesterday"`, `value="kept"`)
	if status != http.StatusUnprocessableEntity {
		t.Errorf("a day that is none: %d", status)
	}
	changed := s.newest(db.AuditFilter{Action: "limits.update", Limit: 1})[0]
	_, html = s.get(b, fmt.Sprintf("%s/%d", page, changed.Seq))
	wants(t, "an entry", html, "Before and after", "instances", ">59<", ">60<", changed.Hash)
	grinding := s.newest(db.AuditFilter{Target: "grinding", Limit: 1})[0]
	if status, _ := s.get(b, fmt.Sprintf("%s/%d", page, grinding.Seq)); status != http.StatusNotFound {
		t.Errorf("an entry of another organization: %d", status)
	}

	_, text := s.get(b, page+"/export/csv?action=pipeline")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 || !slices.Contains(rows[1], "'=cmd()") {
		t.Errorf("the CSV is %q, %v", rows, err)
	}
	_, text = s.get(b, page+"/export/json")
	var entries []struct {
		Action string
		Before map[string]any
	}
	if err := json.Unmarshal([]byte(text), &entries); err != nil || len(entries) < 60 || entries[0].Action != "audit.export" {
		t.Errorf("the JSON has %d entries, %v", len(entries), err)
	}
	_, html = s.get(b, "/admin/audit")
	wants(t, "the portal's page", html, "audit.export", "pipeline.add")
	_, html = s.get(b, "/admin/audit?target=GRIND")
	wants(t, "the portal's page", html, "grinding", "mill/wheat")
	if status, _ := s.get(b, page+"/export/xml"); status < 400 {
		t.Errorf("another format: %d", status)
	}
}

func TestAClaimSaysWhichMachineWasGivenItsWork(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	_, m := s.addRun("a-run")
	if _, _, status := s.claim(m); status != http.StatusOK {
		t.Fatalf("the claim: %d", status)
	}
	e := s.newest(db.AuditFilter{Limit: 1})[0]
	if e.Action != "machine.claim" || e.Kind != platform.ActorAgent || e.UserName != m.ID || e.Address == "" {
		t.Errorf("the entry is %+v", e)
	}
}

func TestAPurposeIsTheThingAndNotEachOfItsFiles(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/orgs/lab/workspaces/rivers/runs/3k/tasks/4/files/log": "runs/3k", "/orgs/lab/workspaces/rivers/compute-envs": "compute-envs", "/orgs/lab/workspaces/rivers": "",
		"/runs/3k": "runs/3k", "/": "",
	} {
		if got := purpose(path); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
	}
}

// TestTheAuditLogIsReadInTheReferencesShape by an administrator's access token, page by page.
func TestTheAuditLogIsReadInTheReferencesShape(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.addRun("a-run")
	token := platform.NewToken()
	s.exec(`INSERT INTO access_tokens (user_id, name, token_hash, created_at) VALUES (?, 'script', ?, 0)`, s.member.User.ID, platform.HashToken(token))
	ask := func(path string, answer any) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/admin/audit-logs-v2"+path, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		status, text := readAll(t, resp)
		if answer != nil {
			must(t, json.Unmarshal([]byte(text), answer))
		}
		return status
	}
	type entry struct {
		ID, Event, Timestamp string
		Actor                struct{ Type, UserName string }
		Target               struct {
			Type, Name, Context     string
			Organization, Workspace struct{ Name string }
			State                   struct{ NewState map[string]any }
		}
	}
	var events []string
	for next, pages := "?max=2&attributes=state", 0; next != "" && pages < 9; pages++ {
		var page struct {
			AuditLogs     []entry
			NextPageToken string
		}
		if status := ask(next, &page); status != http.StatusOK {
			t.Fatalf("%s: %d", next, status)
		}
		for _, e := range page.AuditLogs {
			events = append(events, e.Event)
			if e.Event == "workflow_launched" && (e.Target.Workspace.Name != "rivers" || e.Target.Organization.Name != "lab" || e.Target.Type != "workflow" || e.Target.State.NewState["runName"] != "a-run") {
				t.Errorf("the launch is %+v", e)
			}
		}
		if next = ""; page.NextPageToken != "" {
			next = "?max=2&attributes=state&nextPageToken=" + page.NextPageToken
		}
	}
	if fmt.Sprint(events) != "[workflow_launched compute_environment_created portal_set_up]" {
		t.Errorf("the events are %q", events)
	}
	var one entry
	if status := ask("/1", &one); status != http.StatusOK || one.ID != "1" {
		t.Errorf("the first entry: %d, %+v", status, one)
	}
	for path, want := range map[string]int{"/9999": http.StatusNotFound, "/x": http.StatusNotFound, "?max=none": http.StatusUnprocessableEntity, "?timestampAfterOrEqual=now": http.StatusUnprocessableEntity,
		"/export-csv": http.StatusOK, "?timestampAfterOrEqual=2999-01-01T00:00:00Z": http.StatusOK} {
		if status := ask(path, nil); status != want {
			t.Errorf("%s: %d, not %d", path, status, want)
		}
	}
	if e := s.newest(db.AuditFilter{Limit: 1})[0]; e.Action != "audit.export" || e.Token != "script" {
		t.Errorf("the export's entry is %+v", e)
	}
}
