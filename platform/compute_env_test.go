package platform

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func goodLocal() ComputeEnv {
	return ComputeEnv{Name: "here", Platform: PlatformLocal, WorkDir: "/data/work"}
}

func TestAWrongEnvironmentIsNamedAtItsField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("#", MaxLaunchText+1)
	variables := func(field, env string) func(*ComputeEnv) {
		return func(e *ComputeEnv) {
			v := Env{Name: env, Value: "x", Head: field == "environment", Compute: field == "taskEnvironment"}
			e.Config.Environment = []Env{v}
		}
	}
	for what, c := range map[string]struct {
		field string
		spoil func(*ComputeEnv)
	}{
		"no name":                {"name", func(e *ComputeEnv) { e.Name = " " }},
		"a long name":            {"name", func(e *ComputeEnv) { e.Name = strings.Repeat("é", MaxComputeEnvNameLength+1) }},
		"an unknown platform":    {"platform", func(e *ComputeEnv) { e.Platform = "moon" }},
		"no platform":            {"platform", func(e *ComputeEnv) { e.Platform = "" }},
		"a long configuration":   {"nextflowConfig", func(e *ComputeEnv) { e.Config.NextflowConfig = long }},
		"NUL in a configuration": {"nextflowConfig", func(e *ComputeEnv) { e.Config.NextflowConfig = "a\x00" }},
		"a long first script":    {"preRunScript", func(e *ComputeEnv) { e.Config.PreRunScript = long }},
		"NUL in a first script":  {"preRunScript", func(e *ComputeEnv) { e.Config.PreRunScript = "a\x00" }},
		"a long last script":     {"postRunScript", func(e *ComputeEnv) { e.Config.PostRunScript = long }},
		"NUL in a last script":   {"postRunScript", func(e *ComputeEnv) { e.Config.PostRunScript = "a\x00" }},
		"a wrong variable":       {"environment", variables("environment", "1A")},
		"a reserved variable":    {"environment", variables("environment", "TOWER_ACCESS_TOKEN")},
		"one of nobody":          {"environment", variables("", "a b")}, // it is the Nextflow process's then
		"a wrong task variable":  {"taskEnvironment", variables("taskEnvironment", "A-B")},
		"a reserved one of task": {"taskEnvironment", variables("taskEnvironment", "TOWER_ACCESS_TOKEN")},
		"a variable twice":       {"environment", func(e *ComputeEnv) { e.Config.SetEnvironment([]Env{{Name: "A"}, {Name: "A", Value: "2"}}, nil) }},
		"a task variable twice":  {"taskEnvironment", func(e *ComputeEnv) { e.Config.SetEnvironment(nil, []Env{{Name: "A"}, {Name: "A", Value: "2"}}) }},
	} {
		for _, e := range []ComputeEnv{goodLocal(), goodAWS()} {
			where := string(e.Platform)
			c.spoil(&e)
			wantFields(t, what+", "+where, e.Clean(), c.field)
		}
	}
}

func TestAWorkDirectoryOnThisHostIsAbsolute(t *testing.T) {
	t.Parallel()
	for dir, fields := range map[string][]string{"/data/work": nil, " /data/my work ": nil, "/a..b/..c": nil, "": {"workDir"}, "data": {"workDir"}, "./data": {"workDir"},
		"~/data": {"workDir"}, "s3://rivers/work": {"workDir"}, "/data/../x": {"workDir"}, "/data/..": {"workDir"}, "/da\nta": {"workDir"}, "/da\x00ta": {"workDir"}} {
		e := goodLocal()
		e.WorkDir = dir
		wantFields(t, dir, e.Clean(), fields...)
		if fields == nil && e.WorkDir != strings.TrimSpace(dir) {
			t.Errorf("%q became %q", dir, e.WorkDir)
		}
	}
}

