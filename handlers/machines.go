package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// sweepsShown is how many of the instances that the sweep ended the page lists.
const sweepsShown = 50

// Machines shows what is running now, what it costs, and what the sweep ended.
func (h *Handlers) Machines(c echo.Context) error {
	s, err := h.shell(c, "Machines", "machines")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	l := views.MachineList{Env: c.QueryParam("env"), Now: time.Now()}
	ctx, workspaceID := c.Request().Context(), s.Member.Workspace.ID
	machines, err := h.DB.RunningMachines(ctx, workspaceID)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if l.Env == "" || m.ComputeEnvID == l.Env {
			l.Machines = append(l.Machines, m)
		}
	}
	l.Elsewhere = len(machines) - len(l.Machines)
	if l.Usage, err = h.usage(ctx, workspaceID, machines, l.Now); err != nil {
		return err
	}
	if l.Sweeps, err = h.DB.Sweeps(ctx, workspaceID, sweepsShown); err != nil {
		return err
	}
	s.Title = views.MachinesTitle(l)
	if c.QueryParam("part") == "list" {
		return render(c, http.StatusOK, views.MachineListPart(s, l))
	}
	return render(c, http.StatusOK, views.MachinesPage(s, l))
}

// usage is what a workspace has now, and has spent in this month, against what it may.
func (h *Handlers) usage(ctx context.Context, workspaceID int64, machines []platform.RunningMachine, now time.Time) (u views.Usage, err error) {
	for _, m := range machines {
		if m.Queued() {
			u.Queued++
		} else {
			u.Machines++
		}
	}
	if u.Limits, err = h.DB.Limits(ctx, workspaceID); err != nil {
		return u, err
	}
	spent, err := h.DB.Spent(ctx, workspaceID, platform.Month(now), now)
	u.Spent, u.Now = platform.Money(spent), now
	return u, err
}

// EndMachine asks for the end of one machine: that of a run by cancelling the run, a warm one by itself. That of a Studio ends when
// the Studio is stopped, which not everybody may who may cancel runs. The form names the
// run that the machine had when it was shown, so that nobody ends a run that came to a warm machine meanwhile.
func (h *Handlers) EndMachine(c echo.Context) error {
	ctx, member := c.Request().Context(), Member(c)
	m, err := h.DB.RunningMachine(ctx, member.Workspace.ID, c.Param("machine"))
	if err != nil {
		return err
	}
	run := c.FormValue("run")
	switch {
	case m.StudioID != "":
		err = platform.Errorf(platform.CodeConflict, "The machine is that of the Studio %s, and ends with it. Stop the Studio on its own page.", m.Studio)
	case run != m.RunID:
		err = platform.Errorf(platform.CodeConflict, "The machine has been given the run %s meanwhile. Look at it again before you end it.", m.Run)
	case run != "":
		err = h.DB.AskCancel(ctx, member.Workspace.ID, run, member.User.UserName)
	default:
		err = h.DB.AskEnd(ctx, member.Workspace.ID, m.ID, member.User.UserName)
	}
	if err != nil {
		return err
	}
	return redirect(c, base(c)+"/machines", "machine-end-asked")
}
