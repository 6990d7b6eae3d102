package agent

import (
	"encoding/json"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"wherry/platform"
)

// nextflowRun is a run as Nextflow's own files tell of it.
type nextflowRun struct {
	spec                    platform.Spec
	dir, command            string
	read                    func(path string) ([]byte, error) // reads a file of a task
	sessionID, project      string
	version, build, commit  string
	processes               []string
	start, complete         time.Time
	ready, created, begun   bool
	success                 bool
	exitStatus              *int
	errorMessage, errorText string
	columns                 []string                  // of the trace file
	tasks                   []*platform.Task          // in order of their beginning
	byHash                  map[string]*platform.Task // by the short hash, such as 2c/9791df
	changed                 map[int64]bool            // ids of tasks that the portal does not know as they are
	retries                 int
	peakRunning             map[string]int // by process; "" is the whole run
}

func newNextflowRun(spec platform.Spec, dir, command string, read func(path string) ([]byte, error)) nextflowRun {
	return nextflowRun{spec: spec, dir: dir, command: command, read: read, project: platform.ShortPipeline(spec.Launch.Pipeline),
		byHash: map[string]*platform.Task{}, changed: map[int64]bool{}, peakRunning: map[string]int{}}
}

// Lines of .nextflow.log, as Nextflow 24 writes them (nextflow.Session, nextflow.cli.CmdRun, nextflow.processor).
var (
	logLine       = regexp.MustCompile(`^\w{3}-\d\d \d\d:\d\d:\d\d\.\d{3} \[[^]]*\] [A-Z]+ +\S+ - (.*)$`)
	logSession    = regexp.MustCompile(`^Session UUID: ([0-9a-f-]{36})$`)
	logVersion    = regexp.MustCompile(`^ +Version: (\S+) build (\S+)`)
	logLaunching  = regexp.MustCompile("^Launching `([^`]*)` \\[[^]]*\\].* - revision: (\\S+)")
	logProcess    = regexp.MustCompile(`^Starting process > (.*)$`)
	logWaiting    = regexp.MustCompile(`^> Awaiting termination *$`)
	logTask       = regexp.MustCompile(`^\[([0-9a-f]{2}/[0-9a-f]{6})\] (Submitted|Re-submitted|Cached|Stored) process > (.*)$`)
	logCompleted  = regexp.MustCompile(`^Task completed > TaskHandler\[id: \d+; name: .*; status: \w+; exit: (\S+); error: .*; workDir: (\S+)`)
	taskNameParts = regexp.MustCompile(`^(.*?) \((.*)\)$`)
)

// readLog takes one line of .nextflow.log, which was written about now.
func (r *nextflowRun) readLog(line string, now time.Time) {
	if m := logVersion.FindStringSubmatch(line); m != nil {
		r.version, r.build = m[1], m[2]
	}
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	text := m[1]
	if m := logSession.FindStringSubmatch(text); m != nil {
		r.sessionID, r.start = m[1], now
	} else if m := logLaunching.FindStringSubmatch(text); m != nil {
		r.project, r.commit = m[1], m[2]
	} else if m := logProcess.FindStringSubmatch(text); m != nil {
		r.processes = append(r.processes, m[1]) // in the order of the pipeline, as the plugin has them
	} else if logWaiting.MatchString(text) {
		r.ready = true
	} else if m := logTask.FindStringSubmatch(text); m != nil {
		r.ready = true
		r.beginTask(m[1], m[2], m[3], now)
	} else if m := logCompleted.FindStringSubmatch(text); m != nil {
		r.completeTask(m[1], m[2], now)
	}
}

// beginTask notes a task that was submitted, or whose result is there already.
func (r *nextflowRun) beginTask(hash, how, name string, now time.Time) {
	t := r.task(hash)
	t.Name, t.Process = name, name
	if m := taskNameParts.FindStringSubmatch(name); m != nil {
		t.Process, t.Tag = m[1], &m[2]
	}
	t.Submit, t.Start = &now, &now
	switch how {
	case "Submitted", "Re-submitted":
		t.Status = platform.TaskRunning
		if how == "Re-submitted" {
			r.retries++
			t.Attempt++
		}
	default:
		t.Status, t.Complete = platform.TaskCached, &now
	}
	t.Workdir = r.workDirOf(hash)
	r.readScript(t)
	r.notePeak(t.Process)
}

// task finds or makes the task with a hash. Ids count tasks in the order of their beginning.
func (r *nextflowRun) task(hash string) *platform.Task {
	t, ok := r.byHash[hash]
	if !ok {
		executor := "local"
		t = &platform.Task{TaskID: int64(len(r.tasks) + 1), Hash: hash, Status: platform.TaskSubmitted, Attempt: 1, Module: []string{}, Executor: &executor}
		r.tasks, r.byHash[hash] = append(r.tasks, t), t
	}
	r.changed[t.TaskID] = true
	return t
}

// completeTask notes a task's end before the trace file has it, and for one that the trace file never has.
func (r *nextflowRun) completeTask(exit, workDir string, now time.Time) {
	hash, ok := shortHash(workDir)
	if !ok || r.byHash[hash] == nil || r.byHash[hash].Status.Ended() {
		return
	}
	t := r.task(hash)
	t.Workdir, t.Status, t.Complete = workDir, platform.TaskCompleted, &now
	if code, err := strconv.Atoi(exit); err == nil && code != platform.NoExit {
		t.Exit = &code
	}
	if t.Exit == nil || *t.Exit != 0 {
		t.Status = platform.TaskFailed
	}
	r.readScript(t)
}

