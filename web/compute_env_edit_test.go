package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
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
