package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/mask"
	"wherry/platform"
)

func TestAMaskedOutputStaysLive(t *testing.T) {
	t.Parallel()
	s := spec(t)
	s.Secrets = map[string]string{"PASSWORD": "hush-hush"}
	p := newFakePortal(t, s)
	dir, ended := p.start(t.Context(), `printf 'answer? hu'; until [ -e go ]; do sleep 0.02; done; printf 'sh-hu'; sleep 0.5; echo sh; exit 1`, nil)
	until(t, "a question without a line end is here", func() bool { return p.output() == "answer? hu" })
	must(t, os.WriteFile(filepath.Join(dir, "launch", "go"), nil, 0o600))
	must(t, finish(t, ended))
	if got := p.output(); got != "answer? hu"+mask.Shown+"\n" {
		t.Errorf("%q", got)
	}
	if end := p.ended(); end == nil || strings.Contains(end.ErrorReport, "hush-h") {
		t.Errorf("%+v", end)
	}
	on, err := os.ReadFile(filepath.Join(dir, platform.KeptOutput))
	must(t, err)
	if string(on) != p.output() {
		t.Errorf("on the machine there is %q", on)
	}
}

func TestWhatHoldsOnToTheOutputIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]string{"silent": "exec sleep 20", "talking": "while sleep 0.01; do echo more; done"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFakePortal(t, spec(t))
			script := `setsid bash -c 'echo $$ >pid; ` + what + `' & until [ -s pid ]; do sleep 0.01; done; echo done`
			dir, ended := p.start(t.Context(), script, nil)
			began := time.Now()
			must(t, finish(t, ended))
			contains(t, "the output", p.output(), "done\n")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the agent waited %s", took)
			}
			killPID(t, filepath.Join(dir, "launch", "pid"))
		})
	}
}

// killPID ends the process whose number is in a file.
func killPID(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var pid int
	for _, c := range strings.TrimSpace(string(text)) {
		pid = 10*pid + int(c-'0')
	}
	process, err := os.FindProcess(pid)
	must(t, err)
	_ = process.Kill() // it may have ended: its output is closed
}

func TestASecretOverSeveralReadsIsMaskedInAReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := &agent{Config: Config{Dir: dir}, mask: mask.New("hush-hush")}
	text := strings.Repeat("x", 256<<10-4) + "hush-hush" + strings.Repeat("y", 10)
	path := filepath.Join(dir, "report.html")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	for mime, want := range map[string]string{"text/html": strings.Replace(text, "hush-hush", mask.Shown, 1), "application/zip": text} {
		got, err := a.maskReport(foundReport{platform.Report{Name: "report.html", MIMEType: mime, Size: int64(len(text))}, path})
		must(t, err)
		kept, err := os.ReadFile(got.path)
		must(t, err)
		if string(kept) != want || got.Size != int64(len(want)) {
			t.Errorf("%s: %d bytes of %d, and %d are told", mime, len(kept), len(want), got.Size)
		}
	}
}
