package handlers

import (
	"github.com/labstack/echo/v4"

	"wherry/platform"
)

// checkpointParam reads the checkpoint that the path names, of the Studio that it names, for a member who may change it.
func (h *Handlers) checkpointParam(c echo.Context) (platform.Studio, platform.Checkpoint, error) {
	s, err := h.studioFor(c, platform.Studio.MayEdit)
	if err != nil {
		return s, platform.Checkpoint{}, err
	}
	k, err := h.DB.Checkpoint(c.Request().Context(), s.WorkspaceID, c.Param("checkpoint"))
	if err == nil && k.StudioID != s.ID {
		err = platform.Errorf(platform.CodeNotFound, "The Studio %s has no such checkpoint.", s.Name)
	}
	return s, k, err
}

// NameCheckpoint names a checkpoint, so that it is kept, or takes its name away.
func (h *Handlers) NameCheckpoint(c echo.Context) error {
	s, k, err := h.checkpointParam(c)
	if err != nil {
		return err
	}
	errs, err := fieldErrors(h.DB.NameCheckpoint(c.Request().Context(), s.WorkspaceID, k.ID, c.FormValue("name")))
	if errs != nil {
		err = platform.Errorf(platform.CodeInvalid, "The checkpoint's name cannot be that. %s", errs["name"])
	}
	if err != nil {
		return err
	}
	return redirect(c, studioPath(c, s), "checkpoint-named")
}

// DeleteCheckpoint deletes a checkpoint, one with a name too.
func (h *Handlers) DeleteCheckpoint(c echo.Context) error {
	s, k, err := h.checkpointParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteCheckpoint(c.Request().Context(), s.WorkspaceID, k.ID); err != nil {
		return err
	}
	return redirect(c, studioPath(c, s), "checkpoint-deleted")
}
