package db

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"wherry/platform"
)

const computeEnvColumns = `id, workspace_id, name, platform, region, work_dir, status, message, is_primary, config, created_at, last_used_at,
	credentials_id, status_since, next_step_at, attempts, check_asked_at, access_token <> '', version`

func scanComputeEnv(s scanner) (c platform.ComputeEnv, err error) {
	err = s.Scan(&c.ID, &c.WorkspaceID, &c.Name, &c.Platform, &c.Region, &c.WorkDir, &c.Status, &c.Message, &c.Primary,
		jsonColumn{&c.Config}, timeColumn{&c.Created}, timeColumn{&c.LastUsed},
		&c.CredentialsID, timeColumn{&c.StatusSince}, timeColumn{&c.NextStep}, &c.Attempts, timeColumn{&c.CheckAsked}, &c.HasAccessToken, &c.Version)
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

// SweptComputeEnvs lists the environments of every workspace in which there may be instances, for the sweep: a deleted one has
// none, and its account may be gone.
func (d *DB) SweptComputeEnvs(ctx context.Context) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE status <> 'DELETED' OR platform = 'local' ORDER BY id`)
}

// AddComputeEnv saves a new environment; the first of a workspace becomes its primary one. One that is CREATING is due at
// once. One that is refused stays as it is.
func (d *DB) AddComputeEnv(ctx context.Context, env *platform.ComputeEnv) error {
	c := *env
	err := d.inTx(ctx, func(t *tx) error {
		c.ID, c.Created, c.StatusSince, c.NextStep = platform.NewID(), t.now.UTC(), t.now.UTC(), t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO compute_envs (id, workspace_id, name, platform, region, work_dir, status, message, is_primary, config,
			created_at, last_used_at, credentials_id, status_since, next_step_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOT EXISTS (SELECT 1 FROM compute_envs WHERE workspace_id = ? AND deleted_at = 0), ?, ?, 0, ?, ?, ?) RETURNING is_primary`,
			c.ID, c.WorkspaceID, c.Name, c.Platform, c.Region, c.WorkDir, c.Status, c.Message, c.WorkspaceID, toJSON(c.Config), millis(t.now),
			c.CredentialsID, millis(t.now), millis(t.now)).Scan(&c.Primary)
		if err != nil {
			return computeEnvNameTaken(err, c.Name)
		}
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		if err := d.keepAccessToken(ctx, t, c); err != nil {
			return err
		}
		c.HasAccessToken = !c.AccessToken.IsZero()
		if err := t.needCredentials(ctx, c); err != nil {
			return err
		}
		if err := t.labelEnv(ctx, c); err != nil {
			return err
		}
		return t.auditComputeEnv("compute-env.add", nil, &c)
	})
	if err == nil {
		*env = c
	}
	return err
}

