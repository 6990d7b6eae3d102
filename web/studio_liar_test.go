package web

import (
	"net/http"
	"strings"
	"testing"

	"wherry/platform"
)

func TestWhatALyingAgentSaysHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	s, studio, session, m := studioSite(t, platform.StudioConfig{Template: "jupyter"})
	key, _, _ := s.claim(m)
	other := s.addStudio("other", false)
	_, machine := s.runStudio(other)
	otherKey, _, _ := s.claim(machine)
	kept := platform.CheckpointReport{ID: platform.NewID(), Size: 5, Files: 5}
	if status := s.asAgent(otherKey, "/agent/checkpoints", []platform.CheckpointReport{kept}, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	b, _ := s.signedIn()
	for _, c := range []struct {
		method, path, says string
		status             int
	}{
		{"POST", "/agent/sync", `{"cancel":true,"wait":-1,"usage":{"cpu":1e308,"memory":9223372036854775807,"memoryMax":1,"disk":9223372036854775807,"diskMax":1,"gpu":1e300,"gpus":9999999,"cpus":-5}}`, 200},
		{"POST", "/agent/sync", `{"cancel":true,"usage":{"cpu":-1e308,"memory":-9223372036854775808,"memoryMax":-1,"disk":1,"at":"9999-12-31T23:59:59Z"}}`, 200},
		{"POST", "/agent/sync", `{"cancel":true,"usage":{"cpu":NaN}}`, 422},
		{"POST", "/agent/sync", `{"cancel":true,"usage":{"cpu":` + strings.Repeat("9", 400) + `}}`, 422},
		{"POST", "/agent/sync", strings.Repeat("[", 100_000), 422},
		{"POST", "/agent/sync", `{"x":"` + strings.Repeat("x", 300<<10), 413},
		{"POST", "/agent/steps", `[{"name":"tool answers","at":"0001-01-01T00:00:00Z"},{"name":"installing packages","at":"9999-12-31T23:59:59Z","note":"` + strings.Repeat("<b>x", 50_000) + `"}]`, 200},
		{"POST", "/agent/steps", `[` + strings.Repeat(`{},`, platform.MaxStepReports) + `{}]`, 422},
		{"POST", "/agent/checkpoints", `[{"id":"../../../x"}]`, 422},
		{"POST", "/agent/checkpoints", `[{"id":""}]`, 422},
		{"POST", "/agent/checkpoints", `[{"id":"` + kept.ID + `","size":1,"files":1,"saved":"9999-12-31T23:59:59Z"}]`, 200},
		{"POST", "/agent/checkpoints", `[{"id":"` + studio.ID + `","size":9223372036854775807,"files":9223372036854775807},{"id":"` + session.ID + `","size":-1}]`, 200},
		{"POST", "/agent/checkpoints/removed", `["` + kept.ID + `","../x",""]`, 200},
		{"POST", "/agent/reports", `[{"name":"x"}]`, 422},
		{"POST", "/api/trace/create", `{}`, 404},
		{"PUT", "/api/trace/x/complete", `{}`, 403},
		{"GET", "/api/user-info", ``, 404},
		{"POST", "/agent/logs/stdout?offset=9223372036854775807", "x", 409},
		{"POST", "/agent/logs/stdout?offset=0", strings.Repeat("\x1b[31m\x00\xff\n", 1000), 200},
		{"POST", "/agent/end", `{"exitCode":9223372036854775807,"stopReason":"x\u0000","reason":"<script>","at":"9999-12-31T23:59:59Z"}`, 200},
	} {
		r, err := http.NewRequest(c.method, s.URL+c.path, strings.NewReader(c.says))
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		if status, text := readAll(t, resp); status != c.status {
			t.Errorf("%s %.100s: %d %.200s, want %d", c.path, c.says, status, text, c.status)
		}
		for _, page := range []string{"/studios", "/studios/" + studio.ID, "/studios/" + other.ID, "/machines"} {
			if status, text := s.get(b, "/orgs/lab/workspaces/rivers"+page); status != http.StatusOK || strings.Contains(text, "NaN") || strings.Contains(text, "<b>x") {
				t.Errorf("after %s %.100s: %s is %d", c.path, c.says, page, status)
			}
		}
	}
	list, err := s.db.Checkpoints(t.Context(), other.WorkspaceID, other.ID)
	if err != nil || len(list) != 1 || list[0].Size != kept.Size {
		t.Errorf("the other Studio's checkpoints: %+v, %v", list, err)
	}
}
