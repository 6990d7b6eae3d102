package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/platform"
)

// label is a label as the API shows it.
type label struct {
	ID          int64     `json:"id"`
	Name        string    `json:"name"`
	Value       *string   `json:"value"` // of a simple label null
	Resource    bool      `json:"resource"`
	IsDefault   bool      `json:"isDefault"`
	DateCreated time.Time `json:"dateCreated"`
}

func describeLabel(l platform.WorkspaceLabel) label {
	out := label{ID: l.ID, Name: l.Name, Resource: l.Resource, IsDefault: l.Default, DateCreated: l.Created}
	if l.Resource {
		out.Value = &l.Value
	}
	return out
}

// Labels lists a workspace's labels, narrowed by type, isDefault and search.
func (a *API) Labels(c echo.Context) error {
	labels, err := a.DB.Labels(c.Request().Context(), handlers.Member(c).Workspace.ID)
	if err != nil {
		return err
	}
	kind, isDefault, search := c.QueryParam("type"), c.QueryParam("isDefault"), strings.ToLower(c.QueryParam("search"))
	list := []label{}
	for _, l := range labels {
		switch {
		case kind == "simple" && l.Resource, kind == "resource" && !l.Resource, isDefault != "" && strconv.FormatBool(l.Default) != isDefault,
			!strings.Contains(strings.ToLower(l.Text()), search):
			continue
		}
		list = append(list, describeLabel(l))
	}
	total := len(list)
	list = list[min(queryNumber(c, "offset", 0), total):]
	return c.JSON(http.StatusOK, map[string]any{"labels": list[:min(queryNumber(c, "max", total), len(list))], "totalSize": total})
}

// queryNumber reads a number that is not negative from the query; what is none is the fallback.
func queryNumber(c echo.Context, name string, fallback int) int {
	n, err := strconv.Atoi(c.QueryParam(name))
	if err != nil || n < 0 {
		return fallback
	}
	return n
}

// labelRequest is a label as clients send it. What is left out of an update stays.
type labelRequest struct {
	Name      *string `json:"name"`
	Value     *string `json:"value"`
	Resource  bool    `json:"resource"`
	IsDefault *bool   `json:"isDefault"`
}

func (r labelRequest) over(l platform.WorkspaceLabel) platform.WorkspaceLabel {
	if r.Name != nil {
		l.Name = *r.Name
	}
	if r.Value != nil {
		l.Value = *r.Value
	}
	if r.IsDefault != nil {
		l.Default = *r.IsDefault
	}
	return l
}

// CreateLabel saves a new label.
func (a *API) CreateLabel(c echo.Context) error {
	var req labelRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	l := req.over(platform.WorkspaceLabel{WorkspaceID: handlers.Member(c).Workspace.ID, Resource: req.Resource})
	if err := l.Clean(); err != nil {
		return err
	}
	if err := a.DB.AddLabel(c.Request().Context(), &l); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, describeLabel(l))
}

// UpdateLabel renames a label.
func (a *API) UpdateLabel(c echo.Context) error {
	l, err := a.labelParam(c)
	if err != nil {
		return err
	}
	var req labelRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	l = req.over(l)
	if err := l.Clean(); err != nil {
		return err
	}
	if err := a.DB.UpdateLabel(c.Request().Context(), l); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, describeLabel(l))
}

// DeleteLabel deletes a label, and takes it off whatever has it.
func (a *API) DeleteLabel(c echo.Context) error {
	l, err := a.labelParam(c)
	if err != nil {
		return err
	}
	if err := a.DB.DeleteLabel(c.Request().Context(), l.WorkspaceID, l.ID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) labelParam(c echo.Context) (platform.WorkspaceLabel, error) {
	return a.DB.Label(c.Request().Context(), handlers.Member(c).Workspace.ID, handlers.IDParam(c, "label"))
}

// labelChange makes the labels that a thing is to have of those that it has and those that a request names.
type labelChange func(has, named []int64) []int64

func addLabels(has, named []int64) []int64     { return append(has, named...) }
func replaceLabels(has, named []int64) []int64 { return named }
func removeLabels(has, named []int64) []int64 {
	return slices.DeleteFunc(has, func(id int64) bool { return slices.Contains(named, id) })
}

// AddPipelineLabels adds labels to pipelines.
func (a *API) AddPipelineLabels(c echo.Context) error { return a.labelPipelines(c, addLabels) }

// ApplyPipelineLabels gives pipelines these labels and no others.
func (a *API) ApplyPipelineLabels(c echo.Context) error { return a.labelPipelines(c, replaceLabels) }

// RemovePipelineLabels takes labels off pipelines.
func (a *API) RemovePipelineLabels(c echo.Context) error { return a.labelPipelines(c, removeLabels) }

// AddWorkflowLabels adds labels to runs.
func (a *API) AddWorkflowLabels(c echo.Context) error { return a.labelRuns(c, addLabels) }

// ApplyWorkflowLabels gives runs these labels and no others.
func (a *API) ApplyWorkflowLabels(c echo.Context) error { return a.labelRuns(c, replaceLabels) }

// RemoveWorkflowLabels takes labels off runs.
func (a *API) RemoveWorkflowLabels(c echo.Context) error { return a.labelRuns(c, removeLabels) }

func (a *API) labelPipelines(c echo.Context, change labelChange) error {
	var req struct {
		PipelineIDs []int64 `json:"pipelineIds"`
		LabelIDs    []int64 `json:"labelIds"`
	}
	if err := readJSON(c, &req); err != nil {
		return err
	}
	ids := make([]string, 0, len(req.PipelineIDs))
	for _, id := range req.PipelineIDs {
		ids = append(ids, strconv.FormatInt(id, 10))
	}
	return a.labelThings(c, platform.LabelsPipeline, ids, req.LabelIDs, change)
}

func (a *API) labelRuns(c echo.Context, change labelChange) error {
	var req struct {
		WorkflowIDs []string `json:"workflowIds"`
		LabelIDs    []int64  `json:"labelIds"`
	}
	if err := readJSON(c, &req); err != nil {
		return err
	}
	return a.labelThings(c, platform.LabelsRun, req.WorkflowIDs, req.LabelIDs, change)
}

func (a *API) labelThings(c echo.Context, kind platform.LabelKind, ids []string, named []int64, change labelChange) error {
	for _, id := range ids {
		if err := a.labelThing(c.Request().Context(), handlers.Member(c).Workspace.ID, kind, id, named, change); err != nil {
			return err
		}
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) labelThing(ctx context.Context, workspaceID int64, kind platform.LabelKind, id string, named []int64, change labelChange) error {
	has, err := a.DB.LabelsByThing(ctx, workspaceID, kind, id)
	if err != nil {
		return err
	}
	var now []int64
	for _, l := range has[id] {
		now = append(now, l.ID)
	}
	return a.DB.SetLabels(ctx, workspaceID, kind, id, change(now, named))
}