// shortHash is the hash that Nextflow shows for a task's folder, such as 2c/9791df for …/work/2c/9791df5d0a….
func shortHash(workDir string) (string, bool) {
	name, parent := filepath.Base(workDir), filepath.Base(filepath.Dir(workDir))
	if len(name) < 6 || len(parent) != 2 {
		return "", false
	}
	return parent + "/" + name[:6], true
}

func (r *nextflowRun) workDirOf(hash string) string {
	found, _ := filepath.Glob(filepath.Join(r.spec.Launch.WorkDir, hash) + "*")
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// maxScript bounds what is read of a task's script, in bytes.
const maxScript = 256 << 10

// readScript reads a task's command from its folder, without the line that names the shell.
func (r *nextflowRun) readScript(t *platform.Task) {
	if t.Script != "" || t.Workdir == "" {
		return
	}
	text, err := r.read(t.Workdir + "/.command.sh")
	if err != nil || len(text) > maxScript {
		return
	}
	_, script, _ := strings.Cut(string(text), "\n")
	t.Script = strings.TrimRight(script, "\n")
}

// readTrace takes one line of the trace file.
func (r *nextflowRun) readTrace(line string) {
	cells := strings.Split(line, "\t")
	if r.columns == nil {
		r.columns = cells
		return
	}
	if len(cells) != len(r.columns) {
		return // a name with a tab in it; the log has told of the task's end
	}
	row := traceRow{}
	for i, name := range r.columns {
		if cells[i] != "-" && cells[i] != "" {
			row[name] = cells[i]
		}
	}
	if row["hash"] == "" {
		return
	}
	t := r.task(row["hash"])
	row.fill(t)
	if t.Workdir == "" {
		t.Workdir = r.workDirOf(t.Hash)
	}
	r.readScript(t)
}

func (r *nextflowRun) notePeak(process string) {
	for _, name := range []string{"", process} {
		running := 0
		for _, t := range r.tasks {
			if t.Status == platform.TaskRunning && (name == "" || t.Process == name) {
				running++
			}
		}
		r.peakRunning[name] = max(r.peakRunning[name], running)
	}
}

// takeChanged returns the tasks that changed since it was last called.
func (r *nextflowRun) takeChanged() []*platform.Task {
	var list []*platform.Task
	for _, t := range r.tasks {
		if r.changed[t.TaskID] {
			list = append(list, t)
		}
	}
	clear(r.changed)
	return list
}

// progress counts the tasks.
func (r *nextflowRun) progress() platform.Progress {
	p := platform.Progress{Counts: platform.Counts{Retries: r.retries, PeakRunning: r.peakRunning[""]}}
	place := map[string]int{}
	add := func(name string) {
		place[name] = len(p.Processes)
		p.Processes = append(p.Processes, platform.ProcessProgress{Index: len(p.Processes), Name: name,
			Counts: platform.Counts{PeakRunning: r.peakRunning[name]}})
	}
	for _, name := range r.processes {
		add(name)
	}
	for _, t := range r.tasks {
		if _, known := place[t.Process]; !known {
			add(t.Process)
		}
		p.Add(t.Status)
		p.Processes[place[t.Process]].Add(t.Status)
	}
	return p
}

// end notes how Nextflow ended. Tasks that were running then were stopped with it.
func (r *nextflowRun) end(report platform.EndReport) {
	r.complete, r.exitStatus = time.Now().UTC(), report.ExitCode
	r.success = report.ExitCode != nil && *report.ExitCode == 0
	if !r.success {
		r.errorText, r.errorMessage = report.ErrorReport, errorMessage(report.ErrorReport)
	}
	for _, t := range r.tasks {
		if !t.Status.Ended() {
			t.Status = platform.TaskAborted
			r.changed[t.TaskID] = true
		}
	}
}

// errorMessage is the short of an error report: what the failed command printed, or else the cause.
func errorMessage(report string) string {
	for _, heading := range []string{"Command error:\n", "Caused by:\n"} {
		if _, after, ok := strings.Cut(report, heading); ok {
			block, _, _ := strings.Cut(after, "\n\n")
			return strings.TrimSpace(strings.ReplaceAll("\n"+block, "\n  ", "\n"))
		}
	}
	first, _, _ := strings.Cut(report, "\n\n")
	return strings.TrimSpace(first)
}

// workflow is the object of that name in the trace API's begin and complete.
func (r *nextflowRun) workflow() map[string]any {
	l := r.spec.Launch
	w := map[string]any{"id": r.spec.RunID, "runName": l.RunName, "sessionId": r.sessionID, "projectName": r.project,
		"scriptName": r.project, "repository": nil, "revision": nullable(l.Revision), "commitId": nullable(r.commit), "start": r.start,
		"commandLine": r.command, "launchDir": r.dir, "workDir": l.WorkDir, "profile": strings.Join(l.ConfigProfiles, ","),
		"resume": l.Resume, "stubRun": l.StubRun, "success": r.success, "exitStatus": r.exitStatus,
		"errorMessage": nullable(r.errorMessage), "errorReport": nullable(r.errorText), "configFiles": []string{},
		"configText": r.spec.EnvConfigText + l.ConfigText,
		"nextflow":   map[string]any{"version": r.version, "build": r.build}, "params": json.RawMessage(orEmptyObject(r.spec.ParamsJSON))}
	if u, err := user.Current(); err == nil {
		w["userName"], w["homeDir"] = u.Username, u.HomeDir
	}
	if !r.complete.IsZero() {
		w["complete"], w["duration"] = r.complete, r.complete.Sub(r.start).Milliseconds()
	}
	return w
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmptyObject(s string) string {
	if s == "" {
		return "{}"
	}
	return s
}
