package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
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
	cmd    *exec.Cmd
	port   int
	from   int64 // where its output begins in the log
	output *outputPipe
	ended  <-chan struct{}
	ready  bool // it answered
	taken  bool // another program has its port
}

func (s *studio) startTool() (t *startedTool, failure string) {
	port, err := freePort()
	if err != nil {
		return nil, fmt.Sprintf("The machine has no free port for the Studio's tool: %v.", err)
	}
	from, err := s.output.size()
	if err != nil {
		return nil, fmt.Sprintf("The session's log cannot be read on the machine: %v.", err)
	}
	output, err := s.output.pipe()
	if err != nil {
		return nil, fmt.Sprintf("The tool's output cannot be read on the machine: %v.", err)
	}
	cmd := s.runner.command(port)
	cmd.Stdout, cmd.Stderr = output.write, output.write
	ended, err := startInGroup(cmd)
	if err != nil {
		output.drain()
		return nil, fmt.Sprintf("%s could not be started on the machine: %v.", s.session.Template.Name, err)
	}
	s.steps.add(platform.StepToolStarted, time.Now(), "")
	return &startedTool{cmd: cmd, port: port, from: from, output: output, ended: ended}, ""
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
	defer t.output.drain()
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
