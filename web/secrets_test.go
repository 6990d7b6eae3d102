package web

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wherry/db"
	"wherry/jobs"
	"wherry/platform"
)

// canary is a value that must be nowhere.
const canary = "canary-9f3c-value"

// call sends JSON and returns what came back.
func (s *site) call(method, path, token, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	must(s.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(s.t, err)
	return readAll(s.t, resp)
}

// accessToken is one of a user's for the API.
func (s *site) accessToken(userID int64) string {
	token := platform.NewToken()
	s.exec(`INSERT INTO access_tokens (user_id, name, token_hash, created_at) VALUES (?1, 'of ' || ?1, ?2, 0)`, userID, platform.HashToken(token))
	return token
}

// claimRun is what an agent gets that claims a machine's work.
func (s *site) claimRun(m platform.Machine) (status int, spec platform.Spec) {
	s.t.Helper()
	status, answer := s.call(http.MethodPost, "/agent/claim", "", fmt.Sprintf(`{"machineId":%q,"instanceId":"i","claimToken":%q,"key":%q}`,
		m.ID, jobs.ClaimToken(siteKey, m.ID), platform.NewToken()))
	if status == http.StatusOK {
		must(s.t, json.Unmarshal([]byte(answer), &spec))
	}
	return status, spec
}

// requested moves the machine of a run to where its agent may claim.
func (s *site) requested(runID string) platform.Machine {
	s.t.Helper()
	m, err := s.db.MachineOfRun(s.t.Context(), runID)
	must(s.t, err)
	must(s.t, s.db.MoveMachine(s.t.Context(), m, db.Move{To: platform.MachineRequested, InstanceID: "i"}))
	m, err = s.db.Machine(s.t.Context(), m.ID)
	must(s.t, err)
	return m
}

// auditLines lists "action target before after" of the audit log, oldest first.
func (s *site) auditLines(action string) (lines []string) {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, db.FileName))
	must(s.t, err)
	defer raw.Close()
	rows, err := raw.QueryContext(s.t.Context(), `SELECT action || ' ' || target_name || ' ' || before || ' ' || after FROM audit_log WHERE action LIKE ? ORDER BY seq`, action)
	must(s.t, err)
	defer rows.Close()
	for rows.Next() {
		var line string
		must(s.t, rows.Scan(&line))
		lines = append(lines, line)
	}
	must(s.t, rows.Err())
	return lines
}

func (s *site) addSecret(of platform.SecretsOwner, name, value string) platform.PipelineSecret {
	s.t.Helper()
	secret := platform.PipelineSecret{Owner: of, Name: name, Value: platform.NewSecret(value)}
	must(s.t, s.db.AddPipelineSecret(s.t.Context(), &secret))
	return secret
}

func (s *site) ofWorkspace() platform.SecretsOwner {
	return platform.SecretsOwner{WorkspaceID: s.member.Workspace.ID}
}
func (s *site) ofUser() platform.SecretsOwner {
	return platform.SecretsOwner{UserID: s.member.User.ID}
}

func TestASecretIsSavedReplacedAndDeletedAndNeverShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	for _, path := range []string{ws + "/secrets", "/account/secrets"} {
		var pages strings.Builder
		look := func(status int, page string) int {
			pages.WriteString(page)
			return status
		}
		if _, page := s.get(b, path); !strings.Contains(page, "There are no secrets yet") {
			t.Errorf("%s does not say that it is empty", path)
		}
		for name, problem := range map[string]string{"9lives": "name-error", "a-b": "name-error", "": "name-error", strings.Repeat("a", 101): "name-error"} {
			status, page := s.post(b, path, url.Values{"csrf": {csrf}, "name": {name}, "value": {canary}})
			if look(status, page) != http.StatusUnprocessableEntity || !strings.Contains(page, problem) {
				t.Errorf("%s named %q: %d", path, name, status)
			}
		}
		for _, value := range []string{"", strings.Repeat("x", platform.MaxSecretValue+1), "a\x00b"} {
			status, page := s.post(b, path, url.Values{"csrf": {csrf}, "name": {"KEY"}, "value": {value}})
			if look(status, page) != http.StatusUnprocessableEntity || !strings.Contains(page, `id="value-error"`) || !strings.Contains(page, `value="KEY"`) {
				t.Errorf("%s with a value of %d bytes: %d", path, len(value), status)
			}
		}
		if status := look(s.post(b, path, url.Values{"csrf": {csrf}, "name": {"KEY"}, "value": {canary}})); status != http.StatusSeeOther {
			t.Fatalf("%s: %d", path, status)
		}
		status, page := s.post(b, path, url.Values{"csrf": {csrf}, "name": {"KEY"}, "value": {canary}})
		if look(status, page) != http.StatusUnprocessableEntity || !strings.Contains(page, "There is a secret named KEY already") {
			t.Errorf("%s twice: %d", path, status)
		}
		of := s.ofWorkspace()
		if strings.HasPrefix(path, "/account") {
			of = s.ofUser()
		}
		secrets, err := s.db.PipelineSecrets(t.Context(), of)
		must(t, err)
		if len(secrets) != 1 {
			t.Fatalf("%s: %v", path, secrets)
		}
		one := fmt.Sprintf("%s/%d", path, secrets[0].ID)
		look(s.get(b, path))
		look(s.get(b, one+"/edit"))
		if status := look(s.post(b, one, url.Values{"csrf": {csrf}, "value": {canary + "\r\nof two lines"}})); status != http.StatusSeeOther {
			t.Errorf("%s: %d", one, status)
		}
		if status := look(s.post(b, one+"/delete", url.Values{"csrf": {csrf}})); status != http.StatusSeeOther {
			t.Errorf("deleting %s: %d", one, status)
		}
		if status := look(s.get(b, one+"/edit")); status != http.StatusNotFound {
			t.Errorf("a deleted secret: %d", status)
		}
		if strings.Contains(pages.String(), canary) {
			t.Errorf("%s shows a value", path)
		}
	}
	s.nowhere(canary)
	if got := s.auditLines("pipeline-secret.%"); len(got) != 6 || strings.Contains(strings.Join(got, ""), canary) || !strings.Contains(got[1], `"secretChanged":true`) {
		t.Errorf("the audit log: %q", got)
	}
}

