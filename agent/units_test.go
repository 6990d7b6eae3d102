package agent

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPatternsOfTowerYMLMeanWhatJavaMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"multiqc_report.html", "/results/multiqc/multiqc_report.html", true},
		{"multiqc_report.html", "/results/my_multiqc_report.html", false},
		{"*.pdf", "/a/b.pdf", true},
		{"multiqc/*.html", "/results/multiqc/x.html", true},
		{"multiqc/*.html", "/results/multiqc/deep/x.html", false},
		{"multiqc/**.html", "/results/multiqc/deep/x.html", true},
		{"**/salmon/*.tsv", "/r/q/salmon/x.tsv", true},
		{"x.{csv,tsv}", "/x.tsv", true},
		{"x.{csv,tsv}", "/x.txt", false},
		{"[!a]?.txt", "/bc.txt", true},
		{"[!a]?.txt", "/ac.txt", false},
		{`\*.txt`, "/*.txt", true},
		{`\*.txt`, "/a.txt", false},
		{"/a(b)+.txt", "/a(b)+.txt", true},
	} {
		pattern, err := globPattern(c.pattern)
		must(t, err)
		if pattern.MatchString(c.path) != c.want {
			t.Errorf("%q and %q: %t", c.pattern, c.path, !c.want)
		}
	}
}

func TestPathsOfTheMachineAreToldAsThoseOfTheWorkDirectory(t *testing.T) {
	t.Parallel()
	body := json.RawMessage(`{"instant":1,"tasks":[{"taskId":1,"workdir":"/m/work/ab/cd","x":"/m/work"},{"workdir":"/m/worked/ab"},{"workdir":null}],"workflow":{"workDir":"/m/work","n":1.50}}`)
	var got, want any
	must(t, json.Unmarshal(moved(body, "/m/work", "s3://b/w/"), &got))
	must(t, json.Unmarshal([]byte(`{"instant":1,"tasks":[{"taskId":1,"workdir":"s3://b/w/ab/cd","x":"/m/work"},{"workdir":"/m/worked/ab"},{"workdir":null}],"workflow":{"workDir":"s3://b/w","n":1.50}}`), &want))
	if a, b := mustJSON(got), mustJSON(want); !bytes.Equal(a, b) {
		t.Errorf("%s\nwant %s", a, b)
	}
	for _, odd := range []string{`[1]`, `{"tasks":1,"workflow":[]}`, `null`, `{`} {
		moved(json.RawMessage(odd), "/a", "/b") // must not fall over
	}
}

func TestAnArchiveStaysInItsFolder(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string][]tar.Header{
		"a path upwards": {{Name: "../evil", Typeflag: tar.TypeReg}},
		"a rooted path":  {{Name: "/tmp/evil", Typeflag: tar.TypeReg}},
		"through a link": {{Name: "out", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "out/evil", Typeflag: tar.TypeReg}},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for _, h := range headers {
			must(t, w.WriteHeader(&h))
		}
		must(t, w.Close())
		above := t.TempDir()
		folder := filepath.Join(above, "folder")
		must(t, os.Mkdir(folder, 0o755))
		if err := unpack(&archive, folder); err == nil || exists(filepath.Join(above, "evil")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTasksGetWhatTheSystemLeaves(t *testing.T) {
	t.Parallel()
	for total, want := range map[int64]int64{64 << 30: 64<<30 - (64<<30)/10, 4 << 30: 4<<30 - 512<<20, 512 << 20: 128 << 20} {
		if got := taskMemory(total); got != want {
			t.Errorf("of %d MB tasks get %d MB, want %d MB", total>>20, got>>20, want>>20)
		}
	}
	if n, err := totalMemory("/proc/meminfo"); err != nil || n < 256<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := totalMemory("/dev/null"); err == nil {
		t.Error("a machine without memory")
	}
}

func TestProgressIsMergedOnlyAsFarAsThePortalTakesIt(t *testing.T) {
	t.Parallel()
	s := newSpool(nil, "run", slog.New(slog.DiscardHandler))
	s.add(traceCall{Name: "begin", Body: []byte(`{}`)})
	const calls = 30
	for i := range calls {
		s.add(traceCall{Name: "progress", Body: fmt.Appendf(nil, `{"tasks":[{"taskId":%d,"script":%q}]}`, i, strings.Repeat("x", 1<<19))})
	}
	tasks := 0
	for _, call := range s.waiting {
		if len(call.Body) > maxMerged {
			t.Errorf("a call of %d bytes waits", len(call.Body))
		}
		tasks += bytes.Count(call.Body, []byte("taskId"))
	}
	if len(s.waiting) < 3 || len(s.waiting) > 8 || tasks != calls {
		t.Errorf("%d calls with %d tasks wait", len(s.waiting), tasks)
	}
}
