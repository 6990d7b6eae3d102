package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/handlers"
	"wherry/platform"
)

// The trace API is what Nextflow's nf-tower plugin calls (plugins/nf-tower, TowerClient.groovy): create and begin once,
// progress at most once a second, heartbeat once a minute when there is nothing to tell, complete at the end. Every call
// may come again or late.

// traceWorkflow is what Wherry itself reads of a "workflow" object; the whole of it is kept for the run's page.
type traceWorkflow struct {
	SessionID    string    `json:"sessionId"`
	CommandLine  string    `json:"commandLine"`
	Start        time.Time `json:"start"`
	Complete     time.Time `json:"complete"`
	Success      bool      `json:"success"`
	ExitStatus   *int      `json:"exitStatus"`
	ErrorMessage string    `json:"errorMessage"`
	ErrorReport  string    `json:"errorReport"`
}

// traceRequest is the body of any trace call: each has some of these.
type traceRequest struct {
	SessionID    string             `json:"sessionId"`
	RunName      string             `json:"runName"`
	WorkflowID   string             `json:"workflowId"`
	Workflow     json.RawMessage    `json:"workflow"`
	ProcessNames []string           `json:"processNames"`
	Tasks        []platform.Task    `json:"tasks"`
	Progress     *platform.Progress `json:"progress"`
	Instant      int64              `json:"instant"` // milliseconds since 1970, on Nextflow's clock
}

// lastInstant is the last that can be written in JSON again, in milliseconds since 1970.
var lastInstant = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()

// at is the call's time on Nextflow's clock, or now for a client that does not tell or tells nonsense.
func (r traceRequest) at() time.Time {
	if r.Instant <= 0 || r.Instant > lastInstant {
		return time.Now()
	}
	return time.UnixMilli(r.Instant)
}

// traceAnswer is the answer to any trace call.
type traceAnswer struct {
	WorkflowID string `json:"workflowId"`
	WatchURL   string `json:"watchUrl,omitempty"`
	Status     string `json:"status,omitempty"`
}

// traceRun reads a call, and the run that its token belongs to. A call for another run is refused.
func (a *API) traceRun(c echo.Context) (req traceRequest, run platform.Run, err error) {
	if err = readJSON(c, &req); err != nil {
		return req, run, err
	}
	m := handlers.Machine(c)
	id := c.Param("workflow")
	if id == "" {
		id = req.WorkflowID
	}
	if id != "" && id != m.RunID {
		return req, run, platform.Errorf(platform.CodeForbidden, "This token is for another run.")
	}
	ctx := c.Request().Context()
	if err = a.DB.Heartbeat(ctx, m, time.Now()); err != nil {
		return req, run, err
	}
	run, err = a.DB.AnyRun(ctx, m.RunID)
	return req, run, err
}

// TraceCreate tells Nextflow which run it is.
func (a *API) TraceCreate(c echo.Context) error {
	req, run, err := a.traceRun(c)
	if err != nil {
		return err
	}
	if err := a.DB.TraceCreated(c.Request().Context(), run, req.SessionID); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, traceAnswer{WorkflowID: run.ID})
}

// TraceBegin notes that Nextflow has begun.
func (a *API) TraceBegin(c echo.Context) error {
	req, run, err := a.traceRun(c)
	if err != nil {
		return err
	}
	var wf traceWorkflow
	if len(req.Workflow) > 0 {
		if err := json.Unmarshal(req.Workflow, &wf); err != nil {
			return platform.Errorf(platform.CodeInvalid, "The workflow object is not what this address takes: %v", err)
		}
	}
	if wf.Start.IsZero() {
		wf.Start = req.at()
	}
	err = a.DB.TraceBegan(c.Request().Context(), run, db.TraceBegin{SessionID: wf.SessionID, CommandLine: wf.CommandLine,
		Workflow: req.Workflow, ProcessNames: req.ProcessNames, At: wf.Start})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, traceAnswer{WorkflowID: run.ID, WatchURL: a.PortalURL + "/runs/" + run.ID, Status: "OK"})
}

// TraceProgress takes tasks and counts.
func (a *API) TraceProgress(c echo.Context) error {
	req, run, err := a.traceRun(c)
	if err != nil {
		return err
	}
	err = a.DB.TraceProgressed(c.Request().Context(), run, db.TraceProgress{Tasks: req.Tasks, Progress: req.Progress, Instant: req.at()})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, traceAnswer{WorkflowID: run.ID, Status: "OK"})
}

// TraceComplete takes Nextflow's own end. The run ends when its agent has reported.
func (a *API) TraceComplete(c echo.Context) error {
	req, run, err := a.traceRun(c)
	if err != nil {
		return err
	}
	var wf traceWorkflow
	if err := json.Unmarshal(req.Workflow, &wf); err != nil {
		return platform.Errorf(platform.CodeInvalid, "The workflow object is not what this address takes: %v", err)
	}
	if wf.ExitStatus != nil && *wf.ExitStatus == platform.NoExit {
		wf.ExitStatus = nil
	}
	if wf.Complete.IsZero() {
		wf.Complete = req.at()
	}
	err = a.DB.TraceProgressed(c.Request().Context(), run, db.TraceProgress{Tasks: req.Tasks, Progress: req.Progress, Instant: req.at(),
		Workflow: req.Workflow, Completed: &platform.Completion{Success: wf.Success, ExitStatus: wf.ExitStatus,
			ErrorMessage: wf.ErrorMessage, ErrorReport: wf.ErrorReport, Complete: wf.Complete}})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, traceAnswer{WorkflowID: run.ID, Status: "OK"})
}
