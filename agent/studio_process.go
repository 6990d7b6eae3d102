package agent

import (
	"context"
	"os/exec"
	"syscall"
	"time"

	"wherry/cloud/processes"
)

// processRunner runs a Studio's tool as a process of the machine.
type processRunner struct {
	*studio
	path string // of the tool's program
}

// mark is what every process of the tool carries: tools put what they start into groups and sessions of its own.
func (s *studio) mark() processes.Mark {
	return processes.Mark("WHERRY_STUDIO_SESSION=" + s.session.SessionID)
}

func (r *processRunner) fetch(context.Context) (failure string) { return "" }

func (r *processRunner) command(port int) *exec.Cmd {
	cmd := exec.Command(r.path, replaceAll(r.words(port, r.workspace), r.session.Template.HostCommand[1:])...)
	cmd.Dir = r.workspace
	cmd.Env = ownEnvironment()
	if r.packages != nil {
		cmd.Env = append(cmd.Env, r.packages.path())
	}
	cmd.Env = append(append(cmd.Env, r.toolVariables(port, r.workspace)...), string(r.mark()))
	return cmd
}

func (r *processRunner) ask(cmd *exec.Cmd, _ time.Duration) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended by itself
}

// killLimit is how long killed processes may take to go.
const killLimit = 5 * time.Second

func (r *processRunner) kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if left := r.mark().KillAll(context.Background(), killLimit); left > 0 {
		r.Log.Warn("processes of the tool could not be killed", "count", left)
	}
}