func TestALocalEnvironmentHasNoOptionsOfAWS(t *testing.T) {
	t.Parallel()
	e := goodLocal()
	e.Config = ComputeEnvConfig{NextflowConfig: "a = 1", AWSCloud: AWSCloud{Fusion2Enabled: true, AllowBuckets: []string{"?"}, ImageID: "?", EBSBootSize: -1, ResourceLabels: []Label{{}}}}
	wantFields(t, "wrong options of another platform", e.Clean())
	if !reflect.DeepEqual(e.Config, ComputeEnvConfig{NextflowConfig: "a = 1"}) {
		t.Errorf("it keeps %+v", e.Config)
	}
}

func TestScriptsGetTheLineEndsOfBash(t *testing.T) {
	t.Parallel()
	e := goodAWS()
	e.Name = " rivers "
	e.Config.NextflowConfig, e.Config.PreRunScript, e.Config.PostRunScript = "a\r\nb\r\n", "\r\n", "a\nb\rc"
	wantFields(t, "scripts", e.Clean())
	if c := e.Config; e.Name != "rivers" || c.NextflowConfig != "a\nb\n" || c.PreRunScript != "\n" || c.PostRunScript != "a\nb\rc" {
		t.Errorf("%q became %+v", e.Name, c)
	}
}

// TestVariablesStayThoseOfWhomTheyWereSetFor compares without order: variables have none.
func TestVariablesStayThoseOfWhomTheyWereSetFor(t *testing.T) {
	t.Parallel()
	a, otherA, b, empty := Env{Name: "A", Value: "1"}, Env{Name: "A", Value: "2"}, Env{Name: "B", Value: "1"}, Env{Name: "A"}
	for what, c := range map[string]struct {
		head, tasks []Env
		entries     int
	}{
		"none":                     {nil, nil, 0},
		"head alone":               {[]Env{b, a}, nil, 2},
		"tasks alone":              {nil, []Env{b, a}, 2},
		"different":                {[]Env{a}, []Env{b}, 2},
		"the same":                 {[]Env{a, b}, []Env{b, a}, 2},
		"the same name":            {[]Env{a}, []Env{otherA}, 2},
		"the same, once":           {[]Env{a, b}, []Env{otherA, b}, 3},
		"one empty":                {[]Env{empty}, []Env{a}, 2},
		"both empty":               {[]Env{empty}, []Env{empty}, 1},
		"twice, for Clean to find": {[]Env{a}, []Env{a, a}, 2},
	} {
		config := ComputeEnvConfig{Environment: []Env{{Name: "OLD", Head: true}}}
		config.SetEnvironment(c.head, c.tasks)
		if got := config.HeadEnvironment(); !slices.Equal(got, c.head) {
			t.Errorf("%s: Nextflow has %+v, want %+v", what, got, c.head)
		}
		if got := config.TaskEnvironment(); !slices.Equal(sortedEnv(got), sortedEnv(c.tasks)) {
			t.Errorf("%s: tasks have %+v, want %+v", what, got, c.tasks)
		}
		if len(config.Environment) != c.entries {
			t.Errorf("%s: kept as %+v, want %d entries", what, config.Environment, c.entries)
		}
	}
}

