package handlers

import (
	"maps"
	"net/http"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// LaunchForm shows the launch form: empty, or with what a saved pipeline or an earlier run has.
func (h *Handlers) LaunchForm(c echo.Context) error {
	f, err := h.startLaunch(c)
	if err != nil {
		return err
	}
	if f.Launch.RunName, err = h.freeRunName(c); err != nil {
		return err
	}
	return h.showLaunchForm(c, http.StatusOK, f)
}

// startLaunch reads from what the form starts.
func (h *Handlers) startLaunch(c echo.Context) (f views.LaunchForm, err error) {
	ctx, workspaceID := c.Request().Context(), Member(c).Workspace.ID
	resume := c.QueryParam("resume")
	earlier := resume + c.QueryParam("relaunch")
	switch {
	case earlier != "":
		run, err := h.DB.Run(ctx, workspaceID, earlier)
		if err != nil {
			return f, err
		}
		if resume != "" && !run.Resumable() {
			return f, platform.Errorf(platform.CodeConflict, "The run %s cannot be resumed: it has not ended, or Nextflow never began. Launch it again instead.", run.Name)
		}
		f = showLaunch(platform.RelaunchOf(run, resume != ""))
		f.From, f.PipelineID = run.Name, run.PipelineID
	case c.QueryParam("pipeline") != "":
		p, err := h.DB.Pipeline(ctx, workspaceID, intParam(c, "pipeline", 0))
		if err != nil {
			return f, err
		}
		f = showLaunch(p.Launch)
		f.PipelineID = p.ID
	}
	return f, nil
}

func (h *Handlers) showLaunchForm(c echo.Context, status int, f views.LaunchForm) error {
	s, err := h.shell(c, "Launch", "launchpad")
	if err != nil {
		return err
	}
	kind, id := labelsBefore(c)
	if err := h.addChoices(c, &f, kind, id); err != nil {
		return err
	}
	return render(c, status, views.LaunchPage(s, f))
}

// labelsBefore names what a launch starts from, whose labels it starts with.
func labelsBefore(c echo.Context) (platform.LabelKind, string) {
	if earlier := c.QueryParam("resume") + c.QueryParam("relaunch"); earlier != "" {
		return platform.LabelsRun, earlier
	}
	return platform.LabelsPipeline, c.QueryParam("pipeline")
}

// Launch saves a run with the wish for its machine, and shows it. The loops do the rest.
func (h *Handlers) Launch(c echo.Context) error {
	f := readLaunch(c)
	if f.Launch.RunName == "" {
		name, err := h.freeRunName(c)
		if err != nil {
			return err
		}
		f.Launch.RunName = name
	}
	env, err := h.checkLaunch(c, &f, f.Launch.Clean)
	if err != nil {
		return err
	}
	h.checkReach(&f, env)
	if len(f.Errors) > 0 {
		return h.showLaunchForm(c, http.StatusUnprocessableEntity, f)
	}
	m := Member(c)
	run := platform.Run{WorkspaceID: m.Workspace.ID, UserID: m.User.ID, PipelineID: f.PipelineID, ComputeEnvID: env.ID,
		Name: f.Launch.RunName, Launch: f.Launch, WorkDir: f.Launch.WorkDir}
	if run.WorkDir == "" {
		run.WorkDir = env.WorkDir
	}
	_, err = h.DB.AddRun(c.Request().Context(), &run)
	errs, err := fieldErrors(err)
	if err != nil {
		return err
	}
	if errs != nil {
		maps.Copy(f.Errors, errs)
		return h.showLaunchForm(c, http.StatusUnprocessableEntity, f)
	}
	return redirect(c, base(c)+"/runs/"+run.ID, "")
}

// RunName offers another name for a run.
func (h *Handlers) RunName(c echo.Context) error {
	name, err := h.freeRunName(c)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.RunNameInput(name, ""))
}

// freeRunName finds a friendly name that no run of the workspace has; with very many runs, a longer one.
func (h *Handlers) freeRunName(c echo.Context) (string, error) {
	name := platform.RandomRunName()
	for range 20 {
		taken, err := h.DB.RunNameTaken(c.Request().Context(), Member(c).Workspace.ID, name)
		if err != nil || !taken {
			return name, err
		}
		name = platform.RandomRunName()
	}
	return name + "_" + platform.NewID(), nil
}

// CheckParams tells, while they are typed, whether parameters can be read.
func (h *Handlers) CheckParams(c echo.Context) error {
	text := c.FormValue("paramsText")
	problem := ""
	if _, err := platform.ParseParams(text); err != nil {
		problem = err.Error()
	}
	return render(c, http.StatusOK, views.ParamsCheck(text, problem))
}
