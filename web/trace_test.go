package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

// recorded is one request of Nextflow's real nf-tower plugin (1.9.3, with Nextflow 24.10.0).
type recorded struct {
	Method string
	Path   string
	Body   json.RawMessage
}

func readRecording(t *testing.T, name string) (list []recorded) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	must(t, err)
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		var r recorded
		must(t, json.Unmarshal(line, &r))
		list = append(list, r)
	}
	return list
}

// TestWhatTheRealPluginSendsIsTaken replays recordings in order, twice over, and backwards: what is known then is the same.
func TestWhatTheRealPluginSendsIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		completed int
		cached    int
		failed    int
		aborted   int
		success   bool
		message   string
	}{
		{"trace-success.jsonl", 4, 0, 0, 0, true, ""},
		{"trace-cached.jsonl", 0, 4, 0, 0, true, ""},
		{"trace-failed.jsonl", 2, 0, 1, 1, false, "boom"},
	} {
		for order, arrange := range map[string]func([]recorded) []recorded{
			"in order":  func(l []recorded) []recorded { return l },
			"twice":     func(l []recorded) []recorded { return append(slices.Clone(l), l...) },
			"backwards": func(l []recorded) []recorded { l = slices.Clone(l); slices.Reverse(l); return l },
		} {
			t.Run(c.name+" "+order, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.setUp()
				r, m := s.addRun("a")
				key := platform.NewToken()
				_, err := s.db.Claim(t.Context(), m.ID, "i", platform.HashToken(key))
				must(t, err)
				for _, call := range arrange(readRecording(t, c.name)) {
					s.replay(call, r.ID, key)
				}
				for status, want := range map[platform.TaskStatus]int{platform.TaskCompleted: c.completed, platform.TaskCached: c.cached, platform.TaskFailed: c.failed, platform.TaskAborted: c.aborted} {
					if _, got, err := s.db.Tasks(t.Context(), r.ID, db.TaskFilter{Status: status, Limit: 10}); err != nil || got != want {
						t.Errorf("%d tasks are %s, %v; want %d", got, status, err, want)
					}
				}
				got, err := s.db.AnyRun(t.Context(), r.ID)
				must(t, err)
				if got.Begun.IsZero() || got.SessionID == "" || got.Completed == nil || got.Completed.Success != c.success || got.Completed.ErrorMessage != c.message || got.CommandLine == "" {
					t.Errorf("%+v", got)
				}
				if p := got.Progress; p.Succeeded != c.completed || p.Cached != c.cached || p.Failed != c.failed || p.Running != 0 || len(p.Processes) == 0 {
					t.Errorf("the counts are %+v", p)
				}
			})
		}
	}
}

// replay sends a recorded request, for another run than it was recorded for.
func (s *site) replay(call recorded, runID, key string) {
	s.t.Helper()
	body := bytes.ReplaceAll(call.Body, []byte("wf123"), []byte(runID))
	req, err := http.NewRequest(call.Method, s.URL+strings.Replace(call.Path, "wf123", runID, 1), bytes.NewReader(body))
	must(s.t, err)
	req.SetBasicAuth("@token", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(s.t, err)
	status, answer := readAll(s.t, resp)
	var said struct{ WorkflowID string }
	if json.Unmarshal([]byte(answer), &said) != nil || status != http.StatusOK || said.WorkflowID != runID {
		s.t.Errorf("%s %s: %d %s", call.Method, call.Path, status, answer)
	}
}
