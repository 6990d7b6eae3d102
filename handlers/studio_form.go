package handlers

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// NewStudio shows the form of a new Studio: empty, as a copy of another (?from=), or to begin with kept work (?checkpoint=).
func (h *Handlers) NewStudio(c echo.Context) error {
	f, err := h.beginStudio(c)
	if err != nil {
		return err
	}
	return h.showStudioForm(c, http.StatusOK, f)
}

func (h *Handlers) beginStudio(c echo.Context) (f views.StudioForm, err error) {
	original, checkpoint := c.QueryParam("from"), c.QueryParam("checkpoint")
	var kept platform.Checkpoint
	if checkpoint != "" {
		if kept, err = h.DB.Checkpoint(c.Request().Context(), Member(c).Workspace.ID, checkpoint); err != nil {
			return f, err
		}
		original = kept.StudioID
	}
	s := platform.Studio{Config: platform.StudioConfig{LifespanHours: platform.DefaultLifespanHours}}
	if original != "" {
		if s, err = h.copyOfStudio(c, original); err != nil {
			return f, err
		}
	}
	s.Config.Restore = kept.ID
	f = views.FillStudioForm(s)
	f.From, f.Copy = kept, original != "" && checkpoint == ""
	if f.Template == "" && len(h.Templates) > 0 {
		f.Template = h.Templates[0].ID
	}
	return f, nil
}

// copyOfStudio is a new Studio with the settings of another, which begins with nothing of its work.
func (h *Handlers) copyOfStudio(c echo.Context, id string) (platform.Studio, error) {
	s, err := h.DB.Studio(c.Request().Context(), Member(c).Workspace.ID, id)
	if err == nil && !s.MayLook(Member(c)) {
		err = notForMember(s, Member(c))
	}
	return platform.Studio{ComputeEnvID: s.ComputeEnvID, Description: s.Description, Private: s.Private, Config: s.Config}, err
}

// AddStudio saves a new Studio, and starts it where that was asked for.
func (h *Handlers) AddStudio(c echo.Context) error {
	m := Member(c)
	f := h.readStudio(c, platform.Studio{WorkspaceID: m.Workspace.ID, UserID: m.User.ID})
	f.Studio.Config.Restore = c.FormValue("restore")
	if err := h.checkRestore(c, &f); err != nil {
		return err
	}
	saved, err := h.saveStudio(c, &f, h.DB.AddStudio)
	if err != nil {
		return err
	}
	switch {
	case !saved:
		return h.showStudioForm(c, http.StatusUnprocessableEntity, f)
	case c.FormValue("start") == "":
		return redirect(c, studioPath(c, f.Studio), "studio-added")
	}
	s, err := h.DB.Studio(c.Request().Context(), m.Workspace.ID, f.Studio.ID)
	if err != nil {
		return err
	}
	return h.startStudio(c, s)
}

// EditStudio shows the form of a Studio.
func (h *Handlers) EditStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayEdit)
	if err != nil {
		return err
	}
	return h.showStudioForm(c, http.StatusOK, views.FillStudioForm(s))
}

// UpdateStudio saves a changed Studio. A session that goes on keeps what it was started with.
func (h *Handlers) UpdateStudio(c echo.Context) error {
	before, err := h.studioFor(c, platform.Studio.MayEdit)
	if err != nil {
		return err
	}
	f := h.readStudio(c, before)
	f.Studio.Config.Restore = before.Config.Restore
	if version, err := strconv.ParseInt(c.FormValue("version"), 10, 64); err == nil {
		f.Studio.Version = version // that the form was filled with, which another save may have replaced since
	}
	if f.Studio.Private && before.UserID != Member(c).User.ID {
		f.Errors.Add("private", "Only %s, who added the Studio, can make it private.", before.UserName)
	}
	saved, err := h.saveStudio(c, &f, func(ctx context.Context, s *platform.Studio) error { return h.DB.UpdateStudio(ctx, *s) })
	if err != nil {
		return err
	}
	if !saved {
		return h.showStudioForm(c, http.StatusUnprocessableEntity, f)
	}
	return redirect(c, studioPath(c, f.Studio), "studio-saved")
}

// readStudio reads the form over a Studio. What cannot be read at all is in the form's Errors already.
func (h *Handlers) readStudio(c echo.Context, s platform.Studio) views.StudioForm {
	f := views.StudioForm{Template: c.FormValue("template"), Endless: c.FormValue("lifespan") == "endless", Errors: platform.FieldErrors{},
		Port: c.FormValue("port"), Hours: c.FormValue("lifespanHours"), Idle: c.FormValue("idleMinutes"),
		Environment: c.FormValue("environment"), Mounts: c.FormValue("mounts")}
	s.Name, s.Description, s.ComputeEnvID, s.Private = c.FormValue("name"), c.FormValue("description"), c.FormValue("computeEnvId"), c.FormValue("private") != ""
	s.Config = platform.StudioConfig{Template: f.Template, Image: c.FormValue("image"), Spot: c.FormValue("market") == "spot", CondaPackages: c.FormValue("condaPackages"),
		Environment: readVariables(f.Errors, "environment", f.Environment), Mounts: platform.ParseMounts(f.Mounts),
		IdleMinutes: readNumber(f.Errors, "idleMinutes", f.Idle, "Enter a number of minutes, or leave this empty.")}
	switch f.Template {
	case views.CustomImage:
		s.Config.Template = ""
		s.Config.Port = readNumber(f.Errors, "port", f.Port, "A port is a number from 1 to 65535.")
	case "":
		f.Errors.Add("template", "Choose a tool.")
	}
	if !f.Endless {
		s.Config.LifespanHours = readLifespan(f.Errors, f.Hours)
	}
	s.LabelIDs = readLabels(c)
	f.Studio = s
	return f
}

