package handlers

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/platform"
	"wherry/views"
)

// Labels lists the workspace's labels.
func (h *Handlers) Labels(c echo.Context) error {
	s, err := h.shell(c, "Labels", "labels")
	if err != nil {
		return err
	}
	l := views.LabelList{Now: time.Now()}
	if l.Labels, err = h.DB.Labels(c.Request().Context(), s.Member.Workspace.ID); err != nil {
		return err
	}
	if l.Uses, err = h.labelUses(c); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.LabelsPage(s, l))
}

func (h *Handlers) labelUses(c echo.Context) (map[int64]views.LabelUses, error) {
	uses, err := h.DB.LabelUses(c.Request().Context(), Member(c).Workspace.ID)
	of := map[int64]views.LabelUses{}
	for _, u := range uses {
		if of[u.LabelID] == nil {
			of[u.LabelID] = views.LabelUses{}
		}
		of[u.LabelID][u.Kind] = u.Count
	}
	return of, err
}

// NewLabel shows the form for a new label.
func (h *Handlers) NewLabel(c echo.Context) error {
	return h.showLabel(c, http.StatusOK, views.LabelForm{})
}

// AddLabel saves a new label.
func (h *Handlers) AddLabel(c echo.Context) error {
	l := platform.WorkspaceLabel{WorkspaceID: Member(c).Workspace.ID, Resource: c.FormValue("kind") == "resource"}
	return h.saveLabel(c, l)
}

// EditLabel shows the form of a label.
func (h *Handlers) EditLabel(c echo.Context) error {
	l, err := h.labelParam(c)
	if err != nil {
		return err
	}
	return h.showLabel(c, http.StatusOK, views.LabelForm{Label: l})
}

// UpdateLabel renames a label. What kind of label it is stays.
func (h *Handlers) UpdateLabel(c echo.Context) error {
	l, err := h.labelParam(c)
	if err != nil {
		return err
	}
	return h.saveLabel(c, l)
}

// DeleteLabel deletes a label, and takes it off whatever has it.
func (h *Handlers) DeleteLabel(c echo.Context) error {
	l, err := h.labelParam(c)
	if err != nil {
		return err
	}
	if err := h.DB.DeleteLabel(c.Request().Context(), l.WorkspaceID, l.ID); err != nil {
		return err
	}
	return redirect(c, base(c)+"/labels", "label-deleted")
}

func (h *Handlers) labelParam(c echo.Context) (platform.WorkspaceLabel, error) {
	return h.DB.Label(c.Request().Context(), Member(c).Workspace.ID, IDParam(c, "label"))
}

// saveLabel reads the form over a label, checks it and saves it.
func (h *Handlers) saveLabel(c echo.Context, l platform.WorkspaceLabel) error {
	l.Name, l.Value, l.Default = c.FormValue("name"), c.FormValue("value"), c.FormValue("default") != ""
	err := l.Clean()
	if err == nil && l.ID == 0 {
		err = h.DB.AddLabel(c.Request().Context(), &l)
	} else if err == nil {
		err = h.DB.UpdateLabel(c.Request().Context(), l)
	}
	errs, err := fieldErrors(err)
	if err != nil {
		return err
	}
	if errs != nil {
		return h.showLabel(c, http.StatusUnprocessableEntity, views.LabelForm{Label: l, Errors: errs})
	}
	return redirect(c, base(c)+"/labels", "label-saved")
}

func (h *Handlers) showLabel(c echo.Context, status int, f views.LabelForm) error {
	s, err := h.shell(c, "Label", "labels")
	if err != nil {
		return err
	}
	uses, err := h.labelUses(c)
	if err != nil {
		return err
	}
	f.Uses = uses[f.Label.ID]
	return render(c, status, views.LabelPage(s, f))
}

// SetRunLabels gives a run the labels that were chosen on its page. Its machine keeps the tags that it was started with.
func (h *Handlers) SetRunLabels(c echo.Context) error {
	r, err := h.runParam(c)
	if err != nil {
		return err
	}
	err = h.DB.SetLabels(c.Request().Context(), r.WorkspaceID, platform.LabelsRun, r.ID, readLabels(c))
	if errs, other := fieldErrors(err); other != nil {
		return other
	} else if errs != nil {
		return platform.Errorf(platform.CodeInvalid, "%s", errs["labelIds"])
	}
	return redirect(c, base(c)+"/runs/"+r.ID, "run-labels-saved")
}

// readLabels reads the labels that a form chose: never nil, because nothing chosen means none.
func readLabels(c echo.Context) []int64 {
	ids := []int64{}
	form, err := c.FormParams()
	if err != nil {
		return ids
	}
	for _, text := range form["labelIds"] {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// labelPicker offers the workspace's labels. chosen are those of the form as it was sent; nil: the form is new, and has those of
// the thing with id or, of a new thing, the default ones.
func (h *Handlers) labelPicker(c echo.Context, chosen []int64, kind platform.LabelKind, id string) (p views.LabelPicker, err error) {
	ctx := c.Request().Context()
	if p.All, err = h.DB.Labels(ctx, Member(c).Workspace.ID); err != nil || chosen != nil {
		p.Chosen = chosen
		return p, err
	}
	if id == "" {
		for _, l := range p.All {
			if l.Default {
				p.Chosen = append(p.Chosen, l.ID)
			}
		}
		return p, nil
	}
	on, err := h.DB.LabelsOn(ctx, kind, id)
	for _, l := range on {
		p.Chosen = append(p.Chosen, l.ID)
	}
	return p, err
}

// labelFilter reads by which label a list is to be narrowed, and which labels its things have.
func (h *Handlers) labelFilter(c echo.Context, kind platform.LabelKind, ids ...string) (f views.LabelFilter, err error) {
	ctx, workspaceID := c.Request().Context(), Member(c).Workspace.ID
	f.ID = max(0, intParam(c, "label", 0))
	if f.All, err = h.DB.Labels(ctx, workspaceID); err != nil {
		return f, err
	}
	f.Of, err = h.DB.LabelsByThing(ctx, workspaceID, kind, ids...)
	return f, err
}
