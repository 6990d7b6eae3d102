package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"wherry/jobs"
	"wherry/platform"
)

// TestGarbageFromAMachineBreaksNothing sends what no agent and no Nextflow sends: it is refused or taken, and the run's pages
// still come.
func TestGarbageFromAMachineBreaksNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	r, m := s.addRun("a")
	key := platform.NewToken()
	call := func(method, path, body string) int {
		req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		status, _ := readAll(t, resp)
		return status
	}
	claim := fmt.Sprintf(`{"machineId":%q,"instanceId":"i","claimToken":%q,"key":%q}`, m.ID, jobs.ClaimToken(siteKey, m.ID), key)
	if status := call(http.MethodPost, "/agent/claim", claim); status != http.StatusOK {
		t.Fatalf("the claim: %d", status)
	}
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
