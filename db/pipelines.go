package db

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"wherry/platform"
)

const pipelineColumns = `id, workspace_id, name, description, launch, created_at`

func scanPipeline(s scanner) (p platform.Pipeline, err error) {
	err = s.Scan(&p.ID, &p.WorkspaceID, &p.Name, &p.Description, jsonColumn{&p.Launch}, timeColumn{&p.Created})
	return p, err
}

func scanString(s scanner) (v string, err error) {
	err = s.Scan(&v)
	return v, err
}

// quoted joins names for an error.
func quoted(names []string) string { return "“" + strings.Join(names, "”, “") + "”" }

// Pipelines lists a workspace's saved pipelines by name.
func (d *DB) Pipelines(ctx context.Context, workspaceID int64) ([]platform.Pipeline, error) {
	return all(ctx, d.read, scanPipeline, `SELECT `+pipelineColumns+` FROM pipelines WHERE workspace_id = ? ORDER BY name`, workspaceID)
}

// Pipeline reads one saved pipeline of a workspace.
func (d *DB) Pipeline(ctx context.Context, workspaceID, id int64) (platform.Pipeline, error) {
	p, err := scanPipeline(d.read.QueryRowContext(ctx, `SELECT `+pipelineColumns+` FROM pipelines WHERE workspace_id = ? AND id = ?`, workspaceID, id))
	return p, notFound(err, "pipeline")
}

// AddPipeline saves a new pipeline and gives it its id.
func (d *DB) AddPipeline(ctx context.Context, p *platform.Pipeline) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.checkPipelineSecrets(ctx, *p); err != nil {
			return err
		}
		p.Created = t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO pipelines (workspace_id, name, description, launch, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id`,
			p.WorkspaceID, p.Name, p.Description, toJSON(p.Launch), millis(t.now)).Scan(&p.ID)
		t.change(p.WorkspaceID, "", platform.ChangeLaunch)
		if err != nil {
			return pipelineNameTaken(err, p.Name)
		}
		if err := t.labelPipeline(ctx, *p); err != nil {
			return err
		}
		return t.auditPipeline("pipeline.add", nil, p)
	})
}

// UpdatePipeline saves a changed pipeline.
func (d *DB) UpdatePipeline(ctx context.Context, p platform.Pipeline) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.checkPipelineSecrets(ctx, p); err != nil {
			return err
		}
		was, err := t.pipeline(ctx, p.WorkspaceID, p.ID)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		err = t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The pipeline was deleted meanwhile."),
			`UPDATE pipelines SET name = ?, description = ?, launch = ? WHERE id = ? AND workspace_id = ?`,
			p.Name, p.Description, toJSON(p.Launch), p.ID, p.WorkspaceID)
		t.change(p.WorkspaceID, "", platform.ChangeLaunch)
		if err != nil {
			return pipelineNameTaken(err, p.Name)
		}
		if err := t.labelPipeline(ctx, p); err != nil {
			return err
		}
		return t.auditPipeline("pipeline.update", &was, &p)
	})
}

func (t *tx) pipeline(ctx context.Context, workspaceID, id int64) (platform.Pipeline, error) {
	return scanPipeline(t.QueryRowContext(ctx, `SELECT `+pipelineColumns+` FROM pipelines WHERE workspace_id = ? AND id = ?`, workspaceID, id))
}

func (t *tx) labelPipeline(ctx context.Context, p platform.Pipeline) error {
	return t.setLabels(ctx, p.WorkspaceID, platform.LabelsPipeline, strconv.FormatInt(p.ID, 10), p.Launch.LabelIDs)
}

func pipelineNameTaken(err error, name string) error {
	if isUnique(err, "pipelines.name") {
		return platform.FieldErrors{"name": "There is a pipeline named " + name + " already."}
	}
	return err
}

// DeletePipeline deletes a saved pipeline. Its runs stay.
func (d *DB) DeletePipeline(ctx context.Context, workspaceID, id int64) error {
	return d.inTx(ctx, func(t *tx) error {
		deleted := platform.Errorf(platform.CodeNotFound, "The pipeline was deleted already.")
		was, err := t.pipeline(ctx, workspaceID, id)
		if errors.Is(err, sql.ErrNoRows) {
			return deleted
		}
		if err != nil {
			return err
		}
		t.change(workspaceID, "", platform.ChangeLaunch)
		if err := t.auditPipeline("pipeline.delete", &was, nil); err != nil {
			return err
		}
		if err := t.exec(ctx, deleted, `DELETE FROM pipelines WHERE workspace_id = ? AND id = ?`, workspaceID, id); err != nil {
			return err
		}
		return t.unlabel(ctx, platform.LabelsPipeline, strconv.FormatInt(id, 10))
	})
}
