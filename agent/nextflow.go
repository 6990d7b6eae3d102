package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"wherry/platform"
)

const (
	// phaseLook is how often the launch script's notes are read.
	phaseLook = 50 * time.Millisecond
	// giveUpGrace is CancelGrace for a machine that nobody wants any more.
	giveUpGrace = 5 * time.Second
)

// runNextflow runs the launch script with all that watches it, and returns the report of how it ended. When working ends,
// Nextflow is asked to stop, and then made to.
func (a *agent) runNextflow(working context.Context, dir string) platform.EndReport {
	defer a.endSecrets()
	if failure := a.writeAll(); failure != "" {
		return platform.EndReport{Reason: failure}
	}
	if failure := a.bring(working); failure != "" {
		if working.Err() != nil {
			return a.judge(working, dir)
		}
		return platform.EndReport{Reason: failure}
	}
	tracer, err := a.startTracer(dir)
	if err != nil {
		return failed("The agent's trace could not be started: %v.", err)
	}
	output, err := a.output.pipe()
	if err != nil {
		return failed("The output cannot be read on the machine: %v.", err)
	}
	defer a.copyNextflowLog(dir)()
	cmd := a.launchCommand(dir, tracer)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output.write, output.write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Pdeathsig is sent when the thread that started the child ends; started from here, that thread must live on.
	ended, err := startOnKeptThread(cmd)
	if err != nil {
		output.drain()
		return failed("%s could not be started on the machine: %v.", filepath.Base(cmd.Path), err)
	}
	a.watch(working, cmd, ended, dir)
	a.killRest(cmd)
	output.drain()
	end := a.judge(working, dir)
	tracer.finish(end)
	return end
}

// copyNextflowLog copies Nextflow's log, masked, until the function that it returns is called.
func (a *agent) copyNextflowLog(dir string) (finish func()) {
	ended, copied := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(copied)
		if err := copyLog(filepath.Join(dir, ".nextflow.log"), a.logFiles()[platform.LogNextflow].path, a.mask, ended); err != nil {
			a.Log.Warn("Nextflow's log could not be copied", "error", err)
		}
	}()
	return func() {
		close(ended)
		<-copied
	}
}

// launchCommand runs the launch script, in the machine itself or in Nextflow's container image.
func (a *agent) launchCommand(dir string, t tracer) *exec.Cmd {
	script := append([]string{launchFile}, nextflowArgs(a.Nextflow, a.spec, t.plugin())...)
	vars := a.variables(t.url(), t.token())
	if a.image != "" {
		return a.dockerRun(dir, vars, script)
	}
	cmd := exec.Command("bash", script...)
	cmd.Env = append(ownEnvironment(), vars...)
	return cmd
}

// killRest kills what the scripts, Nextflow and its tasks left behind; nothing is as good.
func (a *agent) killRest(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if a.Place == nil {
		return
	}
	if _, err := exec.LookPath("docker"); err == nil {
		a.removeContainers()
	}
}

func failed(format string, args ...any) platform.EndReport {
	return platform.EndReport{Reason: fmt.Sprintf(format, args...)}
}

// watch reports the script's phases until it has ended, and stops it when working ends.
func (a *agent) watch(working context.Context, cmd *exec.Cmd, ended <-chan struct{}, dir string) {
	stopped := working.Done()
	var force <-chan time.Time
	for {
		select {
		case <-ended:
			a.reportPhases(dir)
			return
		case <-stopped:
			stopped = nil
			grace := giveUpGrace
			if cause := context.Cause(working); errors.Is(cause, errCancelled) || errors.Is(cause, errInterrupted) {
				grace = cmp.Or(a.Grace, platform.CancelGrace)
			}
			a.askToStop(cmd, dir)
			force = time.After(grace)
		case <-force:
			a.Log.Warn("Nextflow did not stop in time and is killed")
			a.killRest(cmd)
		case <-time.After(phaseLook):
			a.reportPhases(dir)
		}
	}
}

