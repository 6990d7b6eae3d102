package handlers

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
	"wherry/views/components"
)

// sessionsShown is how many starts of a Studio its page lists.
const sessionsShown = 20

// Studio shows one Studio, or one part of its page.
func (h *Handlers) Studio(c echo.Context) error {
	studio, err := h.studioParam(c)
	if err != nil {
		return err
	}
	return h.showStudio(c, http.StatusOK, studio, "")
}

// showStudio shows a Studio's page, with why it was not started just now, or "".
func (h *Handlers) showStudio(c echo.Context, status int, studio platform.Studio, problem string) error {
	s, err := h.shell(c, "", "studios")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	s.LiveStudio = studio.ID
	v, err := h.studioView(c, studio)
	if err != nil {
		return err
	}
	if v.Labels, err = h.DB.LabelsOn(c.Request().Context(), platform.LabelsStudio, studio.ID); err != nil {
		return err
	}
	v.Problem, s.Title = problem, views.StudioTitle(studio, v.Now)
	if part := c.QueryParam("part"); part != "" {
		return h.showStudioPart(c, s, v, part)
	}
	return render(c, status, views.StudioPage(s, v))
}

func (h *Handlers) showStudioPart(c echo.Context, s components.Shell, v views.StudioView, part string) error {
	if part != "head" && !v.MayLook(*s.Member) {
		return notForMember(v.Studio, *s.Member)
	}
	switch part {
	case "head":
		return render(c, http.StatusOK, views.StudioHeadPart(s, v))
	case "use":
		return render(c, http.StatusOK, views.StudioUsePart(s, v))
	case "timeline":
		return render(c, http.StatusOK, views.StudioTimeline(s, v))
	case "checkpoints":
		return render(c, http.StatusOK, views.StudioCheckpoints(s, v))
	case "sessions":
		return render(c, http.StatusOK, views.StudioSessions(s, v))
	case "log":
		if v.LogOf == c.QueryParam("have") { // the viewer on the page has that one, and follows it by itself
			return c.NoContent(http.StatusNoContent)
		}
		return render(c, http.StatusOK, views.StudioLog(s, v))
	}
	return platform.Errorf(platform.CodeNotFound, "A Studio's page has no such part.")
}

func (h *Handlers) studioView(c echo.Context, studio platform.Studio) (v views.StudioView, err error) {
	ctx := c.Request().Context()
	v = views.StudioView{StudioNow: h.studioNow(studio), Env: platform.FormatEnvironment(studio.Config.Environment), Now: time.Now()}
	if studio.Session != nil {
		v.LogOf = studio.Session.ID
		if v.Machine, err = h.DB.MachineOfStudioSession(ctx, studio.Session.ID); err != nil {
			return v, err
		}
		if v.Steps, err = h.DB.Steps(ctx, v.Machine.ID); err != nil {
			return v, err
		}
	}
	if !studio.MayLook(Member(c)) {
		return v, nil
	}
	if v.Checkpoints, err = h.DB.Checkpoints(ctx, studio.WorkspaceID, studio.ID); err != nil {
		return v, err
	}
	if v.Sessions, err = h.studioStarts(ctx, studio.ID); err != nil {
		return v, err
	}
	for _, session := range v.Sessions {
		if session.ID == c.QueryParam("session") {
			v.LogOf = session.ID
		}
	}
	return v, nil
}

// studioStarts lists a Studio's sessions with their machines.
func (h *Handlers) studioStarts(ctx context.Context, studioID string) (list []views.StudioStart, err error) {
	sessions, err := h.DB.StudioSessions(ctx, studioID, sessionsShown)
	if err != nil {
		return nil, err
	}
	for _, session := range sessions {
		m, err := h.DB.MachineOfStudioSession(ctx, session.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, views.StudioStart{StudioSession: session, Machine: m})
	}
	return list, nil
}

// ConnectStudio sends a member on to the Studio's own origin, with what opens it there. It changes nothing here but the audit log, so that it may
// be asked for with GET: the Studio's origin sends people here whose grant has run out.
func (h *Handlers) ConnectStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayConnect)
	if err != nil {
		return err
	}
	if s.Session == nil || !s.Session.Connectable() {
		return redirect(c, studioPath(c, s), "studio-not-running")
	}
	if err := h.DB.StudioConnected(c.Request().Context(), s); err != nil {
		return err
	}
	url, err := h.OpenStudio(c, s)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.Redirect(http.StatusSeeOther, url)
}

// StartStudio saves a session of a Studio with the wish for its machine. The loops do the rest.
func (h *Handlers) StartStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayEdit)
	if err != nil {
		return err
	}
	return h.startStudio(c, s)
}

// startStudio starts a Studio, and shows it; where it cannot be started now, with why.
func (h *Handlers) startStudio(c echo.Context, s platform.Studio) error {
	f := views.StudioForm{Studio: s, Errors: platform.FieldErrors{}}
	if err := h.checkStudioEnv(c, &f); err != nil {
		return err
	}
	if len(f.Errors) == 0 {
		_, err := h.DB.StartStudio(c.Request().Context(), f.Studio, Member(c).User.ID)
		errs, err := fieldErrors(err)
		if err != nil {
			return err
		}
		maps.Copy(f.Errors, errs)
	}
	if len(f.Errors) > 0 {
		return h.showStudio(c, http.StatusUnprocessableEntity, s, inOneText(f.Errors))
	}
	return redirect(c, studioPath(c, s), "") // its head says what it does now
}

// inOneText joins what is wrong with fields, where there are none to say it beside.
func inOneText(errs platform.FieldErrors) string {
	var texts []string
	for _, field := range slices.Sorted(maps.Keys(errs)) {
		texts = append(texts, errs[field])
	}
	return strings.Join(texts, " ")
}

// StopStudio notes that a Studio shall stop. Its agent hears of it at once.
func (h *Handlers) StopStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayStop)
	if err != nil {
		return err
	}
	if err := h.DB.AskStudioStop(c.Request().Context(), s.ID, platform.StopUser, Member(c).User.UserName); err != nil {
		return err
	}
	return redirect(c, studioPath(c, s), "")
}

// ExtendStudio puts the end of a Studio's lifespan off.
func (h *Handlers) ExtendStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayEdit)
	if err != nil {
		return err
	}
	_, err = h.DB.ExtendStudio(c.Request().Context(), s.WorkspaceID, s.ID, formNumber(c, "hours"))
	errs, err := fieldErrors(err)
	if errs != nil {
		err = platform.Errorf(platform.CodeInvalid, "A Studio is extended by 1 to %d hours.", platform.MaxLifespanHours)
	}
	if err != nil {
		return err
	}
	return redirect(c, studioPath(c, s), "studio-extended")
}

// DeleteStudio deletes a Studio that does not run, and what it kept.
func (h *Handlers) DeleteStudio(c echo.Context) error {
	s, err := h.studioFor(c, platform.Studio.MayDelete)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteStudio(c.Request().Context(), s.WorkspaceID, s.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/studios", "studio-deleted")
}

func studioPath(c echo.Context, s platform.Studio) string { return base(c) + "/studios/" + s.ID }