func sortedEnv(env []Env) []Env {
	return slices.SortedFunc(slices.Values(env), func(a, b Env) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
}

func TestAVariableOfNobodyIsNextflows(t *testing.T) {
	t.Parallel()
	c := ComputeEnvConfig{Environment: []Env{{Name: "A"}}}
	if head, tasks := c.HeadEnvironment(), c.TaskEnvironment(); len(head) != 1 || len(tasks) != 0 {
		t.Errorf("Nextflow has %+v and tasks %+v", head, tasks)
	}
}

func TestVariablesOfTasksMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"":                   `''`,
		"plain text":         `'plain text'`,
		"it's":               `'it\'s'`,
		`say "x"`:            `'say \\"x\\"'`, // escaped for bash first, which reads it between double quotes
		`C:\new\`:            `'C:\\\\new\\\\'`,
		`\'`:                 `'\\\\\''`,
		`\n`:                 `'\\\\n'`, // no line end
		`$HOME ${x} $(date)`: `'\\$HOME \\${x} \\$(date)'`,
		"`date`":             "'\\\\`date\\\\`'",
		"a\nb\r\nc":          `'a\nb\r\nc'`,
		"'''":                `'\'\'\''`,
		"é\t=;#//":           "'é\t=;#//'",
	} {
		if got := TaskEnvironmentConfig([]Env{{Name: "A", Value: value}}); got != "env.A = "+want+"\n" {
			t.Errorf("%q is written %s, want %s", value, got, want)
		}
	}
	if got := TaskEnvironmentConfig([]Env{{Name: "B", Value: "1"}, {Name: "A", Value: "2"}}); got != "env.B = '1'\nenv.A = '2'\n" {
		t.Errorf("two are written %q", got)
	}
	if got := TaskEnvironmentConfig(nil); got != "" {
		t.Errorf("none are written %q", got)
	}
}

func TestTheTableOfEnvironmentsNamesOnlyKnownStates(t *testing.T) {
	t.Parallel()
	if known := slices.Sorted(slices.Values(ComputeEnvStatuses)); !slices.Equal(slices.Sorted(maps.Keys(computeEnvMoves)), known) {
		t.Errorf("the table has the states %v and the list %v", computeEnvMoves, known)
	}
	for from, moves := range computeEnvMoves {
		for i, to := range moves {
			if !slices.Contains(ComputeEnvStatuses, to) || to == from || slices.Index(moves, to) != i {
				t.Errorf("%s → %s is no move, or there twice", from, to)
			}
		}
	}
	if ComputeEnvStatus("MOORED").CanMove(ComputeEnvAvailable) {
		t.Error("an unknown state moves")
	}
}

func TestEveryEnvironmentCanBeDeletedAndNoneComesBack(t *testing.T) {
	t.Parallel()
	for _, from := range ComputeEnvStatuses {
		going := from == ComputeEnvDeleting || from == ComputeEnvDeleted
		if from.CanMove(ComputeEnvDeleting) == going {
			t.Errorf("%s → DELETING is %v", from, going)
		}
		if from.CanMove(ComputeEnvDeleted) != (from == ComputeEnvDeleting) {
			t.Errorf("%s → DELETED is %v", from, from.CanMove(ComputeEnvDeleted))
		}
		for _, to := range ComputeEnvStatuses {
			if going && from.CanMove(to) && to != ComputeEnvDeleted {
				t.Errorf("%s → %s comes back", from, to)
			}
		}
		changing := going || from == ComputeEnvCreating
		if (ComputeEnv{Status: from}).Editable() == changing {
			t.Errorf("one that is %s can be changed: %v", from, changing)
		}
	}
}

// TestWhatBecomesOfAnEnvironmentThatWasChanged has the status after an edit where its role has to be changed, and where not.
func TestWhatBecomesOfAnEnvironmentThatWasChanged(t *testing.T) {
	t.Parallel()
	bucket := func(e *ComputeEnv) { e.Config.AllowBuckets = []string{"data"} }
	for what, c := range map[string]struct {
		edit    func(*ComputeEnv)
		changes bool // the role
	}{
		"nothing":                      {func(*ComputeEnv) {}, false},
		"the name":                     {func(e *ComputeEnv) { e.Name = "x" }, false},
		"the folder":                   {func(e *ComputeEnv) { e.WorkDir = "s3://rivers/other" }, false},
		"the work directory's bucket":  {func(e *ComputeEnv) { e.WorkDir = "s3://data/work" }, true},
		"another bucket":               {bucket, true},
		"a bucket that it has already": {func(e *ComputeEnv) { e.Config.AllowBuckets = []string{"rivers"} }, false},
	} {
		for _, before := range ComputeEnvStatuses {
			want := statusAfterEdit(before, c.changes)
			if got := afterEdit(goodAWS(), before, c.edit); got != want {
				t.Errorf("%s: %s becomes %s, want %s", what, before, got, want)
			}
			if want != before && !before.CanMove(want) {
				t.Errorf("%s: %s → %s is not in the table", what, before, want)
			}
			own := goodAWS()
			own.Config.InstanceProfileARN = "arn:aws:iam::123456789012:instance-profile/ours"
			if got, want := afterEdit(own, before, c.edit), statusAfterEdit(before, false); got != want {
				t.Errorf("%s, with a profile of its own: %s becomes %s, want %s", what, before, got, want)
			}
		}
	}
}

func TestALocalEnvironmentThatWasChangedIsAvailable(t *testing.T) {
	t.Parallel()
	for _, before := range []ComputeEnvStatus{ComputeEnvAvailable, ComputeEnvInvalid} {
		if got := afterEdit(goodLocal(), before, func(e *ComputeEnv) { e.WorkDir = "/other" }); got != ComputeEnvAvailable {
			t.Errorf("%s becomes %s", before, got)
		}
	}
}

func afterEdit(e ComputeEnv, status ComputeEnvStatus, edit func(*ComputeEnv)) ComputeEnvStatus {
	e.Status = status
	before := e
	edit(&e)
	return e.AfterEdit(before)
}

func statusAfterEdit(before ComputeEnvStatus, changesRole bool) ComputeEnvStatus {
	switch {
	case before == ComputeEnvErrored, changesRole && (before == ComputeEnvAvailable || before == ComputeEnvInvalid):
		return ComputeEnvCreating
	case before == ComputeEnvInvalid:
		return ComputeEnvAvailable
	}
	return before
}

func TestACopyOfAnEnvironmentIsANewOne(t *testing.T) {
	t.Parallel()
	e := fullEnv()
	want := ComputeEnv{WorkspaceID: 7, Name: "rivers-copy", Platform: e.Platform, Region: e.Region, WorkDir: e.WorkDir, CredentialsID: e.CredentialsID, Config: e.Config}
	if got := CloneOf(e); !reflect.DeepEqual(got, want) {
		t.Errorf("it is %+v, want %+v", got, want)
	}
}

func fullEnv() ComputeEnv {
	e := goodAWS()
	e.ID, e.WorkspaceID, e.Status, e.Message, e.Primary, e.Attempts = "1", 7, ComputeEnvInvalid, "why", true, 3
	e.Created, e.LastUsed, e.StatusSince, e.NextStep, e.CheckAsked = fixed, fixed, fixed, fixed, fixed
	e.Config = ComputeEnvConfig{NextflowConfig: "a = 1", Environment: []Env{{Name: "A"}}, AWSCloud: AWSCloud{AllowBuckets: []string{"data"},
		ResourceLabels: []Label{{"a", "1"}}, SubnetIDs: []string{"subnet-12345678"}, SecurityGroups: []string{"sg-12345678"}, EBSBootSize: 60}}
	return e
}

// TestACopySharesNoMemoryWithItsOriginal looks at every option, so that one that is added later is not forgotten.
func TestACopySharesNoMemoryWithItsOriginal(t *testing.T) {
	t.Parallel()
	e := fullEnv()
	checkShared(t, "Config", reflect.ValueOf(e.Config), reflect.ValueOf(CloneOf(e).Config))
}

func checkShared(t *testing.T, path string, original, clone reflect.Value) {
	t.Helper()
	switch original.Kind() {
	case reflect.Struct:
		for i := range original.NumField() {
			checkShared(t, path+"."+original.Type().Field(i).Name, original.Field(i), clone.Field(i))
		}
	case reflect.Slice:
		if original.Len() == 0 {
			t.Errorf("%s is not in fullEnv", path)
		} else if original.Pointer() == clone.Pointer() {
			t.Errorf("%s is the original's own", path)
		}
	case reflect.Map, reflect.Pointer, reflect.Interface:
		t.Errorf("%s is a %s: CloneOf and this test have to learn of it", path, original.Kind())
	}
}
