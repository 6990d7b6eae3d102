package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"wherry/platform"
)

// runner is a way to run a Studio's tool on this machine.
type runner interface {
	// fetch gets what the tool is run from. It returns why that cannot be had, for people, or "".
	fetch(ctx context.Context) (failure string)
	// command is the tool, so that it can be reached at a port of 127.0.0.1.
	command(port int) *exec.Cmd
	// ask asks a tool to end, within grace.
	ask(cmd *exec.Cmd, grace time.Duration)
	// kill ends the tool at once, and all that it left behind; nothing is as good.
	kill(cmd *exec.Cmd)
	// serves tells whether whoever listens at the port is the tool.
	serves(port int) bool
}

const (
	// stopGrace is how long a tool may take to end when it is asked to, and noticeGrace the same when the machine is
	// taken away.
	stopGrace   = 20 * time.Second
	noticeGrace = 5 * time.Second
)

// chooseRunner finds out how the tool can be run here.
func (s *studio) chooseRunner(ctx context.Context) (failure string) {
	t := s.session.Template
	docker := s.Place != nil && s.dockerWorks(ctx)
	switch {
	case docker:
		s.runner = &containerRunner{studio: s}
	case len(t.HostCommand) == 0 && s.Place == nil:
		return fmt.Sprintf("%s is run as a container, and this environment runs tools as processes of the portal's host. Choose an AWS environment.", t.Name)
	case len(t.HostCommand) == 0:
		return fmt.Sprintf("%s is run as a container, and the machine has no Docker that works. Choose an image (AMI) with Docker; the recommended ones have it.", t.Name)
	default:
		return s.chooseProcess(t)
	}
	return ""
}

func (s *studio) chooseProcess(t platform.StudioTemplate) (failure string) {
	command := t.HostCommand[0]
	path, err := exec.LookPath(command)
	switch {
	case err == nil:
		s.runner = &processRunner{studio: s, path: path}
	case s.Place == nil:
		return fmt.Sprintf("The command %s was not found on the portal's host. Install %s there, or choose an AWS environment.", command, t.Name)
	default:
		return fmt.Sprintf("The machine has neither Docker that works nor the command %s. Choose an image (AMI) with Docker; the recommended ones have it.", command)
	}
	return ""
}

// words are what stands for things in a template.
func (s *studio) words(port int, workspace string) *strings.Replacer {
	return strings.NewReplacer("${PORT}", strconv.Itoa(port), "${WORKSPACE}", workspace, "${URL}", s.session.URL, "${TOKEN}", s.session.Token,
		"${STUDIO}", s.session.StudioID)
}

func replaceAll(words *strings.Replacer, list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = words.Replace(list[i])
	}
	return list
}

// toolVariables are what the tool gets beside the environment it is in: the template's, then those that people set, and then
// what a session always has.
func (s *studio) toolVariables(port int, workspace string) (vars []string) {
	words, t := s.words(port, workspace), s.session.Template
	for _, name := range slices.Sorted(maps.Keys(t.Environment)) {
		vars = append(vars, name+"="+words.Replace(t.Environment[name]))
	}
	for _, e := range s.spec.Environment {
		vars = append(vars, e.Name+"="+e.Value)
	}
	vars = append(vars, "WHERRY_STUDIO_PORT="+strconv.Itoa(port), "WHERRY_STUDIO_WORKSPACE="+workspace, "WHERRY_STUDIO_URL="+s.session.URL,
		"WHERRY_STUDIO_NAME="+s.session.Name)
	if s.session.Token != "" {
		vars = append(vars, "WHERRY_STUDIO_TOKEN="+s.session.Token)
	}
	return vars
}

// portTries is how often a port is chosen: another program may take it before the tool does.
const portTries = 2

// runTool runs the tool to its end, or to the session's, and says how it ended.
func (s *studio) runTool(working context.Context) platform.EndReport {
	saving, endSaving := context.WithCancelCause(s.keeping.large)
	s.endSaving = endSaving
	s.background.Go(func() { s.checkpoints.run(s.during, saving) })
	s.background.Go(func() { s.watchLifespan(s.during) })
	for try := 1; ; try++ {
		t, failure := s.startTool()
		if failure != "" {
			return platform.EndReport{Reason: failure}
		}
		s.watchTool(working, t)
		if try < portTries && working.Err() == nil && s.portWasTaken(t) {
			s.say("Port %d was taken by another program. The tool is started again on another port.", t.port)
			continue
		}
		s.steps.add(platform.StepToolEnded, time.Now(), "")
		if working.Err() == nil {
			s.endSaving(errStopping)
		}
		return s.judge(working, t)
	}
}

// startedTool is a Studio's tool under way.
type startedTool struct {
	cmd   *exec.Cmd
	port  int
	from  int64 // where its output begins in the log
	ended <-chan struct{}
	ready bool // it answered
	taken bool // another program has its port
}

