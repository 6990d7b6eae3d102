package db

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// fuzzed is an open database with a run for all inputs of a fuzzer.
func fuzzed(f *testing.F) (*DB, platform.Run, platform.Machine) {
	f.Helper()
	ctx := context.Background()
	d, err := Open(ctx, f.TempDir())
	check := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	check(err)
	f.Cleanup(func() { d.Close() })
	member, err := d.SetUp(ctx, setUp, "hash")
	check(err)
	env := platform.ComputeEnv{WorkspaceID: member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: "/w", Status: platform.ComputeEnvAvailable}
	check(d.AddComputeEnv(ctx, &env))
	r := platform.Run{WorkspaceID: member.Workspace.ID, UserID: member.User.ID, ComputeEnvID: env.ID, Name: "a", WorkDir: "/w", Launch: platform.Launch{Pipeline: "nextflow-io/hello"}}
	m, err := d.AddRun(ctx, &r)
	check(err)
	return d, r, m
}

// FuzzSealed wants that a sealed value opens in its place alone, and that nothing opens that was not sealed.
func FuzzSealed(f *testing.F) {
	s, err := newSealer(make([]byte, KeyLength))
	if err != nil {
		f.Fatal(err)
	}
	sealed := s.seal("credentials/x/secret_key", platform.NewSecret("hush"))
	for _, text := range []string{sealed, sealed[:len(sealed)-1], strings.Replace(sealed, "v1", "v2", 1), "v1..", "v1." + s.keyID + ".", "", "\xff"} {
		f.Add("credentials/x/secret_key", text)
	}
	f.Add("credentials/y/secret_key", sealed)
	f.Fuzz(func(t *testing.T, place, text string) {
		opened, err := s.open(place, text)
		switch {
		case err == nil && (place != "credentials/x/secret_key" || opened.Reveal() != "hush"):
			t.Errorf("%q opens at %q", text, place)
		case err != nil && platform.ErrorCode(err) != platform.CodeConflict:
			t.Errorf("%q: %v", text, err)
		}
		if text == "" {
			return
		}
		again, err := s.open(place, s.seal(place, platform.NewSecret(text)))
		if err != nil || again.Reveal() != text {
			t.Errorf("%q comes back as %q, %v", text, again.Reveal(), err)
		}
		if _, err := s.open(place+"x", s.seal(place, platform.NewSecret(text))); err == nil {
			t.Errorf("what is sealed at %q opens elsewhere", place)
		}
	})
}

// FuzzMasterKey wants that a key file holds a key or is refused, without telling it.
func FuzzMasterKey(f *testing.F) {
	for _, text := range []string{strings.Repeat("ab", KeyLength), strings.Repeat("AB", KeyLength) + "\n", strings.Repeat("ab", KeyLength-1), "xyz", "\x00\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseMasterKey(text, "the key file", "")
		if err != nil {
			if trimmed := strings.TrimSpace(text); len(trimmed) > 20 && strings.Contains(err.Error(), trimmed) {
				t.Errorf("the error tells the key: %v", err)
			}
			return
		}
		if len(key.bytes) != KeyLength || strings.Contains(strings.ToLower(text), key.ID) && len(key.ID) == 0 {
			t.Errorf("a key of %d bytes, %q", len(key.bytes), key.ID)
		}
	})
}

// FuzzLog appends chunks of every kind, with repeats and gaps, and reads windows of lines; a plain text tells what is right.
func FuzzLog(f *testing.F) {
	f.Add([]byte("one\ntwo\r\nthr"), []byte{4, 1, 200}, int64(1), 2)
	f.Add([]byte("\x1b[31mred\x1b[0m\n\n\xff\xfe\xc3"), []byte{1}, int64(-2), 5)
	f.Add(bytes.Repeat([]byte("long "), 5000), []byte{255}, int64(0), 1)
	d, _, m := fuzzed(f)
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, text []byte, sizes []byte, first int64, count int) {
		m := m
		m.RunID = platform.NewID() // a log of its own
		for sent, i := 0, 0; sent < len(text); i++ {
			n := len(text) - sent
			back := 0
			if len(sizes) > 0 {
				n = min(n, 1+int(sizes[i%len(sizes)])*8)
				back = min(sent, int(sizes[i%len(sizes)])/3)
			}
			next, err := d.AppendLog(ctx, m, platform.LogOutput, int64(sent-back), text[sent-back:sent+n])
			if sent += n; err != nil || next != int64(sent) {
				t.Fatalf("next is %d, and %d were sent: %v", next, sent, err)
			}
		}
		if _, err := d.AppendLog(ctx, m, platform.LogOutput, int64(len(text))+1, []byte("x")); platform.ErrorCode(err) != platform.CodeConflict {
			t.Errorf("a gap: %v", err)
		}
		var whole bytes.Buffer
		if err := d.CopyLog(ctx, &whole, m.RunID, platform.LogOutput); err != nil || !bytes.Equal(whole.Bytes(), text) {
			t.Errorf("%q comes back as %q, %v", text, whole.Bytes(), err)
		}
		checkWindow(t, d, m.RunID, string(text), first, count&0xff+1)
	})
}

