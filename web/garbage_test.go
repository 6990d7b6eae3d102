package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wherry/jobs"
	"wherry/platform"
)

// claimed claims a machine's work, and returns what its agent makes calls with.
func (s *site) claimed(m platform.Machine) (call func(method, path, body string) int) {
	s.t.Helper()
	key := platform.NewToken()
	call = func(method, path, body string) int { return s.asMachine(key, method, path, body) }
	claim := fmt.Sprintf(`{"machineId":%q,"instanceId":"i","claimToken":%q,"key":%q}`, m.ID, jobs.ClaimToken(siteKey, m.ID), key)
	if status := call(http.MethodPost, "/agent/claim", claim); status != http.StatusOK {
		s.t.Fatalf("the claim: %d", status)
	}
	return call
}

func (s *site) asMachine(token, method, path, body string) (status int) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	must(s.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0 // the portal closed the connection: it does not read what is too long
	}
	status, _ = readAll(s.t, resp)
	return status
}

// TestGarbageFromAMachineBreaksNothing sends what no agent and no Nextflow sends: it is refused or taken, and the run's pages
// still come.
func TestGarbageFromAMachineBreaksNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	r, m := s.addRun("a")
	call := s.claimed(m)
	deep := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	trace := []string{``, `null`, `[]`, `{`, `{}`, `{"workflowId":5}`, `{"workflow":null}`, `{"workflow":"x"}`, `{"workflow":` + deep + `}`,
		`{"workflow":{"start":"yesterday"}}`, `{"workflow":{"start":"9999-12-31T23:59:59Z"},"instant":9223372036854775807}`,
		`{"workflow":{"exitStatus":99999999999,"errorReport":"` + strings.Repeat("e", 1<<20) + `"}}`, `{"processNames":[null,"","a\u0000b"]}`,
		`{"tasks":[null]}`, `{"tasks":[{}]}`, `{"tasks":[{"taskId":-1,"status":"X"}]}`, `{"tasks":[{"taskId":1e300}]}`,
		`{"tasks":[{"taskId":9223372036854775807,"status":"COMPLETED","name":"\ud800<script>","duration":-9999,"workdir":"../../../etc","hash":"../../x"}]}`,
		`{"progress":[]}`, `{"progress":{"pending":-5,"processes":[{"process":"x","succeeded":-9}]}}`, `{"progress":{"pending":1e99}}`}
	agent := map[string][]string{
		"/agent/sync":                  {``, `null`, `{"wait":"x"}`, `{"wait":-5}`},
		"/agent/steps":                 {``, `null`, `{}`, `[null]`, `[{"name":""}]`, `[{"name":"x\u0000","at":"0001-01-01T00:00:00Z"}]`, `[{"name":"later","at":"2999-01-01T00:00:00Z"}]`},
		"/agent/logs/stdout":           {"no offset"},
		"/agent/logs/stdout?offset=-1": {"before the beginning"},
		"/agent/logs/stdout?offset=9223372036854775807": {"after the end"},
		"/agent/logs/stdout?offset=0":                   {"", "\x00\xff\xfe\x1b[31m\r\n\u2028<script>"},
		"/agent/logs/stdout?offset=1":                   {"another text at the same place"},
		"/agent/logs/..%2fstdout?offset=0":              {"no such stream"},
		"/agent/end":                                    {``, `[]`, `{"exitStatus":"x"}`},
	}
	check := func(method, path, body string) {
		if status := call(method, path, body); status >= 500 {
			t.Errorf("%s %s with %.60q: %d", method, path, body, status)
		}
	}
	for _, body := range trace {
		check(http.MethodPost, "/api/trace/create", body)
		for _, call := range []string{"begin", "progress", "heartbeat", "complete"} {
			check(http.MethodPut, "/api/trace/"+r.ID+"/"+call, body)
		}
	}
	for path, bodies := range agent {
		for _, body := range bodies {
			check(http.MethodPost, path, body)
		}
	}
	b, _ := s.signedIn()
	for _, path := range []string{"", "/tasks", "/tasks/9223372036854775807", "/log/stdout", "/log/stdout/download"} {
		if status, page := s.get(b, ws+"/runs/"+r.ID+path); status != http.StatusOK || strings.Contains(page, "\ufffd<script>") && !strings.Contains(path, "/log/") {
			t.Errorf("%q: %d", path, status)
		}
	}
}

