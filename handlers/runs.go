package handlers

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/db"
	"wherry/platform"
	"wherry/views"
)

// runsPerPage is how many runs the list shows at once.
const runsPerPage = 50

// Runs lists the workspace's runs.
func (h *Handlers) Runs(c echo.Context) error {
	s, err := h.shell(c, "Runs", "runs")
	if err != nil {
		return err
	}
	if err := h.live(c, &s, ""); err != nil {
		return err
	}
	l := views.RunList{Text: c.QueryParam("q"), Before: c.QueryParam("before"), Now: time.Now()}
	for _, state := range c.QueryParams()["state"] {
		if slices.Contains(platform.RunStates, platform.RunState(state)) {
			l.States = append(l.States, platform.RunState(state))
		}
	}
	label := max(0, intParam(c, "label", 0))
	l.Runs, err = h.DB.Runs(c.Request().Context(), s.Member.Workspace.ID,
		db.RunFilter{Text: l.Text, States: l.States, Label: label, Before: l.Before, Limit: runsPerPage + 1})
	if err != nil {
		return err
	}
	if len(l.Runs) > runsPerPage {
		l.Runs = l.Runs[:runsPerPage]
		l.Older = l.Runs[runsPerPage-1].ID
	}
	if l.Labels, err = h.labelFilter(c, platform.LabelsRun, idsOf(l.Runs)...); err != nil {
		return err
	}
	if c.QueryParam("part") == "list" {
		return render(c, http.StatusOK, views.RunListPart(s, l))
	}
	return render(c, http.StatusOK, views.RunsPage(s, l))
}

func idsOf(runs []platform.Run) []string {
	ids := make([]string, 0, len(runs))
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	return ids
}

// labelsOfRuns maps runs to their labels.
func (h *Handlers) labelsOfRuns(c echo.Context, runs []platform.Run) (map[string][]platform.WorkspaceLabel, error) {
	return h.DB.LabelsByThing(c.Request().Context(), Member(c).Workspace.ID, platform.LabelsRun, idsOf(runs)...)
}