// needCredentials makes sure that an environment's credentials are there, in its own workspace.
func (t *tx) needCredentials(ctx context.Context, c platform.ComputeEnv) error {
	if c.CredentialsID == "" {
		return nil
	}
	var there bool
	err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM credentials WHERE id = ? AND workspace_id = ?)`, c.CredentialsID, c.WorkspaceID).Scan(&there)
	if err == nil && !there {
		err = platform.FieldErrors{"credentialsId": "These credentials are not there any more. Choose others."}
	}
	return err
}

// UpdateComputeEnv saves name, work directory and options, and moves the environment to c.Status, which may be the one it
// has. was is the status that it had when it was read; if it has another now, or another version than c, that is CodeConflict. An empty AccessToken keeps the one that is there, unless HasAccessToken
// says that there shall be none. Runs that have begun keep what they began with.
func (d *DB) UpdateComputeEnv(ctx context.Context, c platform.ComputeEnv, was platform.ComputeEnvStatus) error {
	if c.Status != was && !was.CanMove(c.Status) {
		return envMoveRefused(was, c.Status)
	}
	return d.inTx(ctx, func(t *tx) error {
		changed := platform.Errorf(platform.CodeConflict, "Nothing was saved, because the compute environment was changed after this page was loaded, by somebody else or in another tab. Load the page again, and make your changes to what it is now.")
		before, err := t.computeEnv(ctx, c.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return changed
		}
		if err != nil {
			return err
		}
		err = t.exec(ctx, changed, `UPDATE compute_envs SET name = ?1, work_dir = ?2, status = ?3, message = ?4, config = ?5,
			next_step_at = ?6, attempts = 0, status_since = iif(status = ?3, status_since, ?6), version = version + 1
			WHERE id = ?7 AND workspace_id = ?8 AND deleted_at = 0 AND status = ?9 AND version = ?10`,
			c.Name, c.WorkDir, c.Status, c.Message, toJSON(c.Config), millis(t.now), c.ID, c.WorkspaceID, was, c.Version)
		if err != nil {
			return computeEnvNameTaken(err, c.Name)
		}
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		if err := d.keepAccessToken(ctx, t, c); err != nil {
			return err
		}
		if err := t.labelEnv(ctx, c); err != nil {
			return err
		}
		is, err := t.computeEnv(ctx, c.ID)
		if err != nil {
			return err
		}
		return t.auditComputeEnv("compute-env.update", &before, &is)
	})
}

// labelEnv gives an environment its labels, which must leave room for Wherry's own tags of a machine.
func (t *tx) labelEnv(ctx context.Context, c platform.ComputeEnv) error {
	if err := t.setLabels(ctx, c.WorkspaceID, platform.LabelsComputeEnv, c.ID, c.LabelIDs); err != nil {
		return err
	}
	return t.checkTags(ctx, c, platform.LabelsComputeEnv, c.ID)
}

func computeEnvNameTaken(err error, name string) error {
	if isUnique(err, "compute_envs.name") {
		return platform.FieldErrors{"name": "There is a compute environment named " + name + " already."}
	}
	return err
}

func envMoveRefused(from, to platform.ComputeEnvStatus) error {
	return platform.Errorf(platform.CodeConflict, "A compute environment does not go from %s to %s.", from, to)
}

// MoveComputeEnv moves an environment along the transition table; message says why it is where it is. A move that the
// table does not have, or from another status than it has, is CodeConflict and changes nothing.
func (d *DB) MoveComputeEnv(ctx context.Context, c platform.ComputeEnv, to platform.ComputeEnvStatus, message string) error {
	return d.moveComputeEnv(ctx, c, to, message, computeEnvMove(ctx, c.Status, to))
}

// computeEnvMove names a move for the audit log: what somebody asked for, or what a loop found or did.
func computeEnvMove(ctx context.Context, from, to platform.ComputeEnvStatus) string {
	switch byLoop := platform.ActorOf(ctx).Kind == platform.ActorPortal; {
	case byLoop && to == platform.ComputeEnvDeleted:
		return "compute-env.removed"
	case byLoop:
		return "compute-env.status"
	case to == platform.ComputeEnvDisabled:
		return "compute-env.disable"
	case from == platform.ComputeEnvDisabled:
		return "compute-env.enable"
	}
	return "compute-env.retry"
}

func (d *DB) moveComputeEnv(ctx context.Context, c platform.ComputeEnv, to platform.ComputeEnvStatus, message, action string) error {
	if !c.Status.CanMove(to) {
		return envMoveRefused(c.Status, to)
	}
	return d.inTx(ctx, func(t *tx) error {
		deleted := int64(0)
		if to == platform.ComputeEnvDeleted {
			deleted = millis(t.now)
		}
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		t.audit(audited{action: action, workspaceID: c.WorkspaceID, id: c.ID, name: c.Name,
			before: fields{"status": c.Status}, after: fields{"status": to, "message": message}})
		return t.exec(ctx, platform.Errorf(platform.CodeConflict, "The compute environment is not %s any more.", c.Status),
			`UPDATE compute_envs SET status = ?1, message = ?2, status_since = ?3, next_step_at = ?3, attempts = 0, check_asked_at = 0,
			deleted_at = ?4, is_primary = iif(?4 = 0, is_primary, 0), access_token = iif(?4 = 0, access_token, '') WHERE id = ?5 AND status = ?6 AND deleted_at = 0`,
			to, message, millis(t.now), deleted, c.ID, c.Status)
	})
}

// SetPrimaryComputeEnv makes one environment the workspace's primary.
func (d *DB) SetPrimaryComputeEnv(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.auditPrimary(ctx, workspaceID, id); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `UPDATE compute_envs SET is_primary = 0 WHERE workspace_id = ?`, workspaceID); err != nil {
			return err
		}
		t.change(workspaceID, "", platform.ChangeEnvs)
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The compute environment was deleted meanwhile."),
			`UPDATE compute_envs SET is_primary = 1 WHERE workspace_id = ? AND id = ? AND deleted_at = 0`, workspaceID, id)
	})
}

// computeEnv reads an environment within the transaction.
func (t *tx) computeEnv(ctx context.Context, id string) (platform.ComputeEnv, error) {
	return scanComputeEnv(t.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE id = ?`, id))
}

