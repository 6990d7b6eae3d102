package handlers

import (
	"net/http"
	"slices"
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
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	l := views.ComputeEnvList{Now: time.Now()}
	if l.Envs, err = h.DB.ComputeEnvs(c.Request().Context(), s.Member.Workspace.ID); err != nil {
		return err
	}
	if l.Labels, err = h.labelFilter(c, platform.LabelsComputeEnv); err != nil {
		return err
	}
	l.Envs = slices.DeleteFunc(l.Envs, func(e platform.ComputeEnv) bool { return !l.Labels.Fits(e.ID) })
	if c.QueryParam("part") == "list" {
		return render(c, http.StatusOK, views.ComputeEnvsTable(s, l))
	}
	return render(c, http.StatusOK, views.ComputeEnvsPage(s, l))
}

// ComputeEnv shows one environment: its state, what it is set to, and what was made for it.
func (h *Handlers) ComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if platform.ErrorCode(err) == platform.CodeNotFound && h.wasDeleted(c) {
		return redirect(c, base(c)+"/compute-envs", "compute-env-deleted") // the page was open while it went
	}
	if err != nil {
		return err
	}
	s, err := h.shell(c, string(e.Status)+" "+e.Name, "compute-envs")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	d := views.ComputeEnvDetail{Env: e, Now: time.Now()}
	ctx := c.Request().Context()
	if d.Resources, err = h.DB.Resources(ctx, e.ID); err != nil {
		return err
	}
	if e.CredentialsID != "" {
		if d.Credentials, err = h.DB.Credentials(ctx, e.WorkspaceID, e.CredentialsID); err != nil {
			return err
		}
	}
	if d.Labels, err = h.DB.LabelsOn(ctx, platform.LabelsComputeEnv, e.ID); err != nil {
		return err
	}
	if d.Machines, err = h.DB.LivingIn(ctx, e.ID); err != nil {
		return err
	}
	d.Price, d.Unreachable = h.price(e), e.InCloud() && !h.AgentURLReachable
	if c.QueryParam("part") == "state" {
		return render(c, http.StatusOK, views.ComputeEnvState(s, d))
	}
	return render(c, http.StatusOK, views.ComputeEnvPage(s, d))
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

// DisableComputeEnv keeps new runs out of an environment.
func (h *Handlers) DisableComputeEnv(c echo.Context) error {
	return h.moveComputeEnv(c, platform.ComputeEnvDisabled, "compute-env-disabled")
}

// EnableComputeEnv lets runs into an environment again, once all that it needs is there.
func (h *Handlers) EnableComputeEnv(c echo.Context) error {
	return h.moveComputeEnv(c, platform.ComputeEnvCreating, "compute-env-enabled")
}

// RetryComputeEnv makes what could not be made.
func (h *Handlers) RetryComputeEnv(c echo.Context) error {
	return h.moveComputeEnv(c, platform.ComputeEnvCreating, "compute-env-made")
}

func (h *Handlers) moveComputeEnv(c echo.Context, to platform.ComputeEnvStatus, done string) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	if e.Status != to { // somebody else, or a second click, may have been first
		if err := h.DB.MoveComputeEnv(c.Request().Context(), e, to, ""); err != nil {
			return err
		}
	}
	return redirect(c, base(c)+"/compute-envs/"+e.ID, done)
}

// CheckComputeEnv asks a loop to look at an environment now.
func (h *Handlers) CheckComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if platform.ErrorCode(err) == platform.CodeNotFound && h.wasDeleted(c) {
		return redirect(c, base(c)+"/compute-envs", "compute-env-deleted")
	}
	if err != nil {
		return err
	}
	if err := h.DB.AskComputeEnvCheck(c.Request().Context(), e); err != nil {
		return err
	}
	return redirect(c, base(c)+"/compute-envs/"+e.ID, "compute-env-check")
}

// DeleteComputeEnv begins to delete an environment in which nothing runs.
func (h *Handlers) DeleteComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteComputeEnv(c.Request().Context(), e.WorkspaceID, e.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/compute-envs", "compute-env-deleting")
}

// ForgetComputeEnv gives up an environment whose account does not answer any more, and shows what may remain there.
func (h *Handlers) ForgetComputeEnv(c echo.Context) error {
	e, err := h.computeEnvParam(c)
	if err != nil {
		return err
	}
	left, err := h.DB.ForgetComputeEnv(c.Request().Context(), e)
	if err != nil {
		return err
	}
	s, err := h.shell(c, "Forgotten: "+e.Name, "compute-envs")
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.ComputeEnvForgotten(s, e, left))
}

// wasDeleted tells whether the environment was this workspace's, until it went.
func (h *Handlers) wasDeleted(c echo.Context) bool {
	e, err := h.DB.AnyComputeEnv(c.Request().Context(), c.Param("env"))
	return err == nil && e.WorkspaceID == Member(c).Workspace.ID && e.Status == platform.ComputeEnvDeleted
}

func (h *Handlers) computeEnvParam(c echo.Context) (platform.ComputeEnv, error) {
	return h.DB.ComputeEnv(c.Request().Context(), Member(c).Workspace.ID, c.Param("env"))
}
