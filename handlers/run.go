package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Run shows one run, or one part of its page.
func (h *Handlers) Run(c echo.Context) error {
	s, err := h.shell(c, "", "runs")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, c.Param("run")); err != nil {
		return err
	}
	v, err := h.runView(c)
	if err != nil {
		return err
	}
	s.Title = views.RunTitle(v.Run)
	switch c.QueryParam("part") {
	case "head":
		return render(c, http.StatusOK, views.RunHeadPart(s, v))
	case "progress":
		return render(c, http.StatusOK, views.RunProgress(s, v))
	case "timeline":
		return render(c, http.StatusOK, views.RunTimeline(s, v))
	case "reports":
		return render(c, http.StatusOK, views.RunReports(s, v))
	}
	if v.Tasks, err = h.taskList(c, v.Run); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.RunPage(s, v))
}

func (h *Handlers) runView(c echo.Context) (v views.RunView, err error) {
	ctx := c.Request().Context()
	if v.Run, err = h.runParam(c); err != nil {
		return v, err
	}
	if v.Machine, err = h.DB.MachineOfRun(ctx, v.Run.ID); err != nil {
		return v, err
	}
	if v.Steps, err = h.DB.Steps(ctx, v.Machine.ID); err != nil {
		return v, err
	}
	if v.Reports, err = h.DB.Reports(ctx, v.Run.ID); err != nil {
		return v, err
	}
	if v.Labels, err = h.labelPicker(c, nil, platform.LabelsRun, v.Run.ID); err != nil {
		return v, err
	}
	if v.Before, err = h.relative(ctx, v.Run, v.Run.RelaunchOf); err != nil {
		return v, err
	}
	if v.After, err = h.relative(ctx, v.Run, v.Run.RelaunchedAs); err != nil {
		return v, err
	}
	v.Now, v.Log = time.Now(), platform.LogOutput
	if stream := platform.LogStream(c.QueryParam("log")); stream.Known() {
		v.Log = stream
	}
	v.Env = platform.FormatEnvironment(v.Run.Launch.Environment)
	v.Params, v.Config, v.Dir = reportedConfig(v.Run)
	return v, nil
}

// relative reads the run before or after one in a row of relaunches; the zero value where there is none.
func (h *Handlers) relative(ctx context.Context, r platform.Run, id string) (platform.Run, error) {
	if id == "" {
		return platform.Run{}, nil
	}
	return h.DB.Run(ctx, r.WorkspaceID, id)
}

// reportedConfig is what Nextflow said that it resolved, and where it was launched; before it said so, what it was given.
func reportedConfig(r platform.Run) (params, config, dir string) {
	var workflow struct {
		ConfigText string          `json:"configText"`
		Params     json.RawMessage `json:"params"`
		LaunchDir  string          `json:"launchDir"`
	}
	if json.Unmarshal(r.Workflow, &workflow) != nil || len(workflow.Params) == 0 {
		return r.Launch.ParamsText, workflow.ConfigText, workflow.LaunchDir
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, workflow.Params, "", "  ") != nil || pretty.String() == "{}" || pretty.String() == "null" {
		return r.Launch.ParamsText, workflow.ConfigText, workflow.LaunchDir
	}
	return pretty.String(), workflow.ConfigText, workflow.LaunchDir
}

// Cancel notes that a run shall be cancelled. Its agent hears of it at once.
func (h *Handlers) Cancel(c echo.Context) error {
	r, err := h.runParam(c)
	if err != nil {
		return err
	}
	m := Member(c)
	if err := h.DB.AskCancel(c.Request().Context(), m.Workspace.ID, r.ID, m.User.UserName); err != nil {
		return err
	}
	return redirect(c, base(c)+"/runs/"+r.ID, "cancel-asked")
}
