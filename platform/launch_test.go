package platform

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var fixed = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func goodLaunch() Launch { return Launch{Pipeline: "nextflow-io/hello", ComputeEnvID: NewID()} }

func TestBadInputIsNamedAtItsField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field string
		spoil func(*Launch)
	}{
		{"pipeline", func(l *Launch) { l.Pipeline = " " }},
		{"pipeline", func(l *Launch) { l.Pipeline = "ftp://example.org/x" }},
		{"pipeline", func(l *Launch) { l.Pipeline = "https://ada:secret@example.org/x" }},
		{"pipeline", func(l *Launch) { l.Pipeline = "-with-docker" }},
		{"pipeline", func(l *Launch) { l.Pipeline = "/work/\nx" }},
		{"pipeline", func(l *Launch) { l.Pipeline = strings.Repeat("x", 501) }},
		{"computeEnvId", func(l *Launch) { l.ComputeEnvID = "" }},
		{"revision", func(l *Launch) { l.Revision = "--help" }},
		{"runName", func(l *Launch) { l.RunName = "1st" }},
		{"runName", func(l *Launch) { l.RunName = "two__words" }},
		{"runName", func(l *Launch) { l.RunName = strings.Repeat("a", 81) }},
		{"configProfiles", func(l *Launch) { l.ConfigProfiles = []string{"ok", "-x"} }},
		{"paramsText", func(l *Launch) { l.ParamsText = "a: [1" }},
		{"paramsText", func(l *Launch) { l.ParamsText = "- a\n- b" }},
		{"paramsText", func(l *Launch) { l.ParamsText = strings.Repeat("#", MaxLaunchText+1) }},
		{"configText", func(l *Launch) { l.ConfigText = "a\x00" }},
		{"mainScript", func(l *Launch) { l.MainScript = "../x.nf" }},
		{"environment", func(l *Launch) { l.Environment = []Env{{Name: "1A", Value: ""}} }},
		{"environment", func(l *Launch) { l.Environment = []Env{{Name: "TOWER_ACCESS_TOKEN", Value: "x"}} }},
		{"environment", func(l *Launch) { l.Environment = []Env{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}} }},
		{"sessionId", func(l *Launch) { l.SessionID = "last" }},
	} {
		l := goodLaunch()
		c.spoil(&l)
		errs, _ := l.Clean().(FieldErrors)
		if len(errs) != 1 || errs[c.field] == "" {
			t.Errorf("%+v: %v, want an error at %s alone", l, errs, c.field)
		}
	}
}

func TestGoodInputIsTaken(t *testing.T) {
	t.Parallel()
	for _, pipeline := range []string{"hello", "nf-core/rnaseq", "https://github.com/nf-core/rnaseq.git", "/data/my pipeline", "http://git.example.org/x"} {
		l := goodLaunch()
		l.Pipeline, l.RunName, l.Revision = "  "+pipeline+" ", "brisk_thames-2", "feature/x-1"
		l.PreRunScript = "a\r\nb"
		if err := l.Clean(); err != nil {
			t.Errorf("%s: %v", pipeline, err)
		}
		if l.Pipeline != pipeline || l.PreRunScript != "a\nb" {
			t.Errorf("it was not trimmed: %+v", l)
		}
	}
	for range 200 {
		if name := RandomRunName(); !runNamePattern.MatchString(name) {
			t.Errorf("Nextflow would refuse the name %q", name)
		}
	}
}

func TestEnvironmentIsReadAsPeopleTypeIt(t *testing.T) {
	t.Parallel()
	env, err := ParseEnvironment("A=1\r\n\n# a comment\nB = two=2 \n")
	if err != nil || len(env) != 2 || env[0] != (Env{Name: "A", Value: "1"}) || env[1] != (Env{Name: "B", Value: " two=2 "}) {
		t.Errorf("%v, %v", env, err)
	}
	if _, err := ParseEnvironment("A=1\nB"); err == nil || !strings.Contains(err.Error(), "Line 2") {
		t.Errorf("a line without “=”: %v", err)
	}
	merged := MergeEnv([]Env{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}, []Env{{Name: "B", Value: "3"}, {Name: "C", Value: "4"}})
	if FormatEnvironment(merged) != "A=1\nB=3\nC=4\n" {
		t.Errorf("merged: %v", merged)
	}
}

func TestIdsSortByTime(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	last := ""
	for i := range 1000 {
		id := new(idMaker).newAt(fixed.Add(time.Duration(i) * time.Millisecond))
		if !ValidID(id) || id <= last || seen[id] {
			t.Fatalf("%q after %q", id, last)
		}
		last, seen[id] = id, true
	}
	for _, bad := range []string{"", "short", "abcdefghijklm/", "abcdefghijklmnopq"} {
		if ValidID(bad) {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func TestATaskIsReadAsPluginsSendIt(t *testing.T) {
	t.Parallel()
	var task Task
	err := json.Unmarshal([]byte(`{"taskId":1,"status":"RUNNING","exit":2147483647,"nativeId":31066,"scratch":true,"tag":null,"script":"\n    a\n      b\n    ","submit":"2026-11-24T02:33:28.592Z","unknown":{}}`), &task)
	if err != nil || task.Exit != nil || *task.NativeID != "31066" || *task.Scratch != "true" || task.Tag != nil || task.Script != "a\n  b" || task.Submit.IsZero() {
		t.Errorf("%+v, %v", task, err)
	}
	if TaskRunning.Newer(TaskCompleted) || !TaskFailed.Newer(TaskRunning) || !TaskCompleted.Newer(TaskCompleted) {
		t.Error("the order of statuses is wrong")
	}
}

func TestSetUpIsChecked(t *testing.T) {
	t.Parallel()
	s := SetUp{Email: "nobody", UserName: "-x", Password: "short", Organization: "a b", Workspace: ""}
	errs, _ := s.Clean().(FieldErrors)
	if len(errs) != 5 {
		t.Errorf("%v, want an error at each of five fields", errs)
	}
	s = SetUp{Email: " Ada@Example.ORG ", UserName: "ada", Password: "rowing on the yare", Organization: "lab", Workspace: "r-1"}
	if err := s.Clean(); err != nil || s.Email != "ada@example.org" {
		t.Errorf("%+v, %v", s, err)
	}
}
