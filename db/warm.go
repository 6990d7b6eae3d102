package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wherry/platform"
)

// warmFresh is how lately the agent of a warm machine must have asked for work, so that some is given to it.
const warmFresh = time.Minute

// isWarm holds for machines that have no work. It is written as in the index machines_warm, which SQLite uses for nothing else.
const isWarm = `run_id IS NULL AND studio_session_id IS NULL`

// takeWarm gives work to a warm machine of its environment, if one waits that was started as the environment is now.
func (t *tx) takeWarm(ctx context.Context, env platform.ComputeEnv, w workOf) (m platform.Machine, ok bool, err error) {
	m, err = scanMachine(t.QueryRowContext(ctx, `UPDATE machines SET run_id = nullif(?1, ''), studio_session_id = nullif(?6, ''),
		next_step_at = min(next_step_at - 1, ?2) WHERE id =
		(SELECT id FROM machines WHERE compute_env_id = ?3 AND `+isWarm+` AND state = 'booting' AND heartbeat_at > ?4 AND digest = ?5
		AND end_asked_at = 0 ORDER BY id LIMIT 1) RETURNING `+machineColumns, w.runID, millis(t.now), env.ID, millis(t.now.Add(-warmFresh)), env.MachineDigest(), w.sessionID))
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	m.StudioID = w.studioID
	t.changeOf(m, platform.ChangeMachine)
	return m, true, nil
}

// WarmMachines lists an environment's machines that have no work and are still wanted, the oldest first.
func (d *DB) WarmMachines(ctx context.Context, envID string) ([]platform.Machine, error) {
	return all(ctx, d.read, scanMachine, `SELECT `+machineColumns+` FROM machines WHERE compute_env_id = ? AND `+isWarm+`
		AND state IN ('wanted', 'requested', 'booting') ORDER BY id`, envID)
}

// AddWarmMachine wishes for a machine without work, unless there are as many as most already.
func (d *DB) AddWarmMachine(ctx context.Context, env platform.ComputeEnv, most int) error {
	return d.inTx(ctx, func(t *tx) error {
		var n int
		err := t.QueryRowContext(ctx, `SELECT count(*) FROM machines WHERE compute_env_id = ? AND `+isWarm+`
			AND state IN ('wanted', 'requested', 'booting') AND digest = ?`, env.ID, env.MachineDigest()).Scan(&n)
		if err != nil || n >= most {
			return err
		}
		_, err = t.addMachine(ctx, env, workOf{})
		return err
	})
}

// WarmFailures counts an environment's warm machines that failed to start since a time.
func (d *DB) WarmFailures(ctx context.Context, envID string, since time.Time) (n int, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT count(*) FROM machines WHERE compute_env_id = ? AND `+isWarm+` AND failure <> '' AND state_since > ?`,
		envID, millis(since)).Scan(&n)
	return n, err
}

// EnvsWithWarm lists the environments that may have warm machines or want some.
func (d *DB) EnvsWithWarm(ctx context.Context) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE
		(status = 'AVAILABLE' AND json_extract(config, '$.warmInstances') > 0) OR id IN (SELECT compute_env_id FROM machines
		WHERE `+isWarm+` AND state IN ('wanted', 'requested', 'booting')) ORDER BY id`)
}

// AskEnd notes that a warm machine shall end. Of one that has work, that is ended instead (AskCancel, AskStudioStop).
func (d *DB) AskEnd(ctx context.Context, workspaceID int64, machineID, userName string) error {
	return d.inTx(ctx, func(t *tx) error {
		err := t.exec(ctx, platform.Errorf(platform.CodeConflict, "This machine has ended, or has been given work."),
			`UPDATE machines SET end_asked_at = ?1, end_asked_by = ?2, next_step_at = min(next_step_at - 1, ?1)
			WHERE id = ?3 AND workspace_id = ?4 AND `+isWarm+` AND state <> 'terminated'`, millis(t.now), userName, machineID, workspaceID)
		t.change(workspaceID, "", platform.ChangeMachine)
		t.audit(audited{action: "machine.end", workspaceID: workspaceID, id: machineID})
		return err
	})
}
