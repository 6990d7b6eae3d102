package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lifetimeMargin is how much later than the agent the supervisor gives the portal up: the agent has the first word.
const lifetimeMargin = 30 * time.Second

// Supervise leads a machine: it starts the agent, ends every process when the agent has ended, when it is told to
// (SIGTERM), or when the portal has not been heard for the machine's lifetime, and writes down why. The order comes by
// standard input. A second supervisor of one machine does nothing.
func Supervise(ctx context.Context) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("reading the order: %w", err) // the portal died before it was said; the next one says it again
	}
	f := folder(o.Folder)
	first, err := f.begin()
	if err != nil || !first {
		return err
	}
	// Orphans of the machine's processes become children of this one, so that none leaves the tree.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the reaper of orphans: %w", err)
	}
	reason := f.runAgent(ctx, o)
	for mark(o.MachineID).KillAll(context.Background(), killLimit) > 0 {
		fmt.Println("waiting for killed processes to go")
	}
	fmt.Println("ended:", reason)
	return f.writeEnd(reason)
}

// begin makes this the one supervisor that the machine ever has; false when there was one, or the end was asked for.
func (f folder) begin() (first bool, err error) {
	if locked, err := f.lock(); err != nil || !locked {
		return false, err
	}
	file, err := os.OpenFile(f.path(startedFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := file.Close(); err != nil {
		return false, err
	}
	// Terminate writes its mark before it looks for processes, and this one looks for the mark after it can be found: one
	// of the two sees the other.
	if f.has(terminateFile) {
		return false, f.writeEnd("its end was asked for before it began")
	}
	return true, nil
}

// runAgent runs the agent to its end, or to the machine's, and says why that came.
func (f folder) runAgent(ctx context.Context, o order) string {
	hold, watch, err := os.Pipe() // the agent reads; when this process dies, however it dies, the agent sees the end
	if err != nil {
		return "its supervisor failed: " + err.Error()
	}
	defer watch.Close()
	cmd, err := f.agentCommand(o, hold)
	if err == nil {
		err = cmd.Start()
	}
	hold.Close()
	if err != nil {
		return "its agent could not be started: " + err.Error()
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-ended:
			return describeEnd(cmd.ProcessState, "agent")
		case <-ctx.Done():
			return "its end was asked for"
		case <-time.After(time.Second):
			if f.has(terminateFile) {
				return "its end was asked for"
			}
			if time.Since(f.lastHeard()) > o.Lifetime+lifetimeMargin {
				return fmt.Sprintf("the portal was not heard for %s", o.Lifetime)
			}
		}
	}
}

// agentCommand is the agent as a child, in a session with its own children.
func (f folder) agentCommand(o order, hold *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "agent")
	cmd.Dir, cmd.Stdout, cmd.Stderr = string(f), os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{hold} // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(),
		"WHERRY_AGENT_PORTAL_URL="+o.PortalURL,
		"WHERRY_AGENT_MACHINE="+o.MachineID,
		"WHERRY_AGENT_INSTANCE="+instanceID(o.MachineID),
		"WHERRY_AGENT_CLAIM_TOKEN="+o.ClaimToken,
		"WHERRY_AGENT_DIR="+string(f),
		"WHERRY_AGENT_LIFETIME="+o.Lifetime.String(),
		"WHERRY_AGENT_NEXTFLOW="+o.Nextflow,
		"WHERRY_AGENT_HEARD_FILE="+f.path(heardFile),
		"WHERRY_AGENT_PARENT_FD=3")
	return cmd, nil
}

// lastHeard is when the agent last heard the portal, or else when the machine began.
func (f folder) lastHeard() time.Time {
	if info, err := os.Stat(f.path(heardFile)); err == nil {
		return info.ModTime()
	}
	return f.startedAt()
}
