package platform

import (
	"encoding/json"
	"time"
)

// TraceCall is a call of the trace API, which Nextflow's nf-tower plugin makes (plugins/nf-tower, TowerClient.groovy): create
// and begin once, progress at most once a second, heartbeat once a minute when there is nothing to tell, complete at the
// end. Every call may come again or late.
type TraceCall struct {
	SessionID    string          `json:"sessionId"`
	RunName      string          `json:"runName"`
	WorkflowID   string          `json:"workflowId"`
	Workflow     json.RawMessage `json:"workflow"`
	ProcessNames []string        `json:"processNames"`
	Tasks        []Task          `json:"tasks"`
	Progress     *Progress       `json:"progress"`
	Instant      int64           `json:"instant"` // milliseconds since 1970, on Nextflow's clock
}

// lastInstant is the last that can be written in JSON again, in milliseconds since 1970.
var lastInstant = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()

// At is the call's time on Nextflow's clock, or now for a client that does not tell or tells nonsense.
func (c TraceCall) At() time.Time {
	if c.Instant <= 0 || c.Instant > lastInstant {
		return time.Now()
	}
	return time.UnixMilli(c.Instant)
}

// TraceWorkflow is what Wherry itself reads of a "workflow" object; the whole of it is kept for the run's page.
type TraceWorkflow struct {
	SessionID    string    `json:"sessionId"`
	CommandLine  string    `json:"commandLine"`
	Start        time.Time `json:"start"`
	Complete     time.Time `json:"complete"`
	Success      bool      `json:"success"`
	ExitStatus   *int      `json:"exitStatus"`
	ErrorMessage string    `json:"errorMessage"`
	ErrorReport  string    `json:"errorReport"`
}

// ReadWorkflow reads the "workflow" object, within the limits. Without one, everything in it is empty. Another thing in its place is CodeInvalid.
func (c TraceCall) ReadWorkflow() (w TraceWorkflow, err error) {
	if len(c.Workflow) > 0 {
		if err := json.Unmarshal(c.Workflow, &w); err != nil {
			return w, Errorf(CodeInvalid, "The workflow object is not what this address takes: %v", err)
		}
	}
	if w.Start.IsZero() {
		w.Start = c.At()
	}
	if w.Complete.IsZero() {
		w.Complete = c.At()
	}
	if w.ExitStatus != nil && *w.ExitStatus == NoExit {
		w.ExitStatus = nil
	}
	return w.bounded(), nil
}

// Completion is Nextflow's own end, of a complete call.
func (w TraceWorkflow) Completion() *Completion {
	return &Completion{Success: w.Success, ExitStatus: w.ExitStatus, ErrorMessage: w.ErrorMessage, ErrorReport: w.ErrorReport, Complete: w.Complete}
}
