package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
	"wherry/views"
)

// recentRuns is how many runs the Launchpad shows.
const recentRuns = 5

// Launchpad offers the saved pipelines.
func (h *Handlers) Launchpad(c echo.Context) error {
	s, err := h.shell(c, "Launchpad", "launchpad")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	ctx, workspaceID := c.Request().Context(), s.Member.Workspace.ID
	l := views.Launchpad{Now: time.Now(), Envs: map[string]platform.ComputeEnv{}}
	if l.Pipelines, err = h.DB.Pipelines(ctx, workspaceID); err != nil {
		return err
	}
	if l.Labels, err = h.labelFilter(c, platform.LabelsPipeline); err != nil {
		return err
	}
	l.Pipelines = slices.DeleteFunc(l.Pipelines, func(p platform.Pipeline) bool { return !l.Labels.Fits(strconv.FormatInt(p.ID, 10)) })
	envs, err := h.DB.ComputeEnvs(ctx, workspaceID)
	if err != nil {
		return err
	}
	for _, e := range envs {
		l.Envs[e.ID] = e
	}
	if l.Last, err = h.DB.LastRuns(ctx, workspaceID); err != nil {
		return err
	}
	if l.Recent, err = h.DB.Runs(ctx, workspaceID, db.RunFilter{Limit: recentRuns}); err != nil {
		return err
	}
	if l.RunLabels, err = h.labelsOfRuns(c, l.Recent); err != nil {
		return err
	}
	if c.QueryParam("part") == "body" {
		return render(c, http.StatusOK, views.LaunchpadBody(s, l))
	}
	return render(c, http.StatusOK, views.LaunchpadPage(s, l))
}
