package db

import (
	"context"

	"wherry/platform"
)

// Resources lists what was ever made for an environment, in the order in which it was.
func (d *DB) Resources(ctx context.Context, computeEnvID string) ([]platform.Resource, error) {
	return all(ctx, d.read, func(s scanner) (r platform.Resource, err error) {
		err = s.Scan(&r.Kind, &r.Name, &r.Digest, &r.State, timeColumn{&r.Updated})
		return r, err
	}, `SELECT kind, name, digest, state, updated_at FROM resources WHERE compute_env_id = ? ORDER BY position`, computeEnvID)
}

// SaveResource writes down what becomes of something that an environment needs. The wish for something new is refused with
// CodeConflict when the environment is not in the status any more in which it was read: it may be DELETING meanwhile.
func (d *DB) SaveResource(ctx context.Context, c platform.ComputeEnv, r platform.Resource) error {
	return d.inTx(ctx, func(t *tx) error {
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		var status platform.ComputeEnvStatus
		if err := t.QueryRowContext(ctx, `SELECT status FROM compute_envs WHERE id = ?`, c.ID).Scan(&status); err != nil {
			return err
		}
		if r.State == platform.ResourceWanted && status != c.Status {
			return platform.Errorf(platform.CodeConflict, "The compute environment is not %s any more.", c.Status)
		}
		_, err := t.ExecContext(ctx, `INSERT INTO resources (compute_env_id, kind, name, digest, state, updated_at, position)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT count(*) FROM resources WHERE compute_env_id = ?1))
			ON CONFLICT DO UPDATE SET digest = ?4, state = ?5, updated_at = ?6`, c.ID, r.Kind, r.Name, r.Digest, r.State, millis(t.now))
		return err
	})
}
