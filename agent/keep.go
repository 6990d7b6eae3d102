package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"wherry/platform"
)

const (
	// keepEvery is how often growing logs, and work for a resumed run, are kept while a run goes on.
	keepEvery = 30 * time.Second
	// keepSpeed is how many bytes of a log are worth a second's pause before it is kept again as a whole.
	keepSpeed = 1 << 20
	// outputsFolder has what a pipeline published to relative paths, in a run's folder of kept files.
	outputsFolder = "outputs"
)

// keeping is how long what a run leaves may be kept. What is large must end before the small files that tell of the run's
// end are written.
type keeping struct {
	large, all             context.Context
	cancelLarge, cancelAll context.CancelFunc
	margin                 time.Duration // how long before the machine's end what is large must end
}

func newKeeping(ctx context.Context, spec platform.Spec) *keeping {
	k := &keeping{margin: largeMargin}
	if spec.Studio != nil {
		k.margin = checkpointMargin
	}
	k.all, k.cancelAll = context.WithCancel(ctx)
	k.large, k.cancelLarge = context.WithCancel(k.all)
	return k
}

const (
	// endMargin is how long before a machine's end all has to be kept, and largeMargin what is large.
	endMargin   = 8 * time.Second
	largeMargin = 30 * time.Second
	// checkpointMargin is largeMargin for a Studio, whose small files are few.
	checkpointMargin = 12 * time.Second
)

// endBy bounds keeping by the machine's end.
func (k *keeping) endBy(at time.Time) {
	left := time.Until(at)
	time.AfterFunc(left-k.margin, k.cancelLarge)
	time.AfterFunc(left-endMargin, k.cancelAll)
}

// logFile is a log: where it is on the machine, and what it is kept as.
type logFile struct{ path, kept string }

// logFiles are the logs of the work, masked.
func (a *agent) logFiles() map[platform.LogStream]logFile {
	files := map[platform.LogStream]logFile{platform.LogOutput: {a.outputFile(), platform.KeptOutput}}
	if a.studio == nil {
		files[platform.LogNextflow] = logFile{filepath.Join(a.Dir, platform.KeptNextflow), platform.KeptNextflow}
	}
	return files
}

// outputFile is what the launch script, or a Studio's tool, prints.
func (a *agent) outputFile() string { return filepath.Join(a.Dir, platform.KeptOutput) }

// kept is the key of one of the run's kept files.
func (a *agent) kept(name string) string { return a.spec.KeptFolder() + "/" + name }

// keepLogs keeps the logs as they grow, until ctx is done. A long one is kept less often, because it is kept as a whole.
func (a *agent) keepLogs(ctx context.Context) {
	sizes, next := map[string]int64{}, map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.KeepEvery):
		}
		for _, log := range a.logFiles() {
			info, err := os.Stat(log.path)
			if err != nil || info.Size() == sizes[log.kept] || time.Now().Before(next[log.kept]) {
				continue
			}
			if err := putFile(ctx, a.store, a.kept(log.kept), log.path); err != nil {
				a.Log.Warn("a log could not be kept; it is tried again", "log", log.kept, "error", err)
				continue
			}
			sizes[log.kept] = info.Size()
			next[log.kept] = time.Now().Add(time.Duration(info.Size()/keepSpeed) * time.Second)
		}
	}
}

// keepRest keeps what the run leaves when Nextflow has ended, all at once, and returns its reports.
func (a *agent) keepRest() []platform.Report {
	files, large := publishedFiles(a.launch, a.spec.Launch.WorkDir), a.keeping.large
	found := a.reports(files)
	parts := []func(context.Context) error{}
	if a.files != nil {
		a.files.finish()
		parts = append(parts, func(context.Context) error { return a.endTaskFiles() })
	}
	if a.saver != nil {
		parts = append(parts, func(context.Context) error { return a.saver.save(large, true) })
	}
	if a.Place != nil { // on the portal's own host they are where they should be
		parts = append(parts, func(context.Context) error { return each(large, files, a.keepOutput) })
	}
	var reports []platform.Report
	parts = append(parts, func(ctx context.Context) (err error) {
		reports, err = a.keepReports(ctx, found)
		return err
	})
	err := each(a.keeping.all, parts, func(ctx context.Context, part func(context.Context) error) error { return part(ctx) })
	a.steps.add(platform.StepKept, time.Now(), a.keptNote(err))
	return reports
}

func (a *agent) keepOutput(ctx context.Context, f published) error {
	return putFile(ctx, a.store, a.kept(outputsFolder+"/"+f.name), f.path)
}

// keepReports keeps the reports, and returns those that are kept in the order in which they were found.
func (a *agent) keepReports(ctx context.Context, found []foundReport) (list []platform.Report, err error) {
	var mu sync.Mutex
	kept := map[string]platform.Report{}
	err = each(ctx, found, func(ctx context.Context, r foundReport) error {
		r, err := a.maskReport(r)
		if err == nil {
			err = putFile(ctx, a.store, a.kept(platform.KeptReports+"/"+r.Name), r.path)
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			kept[r.Name] = r.Report
		}
		return err
	})
	for _, r := range found {
		if report, ok := kept[r.Name]; ok {
			list = append(list, report)
		}
	}
	return list, err
}

// maxNote bounds the note of a step, in bytes.
const maxNote = 500

func (a *agent) keptNote(err error) string {
	if err == nil {
		return ""
	}
	a.Log.Warn("not everything could be kept", "error", err)
	text := "Not everything could be kept in the work directory: " + err.Error()
	return text[:min(len(text), maxNote)]
}

// endTaskFiles waits for the files of tasks.
func (a *agent) endTaskFiles() error {
	<-a.filesDone
	if n := a.files.missing.Load(); n > 0 {
		return fmt.Errorf("%d files of tasks could not be kept", n)
	}
	return context.Cause(a.keeping.large)
}

// reports finds the run's reports. Where the agent itself follows Nextflow, its trace file stands for Nextflow's.
func (a *agent) reports(files []published) []foundReport {
	project := projectFolder(a.spec.Launch.Pipeline, a.spool.projectName(), a.assets())
	list := findReports(filepath.Join(a.Dir, reportsFolder), files, readTowerYML(filepath.Join(project, "tower.yml")))
	trace := filepath.Join(a.launch, traceFile)
	if info, err := os.Stat(trace); err == nil {
		list = append(list, foundReport{platform.Report{Name: "trace.txt", Display: "Nextflow trace", MIMEType: "text/plain", Size: info.Size()}, trace})
	}
	return list
}

// keepEnd keeps the logs, the trace calls and, last, the end: for a portal that does not hear it.
func (a *agent) keepEnd(end platform.EndReport, reports []platform.Report) error {
	ctx := a.keeping.all
	var failures []error
	for _, log := range a.logFiles() {
		if err := putFile(ctx, a.store, a.kept(log.kept), log.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	if a.studio == nil {
		failures = append(failures, putFile(ctx, a.store, a.kept(platform.KeptTrace), a.traceRecord()))
	}
	text, err := json.Marshal(platform.KeptEndFile{Report: end, Steps: a.steps.reported(), Reports: reports})
	if err != nil {
		return err
	}
	failures = append(failures, a.store.Put(ctx, a.kept(platform.KeptEnd), bytes.NewReader(text)))
	return errors.Join(failures...)
}

// traceRecord is the file in which trace calls are written down.
func (a *agent) traceRecord() string { return filepath.Join(a.Dir, platform.KeptTrace) }
