package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// serves tells whether all who listen at the port are the tool's processes. Tools that find their port taken may go to
// another, and whoever took it must not get this Studio's people.
func (r *processRunner) serves(port int) bool {
	mine := map[string]bool{}
	for _, p := range r.mark().List() {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID)) // the pattern is right; what has ended has none
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil {
				mine[to] = true
			}
		}
	}
	found := listeners(port)
	return len(found) > 0 && !slices.ContainsFunc(found, func(socket string) bool { return !mine[socket] })
}

// listeners lists the sockets that listen at a port of 127.0.0.1, or of all addresses, as links in /proc name them (proc_net(5)).
func listeners(port int) (list []string) {
	const listening = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(file) // without IPv6 there is no second one
		for _, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) && fields[3] == listening {
				list = append(list, "socket:["+fields[9]+"]")
			}
		}
	}
	return list
}

// killLimit is how long killed processes may take to go.
const killLimit = 5 * time.Second

func (r *processRunner) kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if left := r.mark().KillAll(context.Background(), killLimit); left > 0 {
		r.Log.Warn("processes of the tool could not be killed", "count", left)
	}
}