// TestAMachineFillsNeitherDatabaseNorPages says everything at a length that nobody reads: lists are refused, and texts cut.
func TestAMachineFillsNeitherDatabaseNorPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	r, m := s.addRun("a")
	call := s.claimed(m)
	long := func(n int) string { return strings.Repeat("x", n) }
	text, list := long(3<<20), strings.Repeat(`{"name":"booted"},`, 200)+`{"name":"booted"}`
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/agent/claim", `{"machineId":"` + text + `"}`, 413},
		{"POST", "/agent/steps", `[{"name":"agent up","at":"2999-01-01T00:00:00Z","note":"` + long(100_000) + `"},{"name":"` + long(100_000) + `"}]`, 200},
		{"POST", "/agent/steps", "[" + list + "]", 422},
		{"POST", "/agent/sync", `{"x":"` + text + `"}`, 413},
		{"POST", "/agent/reports", `[` + strings.Repeat(`{"name":"a"},`, 1000) + `{"name":"b"}]`, 422},
		{"POST", "/agent/reports", `[{"name":"../../other/reports/x.html"}]`, 422},
		{"POST", "/api/trace/create", `{"sessionId":"` + text + `"}`, 200},
		{"PUT", "/api/trace/" + r.ID + "/begin", `{"workflow":{"sessionId":"` + text + `","commandLine":"` + text + `","configText":"` + text + `","params":{"a":1}},"processNames":["` + text + `"]}`, 200},
		{"PUT", "/api/trace/" + r.ID + "/progress", `{"tasks":[` + strings.Repeat(`{},`, platform.MaxTraceTasks) + `{}]}`, 422},
		{"PUT", "/api/trace/" + r.ID + "/progress", `{"tasks":[{"taskId":1,"status":"FAILED","name":"` + text + `","process":"` + text + `","script":"` + text + `","env":"` + text + `"}]}`, 200},
		{"PUT", "/api/trace/" + r.ID + "/progress", `{"progress":{"processes":[` + strings.Repeat(`{"name":"x"},`, 5000) + `{}]}}`, 422},
		{"PUT", "/api/trace/" + r.ID + "/complete", `{"workflow":{"errorMessage":"` + text + `","errorReport":"` + text + `","params":{"a":1}}}`, 200},
		{"POST", "/agent/end", `{"exitCode":1,"reason":"` + long(300_000) + `","errorReport":"` + long(600_000) + `"}`, 200},
	} {
		if got := call(c.method, c.path, c.body); got != c.want && (got != 0 || c.want != 413) {
			t.Errorf("%s %s with %.60q: %d, want %d", c.method, c.path, c.body, got, c.want)
		}
	}
	steps, err := s.db.Steps(t.Context(), m.ID)
	must(t, err)
	for _, step := range steps {
		if step.At.After(time.Now()) || step.At.Before(m.Created.Add(-time.Second)) || len(step.Note) > 5000 {
			t.Errorf("the step %s at %s with a note of %d bytes", step.Name, step.At, len(step.Note))
		}
	}
	r, err = s.db.AnyRun(t.Context(), r.ID)
	must(t, err)
	if r.SessionID != "" || !strings.Contains(string(r.Workflow), `"params":{"a":1}`) || len(r.Workflow) > 300_000 || !strings.Contains(r.Completed.ErrorReport, "…") {
		t.Errorf("kept are the session %.40q, a workflow of %d bytes, an error of %d", r.SessionID, len(r.Workflow), len(r.Completed.ErrorReport))
	}
	must(t, s.db.MoveRun(t.Context(), r.ID, r.State, platform.RunEnd{State: platform.RunRunning}))
	must(t, s.db.MoveRun(t.Context(), r.ID, platform.RunRunning, platform.EndFromReport(r, *r.End)))
	b, _ := s.signedIn()
	for _, path := range []string{"/runs", "/runs/" + r.ID, "/runs/" + r.ID + "/tasks", "/runs/" + r.ID + "/tasks/1", "/machines"} {
		if status, page := s.get(b, ws+path); status != http.StatusOK || len(page) > 200_000 {
			t.Errorf("%s: %d with %d bytes", path, status, len(page))
		}
	}
}

// TestABootScriptSaysLittle, and only of its own machine.
func TestABootScriptSaysLittle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	_, m := s.addRun("a")
	_, other := s.addRun("b")
	token := jobs.ClaimToken(siteKey, m.ID)
	for _, c := range []struct {
		machine, token, body string
		want                 int
	}{
		{m.ID, "x" + token, `{"failure":"forged"}`, 401},
		{m.ID, "", `{"failure":"forged"}`, 401},
		{other.ID, token, `{"failure":"forged"}`, 401},
		{"none", jobs.ClaimToken(siteKey, "none"), `{"failure":"forged"}`, 404},
		{m.ID, token, `{`, 422},
		{m.ID, token, `[]`, 422},
		{m.ID, token, `{"steps":[{"name":"made up"},{"name":"booted","at":"0001-01-01T00:00:00Z"}]}`, 200},
		{m.ID, token, `{"failure":"` + strings.Repeat("x", 100_000) + `"}`, 200},
		{m.ID, token, `{"failure":"` + strings.Repeat("x", 10<<20) + `"}`, 413},
	} {
		if got := s.asMachine(c.token, http.MethodPost, "/agent/boot/"+c.machine, c.body); got != c.want && (got != 0 || c.want != 413) {
			t.Errorf("%.40q: %d, want %d", c.body, got, c.want)
		}
	}
	got, err := s.db.Machine(t.Context(), m.ID)
	must(t, err)
	untouched, err := s.db.Machine(t.Context(), other.ID)
	must(t, err)
	if len(got.BootFailure) < 1000 || len(got.BootFailure) > 3000 || untouched.BootFailure != "" {
		t.Errorf("kept are %d bytes, and of the other machine %q", len(got.BootFailure), untouched.BootFailure)
	}
}
