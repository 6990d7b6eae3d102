package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wherry/platform"
)

// TestASaveDoesNotUndoAnother that was made in another tab after the form was loaded.
func TestASaveDoesNotUndoAnother(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, csrf := s.signedIn()
	path := ws + "/compute-envs/" + s.env.ID
	version := regexp.MustCompile(`name="version" value="(\d+)"`)
	form := func(script string) url.Values {
		_, page := s.get(b, path+"/edit")
		found := version.FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("the form has no version: %s", page)
		}
		return url.Values{"csrf": {csrf}, "platform": {"local"}, "name": {s.env.Name}, "workDir": {s.env.WorkDir}, "version": {found[1]}, "preRunScript": {script}}
	}
	one, two := form("echo one"), form("echo two")
	if status, page := s.post(b, path, one); status != http.StatusSeeOther {
		t.Fatalf("the first save: %d %s", status, page)
	}
	status, page := s.post(b, path, two)
	if status != http.StatusUnprocessableEntity || !strings.Contains(page, "was changed after this page was loaded") || !strings.Contains(page, "echo two") {
		t.Errorf("the second save: %d %s", status, page)
	}
	if e, err := s.db.AnyComputeEnv(t.Context(), s.env.ID); err != nil || e.Config.PreRunScript != "echo one" {
		t.Errorf("the environment has %q (%v)", e.Config.PreRunScript, err)
	}
	if status, page := s.post(b, path, form("echo two")); status != http.StatusSeeOther {
		t.Errorf("a save of a form that was loaded again: %d %s", status, page)
	}
}

func TestAPageOfAnEnvironmentThatWasDeletedMeanwhileLeadsToTheList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	e := s.cloudEnv("cloudy", platform.AWSCloud{})
	s.exec(`UPDATE compute_envs SET status = 'DELETED', deleted_at = 1 WHERE id = ?`, e.ID)
	theirs := s.cloudEnv("theirs", platform.AWSCloud{})
	s.exec(`UPDATE compute_envs SET status = 'DELETED', deleted_at = 1, workspace_id = ? WHERE id = ?`, s.otherWorkspace(), theirs.ID)
	for id, want := range map[string]int{e.ID: http.StatusSeeOther, theirs.ID: http.StatusNotFound, platform.NewID(): http.StatusNotFound} {
		if status, _ := s.get(b, ws+"/compute-envs/"+id); status != want {
			t.Errorf("the page: %d, want %d", status, want)
		}
		if status, _ := s.post(b, ws+"/compute-envs/"+id+"/check", url.Values{"csrf": {csrf}}); status != want {
			t.Errorf("tried again: %d, want %d", status, want)
		}
	}
}