// nowhere looks for a text in every file of the portal.
func (s *site) nowhere(text string) {
	s.t.Helper()
	must(s.t, filepath.WalkDir(s.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			s.t.Errorf("%s has it in clear", path)
		}
		return err
	}))
}

func TestARunIsGivenTheSecretsThatItsLaunchChose(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.addSecret(s.ofWorkspace(), "BOTH", "of the workspace")
	s.addSecret(s.ofWorkspace(), "TEAM", canary)
	s.addSecret(s.ofWorkspace(), "OTHER", "not chosen")
	s.addSecret(s.ofUser(), "BOTH", "of ada")
	form := url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "runName": {"brisk_thames"},
		"workspaceSecrets": {"BOTH", "TEAM"}, "userSecrets": {"BOTH"}, "revision": {"?"}}
	status, page := s.post(b, ws+"/launch", form)
	if status != http.StatusUnprocessableEntity {
		t.Fatalf("%d", status)
	}
	chosen := []string{`name="workspaceSecrets" value="BOTH" checked`, `name="workspaceSecrets" value="TEAM" checked`, `name="userSecrets" value="BOTH" checked`}
	wants(t, "the form that was refused", page, chosen...)
	if strings.Contains(page, `value="OTHER" checked`) || strings.Contains(page, canary) {
		t.Error("the form has what was not chosen, or a value")
	}
	form.Del("revision")
	if status, page := s.post(b, ws+"/launch", form); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 1})
	must(t, err)
	_, page = s.get(b, ws+"/launch?relaunch="+runs[0].ID)
	wants(t, "the relaunch", page, chosen...)
	_, page = s.get(b, ws+"/runs/"+runs[0].ID)
	wants(t, "the run", page, "BOTH, TEAM", "Secrets of ada")
	status, spec := s.claimRun(s.requested(runs[0].ID))
	if want := map[string]string{"BOTH": "of ada", "TEAM": canary}; status != http.StatusOK || fmt.Sprint(spec.PipelineSecrets) != fmt.Sprint(want) {
		t.Errorf("%d, given %v, want %v", status, spec.PipelineSecrets, want)
	}
	for _, of := range []platform.SecretsOwner{s.ofWorkspace(), s.ofUser()} {
		secrets, err := s.db.PipelineSecrets(t.Context(), of)
		must(t, err)
		for _, secret := range secrets {
			if secret.LastUsed.IsZero() == (secret.Name != "OTHER") {
				t.Errorf("%+v", secret)
			}
		}
	}
	want := `pipeline-secret.use brisk_thames  {"userName":"ada","userSecrets":["BOTH"],"workspaceSecrets":["BOTH","TEAM"]}`
	if got := s.auditLines("pipeline-secret.use"); len(got) != 1 || got[0] != want {
		t.Errorf("the audit log: %q, want %q", got, want)
	}
	s.nowhere(canary)
}

