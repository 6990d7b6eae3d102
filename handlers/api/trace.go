package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// traceAnswer is the answer to any trace call.
type traceAnswer struct {
	WorkflowID string `json:"workflowId"`
	WatchURL   string `json:"watchUrl,omitempty"`
	Status     string `json:"status,omitempty"`
}

// traceRun reads a call, and the run that its token belongs to. A call for another run is refused.
func (a *API) traceRun(c echo.Context) (req platform.TraceCall, run platform.Run, err error) {
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
func (a *API) TraceCreate(c echo.Context) error { return a.takeTrace(c, "create") }

// TraceBegin notes that Nextflow has begun.
func (a *API) TraceBegin(c echo.Context) error { return a.takeTrace(c, "begin") }

// TraceProgress takes tasks and counts.
func (a *API) TraceProgress(c echo.Context) error { return a.takeTrace(c, "progress") }

// TraceComplete takes Nextflow's own end. The run ends when its agent has reported.
func (a *API) TraceComplete(c echo.Context) error { return a.takeTrace(c, "complete") }

func (a *API) takeTrace(c echo.Context, name string) error {
	call, run, err := a.traceRun(c)
	if err != nil {
		return err
	}
	if err := a.DB.TraceCalled(c.Request().Context(), run, name, call); err != nil {
		return err
	}
	answer := traceAnswer{WorkflowID: run.ID}
	switch name {
	case "begin":
		answer.WatchURL, answer.Status = a.PortalURL+"/runs/"+run.ID, "OK"
	case "progress", "complete":
		answer.Status = "OK"
	}
	return c.JSON(http.StatusOK, answer)
}
