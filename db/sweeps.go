package db

import (
	"context"

	"wherry/platform"
)

// AddSweep notes that the sweep ends an instance, and why; the first note of an instance counts.
func (d *DB) AddSweep(ctx context.Context, s platform.Sweep) error {
	return d.inTx(ctx, func(t *tx) error {
		first, err := t.changed(ctx, `INSERT OR IGNORE INTO sweeps (workspace_id, compute_env_id, machine_id, instance_id, why, at) VALUES (?, ?, ?, ?, ?, ?)`,
			s.WorkspaceID, s.ComputeEnvID, s.MachineID, s.InstanceID, s.Why, millis(t.now))
		t.change(s.WorkspaceID, "", platform.ChangeMachine)
		if first {
			t.audit(audited{action: "machine.sweep", workspaceID: s.WorkspaceID, id: s.MachineID, name: s.InstanceID,
				after: fields{"computeEnvId": s.ComputeEnvID, "instanceId": s.InstanceID, "why": s.Why}})
		}
		return err
	})
}

// Sweeps lists what the sweep ended in a workspace, the newest first.
func (d *DB) Sweeps(ctx context.Context, workspaceID int64, limit int) ([]platform.Sweep, error) {
	return all(ctx, d.read, func(s scanner) (w platform.Sweep, err error) {
		err = s.Scan(&w.WorkspaceID, &w.ComputeEnvID, &w.ComputeEnv, &w.MachineID, &w.InstanceID, &w.Why, timeColumn{&w.At})
		return w, err
	}, `SELECT s.workspace_id, s.compute_env_id, c.name, s.machine_id, s.instance_id, s.why, s.at FROM sweeps s
		JOIN compute_envs c ON c.id = s.compute_env_id WHERE s.workspace_id = ? ORDER BY s.id DESC LIMIT ?`, workspaceID, limit)
}
