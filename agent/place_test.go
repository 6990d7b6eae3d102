package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/platform"
)

// fakePlace is a cloud whose work directory is a folder, for what the real one (cloud/aws/instance) is not needed to show.
type fakePlace struct {
	folderStore
	notice chan time.Time
	fail   func(key string) error // of Put; nil: nothing fails

	mu    sync.Mutex
	alive []time.Duration
	sent  map[platform.LogStream]string // the logs that went to where the place keeps logs
}

func newFakePlace(t *testing.T) *fakePlace {
	return &fakePlace{folderStore: folderStore(t.TempDir()), notice: make(chan time.Time, 1), sent: map[platform.LogStream]string{}}
}

func (p *fakePlace) Store(context.Context, platform.Spec) (Store, error) { return p, nil }

func (p *fakePlace) Put(ctx context.Context, key string, body io.Reader) error {
	p.mu.Lock()
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		if err := fail(key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.folderStore.Put(ctx, key, body)
}

func (p *fakePlace) StreamLog(_ context.Context, _ platform.Spec, stream platform.LogStream, file string, ended <-chan struct{}) error {
	<-ended
	text, _ := os.ReadFile(file)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[stream] = string(text)
	return nil
}

func (p *fakePlace) Interruption(ctx context.Context) (time.Time, error) {
	select {
	case at := <-p.notice:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func (p *fakePlace) StayAlive(_ context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = append(p.alive, d)
	return nil
}

func (p *fakePlace) FastDisk(_ context.Context, dir string) (string, error) {
	return "a folder", os.MkdirAll(dir, 0o755)
}

// InstallMounter does nothing: tests that mount bring a command of their own.
func (p *fakePlace) InstallMounter(context.Context) error { return nil }

// read returns one of the run's kept files.
func (p *fakePlace) read(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(string(p.folderStore), key))
	must(t, err)
	return string(text)
}

// cloudSpec is a run whose work directory is in a cloud.
func cloudSpec(t *testing.T) platform.Spec {
	s := spec(t)
	s.Launch.WorkDir = "s3://bucket/work"
	s.Cloud = platform.CloudSpec{Region: "eu-west-1", KeepForResume: true}
	return s
}

// onPlace runs the agent on a place.
func onPlace(place *fakePlace) func(*Config) {
	return func(c *Config) { c.Place, c.KeepEvery = place, 50*time.Millisecond }
}

func TestAMachineWithoutWorkAsksAgain(t *testing.T) {
	t.Parallel()
	p, place := newFakePortal(t, cloudSpec(t)), newFakePlace(t)
	p.idle = 2
	_, ended := p.start(t.Context(), "echo up", onPlace(place))
	must(t, finish(t, ended))
	contains(t, "the output", p.output(), "up\n")
	place.mu.Lock()
	defer place.mu.Unlock()
	if len(place.alive) == 0 || place.alive[0] != time.Minute {
		t.Errorf("the machine's own timer was put off by %v", place.alive)
	}
	if place.sent[platform.LogOutput] != p.output() {
		t.Errorf("the place's log has %q", place.sent[platform.LogOutput])
	}
}

func TestAMachineThatIsRefusedSaysWhyItGivesUp(t *testing.T) {
	t.Parallel()
	p, place := newFakePortal(t, cloudSpec(t)), newFakePlace(t)
	p.key = "another agent's"
	_, ended := p.start(t.Context(), "echo must not run", onPlace(place))
	if err := finish(t, ended); err == nil {
		t.Fatal("the agent claims what another has")
	}
	if len(p.boots) != 1 || !strings.Contains(p.boots[0].Failure, "409") {
		t.Errorf("%+v", p.boots)
	}
}

// leaving leaves what pipelines leave, and Nextflow beside it.
const leaving = `mkdir -p results/deep "$NXF_HOME"; cat "$NXF_HOME/config" >home.config
	mkdir -p work2; echo data >work2/real.txt; ln -s "$PWD/work2/real.txt" results/deep/linked.txt; ln -s "$PWD/results" again
	echo '<html><h3>Processes execution timeline</h3>' >results/my_timeline.html
	echo '<title>[x] Nextflow Workflow Report</title>' >"$(dirname "$PWD")/reports/report.html"
	echo '<b>qc</b>' >results/deep/multiqc_report.html
	echo up; echo log >.nextflow.log`

func TestWhatARunLeavesIsKept(t *testing.T) {
	t.Parallel()
	s := cloudSpec(t)
	pipeline := t.TempDir()
	s.Launch.Pipeline = pipeline
	must(t, os.WriteFile(filepath.Join(pipeline, "tower.yml"), []byte("reports:\n  multiqc_report.html:\n    display: Quality\n    mimeType: text/x-quality\n  'none/*':\n    display: None\n"), 0o600))
	p, place := newFakePortal(t, s), newFakePlace(t)
	_, ended := p.start(t.Context(), leaving, onPlace(place))
	must(t, finish(t, ended))
	folder := platform.KeptFolder("run1") + "/"
	contains(t, "the kept output", place.read(t, folder+platform.KeptOutput), "up\n")
	contains(t, "the kept log of Nextflow", place.read(t, folder+platform.KeptNextflow), "log\n")
	contains(t, "an output behind a link", place.read(t, folder+"outputs/results/deep/linked.txt"), "data")
	contains(t, "the defaults", place.read(t, folder+"outputs/home.config"), "executor {\n  cpus = ", "memory = '", "aws.region = 'eu-west-1'", "report {")
	if exists(filepath.Join(string(place.folderStore), folder, "outputs/launch.sh")) || exists(filepath.Join(string(place.folderStore), folder, "outputs/again/again")) {
		t.Error("more is kept than was published")
	}
	want := []string{"report.html: Nextflow execution report (text/html)", "again/deep/multiqc_report.html: Quality (text/x-quality)", "again/my_timeline.html: Nextflow timeline (text/html)",
		"results/deep/multiqc_report.html: Quality (text/x-quality)", "results/my_timeline.html: Nextflow timeline (text/html)"}
	var got []string
	for _, r := range p.reports {
		if r.Name == "trace.txt" {
			continue
		}
		got = append(got, fmt.Sprintf("%s: %s (%s)", r.Name, r.Display, r.MIMEType))
		if text := place.read(t, folder+platform.KeptReports+"/"+r.Name); int64(len(text)) != r.Size {
			t.Errorf("%s has %d bytes, and %d are told", r.Name, len(text), r.Size)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports %q, want %q", got, want)
	}
	var end platform.KeptEndFile
	must(t, json.Unmarshal([]byte(place.read(t, folder+platform.KeptEnd)), &end))
	if end.Report.ExitCode == nil || *end.Report.ExitCode != 0 || len(end.Reports) != len(p.reports) || len(end.Steps) == 0 {
		t.Errorf("%+v", end)
	}
}

func TestAPortalThatIsGoneAtTheEndFindsEverythingInTheStore(t *testing.T) {
	t.Parallel()
	p, place := newFakePortal(t, cloudSpec(t)), newFakePlace(t)
	dir, ended := p.start(t.Context(), "echo up; while [ ! -e go ]; do sleep 0.05; done; echo last words; exit 3", func(c *Config) {
		onPlace(place)(c)
		c.PortalWait = time.Second
	})
	until(t, "Nextflow is up", func() bool { return strings.Contains(p.output(), "up\n") })
	p.mu.Lock()
	p.fault = func(int, string) string { return "refuse" }
	p.mu.Unlock()
	must(t, os.WriteFile(filepath.Join(dir, "launch", "go"), nil, 0o600))
	if err := finish(t, ended); !errors.Is(err, ErrUnheard) {
		t.Errorf("%v", err)
	}
	folder := platform.KeptFolder("run1") + "/"
	contains(t, "the kept output", place.read(t, folder+platform.KeptOutput), "last words\n")
	contains(t, "the kept end", place.read(t, folder+platform.KeptEnd), `"exitCode":3`)
}

func TestAnInterruptionSavesWhatIsThere(t *testing.T) {
	t.Parallel()
	p, place := newFakePortal(t, cloudSpec(t)), newFakePlace(t)
	_, ended := p.start(t.Context(), `trap 'echo stopping tasks; exit 143' TERM; echo out >published.txt; echo up; while :; do sleep 0.05; done`, onPlace(place))
	until(t, "Nextflow is up", func() bool { return strings.Contains(p.output(), "up\n") })
	place.notice <- time.Now().Add(2 * time.Minute)
	must(t, finish(t, ended))
	end := p.ended()
	if end == nil || !end.Interrupted || end.Cancelled || !strings.Contains(end.Reason, "takes the Spot instance back") {
		t.Errorf("%+v", end)
	}
	if !slices.Contains(p.steps, platform.StepInterrupted) {
		t.Errorf("steps %v", p.steps)
	}
	folder := platform.KeptFolder("run1") + "/"
	contains(t, "the kept output", place.read(t, folder+platform.KeptOutput), "stopping tasks")
	contains(t, "a published file", place.read(t, folder+"outputs/published.txt"), "out")
	contains(t, "the kept end", place.read(t, folder+platform.KeptEnd), `"interrupted":true`)
}

func TestWhatCannotBeKeptIsSaid(t *testing.T) {
	t.Parallel()
	p, place := newFakePortal(t, cloudSpec(t)), newFakePlace(t)
	place.fail = func(key string) error {
		if strings.Contains(key, "outputs/") {
			return errors.New("access is denied")
		}
		return nil
	}
	_, ended := p.start(t.Context(), "echo out >published.txt", onPlace(place))
	must(t, finish(t, ended))
	contains(t, "the kept end", place.read(t, platform.KeptFolder("run1")+"/"+platform.KeptEnd), "Not everything could be kept in the work directory: access is denied")
	if end := p.ended(); end == nil || *end.ExitCode != 0 {
		t.Errorf("%+v", end)
	}
}

// realNextflow is the locked Nextflow of the tests.
func realNextflow(t *testing.T) string {
	t.Helper()
	command := os.Getenv("WHERRY_TEST_NEXTFLOW")
	if command == "" {
		if testing.Short() {
			t.Skip("without Nextflow")
		}
		t.Fatal("WHERRY_TEST_NEXTFLOW does not name Nextflow: run the tests with `make test`")
	}
	return command
}

// twoTasks has a task whose input is the output of another, one that fails when told to, and a published result.
const twoTasks = `
process MAKE { output: path 'made.txt'; script: "echo made > made.txt; mkdir -p sub; ln -s ../made.txt sub/link" }
process TAKE { publishDir 'results'; input: path x; output: path 'taken.txt'; script: "cat $x > taken.txt; [ -z \"$params.fail\" ]" }
params.fail = ''
workflow { TAKE(MAKE()) }
`

// machineAt runs one machine with Nextflow in a folder that is empty before, and returns its portal.
func machineAt(t *testing.T, dir, nextflow string, place *fakePlace, s platform.Spec) *fakePortal {
	t.Helper()
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	p := newFakePortal(t, s)
	_, ended := p.start(t.Context(), "", func(c *Config) {
		onPlace(place)(c)
		c.Dir, c.Nextflow, c.Grace = dir, nextflow, 10*time.Second
	})
	must(t, finishWithin(t, ended, nextflowLimit))
	return p
}

// nextflowLimit is how long a run of real Nextflow may take on a busy machine.
const nextflowLimit = 2 * time.Minute

func finishWithin(t *testing.T, ended <-chan error, limit time.Duration) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		t.Fatal("the agent does not end")
	}
	return nil
}

func TestANewMachineResumesWhatAnotherBegan(t *testing.T) {
	t.Parallel()
	nextflow, place := realNextflow(t), newFakePlace(t)
	pipeline, dir := filepath.Join(t.TempDir(), "main.nf"), filepath.Join(t.TempDir(), "machine")
	must(t, os.WriteFile(pipeline, []byte(twoTasks), 0o600))
	s := cloudSpec(t)
	s.Launch.Pipeline, s.ParamsJSON = pipeline, `{"fail": "yes"}`
	first := machineAt(t, dir, nextflow, place, s)
	if end := first.ended(); end == nil || end.ExitCode == nil || *end.ExitCode == 0 {
		t.Fatalf("%+v\n%s", end, first.output())
	}
	before := snapshot(t, filepath.Join(dir, "work"))
	session := first.created(t)
	keys, err := place.List(t.Context(), "")
	must(t, err)
	for _, name := range []string{".command.sh", ".command.err", ".exitcode"} {
		if n := countSuffix(keys, "/"+name); n != 2 {
			t.Errorf("%s of %d tasks is in the work directory: %q", name, n, keys)
		}
	}
	for _, body := range first.bodies {
		if strings.Contains(body, filepath.Join(dir, "work")+"/") && !strings.Contains(body, `"complete"`) && strings.Contains(body, `"workdir":"`+dir) {
			t.Errorf("the portal is told a folder of the machine: %s", body)
		}
	}

	s.RunID, s.Launch.RunName, s.Launch.Resume, s.Launch.SessionID, s.ParamsJSON = "run2", "brisk_severn", true, session, `{"fail": ""}`
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	_, err = restore(t.Context(), place, filepath.Join(dir, "work"), session)
	must(t, err)
	for path, want := range before {
		if got := snapshot(t, filepath.Join(dir, "work"))[path]; got != want {
			t.Errorf("%s came back as %q, want %q", path, got, want)
		}
	}
	second := machineAt(t, dir, nextflow, place, s)
	if end := second.ended(); end == nil || end.ExitCode == nil || *end.ExitCode != 0 {
		t.Fatalf("%+v\n%s", end, second.output())
	}
	contains(t, "the output", second.output(), "Cached process > MAKE")
	contains(t, "the result", place.read(t, platform.KeptFolder("run2")+"/outputs/results/taken.txt"), "made")
	if !slices.Contains(second.steps, platform.StepRestored) {
		t.Errorf("steps %v", second.steps)
	}
	for _, name := range []string{"report.html", "timeline.html", "dag.html", "trace.txt"} {
		if !slices.ContainsFunc(second.reports, func(r platform.Report) bool { return r.Name == name && r.Size > 0 }) {
			t.Errorf("%s is not among the reports %+v", name, second.reports)
		}
	}
}

// snapshot tells of every file of tasks what it is: bytes, links, times.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			link, err := os.Readlink(path)
			found[name] = "→ " + link
			return err
		}
		text, err := os.ReadFile(path)
		found[name] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano(), string(text))
		return err
	}))
	if len(found) < 10 {
		t.Fatalf("only %d files are in %s", len(found), root)
	}
	return found
}

func countSuffix(keys []string, suffix string) (n int) {
	for _, key := range keys {
		if strings.HasSuffix(key, suffix) && !strings.HasPrefix(key, ".") {
			n++
		}
	}
	return n
}

// created is the session that the first trace call told.
func (p *fakePortal) created(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var call struct{ SessionID string }
	if len(p.bodies) == 0 {
		t.Fatal("no trace call came")
	}
	must(t, json.Unmarshal([]byte(p.bodies[0]), &call))
	return call.SessionID
}
