package platform

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// RunState is where a run stands, in the API's words. Only the loops in jobs/ move it, and only along runMoves.
type RunState string

// The states of a run.
const (
	RunSubmitted RunState = "SUBMITTED" // wished for; Nextflow has not begun
	RunRunning   RunState = "RUNNING"   // Nextflow has begun
	RunSucceeded RunState = "SUCCEEDED"
	RunFailed    RunState = "FAILED"
	RunCancelled RunState = "CANCELLED"
	RunUnknown   RunState = "UNKNOWN" // it had begun, and its agent has not been heard for UnknownAfter
)

// runMoves is the transition table: every move that exists, and no other. An ended run never changes its end.
var runMoves = map[RunState][]RunState{
	RunSubmitted: {RunRunning, RunSucceeded, RunFailed, RunCancelled},
	RunRunning:   {RunSucceeded, RunFailed, RunCancelled, RunUnknown},
	RunUnknown:   {RunRunning, RunSucceeded, RunFailed, RunCancelled},
	RunSucceeded: {},
	RunFailed:    {},
	RunCancelled: {},
}

// RunStates lists every state, living ones first.
var RunStates = []RunState{RunSubmitted, RunRunning, RunUnknown, RunSucceeded, RunFailed, RunCancelled}

// CanMove tells whether the table allows a move.
func (s RunState) CanMove(to RunState) bool { return slices.Contains(runMoves[s], to) }

// Ended tells whether the run is over for good.
func (s RunState) Ended() bool { return s == RunSucceeded || s == RunFailed || s == RunCancelled }

// Run is one execution of a pipeline. The API calls it a workflow.
type Run struct {
	ID           string
	WorkspaceID  int64
	UserID       int64
	UserName     string // of UserID, filled in by reading
	PipelineID   int64  // the saved pipeline it came from; 0: a quick launch
	PipelineName string // of PipelineID, filled in by reading; empty when that was deleted
	ComputeEnvID string
	ComputeEnv   string // name of ComputeEnvID, filled in by reading
	Name         string // unique in the workspace
	Launch       Launch
	WorkDir      string // where it really works: the launch's, or else the environment's at the time of launch
	State        RunState
	Created      time.Time
	Started      time.Time // zero: not yet
	Ended        time.Time // zero: not yet
	CancelAsked  time.Time // zero: nobody did
	CancelledBy  string    // user name
	StopReason   string    // why Wherry itself asked for the end, as a sentence; empty: it did not
	RelaunchOf   string    // the run that this one takes the place of, because that was interrupted; empty: none
	RelaunchedAs string    // the run that took the place of this one, filled in by reading; empty: none
	Relaunches   int       // how many runs in a row were interrupted before this one

	// What Nextflow and the agent reported: facts, from which the loops decide on the state.
	SessionID   string
	Begun       time.Time // Nextflow said that it had begun; zero: not yet
	CommandLine string
	Workflow    json.RawMessage // the "workflow" object of the last trace begin or complete
	Progress    Progress
	Completed   *Completion // Nextflow's own end; nil: not reported
	End         *EndReport  // the agent's report of the end; nil: not reported

	// Why it ended as it did. ErrorMessage is one or two sentences; ErrorReport is Nextflow's long text.
	ErrorMessage string
	ErrorReport  string
	ExitStatus   *int
}

// Completion is how Nextflow itself ended, from the trace API's complete.
type Completion struct {
	Success      bool      `json:"success"`
	ExitStatus   *int      `json:"exitStatus"`
	ErrorMessage string    `json:"errorMessage,omitempty"`
	ErrorReport  string    `json:"errorReport,omitempty"`
	Complete     time.Time `json:"complete"`
}

// Duration is how long the run took, or has taken until now.
func (r Run) Duration(now time.Time) time.Duration {
	switch {
	case r.Started.IsZero():
		return 0
	case r.Ended.IsZero():
		return now.Sub(r.Started)
	}
	return r.Ended.Sub(r.Started)
}

// Cancellable tells whether asking for the run's cancel would do something.
func (r Run) Cancellable() bool { return !r.State.Ended() && r.CancelAsked.IsZero() }