// readLifespan reads hours; nothing and zero are refused, because they would mean no end.
func readLifespan(errs platform.FieldErrors, text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 {
		errs.Add("lifespanHours", "Enter hours from 1 to %d, or choose that it goes on until it is stopped.", platform.MaxLifespanHours)
	}
	return max(0, n)
}

// formNumber reads a number of a form; what is none is 0.
func formNumber(c echo.Context, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(c.FormValue(name)))
	if err != nil {
		return 0
	}
	return n
}

// checkRestore makes sure that the kept work which a new Studio begins with is there, and the member's to see.
func (h *Handlers) checkRestore(c echo.Context, f *views.StudioForm) error {
	ctx, id, workspaceID := c.Request().Context(), f.Studio.Config.Restore, Member(c).Workspace.ID
	if id == "" {
		return nil
	}
	kept, err := h.DB.Checkpoint(ctx, workspaceID, id)
	if err == nil {
		var of platform.Studio
		if of, err = h.DB.Studio(ctx, workspaceID, kept.StudioID); err == nil && !of.MayLook(Member(c)) {
			return notForMember(of, Member(c))
		}
	}
	if platform.ErrorCode(err) == platform.CodeNotFound {
		f.Errors.Add("restore", "This checkpoint is not there any more. Go to the Studio whose it was, and choose another.")
		return nil
	}
	f.From = kept
	return err
}

// saveStudio checks the form and saves the Studio. What is wrong is in f.Errors then, and nothing is saved.
func (h *Handlers) saveStudio(c echo.Context, f *views.StudioForm, save func(context.Context, *platform.Studio) error) (saved bool, err error) {
	errs, err := fieldErrors(f.Studio.Clean(h.Templates))
	if err != nil {
		return false, err
	}
	if f.Template == "" {
		delete(errs, "image") // that no tool was chosen is said where they stand
	}
	maps.Copy(f.Errors, errs)
	if f.Errors["computeEnvId"] == "" {
		if err := h.checkStudioEnv(c, f); err != nil {
			return false, err
		}
	}
	if len(f.Errors) > 0 {
		return false, nil
	}
	errs, err = fieldErrors(save(c.Request().Context(), &f.Studio))
	maps.Copy(f.Errors, errs)
	return err == nil && errs == nil, err
}

// checkStudioEnv checks a form's Studio with its environment, and whether machines there could find their way back.
func (h *Handlers) checkStudioEnv(c echo.Context, f *views.StudioForm) error {
	env, err := h.DB.ComputeEnv(c.Request().Context(), f.Studio.WorkspaceID, f.Studio.ComputeEnvID)
	if platform.ErrorCode(err) == platform.CodeNotFound {
		f.Errors.Add("computeEnvId", "This compute environment is not there any more. Choose another.")
		return nil
	}
	if err != nil {
		return err
	}
	errs, err := fieldErrors(f.Studio.CleanFor(env, h.Templates))
	for field, problem := range errs {
		f.Errors.Add(field, "%s", problem)
	}
	if _, ok := h.Clouds[env.Platform]; !ok {
		f.Errors.Add("computeEnvId", "This version of Wherry does not start machines on the platform %s yet. Choose another compute environment.", env.Platform)
	}
	if env.InCloud() && !h.AgentURLReachable {
		f.Errors.Add("computeEnvId", "%s", unreachable)
	}
	return err
}

// showStudioForm shows the form of a Studio with what can be chosen.
func (h *Handlers) showStudioForm(c echo.Context, status int, f views.StudioForm) error {
	s, err := h.shell(c, f.Title(), "studios")
	if err != nil {
		return err
	}
	ctx, workspaceID := c.Request().Context(), s.Member.Workspace.ID
	before := f.Studio.ID
	if before == "" {
		before = c.QueryParam("from")
	}
	if f.Labels, err = h.labelPicker(c, f.Studio.LabelIDs, platform.LabelsStudio, before); err != nil {
		return err
	}
	if f.Limits, err = h.DB.Limits(ctx, workspaceID); err != nil {
		return err
	}
	studios, err := h.DB.Studios(ctx, workspaceID, "")
	if err != nil {
		return err
	}
	for _, other := range studios {
		if other.Session != nil && !other.Session.State.Ended() {
			f.Running++
		}
	}
	envs, err := h.DB.ComputeEnvs(ctx, workspaceID)
	for _, e := range envs {
		if e.Status == platform.ComputeEnvAvailable {
			f.Envs = append(f.Envs, e)
		}
	}
	f.OtherEnvs, f.Templates = len(envs)-len(f.Envs), h.Templates
	if f.Studio.ComputeEnvID == "" && len(f.Envs) > 0 && len(f.Errors) == 0 {
		f.Studio.ComputeEnvID = f.Envs[0].ID
	}
	if err != nil {
		return err
	}
	return render(c, status, views.StudioFormPage(s, f))
}