func TestALaunchWithASecretThatWasDeletedIsRefusedBesideTheField(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	team, own := s.addSecret(s.ofWorkspace(), "TEAM", "a"), s.addSecret(s.ofUser(), "OWN", "b")
	form := url.Values{"csrf": {csrf}, "name": {"saved"}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "workspaceSecrets": {"TEAM"}, "userSecrets": {"OWN"}}
	if status, page := s.post(b, ws+"/pipelines", form); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	_, page := s.get(b, fmt.Sprintf("%s/secrets/%d/edit", ws, team.ID))
	wants(t, "the secret's page", page, "These saved pipelines name it", "saved")
	_, page = s.get(b, ws+"/launch?pipeline=1")
	wants(t, "the launch of a saved pipeline", page, `value="TEAM" checked`, `value="OWN" checked`)
	must(t, s.db.DeletePipelineSecret(t.Context(), team))
	must(t, s.db.DeletePipelineSecret(t.Context(), own))
	_, page = s.get(b, ws+"/launch?pipeline=1")
	wants(t, "the launch after", page, `value="TEAM" checked`, "(not there)")
	form.Set("runName", "brisk_thames")
	status, page := s.post(b, ws+"/launch", form)
	if status != http.StatusUnprocessableEntity {
		t.Errorf("%d", status)
	}
	wants(t, "the launch", page, `id="userSecrets-error"`, `id="workspaceSecrets-error"`, `name="userSecrets" value="OWN" checked`)
	if runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 1}); err != nil || len(runs) > 0 {
		t.Errorf("%v %v", runs, err)
	}
	if status, page = s.post(b, ws+"/pipelines", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="workspaceSecrets-error"`) {
		t.Errorf("a pipeline: %d", status)
	}
}

// TestWhoIsOutOfTheWorkspaceGivesItNoSecretsOfTheirOwn: whoever stays can change what the environment runs.
func TestWhoIsOutOfTheWorkspaceGivesItNoSecretsOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.signedInAs("bob", platform.RoleLaunch)
	s.addSecret(platform.SecretsOwner{UserID: s.userID("bob")}, "OWN", "bob's")
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.userID("bob"), ComputeEnvID: s.env.ID, Name: "a", WorkDir: s.env.WorkDir, Launch: platform.Launch{UserSecrets: []string{"OWN"}}}
	_, err := s.db.AddRun(t.Context(), &r)
	must(t, err)
	must(t, s.db.RemoveParticipant(t.Context(), s.member, s.userID("bob")))
	if status, _ := s.claimRun(s.requested(r.ID)); status != http.StatusGone {
		t.Errorf("%d", status)
	}
	r, err = s.db.AnyRun(t.Context(), r.ID)
	must(t, err)
	if end := platform.StoppedEnd(r); end.State != platform.RunFailed || !strings.Contains(end.ErrorMessage, "secrets of bob, who is not in this workspace any more") {
		t.Errorf("%+v", end)
	}
}

func TestASecretThatIsDeletedBeforeTheStartEndsTheRunWithClearWords(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	secret := s.addSecret(s.ofWorkspace(), "TEAM", "a")
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "a", WorkDir: s.env.WorkDir, Launch: platform.Launch{WorkspaceSecrets: []string{"TEAM"}}}
	_, err := s.db.AddRun(t.Context(), &r)
	must(t, err)
	must(t, s.db.DeletePipelineSecret(t.Context(), secret))
	if status, _ := s.claimRun(s.requested(r.ID)); status != http.StatusGone {
		t.Errorf("%d", status)
	}
	r, err = s.db.AnyRun(t.Context(), r.ID)
	must(t, err)
	if end := platform.StoppedEnd(r); end.State != platform.RunFailed || !strings.Contains(end.ErrorMessage, "deleted meanwhile") || !strings.Contains(end.ErrorMessage, "TEAM") {
		t.Errorf("%+v", end)
	}
	if used := s.auditLines("pipeline-secret.use"); len(used) != 0 {
		t.Errorf("%q", used)
	}
}

func TestSecretsByTheAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('vera', 'vera@example.org', '', 0)`)
	s.exec(`INSERT INTO participants VALUES (?, ?, 'launch')`, s.member.Workspace.ID, s.userID("vera"))
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('mallory', 'mallory@example.org', '', 0)`)
	ada, vera, mallory := s.accessToken(s.member.User.ID), s.accessToken(s.userID("vera")), s.accessToken(s.userID("mallory"))
	at := fmt.Sprintf("?workspaceId=%d", s.member.Workspace.ID)
	ids := map[string]string{}
	for _, of := range []string{"", at} {
		status, answer := s.call("POST", "/api/pipeline-secrets"+of, ada, `{"name":"KEY","value":"`+canary+`"}`)
		var made struct{ SecretID, ID int64 }
		must(t, json.Unmarshal([]byte(answer), &made))
		if status != 200 || made.SecretID == 0 || made.ID != made.SecretID {
			t.Fatalf("%d %s", status, answer)
		}
		ids[of] = fmt.Sprint(made.ID)
	}
	one, own := "/api/pipeline-secrets/"+ids[at]+at, "/api/pipeline-secrets/"+ids[""]
	for _, c := range []struct {
		method, path, token, body string
		want                      int
		text                      string
	}{
		{"GET", "/api/pipeline-secrets" + at, ada, "", 200, `"totalSize":1`},
		{"GET", "/api/pipeline-secrets", ada, "", 200, `"lastUsed":null`},
		{"GET", "/api/pipeline-secrets", vera, "", 200, `"pipelineSecrets":[]`},
		{"GET", "/api/pipeline-secrets?workspaceId=x", ada, "", 422, "workspaceId"},
		{"GET", "/api/pipeline-secrets" + at, vera, "", 200, `"name":"KEY"`},
		{"GET", "/api/pipeline-secrets" + at, mallory, "", 404, ""},
		{"POST", "/api/pipeline-secrets" + at, vera, `{"name":"B","value":"b"}`, 403, "secrets:edit"},
		{"POST", "/api/pipeline-secrets" + at, ada, `{"name":"9","value":""}`, 422, "name"},
		{"POST", "/api/pipeline-secrets" + at, ada, `{"name":"KEY","value":"b"}`, 422, "already"},
		{"GET", "/api/pipeline-secrets/validate?name=KEY", ada, "", 409, "already"},
		{"GET", "/api/pipeline-secrets/validate?name=NEW", ada, "", 204, ""},
		{"GET", "/api/pipeline-secrets/validate?name=9", ada, "", 422, "name"},
		{"GET", one, vera, "", 200, `"name":"KEY"`},
		{"PUT", one, vera, `{"value":"b"}`, 403, ""},
		{"PUT", one, ada, `{"value":"b"}`, 204, ""},
		{"GET", own, ada, "", 200, `"pipelineSecret":{`},
		{"GET", own, vera, "", 404, ""},
		{"GET", own + at, ada, "", 404, ""},
		{"PUT", own, vera, `{"value":"b"}`, 404, ""},
		{"DELETE", own, vera, "", 404, ""},
		{"DELETE", one, vera, "", 403, ""},
		{"DELETE", own, ada, "", 204, ""},
		{"DELETE", own, ada, "", 404, ""},
	} {
		status, answer := s.call(c.method, c.path, c.token, c.body)
		if status != c.want || !strings.Contains(answer, c.text) || strings.Contains(answer, canary) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, status, answer, c.want, c.text)
		}
	}
}

func TestFilesOfTasksAreShownWithoutTheRunsSecrets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	s.addSecret(s.ofWorkspace(), "TEAM", canary)
	s.addSecret(s.ofUser(), "OWN", "one of 'ada'\nin two lines")
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "a", WorkDir: s.env.WorkDir,
		Launch: platform.Launch{WorkspaceSecrets: []string{"TEAM"}, UserSecrets: []string{"OWN"}}}
	_, err := s.db.AddRun(t.Context(), &r)
	must(t, err)
	folder := filepath.Join(s.env.WorkDir, "ab", "cdef")
	must(t, os.MkdirAll(folder, 0o755))
	call := platform.TraceCall{Tasks: []platform.Task{{TaskID: 1, Name: "ASK", Status: platform.TaskFailed, Workdir: folder}}}
	must(t, s.db.TraceCalled(t.Context(), r, "progress", call))
	const cut = 64 << 10 // handlers.shownOfFile
	for name, text := range map[string]string{
		"short":                      "it is " + canary + ", or in two lines.\n",
		"many":                       strings.Repeat("it is "+canary+"\n", 20_000),
		"cut within a secret":        strings.Repeat("x", cut) + canary + strings.Repeat("y", cut-5) + "\n",
		"cut just before the secret": strings.Repeat("x", 10) + canary + strings.Repeat("y", cut-len(canary)) + "\n",
	} {
		must(t, os.WriteFile(filepath.Join(folder, ".command.err"), []byte(text), 0o600))
		_, page := s.get(b, ws+"/runs/"+r.ID+"/tasks/1?file=.command.err")
		status, file := s.get(b, ws+"/runs/"+r.ID+"/tasks/1/files/.command.err")
		if status != http.StatusOK || len(file) < len(text)/3 {
			t.Errorf("%s: %d, %d bytes", name, status, len(file))
		}
		for what, shown := range map[string]string{"the page": page, "the file": file} {
			for _, secret := range []string{canary, canary[1:], canary[5:], "in two lines"} {
				if strings.Contains(shown, secret) {
					t.Errorf("%s: %s tells %q", name, what, secret)
				}
			}
			if name != "cut within a secret" && !strings.Contains(shown, "****") {
				t.Errorf("%s: nothing stands in place of the secret on %s", name, what)
			}
		}
	}
}