// Resumable tells whether a new run can go on where this one ended.
func (r Run) Resumable() bool { return r.State.Ended() && r.SessionID != "" }

// RunEnd is the end of a run as the loops write it.
type RunEnd struct {
	State        RunState
	ErrorMessage string
	ErrorReport  string
	ExitStatus   *int
	Relaunch     *Run // takes its place; nil: none does
}

// EndFromReport decides how a run ended from what the agent and Nextflow reported, and whether cancel was asked. Nextflow's
// own success wins over a cancel that came too late.
func EndFromReport(r Run, report EndReport) RunEnd {
	end := RunEnd{ExitStatus: report.ExitCode}
	if r.Completed != nil {
		end.ErrorMessage, end.ErrorReport = r.Completed.ErrorMessage, r.Completed.ErrorReport
	}
	switch {
	case report.Interrupted && (r.Completed == nil || !r.Completed.Success):
		return RunEnd{State: RunFailed, ErrorMessage: interruptedMessage(report)}
	case report.ExitCode != nil && *report.ExitCode == 0 && !report.Cancelled && (r.Completed == nil || r.Completed.Success):
		return RunEnd{State: RunSucceeded, ExitStatus: report.ExitCode}
	case report.ExitCode != nil && *report.ExitCode == 0 && r.Completed != nil && r.Completed.Success:
		return RunEnd{State: RunSucceeded, ExitStatus: report.ExitCode}
	case report.Cancelled || (!r.CancelAsked.IsZero() && report.Signal != ""):
		return StoppedEnd(r)
	default:
		end.State = RunFailed
		if report.Reason != "" {
			end.ErrorMessage = report.Reason
		}
		if end.ErrorMessage == "" {
			end.ErrorMessage = "Nextflow ended with an error. Its log says more."
		}
		if end.ErrorReport == "" {
			end.ErrorReport = report.ErrorReport
		}
	}
	return end
}

func interruptedMessage(report EndReport) string {
	if report.Reason != "" {
		return report.Reason
	}
	return "The machine was taken away before the run had ended."
}

// StoppedEnd is the end of a run whose end was asked for: by someone, or by Wherry itself, which is a failure.
func StoppedEnd(r Run) RunEnd {
	if r.StopReason != "" {
		return RunEnd{State: RunFailed, ErrorMessage: r.StopReason}
	}
	return RunEnd{State: RunCancelled, ErrorMessage: CancelledMessage(r)}
}

// MaxRelaunches is how often in a row a run is launched again because it was interrupted.
const MaxRelaunches = 10

// RelaunchAfter is the run that takes the place of one that was interrupted, where its launch wants that; nil otherwise.
func RelaunchAfter(r Run) *Run {
	if !r.Launch.RelaunchInterrupted || !r.CancelAsked.IsZero() || r.Relaunches >= MaxRelaunches {
		return nil
	}
	resume := r.SessionID != ""
	again := Run{WorkspaceID: r.WorkspaceID, UserID: r.UserID, PipelineID: r.PipelineID, ComputeEnvID: r.ComputeEnvID,
		WorkDir: r.WorkDir, Launch: RelaunchOf(r, resume), RelaunchOf: r.ID, Relaunches: r.Relaunches + 1}
	again.Name = relaunchName(r.Name, again.Relaunches)
	again.Launch.RunName = again.Name
	return &again
}

// relaunchName names the n-th relaunch of a run after it, and never twice.
func relaunchName(name string, n int) string {
	name = relaunchSuffix.ReplaceAllString(name, "")
	suffix := fmt.Sprintf("_r%d_%s", n, strings.ToLower(NewID()[:6]))
	return strings.TrimRight(name[:min(len(name), MaxRunNameLength-len(suffix))], "-_") + suffix
}

var relaunchSuffix = regexp.MustCompile(`_r\d+_[a-z0-9]{6}$`)

// CancelledMessage says who cancelled a run.
func CancelledMessage(r Run) string {
	if r.CancelledBy == "" {
		return "The run was cancelled."
	}
	return "The run was cancelled by " + r.CancelledBy + "."
}
