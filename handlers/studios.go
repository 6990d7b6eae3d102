package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Studios lists the workspace's Studios.
func (h *Handlers) Studios(c echo.Context) error {
	s, err := h.shell(c, "", "studios")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	ctx, workspaceID := c.Request().Context(), s.Member.Workspace.ID
	l := views.StudioList{Text: strings.TrimSpace(c.QueryParam("q")), Now: time.Now()}
	if l.Studios, err = h.studiosNow(ctx, workspaceID, l.Text); err != nil {
		return err
	}
	if l.Labels, err = h.labelFilter(c, platform.LabelsStudio); err != nil {
		return err
	}
	l.Studios = slices.DeleteFunc(l.Studios, func(n views.StudioNow) bool { return !l.Labels.Fits(n.ID) })
	s.Title = views.StudiosTitle(l)
	if c.QueryParam("part") == "list" {
		return render(c, http.StatusOK, views.StudioListPart(s, l))
	}
	return render(c, http.StatusOK, views.StudiosPage(s, l))
}

// studiosNow lists a workspace's Studios as they stand now; those on their way with what their machines have done.
func (h *Handlers) studiosNow(ctx context.Context, workspaceID int64, text string) (list []views.StudioNow, err error) {
	studios, err := h.DB.Studios(ctx, workspaceID, text)
	if err != nil {
		return nil, err
	}
	machines, err := h.studioMachines(ctx, workspaceID)
	if err != nil {
		return nil, err
	}
	for _, studio := range studios {
		n := h.studioNow(studio)
		if studio.Session != nil {
			n.Machine = machines[studio.Session.ID]
		}
		if studio.State() == platform.StudioStarting {
			if n.Steps, err = h.DB.Steps(ctx, n.Machine.ID); err != nil {
				return nil, err
			}
		}
		list = append(list, n)
	}
	return list, nil
}

// studioMachines are the machines of a workspace that may still exist, by the session that they are for.
func (h *Handlers) studioMachines(ctx context.Context, workspaceID int64) (map[string]platform.Machine, error) {
	machines, err := h.DB.RunningMachines(ctx, workspaceID)
	of := map[string]platform.Machine{}
	for _, m := range machines {
		if m.StudioSessionID != "" {
			of[m.StudioSessionID] = m.Machine
		}
	}
	return of, err
}

// studioNow adds to a Studio what is known of it beside the database.
func (h *Handlers) studioNow(s platform.Studio) views.StudioNow {
	n := views.StudioNow{Studio: s, Tool: s.Config.Template}
	if s.Config.Template == "" {
		n.Tool = platform.CustomTemplate(s.Config).Name
	} else if t, ok := platform.FindTemplate(h.Templates, s.Config.Template); ok {
		n.Tool = t.Name
	}
	if s.State() == platform.StudioRunning {
		n.Connections = h.StudioConnections(s.ID)
	}
	return n
}

// studioParam reads the Studio that the path names, in the member's workspace.
func (h *Handlers) studioParam(c echo.Context) (platform.Studio, error) {
	id := c.Param("studio")
	if !platform.ValidID(id) {
		return platform.Studio{}, platform.Errorf(platform.CodeNotFound, "There is no such Studio in this workspace.")
	}
	return h.DB.Studio(c.Request().Context(), Member(c).Workspace.ID, id)
}

// studioFor reads the Studio that the path names, for a member who may do something with it.
func (h *Handlers) studioFor(c echo.Context, may func(platform.Studio, platform.Member) bool) (platform.Studio, error) {
	s, err := h.studioParam(c)
	if err == nil && !may(s, Member(c)) {
		err = notForMember(s, Member(c))
	}
	return s, err
}

// notForMember says why a member may not do something with a Studio.
func notForMember(s platform.Studio, m platform.Member) error {
	if s.Private && s.UserID != m.User.ID {
		return platform.Errorf(platform.CodeForbidden, "The Studio %s is private: it is for %s alone.", s.Name, s.UserName)
	}
	return platform.Errorf(platform.CodeForbidden, "Your role in this workspace, %s, does not include this. Ask an owner or admin of the workspace for another role.", m.Role)
}

// studioToLookAt reads the Studio that the path names, for a member who may see its settings, logs and checkpoints.
func (h *Handlers) studioToLookAt(c echo.Context) (platform.Studio, error) {
	return h.studioFor(c, platform.Studio.MayLook)
}

// sessionParam reads the session of a Studio that the path names.
func (h *Handlers) sessionParam(c echo.Context, s platform.Studio) (platform.StudioSession, error) {
	session, err := h.DB.StudioSession(c.Request().Context(), c.Param("session"))
	if err == nil && session.StudioID != s.ID {
		err = platform.Errorf(platform.CodeNotFound, "The Studio %s has no such session.", s.Name)
	}
	return session, err
}
