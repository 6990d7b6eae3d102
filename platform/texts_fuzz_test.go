package platform

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzEnvironment wants variables that are written again as people type them to be the same.
func FuzzEnvironment(f *testing.F) {
	for _, text := range []string{"A=b", "A = b = c \r\n\n# no\n B=", "no", "=", "A=b\r", "A=\r\r\n", " #=x", "\xff=\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env, err := ParseEnvironment(text)
		if err != nil {
			if ErrorCode(err) != CodeInvalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := ParseEnvironment(FormatEnvironment(env))
		if err != nil || !reflect.DeepEqual(again, env) {
			t.Errorf("%q is read as %+v, and again as %+v, %v", text, env, again, err)
		}
		if merged := MergeEnv(env, env); len(merged) > len(env) {
			t.Errorf("%d variables over themselves are %d", len(env), len(merged))
		}
	})
}

// FuzzLabels is FuzzEnvironment for labels.
func FuzzLabels(f *testing.F) {
	for _, text := range []string{"a=b", "team = x \r\ncost=1=2", "no", "=", "\xff=\x00\r", "a\r=\rb"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		labels, err := ParseLabels(text)
		if err != nil {
			if ErrorCode(err) != CodeInvalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := ParseLabels(FormatLabels(labels)); err != nil || !reflect.DeepEqual(again, labels) {
			t.Errorf("%q is read as %q, and again as %q, %v", text, labels, again, err)
		}
	})
}

func FuzzTimeLimit(f *testing.F) {
	for _, text := range []string{"", "90", "90 min", "1:30", "2 h", "1 h 30 min", "720:00", "999999", "0:00", "١"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		minutes, err := ParseTimeLimit(text)
		if err != nil {
			if ErrorCode(err) != CodeInvalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := ParseTimeLimit(FormatTimeLimit(minutes)); err != nil || again != minutes || minutes < 0 || minutes > MaxTimeLimit {
			t.Errorf("%q is %d minutes, and again %d, %v", text, minutes, again, err)
		}
	})
}

// FuzzNames tries what names a place: S3 addresses, ARNs and ids.
func FuzzNames(f *testing.F) {
	for _, text := range []string{"s3://bucket/work", "s3://192.168.0.1/x", "s3://a..b/x", "s3://bucket", "s3://bucket/../x", "arn:aws:iam::123456789012:role/x/y",
		"arn:aws:iam::123456789012:role/x\n", "a:b:c:d:e:f", "VbyTh3yKVlbdYt", "reports/a.html", "../x", "\xff"} {
		f.Add(text)
	}
	s3 := regexp.MustCompile(`^[a-z0-9.-]{3,63}$`)
	account := regexp.MustCompile(`^[0-9]{12}$`)
	f.Fuzz(func(t *testing.T, text string) {
		if bucket, path, ok := SplitS3(text); ok {
			if !s3.MatchString(bucket) || (text != "s3://"+bucket && text != "s3://"+bucket+"/"+path) {
				t.Errorf("%q is %q and %q", text, bucket, path)
			}
			if errs := (FieldErrors{}); true {
				if checkS3WorkDir(errs, text); len(errs) == 0 && (!utf8.ValidString(text) || strings.Contains(text+"/", "/../") || strings.ContainsAny(text, "\n\x00 '\"$`*?")) {
					t.Errorf("%q is taken for a work directory", text)
				}
			}
		}
		if IsRoleARN(text) && !account.MatchString(AccountOf(text)) {
			t.Errorf("%q is in the account %q", text, AccountOf(text))
		}
		if ValidID(text) && (len(text) != IDLength || strings.ContainsAny(text, "/.%-_ \n")) {
			t.Errorf("%q is taken for an id", text)
		}
		if (Report{Name: text, Size: 1}).Clean() == nil && (!utf8.ValidString(text) || strings.Contains("/"+text+"/", "/../") || strings.HasPrefix(text, "/")) {
			t.Errorf("%q is taken for a report", text)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("ERROR ~ Error executing process > 'A (1)'\nProcess requirement exceeds available memory -- req: 12.5 GB; avail: 7.8 GB", 40)
	f.Add("Process requirement exceed available CPUs -- req: 99999999999999999999; avail: 2", 3)
	f.Add("Process requirement exceeds available memory -- req: 9223372036854775807 EB; avail: 1", 1)
	f.Add("\xff\xffä", 2)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if s, ok := ReadShortage(text); ok && (s.CPUs < 0 || s.GPUs < 0 || s.Memory < 0 || s.MemoryMiB() < 0 || s.AvailMemory < 0) {
			t.Errorf("%q: %+v", text, s)
		}
		if limit = limit&0xffff + 1; true {
			short := Shorten(text, limit)
			if !utf8.ValidString(short) || len(short) > limit+len(" …") {
				t.Errorf("%q cut to %d bytes is %q", text, limit, short)
			}
		}
		message, details := SplitDetails(text)
		if again, rest := SplitDetails(WithDetails(message, details)); again != message || rest != details {
			t.Errorf("%q: %q and %q", text, again, rest)
		}
	})
}

func FuzzTemplates(f *testing.F) {
	f.Add(`[{"id":"a","name":"b","image":"c","port":1,"command":["${TOKEN}"]}]`)
	f.Add(`[{"id":"a","name":"b","image":"c","port":1,"command":["${NOTHING}"],"ready":"x"}] x`)
	shipped := ShippedTemplates()
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseTemplates([]byte(text))
		if err != nil {
			return
		}
		again, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		same, err := ParseTemplates(again)
		if err != nil || len(same) != len(list) {
			t.Errorf("%q is read as %+v, and again as %+v, %v", text, list, same, err)
		}
		for _, template := range MergeTemplates(shipped, list) {
			if found, ok := FindTemplate(list, template.ID); ok && found.Port != template.Port {
				t.Errorf("the template %q is another", template.ID)
			}
		}
	})
}

