package agent

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// FuzzNextflowsFiles reads what Nextflow writes: its log and its trace file. What they tell can be told to the portal.
func FuzzNextflowsFiles(f *testing.F) {
	f.Add("Nov-25 09:00:00.000 [main] DEBUG nextflow.Session - Session UUID: 4c58124a-4e7e-4565-8f9d-2561ac936f1b\n"+
		"Nov-25 09:00:00.000 [main] INFO  nextflow.cli.CmdRun - Launching `x` [a_b] DSL2 - revision: 1234\n"+
		"Nov-25 09:00:00.000 [main] DEBUG nextflow.Session -  Version: 24.10.0 build 5928\n"+
		"Nov-25 09:00:00.000 [main] DEBUG nextflow.script.ScriptRunner - > Awaiting termination \n"+
		"Nov-25 09:00:00.000 [Task submitter] INFO  nextflow.Session - [2c/9791df] Submitted process > A (1)\n"+
		"Nov-25 09:00:00.000 [Task monitor] DEBUG n.processor.TaskPollingMonitor - Task completed > TaskHandler[id: 1; name: A (1); status: COMPLETED; exit: 0; error: -; workDir: /w/2c/9791df5d0a]",
		"task_id\thash\tname\tstatus\texit\tsubmit\t%cpu\n1\t2c/9791df\tA (1)\tCOMPLETED\t2147483647\t99999999999999999\tNaN\n", "Caused by:\n  x\n\nCommand error:\n  y")
	f.Add("[", "hash\n\x00\n", "ERROR ~ ")
	f.Fuzz(func(t *testing.T, log, trace, report string) {
		r := newNextflowRun(platform.Spec{Launch: platform.Launch{WorkDir: "/nothing"}}, "/launch", "nextflow", func(string) ([]byte, error) { return nil, fs.ErrNotExist })
		for line := range strings.Lines(log) {
			r.readLog(strings.TrimSuffix(line, "\n"), time.Now())
		}
		for line := range strings.Lines(trace) {
			r.readTrace(strings.TrimSuffix(line, "\n"))
		}
		r.end(platform.EndReport{ErrorReport: report})
		text, err := json.Marshal(map[string]any{"workflow": r.workflow(), "tasks": r.takeChanged(), "progress": r.progress()})
		if err != nil {
			t.Fatalf("it cannot be told: %v", err)
		}
		var call platform.TraceCall
		if err := json.Unmarshal(text, &call); err != nil {
			t.Fatalf("it cannot be understood: %v", err)
		}
	})
}

// FuzzTowerYML reads the list of reports that a pipeline wants shown, and which files it means.
func FuzzTowerYML(f *testing.F) {
	f.Add("reports:\n  multiqc_report.html:\n    display: MultiQC\n    mimeType: text/html\n", "a/multiqc_report.html")
	f.Add("reports:\n  '[!a]{b,c**}\\?':\n    display: x\n", "xb")
	f.Add("reports: {'[z-a]': {}, '{': 1}", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		file := filepath.Join(t.TempDir(), "tower.yml")
		must(t, os.WriteFile(file, []byte(text), 0o600))
		for _, w := range readTowerYML(file) {
			w.pattern.MatchString("/" + name)
		}
		if pattern, err := globPattern(name); err == nil {
			pattern.MatchString("/" + text)
		}
	})
}

// FuzzTraceCalls hands on what Nextflow's plugin, or whatever has its token, sends.
func FuzzTraceCalls(f *testing.F) {
	f.Add([]byte(`{"tasks":[{"taskId":1,"workdir":"/m/work/ab/cd"}],"progress":{}}`), []byte(`{"tasks":[{"taskId":1},{"taskId":2}]}`))
	f.Add([]byte(`{"tasks":null,"workflow":{"workDir":"/m/work"}}`), []byte(`{"tasks":[null,5]}`))
	f.Add([]byte(`[]`), []byte(`null`))
	f.Fuzz(func(t *testing.T, older, newer []byte) {
		if !json.Valid(older) || !json.Valid(newer) {
			return
		}
		if got := moved(older, "/m/work", "s3://b/w/"); !json.Valid(got) || bytes.Contains(got, []byte(`"workdir":"/m/work/`)) {
			t.Errorf("%s becomes %s", older, got)
		}
		if merged, err := mergeProgress(older, newer); err == nil && !json.Valid(merged) {
			t.Errorf("%s and %s become %s", older, newer, merged)
		}
	})
}

// FuzzUnpack restores archives from a work directory, in which others may write: nothing comes to be beside the folder.
func FuzzUnpack(f *testing.F) {
	dir := f.TempDir()
	for _, err := range []error{os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755), os.WriteFile(filepath.Join(dir, "a", "x"), []byte("text"), 0o600), os.Symlink("../../..", filepath.Join(dir, "a", "l"))} {
		if err != nil {
			f.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := packFolder(&archive, dir, "a"); err != nil {
		f.Fatal(err)
	}
	f.Add(archive.Bytes())
	f.Add(bytes.Replace(archive.Bytes(), []byte("a/x"), []byte("../"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		outer := t.TempDir()
		inner := filepath.Join(outer, "inner")
		must(t, os.Mkdir(inner, 0o755))
		_ = unpack(bytes.NewReader(text), inner) // most are no archives
		if entries, err := os.ReadDir(outer); err != nil || len(entries) != 1 {
			t.Errorf("beside the folder there is %v, %v", entries, err)
		}
	})
}
