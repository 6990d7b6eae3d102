package db

import (
	"context"

	"wherry/platform"
)

const computeEnvColumns = `id, workspace_id, name, platform, region, work_dir, status, message, is_primary, config, created_at, last_used_at`

func scanComputeEnv(s scanner) (c platform.ComputeEnv, err error) {
	err = s.Scan(&c.ID, &c.WorkspaceID, &c.Name, &c.Platform, &c.Region, &c.WorkDir, &c.Status, &c.Message, &c.Primary,
		jsonColumn{&c.Config}, timeColumn{&c.Created}, timeColumn{&c.LastUsed})
	return c, err
}

// ComputeEnvs lists a workspace's environments, the primary one first.
func (d *DB) ComputeEnvs(ctx context.Context, workspaceID int64) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs
		WHERE workspace_id = ? AND deleted_at = 0 ORDER BY is_primary DESC, name`, workspaceID)
}

// ComputeEnv reads one environment of a workspace.
func (d *DB) ComputeEnv(ctx context.Context, workspaceID int64, id string) (platform.ComputeEnv, error) {
	c, err := scanComputeEnv(d.read.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs
		WHERE workspace_id = ? AND id = ? AND deleted_at = 0`, workspaceID, id))
	return c, notFound(err, "compute environment")
}

// AnyComputeEnv reads an environment of whatever workspace, deleted ones too, for the loops.
func (d *DB) AnyComputeEnv(ctx context.Context, id string) (platform.ComputeEnv, error) {
	c, err := scanComputeEnv(d.read.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE id = ?`, id))
	return c, notFound(err, "compute environment")
}

// AllComputeEnvs lists the environments of every workspace, deleted ones too, for the sweep.
func (d *DB) AllComputeEnvs(ctx context.Context) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs ORDER BY id`)
}

// AddComputeEnv saves a new environment; the first of a workspace becomes its primary one.
func (d *DB) AddComputeEnv(ctx context.Context, c *platform.ComputeEnv) error {
	return d.inTx(ctx, func(t *tx) error {
		c.ID, c.Created = platform.NewID(), t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO compute_envs (`+computeEnvColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOT EXISTS (SELECT 1 FROM compute_envs WHERE workspace_id = ? AND deleted_at = 0), ?, ?, 0) RETURNING is_primary`,
			c.ID, c.WorkspaceID, c.Name, c.Platform, c.Region, c.WorkDir, c.Status, c.Message, c.WorkspaceID, toJSON(c.Config), millis(t.now)).Scan(&c.Primary)
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		return computeEnvNameTaken(err, c.Name)
	})
}

// UpdateComputeEnv saves name, work directory, status and options. Runs that have begun keep what they began with.
func (d *DB) UpdateComputeEnv(ctx context.Context, c platform.ComputeEnv) error {
	return d.inTx(ctx, func(t *tx) error {
		gone := platform.Errorf(platform.CodeNotFound, "The compute environment was deleted meanwhile.")
		err := t.exec(ctx, gone, `UPDATE compute_envs SET name = ?, work_dir = ?, status = ?, message = ?, config = ?
			WHERE id = ? AND workspace_id = ? AND deleted_at = 0`,
			c.Name, c.WorkDir, c.Status, c.Message, toJSON(c.Config), c.ID, c.WorkspaceID)
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		return computeEnvNameTaken(err, c.Name)
	})
}

func computeEnvNameTaken(err error, name string) error {
	if isUnique(err, "compute_envs.name") {
		return platform.FieldErrors{"name": "There is a compute environment named " + name + " already."}
	}
	return err
}

// SetPrimaryComputeEnv makes one environment the workspace's primary.
func (d *DB) SetPrimaryComputeEnv(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `UPDATE compute_envs SET is_primary = 0 WHERE workspace_id = ?`, workspaceID); err != nil {
			return err
		}
		t.change(workspaceID, "", platform.ChangeEnvs)
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The compute environment was deleted meanwhile."),
			`UPDATE compute_envs SET is_primary = 1 WHERE workspace_id = ? AND id = ? AND deleted_at = 0`, workspaceID, id)
	})
}

// DeleteComputeEnv deletes an environment with no living machine; its runs keep pointing at it. While machines live it
// answers CodeConflict with the names of their runs.
func (d *DB) DeleteComputeEnv(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		names, err := all(ctx, t, scanString, `SELECT r.name FROM machines m JOIN runs r ON r.id = m.run_id
			WHERE m.compute_env_id = ? AND m.state <> ? ORDER BY r.id LIMIT 10`, id, platform.MachineTerminated)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return platform.Errorf(platform.CodeConflict, "These runs still have a machine there: %s. Cancel them or wait for their end, then delete the compute environment.", quoted(names))
		}
		t.change(workspaceID, "", platform.ChangeEnvs)
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The compute environment was deleted already."),
			`UPDATE compute_envs SET deleted_at = ?, is_primary = 0 WHERE workspace_id = ? AND id = ? AND deleted_at = 0`, millis(t.now), workspaceID, id)
	})
}
