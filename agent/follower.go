package agent

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wherry/platform"
)

const (
	// followLook is how often Nextflow's files are read; followTell is how often the portal is told, which is as often as
	// the nf-tower plugin would.
	followLook = 100 * time.Millisecond
	followTell = time.Second
	// followBeat is how often the portal is told that there is nothing to tell.
	followBeat = time.Minute
)

// follower makes the calls that Nextflow's nf-tower plugin would make, where that cannot be had: from the trace file, which
// has a line for every task that ended, and from .nextflow.log, which tells when tasks begin.
type follower struct {
	dir   string
	spec  platform.Spec
	spool *spool
	steps *steps
	log   growingFile
	trace growingFile
	run   nextflowRun
	told  time.Time
	stop  chan platform.EndReport
	done  chan struct{}
}

// traceFields are the columns of the trace file (Nextflow's documentation, "Trace file"). The script is not among them:
// it may hold tabs and line ends, and is read from the task's folder.
const traceFields = "task_id,hash,native_id,process,tag,name,status,exit,module,container,cpus,time,disk,memory,attempt,submit,start," +
	"complete,duration,realtime,queue,%cpu,%mem,rss,vmem,peak_rss,peak_vmem,rchar,wchar,syscr,syscw,read_bytes,write_bytes," +
	"vol_ctxt,inv_ctxt,workdir,scratch,error_action"

func startFollower(dir string, spec platform.Spec, command string, read func(path string) ([]byte, error), spool *spool, steps *steps) (*follower, error) {
	// A pipeline's own configuration may turn the plugin on, which without a token would end the run.
	config := "tower.enabled = false\ntrace {\n  enabled = true\n  overwrite = true\n  raw = true\n  sep = '\\t'\n  file = '" +
		strings.ReplaceAll(filepath.Join(dir, traceFile), "'", "\\'") + "'\n  fields = '" + traceFields + "'\n}\n"
	if err := os.WriteFile(filepath.Join(dir, traceConfig), []byte(config), 0o600); err != nil {
		return nil, err
	}
	f := &follower{dir: dir, spec: spec, spool: spool, steps: steps, stop: make(chan platform.EndReport), done: make(chan struct{}),
		log:   growingFile{path: filepath.Join(dir, ".nextflow.log")},
		trace: growingFile{path: filepath.Join(dir, traceFile)},
		run:   newNextflowRun(spec, dir, strings.Join(nextflowArgs(command, spec, ""), " "), read)}
	go f.follow()
	return f, nil
}

func (f *follower) plugin() string { return "" }
func (f *follower) url() string    { return "" }
func (f *follower) token() string  { return "" }

// finish reads what is left, and tells how it ended.
func (f *follower) finish(end platform.EndReport) {
	f.stop <- end
	<-f.done
}

func (f *follower) follow() {
	defer close(f.done)
	for {
		select {
		case end := <-f.stop:
			f.look()
			f.tellEnd(end)
			return
		case <-time.After(followLook):
			f.look()
			f.tell()
		}
	}
}

// look reads what is new in Nextflow's files.
func (f *follower) look() {
	now := time.Now().UTC()
	for _, line := range f.log.lines() {
		f.run.readLog(line, now)
	}
	for _, line := range f.trace.lines() {
		f.run.readTrace(line)
	}
}

// tell sends what is new, in the order in which the plugin would.
func (f *follower) tell() {
	r := &f.run
	if r.sessionID != "" && !r.created {
		r.created = true
		f.call("create", map[string]any{"sessionId": r.sessionID, "runName": f.spec.Launch.RunName, "projectName": r.project, "workflowId": f.spec.RunID})
	}
	if r.ready && !r.begun {
		r.begun = true
		f.steps.add(platform.StepNextflowReady, time.Now(), "")
		f.call("begin", map[string]any{"workflow": r.workflow(), "processNames": r.processes, "towerLaunch": true})
	}
	if r.begun && len(r.tasks) > 0 {
		f.steps.add(platform.StepFirstTask, time.Now(), "")
	}
	if !r.begun || time.Since(f.told) < followTell {
		return
	}
	if changed := r.takeChanged(); len(changed) > 0 {
		f.told = time.Now()
		f.call("progress", map[string]any{"tasks": changed, "progress": r.progress()})
	} else if time.Since(f.told) > followBeat {
		f.told = time.Now()
		f.call("heartbeat", map[string]any{"progress": r.progress()})
	}
}

// tellEnd sends the last tasks and Nextflow's own end. Nextflow that never came so far as to begin tells nothing.
func (f *follower) tellEnd(end platform.EndReport) {
	r := &f.run
	r.end(end)
	f.told = time.Time{}
	f.tell()
	if r.begun {
		f.call("complete", map[string]any{"workflow": r.workflow(), "progress": r.progress(), "metrics": []any{}})
	}
}

func (f *follower) call(name string, body map[string]any) {
	body["instant"] = time.Now().UnixMilli()
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // our own types always marshal
	}
	f.spool.add(traceCall{Name: name, Body: text})
}

// growingFile reads a file that something else is writing, line by line.
type growingFile struct {
	path   string
	offset int64
	rest   string // an unfinished last line
}

// lines returns the lines that were finished since the last call. A file that is not there yet has none.
func (g *growingFile) lines() []string {
	file, err := os.Open(g.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, g.offset, 64<<20))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	g.offset += int64(len(data))
	parts := strings.Split(g.rest+string(data), "\n")
	g.rest = parts[len(parts)-1]
	return parts[:len(parts)-1]
}