// auditPrimary notes which environment becomes primary, and in the place of which.
func (t *tx) auditPrimary(ctx context.Context, workspaceID int64, id string) error {
	was, err := all(ctx, t, scanString, `SELECT name FROM compute_envs WHERE workspace_id = ? AND is_primary AND deleted_at = 0`, workspaceID)
	if err != nil {
		return err
	}
	env, err := t.computeEnv(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // the change says so
	}
	t.audit(audited{action: "compute-env.primary", workspaceID: workspaceID, id: id, name: env.Name,
		before: fields{"primary": strings.Join(was, ", ")}, after: fields{"primary": env.Name}})
	return err
}

// DeleteComputeEnv begins to delete an environment with no living machine: it is DELETING then, and a loop removes what was
// made for it. While machines live it answers CodeConflict with the names of their runs and Studios.
func (d *DB) DeleteComputeEnv(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.refuseWhileInUse(ctx, id); err != nil {
			return err
		}
		was, err := scanComputeEnv(t.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE workspace_id = ? AND id = ? AND deleted_at = 0`, workspaceID, id))
		switch status := was.Status; {
		case err != nil:
			return notFound(err, "compute environment")
		case status == platform.ComputeEnvDeleting:
			return nil
		case !status.CanMove(platform.ComputeEnvDeleting):
			return envMoveRefused(status, platform.ComputeEnvDeleting)
		}
		t.change(workspaceID, "", platform.ChangeEnvs)
		if err := t.auditComputeEnv("compute-env.delete", &was, nil); err != nil {
			return err
		}
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The compute environment was deleted already."),
			`UPDATE compute_envs SET status = ?1, message = '', status_since = ?2, next_step_at = ?2, attempts = 0, check_asked_at = 0
			WHERE workspace_id = ?3 AND id = ?4 AND deleted_at = 0`, platform.ComputeEnvDeleting, millis(t.now), workspaceID, id)
	})
}

func (t *tx) refuseWhileInUse(ctx context.Context, id string) error {
	names, err := all(ctx, t, scanString, `SELECT r.name FROM machines m JOIN runs r ON r.id = m.run_id
		WHERE m.compute_env_id = ? AND m.state <> ? ORDER BY r.id LIMIT 10`, id, platform.MachineTerminated)
	if err == nil && len(names) > 0 {
		err = platform.Errorf(platform.CodeConflict, "These runs still have a machine there: %s. Cancel them or wait for their end, then delete the compute environment.", quoted(names))
	}
	if err != nil {
		return err
	}
	names, err = all(ctx, t, scanString, `SELECT o.studio_name FROM machines m JOIN studio_sessions o ON o.id = m.studio_session_id
		WHERE m.compute_env_id = ? AND m.state <> ? ORDER BY o.id LIMIT 10`, id, platform.MachineTerminated)
	if err == nil && len(names) > 0 {
		err = platform.Errorf(platform.CodeConflict, "These Studios still have a machine there: %s. Stop them, then delete the compute environment.", quoted(names))
	}
	return err
}

// ForgetComputeEnv gives an environment up that is DELETING, without asking its account any more, and tells what may
// remain there.
func (d *DB) ForgetComputeEnv(ctx context.Context, c platform.ComputeEnv) (remaining []platform.Resource, err error) {
	resources, err := d.Resources(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		if r.State != platform.ResourceGone {
			remaining = append(remaining, r)
		}
	}
	return remaining, d.moveComputeEnv(ctx, c, platform.ComputeEnvDeleted, "forgotten before everything was removed", "compute-env.forget")
}

// AskComputeEnvCheck asks for a check of an environment, or for another attempt at once where one is being made or deleted.
func (d *DB) AskComputeEnvCheck(ctx context.Context, c platform.ComputeEnv) error {
	return d.inTx(ctx, func(t *tx) error {
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		t.audit(audited{action: "compute-env.check", workspaceID: c.WorkspaceID, id: c.ID, name: c.Name})
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The compute environment was deleted meanwhile."),
			`UPDATE compute_envs SET next_step_at = min(next_step_at - 1, ?1), attempts = 0,
			check_asked_at = iif(status IN ('AVAILABLE', 'INVALID', 'DISABLED'), ?1, 0) WHERE id = ?2 AND deleted_at = 0`, millis(t.now), c.ID)
	})
}

// ComputeEnvChecked ends a check whose outcome moved nothing.
func (d *DB) ComputeEnvChecked(ctx context.Context, c platform.ComputeEnv, message string) error {
	return d.inTx(ctx, func(t *tx) error {
		t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		_, err := t.ExecContext(ctx, `UPDATE compute_envs SET check_asked_at = 0, message = ? WHERE id = ? AND check_asked_at = ?`,
			message, c.ID, millis(c.CheckAsked))
		return err
	})
}

// hasStep is what makes an environment due: something to make, to remove or to check.
const hasStep = `(status IN ('CREATING', 'DELETING') OR check_asked_at <> 0)`

// DueComputeEnvs lists the environments whose next step is due, and tells when the next is after that (zero: none).
func (d *DB) DueComputeEnvs(ctx context.Context, now time.Time, limit int) (due []platform.ComputeEnv, next time.Time, err error) {
	due, err = all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs
		WHERE `+hasStep+` AND next_step_at <= ? ORDER BY next_step_at, id LIMIT ?`, millis(now), limit)
	if err != nil {
		return nil, next, err
	}
	err = d.read.QueryRowContext(ctx, `SELECT coalesce(min(next_step_at), 0) FROM compute_envs WHERE `+hasStep+` AND next_step_at > ?`,
		millis(now)).Scan(timeColumn{&next})
	return due, next, err
}

// PostponeComputeEnv sets when an environment is looked at again, and what holds it up, for people. It leaves one alone
// that was changed since it was read.
func (d *DB) PostponeComputeEnv(ctx context.Context, c platform.ComputeEnv, next time.Time, attempts int, message string) error {
	return d.inTx(ctx, func(t *tx) error {
		if message != c.Message {
			t.change(c.WorkspaceID, "", platform.ChangeEnvs)
		}
		_, err := t.ExecContext(ctx, `UPDATE compute_envs SET next_step_at = ?, attempts = ?, message = ? WHERE id = ? AND status = ? AND next_step_at = ?`,
			millis(next), attempts, message, c.ID, c.Status, millis(c.NextStep))
		return err
	})
}
