package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"wherry/platform"
)

// judge makes the report of how the tool ended.
func (s *studio) judge(working context.Context, t *startedTool) platform.EndReport {
	if working.Err() != nil {
		return s.stoppedEnd(context.Cause(working))
	}
	if t.taken {
		return platform.EndReport{Reason: fmt.Sprintf("Another program on the machine took the port of %s. Start the Studio again.", s.session.Template.Name)}
	}
	_, inContainer := s.runner.(*containerRunner)
	notStarted := inContainer && t.cmd.ProcessState.ExitCode() == dockerFailed
	if end := s.buildFailure(); end != nil && !notStarted {
		return *end
	}
	end := howItEnded(s.session.Template.Name, t.cmd.ProcessState)
	switch {
	case notStarted:
		end.Reason = fmt.Sprintf("Docker could not start the container of %s. Its last lines say why.", s.session.Template.Name)
	case end.Reason == "" && !t.ready:
		end.Reason = s.session.Template.Name + " ended before it answered at its port."
	case end.Reason == "":
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
	size, err := s.output.size()
	if err != nil {
		return ""
	}
	text, err := tail(s.outputFile(), min(maxReport, max(0, size-from)))
	if err != nil {
		return ""
	}
	return lastLines(text)
}

// stoppedEnd says what stopped the session, where that was not its tool.
func (s *studio) stoppedEnd(cause error) (end platform.EndReport) {
	switch {
	case errors.Is(cause, errCancelled):
		end.Cancelled = true
	case errors.Is(cause, errInterrupted):
		end.Interrupted, end.Reason = true, "EC2 takes the Spot instance back. On-Demand instances are not taken back."
	case errors.Is(cause, errLifespan):
		end.StopReason = platform.StopLifespan
	case errors.Is(cause, errDiskFull):
		end.Reason = s.diskFullReason() + " Remove files in the workspace when the Studio runs again, or choose an environment with a larger disk."
	case errors.Is(cause, errNotReady):
		end.Reason = fmt.Sprintf("The Studio's tool did not answer within %s. Its log may say why.", durationText(s.ReadyLimit))
		end.ErrorReport = s.lastLines(0)
	default:
		end.Reason = "The session was stopped: " + cause.Error() + "."
	}
	return end
}