// FuzzAgentWords tries what agents and Nextflow say: what was read is within the limits, and can be written again.
func FuzzAgentWords(f *testing.F) {
	for _, text := range []string{`{"workflow":{"sessionId":"x","params":{"a":1}},"tasks":[{"taskId":1,"status":"COMPLETED","nativeId":5,"scratch":true,"script":"\n  a\n\n b","exit":2147483647}],"progress":{"processes":[{"name":"a"}]},"instant":-1}`,
		`{"workflow":[],"tasks":[null],"instant":9223372036854775807}`, `{"exitCode":1,"reason":"x","errorReport":"y","stopReason":"z","at":"2026-01-01T00:00:00Z"}`,
		`{"name":"booted","at":"0001-01-01T00:00:00Z","note":"x"}`, `{"id":"a","saved":"9999-12-31T23:59:59Z","size":-1,"files":-1}`, `{"cpu":-1,"cpus":99999999}`, `{"wait":-5,"usage":{"cpu":1e308}}`, "{\"reason\":\"\xff\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Now()
		fuzzTraceCall(t, text)
		var end EndReport
		if json.Unmarshal(text, &end) == nil {
			if end = end.Bounded(); len(end.ErrorReport) > maxErrorReport+4 || len(end.Reason) > maxErrorMessage+4 || !utf8.ValidString(end.ErrorReport+end.Reason+end.Signal) {
				t.Errorf("%+v", end)
			}
			EndFromReport(Run{State: RunRunning}, end)
		}
		var step StepReport
		if json.Unmarshal(text, &step) == nil {
			if step = step.Bounded(now.Add(-time.Hour), now); step.At.After(now) || step.At.Before(now.Add(-time.Hour)) || len(step.Note) > maxErrorMessage+4 {
				t.Errorf("%+v", step)
			}
		}
		var checkpoint CheckpointReport
		if json.Unmarshal(text, &checkpoint) == nil {
			if checkpoint = checkpoint.Bounded(now.Add(-time.Hour), now); checkpoint.Saved.After(now) || checkpoint.Size < 0 || checkpoint.Files < 0 {
				t.Errorf("%+v", checkpoint)
			}
		}
		var usage Usage
		if json.Unmarshal(text, &usage) == nil {
			if _, err := json.Marshal(usage.Bounded(now)); err != nil {
				t.Errorf("%+v: %v", usage, err)
			}
		}
	})
}

func fuzzTraceCall(t *testing.T, text []byte) {
	t.Helper()
	var call TraceCall
	if json.Unmarshal(text, &call) != nil {
		return
	}
	if w, err := call.ReadWorkflow(); err != nil {
		if ErrorCode(err) != CodeInvalid {
			t.Error(err)
		}
	} else if len(w.ErrorReport) > maxErrorReport+4 || w.Start.IsZero() || (w.SessionID != "" && len(w.SessionID) != 36) {
		t.Errorf("%+v", w)
	}
	bounded, err := call.Bounded()
	if err != nil {
		if ErrorCode(err) != CodeInvalid {
			t.Error(err)
		}
		return
	}
	for _, task := range bounded.Tasks {
		if len(task.Script) > maxTaskScript+4 || len(task.Name) > maxTaskText+4 || !utf8.ValidString(task.Script+task.Name+task.Workdir) {
			t.Errorf("%+v", task)
		}
	}
	if at := call.At(); at.Year() < 1970 || at.Year() > 9999 {
		t.Errorf("it was called at %s", at)
	}
	written, err := json.Marshal(bounded)
	if err == nil {
		err = json.Unmarshal(written, &call)
	}
	if err != nil {
		t.Errorf("%s cannot be written and read again: %v", text, err)
	}
}