// askToStop tells Nextflow to end: on SIGTERM it stops its tasks first. Before Nextflow runs, the scripts are told.
func (a *agent) askToStop(cmd *exec.Cmd, dir string) {
	_ = os.WriteFile(filepath.Join(dir, cancelledFile), nil, 0o600) // without it the post-run script runs, which is no harm
	if p := readPhases(dir); p.pid > 0 && !p.nextflowEnded {
		_ = syscall.Kill(p.pid, syscall.SIGTERM)
		return
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// startOnKeptThread starts a command on a thread that lives until the command has ended.
func startOnKeptThread(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the script notes how it ended; cmd.ProcessState has the rest
		}
		close(done)
	}()
	return done, <-started
}

// phases is what the launch script noted.
type phases struct {
	preRun, nextflow, nextflowEnded, postRun bool
	script                                   string // the last pre-run script that was begun
	pid                                      int    // Nextflow's
	status                                   int    // Nextflow's, once it has ended
	exit                                     int    // the script's, -1 while it runs
}

func readPhases(dir string) phases {
	p := phases{exit: -1}
	text, _ := os.ReadFile(filepath.Join(dir, phasesFile)) // without it nothing has begun
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, " ")
		number, _ := strconv.Atoi(value)
		switch name {
		case "pre-run":
			p.preRun, p.script = true, value
		case "nextflow":
			p.nextflow = true
		case "pid":
			p.pid = number
		case "ended":
			p.nextflowEnded, p.status = true, number
		case "post-run":
			p.postRun = true
		case "exit":
			p.exit = number
		}
	}
	return p
}

// reportPhases puts what the script noted into the timeline.
func (a *agent) reportPhases(dir string) {
	p := readPhases(dir)
	for _, step := range []struct {
		is   bool
		name string
	}{{p.preRun, platform.StepPreRun}, {p.nextflow, platform.StepNextflow}, {p.nextflowEnded, platform.StepNextflowEnded}, {p.postRun, platform.StepPostRun}} {
		if step.is {
			a.steps.add(step.name, time.Now(), "")
		}
	}
}

// signalBase is what a shell adds to a signal's number for the status of a process that it killed.
const signalBase = 128

// judge makes the report of the end from what the script noted.
func (a *agent) judge(working context.Context, dir string) platform.EndReport {
	p := readPhases(dir)
	end := platform.EndReport{Cancelled: errors.Is(context.Cause(working), errCancelled)}
	switch {
	case p.nextflowEnded:
		end.ExitCode = &p.status
		if p.status > signalBase {
			end.Signal = syscall.Signal(p.status - signalBase).String()
		}
		if p.status != 0 {
			end.ErrorReport = errorReport(a.outputFile())
		}
	case end.Cancelled, errors.Is(context.Cause(working), errInterrupted):
	case p.preRun && !p.nextflow && p.exit >= 0:
		end.Reason = fmt.Sprintf("The pre-run script ended with exit status %d, so Nextflow was not started.", p.exit)
	default:
		end.Reason = "The launch script was killed before Nextflow ended."
	}
	failed := end.ExitCode == nil || *end.ExitCode != 0
	if failed && working.Err() != nil {
		a.blame(&end, context.Cause(working))
	}
	if failed && !end.Cancelled && !end.Interrupted && a.diskWasFull() {
		end.Reason = a.diskFullReason()
	}
	return end
}

// blame says what stopped the work, where that was neither Nextflow nor a cancel.
func (a *agent) blame(end *platform.EndReport, cause error) {
	switch {
	case errors.Is(cause, errInterrupted):
		end.Interrupted, end.Reason = true, interruptedReason
	case !errors.Is(cause, errCancelled):
		end.Reason = "The work was stopped: " + cause.Error() + "."
	}
}

// maxReport is how much of the output is searched for Nextflow's words on an error, in bytes.
const maxReport = 64 << 10

// errorReport finds what Nextflow printed about its error: from "ERROR ~" on, or else its last lines.
func errorReport(path string) string {
	text, err := tail(path, maxReport)
	if err != nil {
		return ""
	}
	if i := strings.LastIndex(text, "ERROR ~ "); i >= 0 {
		report, _, _ := strings.Cut(text[i+len("ERROR ~ "):], "\n -- Check")
		return strings.TrimSpace(report)
	}
	return lastLines(text)
}

// lastLines are the last lines of a text, as many as people look at.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// tail reads the last bytes of a file.
func tail(path string, size int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	start := max(0, info.Size()-size)
	text := make([]byte, info.Size()-start)
	n, err := file.ReadAt(text, start)
	if n == len(text) {
		err = nil
	}
	return string(text[:n]), err
}
