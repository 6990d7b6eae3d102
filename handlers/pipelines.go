package handlers

import (
	"context"
	"maps"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// NewPipeline shows the form for a new saved pipeline.
func (h *Handlers) NewPipeline(c echo.Context) error {
	return h.showPipeline(c, http.StatusOK, 0, views.LaunchForm{})
}

// AddPipeline saves a new pipeline.
func (h *Handlers) AddPipeline(c echo.Context) error {
	return h.savePipeline(c, platform.Pipeline{}, h.DB.AddPipeline)
}

// EditPipeline shows the form of a saved pipeline.
func (h *Handlers) EditPipeline(c echo.Context) error {
	p, err := h.pipelineParam(c)
	if err != nil {
		return err
	}
	f := showLaunch(p.Launch)
	f.Name, f.Description = p.Name, p.Description
	return h.showPipeline(c, http.StatusOK, p.ID, f)
}

// UpdatePipeline saves a changed pipeline.
func (h *Handlers) UpdatePipeline(c echo.Context) error {
	p, err := h.pipelineParam(c)
	if err != nil {
		return err
	}
	return h.savePipeline(c, p, func(ctx context.Context, p *platform.Pipeline) error { return h.DB.UpdatePipeline(ctx, *p) })
}

// DeletePipeline deletes a saved pipeline.
func (h *Handlers) DeletePipeline(c echo.Context) error {
	p, err := h.pipelineParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeletePipeline(c.Request().Context(), p.WorkspaceID, p.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/launchpad", "pipeline-deleted")
}

func (h *Handlers) pipelineParam(c echo.Context) (platform.Pipeline, error) {
	return h.DB.Pipeline(c.Request().Context(), Member(c).Workspace.ID, IDParam(c, "pipeline"))
}

func (h *Handlers) savePipeline(c echo.Context, p platform.Pipeline, save func(context.Context, *platform.Pipeline) error) error {
	f := readLaunch(c)
	p.WorkspaceID, p.Name, p.Description, p.Launch = Member(c).Workspace.ID, f.Name, f.Description, f.Launch
	_, err := h.checkLaunch(c, &f, p.Clean)
	if err != nil {
		return err
	}
	if len(f.Errors) == 0 {
		errs, err := fieldErrors(save(c.Request().Context(), &p))
		if err != nil {
			return err
		}
		maps.Copy(f.Errors, errs)
	}
	if len(f.Errors) > 0 {
		return h.showPipeline(c, http.StatusUnprocessableEntity, p.ID, f)
	}
	return redirect(c, base(c)+"/launchpad", "pipeline-saved")
}

func (h *Handlers) showPipeline(c echo.Context, status int, id int64, f views.LaunchForm) error {
	s, err := h.shell(c, "Pipeline", "launchpad")
	if err != nil {
		return err
	}
	saved := ""
	if id != 0 {
		saved = strconv.FormatInt(id, 10)
	}
	if err := h.addChoices(c, &f, platform.LabelsPipeline, saved); err != nil {
		return err
	}
	return render(c, status, views.PipelinePage(s, id, f))
}