func (s *studio) startTool() (t *startedTool, failure string) {
	port, err := freePort()
	if err != nil {
		return nil, fmt.Sprintf("The machine has no free port for the Studio's tool: %v.", err)
	}
	info, err := s.output.Stat()
	if err != nil {
		return nil, fmt.Sprintf("The session's log cannot be read on the machine: %v.", err)
	}
	cmd := s.runner.command(port)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	ended, err := startInGroup(cmd)
	if err != nil {
		return nil, fmt.Sprintf("%s could not be started on the machine: %v.", s.session.Template.Name, err)
	}
	s.steps.add(platform.StepToolStarted, time.Now(), "")
	return &startedTool{cmd: cmd, port: port, from: info.Size(), ended: ended}, ""
}

// startInGroup starts a command in a process group of its own, which ends with this process.
func startInGroup(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return startOnKeptThread(cmd)
}

// freePort finds a port of 127.0.0.1 that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// portWasTaken tells whether a tool that never answered ended because its port was another's.
func (s *studio) portWasTaken(t *startedTool) bool {
	if t.ready || t.taken {
		return t.taken
	}
	said := strings.ToLower(s.lastLines(t.from))
	for _, words := range []string{"address already in use", "port is already allocated", "eaddrinuse", "port is already in use"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(t.port)))
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	l.Close()
	return false
}

// watchTool waits for the tool's end, and stops it when working ends.
func (s *studio) watchTool(working context.Context, t *startedTool) {
	ctx, cancel := context.WithCancel(working)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- s.awaitReady(ctx, t) }()
	defer s.runner.kill(t.cmd)
	defer s.port.Store(0)
	for {
		select {
		case <-t.ended:
			return
		case <-working.Done():
			s.stopTool(t, context.Cause(working))
			return
		case err := <-ready:
			ready = nil
			switch {
			case err == nil:
				t.ready = true
				s.port.Store(int32(t.port))
				s.steps.add(platform.StepToolReady, time.Now(), "")
				s.lifespan.begin(s.session.StopIn)
			case errors.Is(err, errPortTaken):
				t.taken = true
				s.runner.kill(t.cmd)
			default:
				s.stop(err)
			}
		}
	}
}

// stopTool asks the tool to end, and makes it. When the machine is taken away its work is saved meanwhile: there may be no
// time for it after.
func (s *studio) stopTool(t *startedTool, cause error) {
	grace := cmp.Or(s.Grace, stopGrace)
	switch {
	case errors.Is(cause, errInterrupted):
		grace = min(grace, noticeGrace)
		s.background.Go(func() {
			if err := s.checkpoints.save(s.keeping.large, false); err != nil {
				s.Log.Warn("the work could not be saved while the tool was asked to end", "error", err)
			}
		})
	case errors.Is(cause, errCancelled), errors.Is(cause, errLifespan), errors.Is(cause, errDiskFull):
		s.endSaving(errStopping) // the last save has all that this one has
	default:
		grace = min(grace, giveUpGrace)
		s.endSaving(errStopping)
	}
	s.say("The tool is asked to end.")
	go s.runner.ask(t.cmd, grace)
	select {
	case <-t.ended:
		return
	case <-time.After(grace):
	}
	s.say("The tool did not end within %s and is killed.", durationText(grace))
	s.runner.kill(t.cmd)
	<-t.ended
}

// errStopping ends a save that the last one makes needless.
var errStopping = errors.New("the session is being stopped")

// judge makes the report of how the tool ended.
func (s *studio) judge(working context.Context, t *startedTool) platform.EndReport {
	if working.Err() != nil {
		return s.stoppedEnd(context.Cause(working), platform.EndReport{})
	}
	if t.taken {
		return platform.EndReport{Reason: fmt.Sprintf("Another program on the machine took the port of %s. Start the Studio again.", s.session.Template.Name)}
	}
	if end := s.buildFailure(); end != nil && t.cmd.ProcessState.ExitCode() != dockerFailed {
		return *end
	}
	end := howItEnded(s.session.Template.Name, t.cmd.ProcessState)
	if end.Reason == "" && !t.ready {
		end.Reason = s.session.Template.Name + " ended before it answered at its port."
	}
	if end.Reason == "" {
		return end
	}
	end.ErrorReport = s.lastLines(t.from)
	if s.diskWasFull() {
		end.Reason = s.diskFullReason()
	}
	return end
}

// howItEnded says how a tool ended by itself.
func howItEnded(name string, state *os.ProcessState) (end platform.EndReport) {
	status, _ := state.Sys().(syscall.WaitStatus)
	code := state.ExitCode()
	switch {
	case status.Signaled():
		end.Signal = status.Signal().String()
		end.Reason = fmt.Sprintf("%s was stopped by a signal (%s).", name, end.Signal)
	default:
		end.ExitCode = &code
		if code != 0 {
			end.Reason = fmt.Sprintf("%s ended with exit status %d.", name, code)
		}
	}
	if status.Signaled() && status.Signal() == syscall.SIGKILL || code == signalBase+int(syscall.SIGKILL) {
		end.Reason += " The machine may have had too little memory."
	}
	return end
}

// lastLines is the end of the log, from a position in it on.
func (s *studio) lastLines(from int64) string {
	path := filepath.Clean(s.output.Name())
	info, err := s.output.Stat()
	if err != nil {
		return ""
	}
	text, err := tail(path, min(maxReport, max(0, info.Size()-from)))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