func checkWindow(t *testing.T, d *DB, runID, text string, first int64, count int) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i := range lines {
		lines[i] = showLine([]byte(lines[i]))
	}
	total := int64(len(lines))
	got, err := d.LogLines(t.Context(), runID, platform.LogOutput, first, count)
	if first < 0 {
		first = max(0, total+first)
	}
	from := min(first, total)
	if want := lines[from:min(total, from+int64(count))]; err != nil || got.Total != total || !slices.Equal(got.Lines, want) {
		t.Errorf("%d lines from %d of %q are %q of %d, %v; want %q", count, first, text, got.Lines, got.Total, err, want)
	}
}

// FuzzAgentBodies gives the database what agents and Nextflow send. It takes or refuses it with a code, and the run can still be read.
func FuzzAgentBodies(f *testing.F) {
	for _, text := range []string{`{"workflow":{"sessionId":"4c58124a-4e7e-4565-8f9d-2561ac936f1b","start":"2026-01-01T00:00:00Z"},"processNames":["A",""],"tasks":[{"taskId":1,"status":"COMPLETED","hash":"ab/cdef01","name":"A (1)","duration":-5}],"progress":{"pending":-1,"processes":[{"name":"A","succeeded":1}]},"instant":1}`,
		`{"tasks":[null,{"taskId":-9223372036854775808,"status":"X\u0000","module":["a"]}]}`, `[{"name":"booted","at":"2026-01-01T00:00:00Z","note":"x"},{"name":"agent up"}]`,
		`[{"name":"multiqc.html","display":"x","mimeType":"text/html","size":5},{"name":"../x"}]`, `{"steps":[{"name":"booted"}],"failure":"x"}`, `{"exitCode":1,"reason":"\ud800","at":"9999-12-31T23:59:59Z"}`} {
		f.Add([]byte(text))
	}
	d, r, m := fuzzed(f)
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, body []byte) {
		coded := func(what string, err error) {
			t.Helper()
			if code := platform.ErrorCode(err); err != nil && code != platform.CodeInvalid && code != platform.CodeConflict && code != platform.CodeGone {
				t.Errorf("%s of %s: %v (%q)", what, body, err, code)
			}
		}
		var call platform.TraceCall
		if json.Unmarshal(body, &call) == nil {
			for _, name := range []string{"create", "begin", "progress", "heartbeat", "complete"} {
				coded(name, d.TraceCalled(ctx, r, name, call))
			}
		}
		var steps []platform.StepReport
		if json.Unmarshal(body, &steps) == nil {
			coded("steps", d.AddSteps(ctx, m, steps))
		}
		var reports []platform.Report
		if json.Unmarshal(body, &reports) == nil {
			coded("reports", d.AddReports(ctx, m, reports))
		}
		var boot platform.BootReport
		if json.Unmarshal(body, &boot) == nil {
			coded("boot", d.BootReported(ctx, m.ID, boot))
		}
		var end platform.EndReport
		if json.Unmarshal(body, &end) == nil {
			coded("end", d.AddEndReport(ctx, m, end))
		}
		var checkpoints []platform.CheckpointReport
		if json.Unmarshal(body, &checkpoints) == nil {
			coded("checkpoints", d.AddCheckpoints(ctx, m, checkpoints))
		}
		var ids []string
		if json.Unmarshal(body, &ids) == nil {
			coded("removed", d.CheckpointsRemoved(ctx, m, ids))
		}
		if _, err := d.AnyRun(ctx, r.ID); err != nil {
			t.Errorf("after %s the run cannot be read: %v", body, err)
		}
		if list, err := d.Steps(ctx, m.ID); err != nil {
			t.Errorf("after %s the steps cannot be read: %v", body, err)
		} else {
			for _, step := range list {
				if step.At.After(time.Now()) {
					t.Errorf("after %s a step is in the future: %+v", body, step)
				}
			}
		}
	})
}
