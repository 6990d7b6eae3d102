package handlers

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// ComputeEnvs lists the workspace's compute environments.
func (h *Handlers) ComputeEnvs(c echo.Context) error {
	s, err := h.shell(c, "Compute environments", "compute-envs")
	if err != nil {
		return err
	}
	l := views.ComputeEnvList{Now: time.Now()}
	if l.Envs, err = h.DB.ComputeEnvs(c.Request().Context(), s.Member.Workspace.ID); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.ComputeEnvsPage(s, l))
}

// NewComputeEnv shows the form for a new environment.
func (h *Handlers) NewComputeEnv(c echo.Context) error {
	return h.showComputeEnv(c, http.StatusOK, views.ComputeEnvForm{Env: platform.ComputeEnv{Platform: platform.PlatformLocal}})
}

// AddComputeEnv saves a new environment.
func (h *Handlers) AddComputeEnv(c echo.Context) error {
	return h.saveComputeEnv(c, platform.ComputeEnv{WorkspaceID: Member(c).Workspace.ID}, h.DB.AddComputeEnv)
}

// EditComputeEnv shows the form of an environment.
func (h *Handlers) EditComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	return h.showComputeEnv(c, http.StatusOK, views.ComputeEnvForm{Env: e, Environment: platform.FormatEnvironment(e.Config.Environment)})
}

// UpdateComputeEnv saves a changed environment.
func (h *Handlers) UpdateComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	return h.saveComputeEnv(c, e, func(ctx context.Context, e *platform.ComputeEnv) error { return h.DB.UpdateComputeEnv(ctx, *e) })
}

// MakePrimary makes an environment the one that new launches start with.
func (h *Handlers) MakePrimary(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.SetPrimaryComputeEnv(c.Request().Context(), e.WorkspaceID, e.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/compute-envs", "compute-env-primary")
}

// DeleteComputeEnv deletes an environment that nothing runs in.
func (h *Handlers) DeleteComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteComputeEnv(c.Request().Context(), e.WorkspaceID, e.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/compute-envs", "compute-env-deleted")
}

func (h *Handlers) computeEnvParam(c echo.Context) (platform.ComputeEnv, error) {
	return h.DB.ComputeEnv(c.Request().Context(), Member(c).Workspace.ID, c.Param("env"))
}

// saveComputeEnv reads the form over e, checks it, asks the platform whether it can work, and saves it.
func (h *Handlers) saveComputeEnv(c echo.Context, e platform.ComputeEnv, save func(context.Context, *platform.ComputeEnv) error) error {
	f := views.ComputeEnvForm{Environment: c.FormValue("environment"), Errors: platform.FieldErrors{}}
	e.Name, e.Platform, e.WorkDir = c.FormValue("name"), platform.PlatformName(c.FormValue("platform")), c.FormValue("workDir")
	e.Config = platform.ComputeEnvConfig{NextflowConfig: c.FormValue("nextflowConfig"), PreRunScript: c.FormValue("preRunScript"), PostRunScript: c.FormValue("postRunScript")}
	var err error
	if e.Config.Environment, err = platform.ParseEnvironment(f.Environment); err != nil {
		f.Errors["environment"] = err.Error()
	}
	errs, err := fieldErrors(e.Clean())
	if err != nil {
		return err
	}
	maps.Copy(f.Errors, errs)
	if len(f.Errors) == 0 {
		e.Status, e.Message = platform.ComputeEnvAvailable, ""
		if err := h.Clouds[e.Platform].Check(c.Request().Context(), e); err != nil {
			f.Errors["workDir"] = err.Error()
		}
	}
	if len(f.Errors) == 0 {
		if errs, err = fieldErrors(save(c.Request().Context(), &e)); err != nil {
			return err
		}
		maps.Copy(f.Errors, errs)
	}
	if len(f.Errors) > 0 {
		f.Env = e
		return h.showComputeEnv(c, http.StatusUnprocessableEntity, f)
	}
	return redirect(c, base(c)+"/compute-envs", "compute-env-saved")
}

func (h *Handlers) showComputeEnv(c echo.Context, status int, f views.ComputeEnvForm) error {
	s, err := h.shell(c, "Compute environment", "compute-envs")
	if err != nil {
		return err
	}
	return render(c, status, views.ComputeEnvPage(s, f))
}
