package db

import (
	"context"
	"strings"

	"wherry/platform"
)

// Workspaces lists the workspaces of an organization by name.
func (d *DB) Workspaces(ctx context.Context, orgID int64) ([]platform.Workspace, error) {
	return all(ctx, d.read, func(s scanner) (w platform.Workspace, err error) {
		err = s.Scan(workspaceFields(&w)...)
		return w, err
	}, `SELECT `+workspaceColumns+` FROM workspaces w JOIN organizations o ON o.id = w.organization_id
		WHERE o.id = ? ORDER BY w.name`, orgID)
}

// settingLastWorkspace is the name of the setting with the highest id of a workspace that was deleted. No other gets it again, maybe in
// another organization: the audit log, the journal of changes and programs of users still name it.
const settingLastWorkspace = "last-workspace"

// AddWorkspace adds a workspace to its organization. The organization's owners are owners of it.
func (d *DB) AddWorkspace(ctx context.Context, w *platform.Workspace) error {
	return d.inTx(ctx, func(t *tx) error {
		err := t.QueryRowContext(ctx, `INSERT INTO workspaces (id, organization_id, name, full_name, created_at)
			VALUES (1 + max(coalesce((SELECT max(id) FROM workspaces), 0), coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE name = ?), 0)), ?, ?, ?, ?) RETURNING id`,
			settingLastWorkspace, w.Organization.ID, w.Name, w.FullName, millis(t.now)).Scan(&w.ID)
		if isUnique(err, "workspaces.name") {
			return platform.FieldErrors{"name": "This organization has a workspace of this name already."}
		}
		t.audit(audited{action: "workspace.create", workspaceID: w.ID, id: w.ID, name: w.Name, after: map[string]any{"name": w.Name, "fullName": w.FullName}})
		return err
	})
}

// RenameWorkspace gives a workspace another full name. Its name stays: it is in paths, and in what was made in accounts.
func (d *DB) RenameWorkspace(ctx context.Context, w platform.Workspace) error {
	return d.inTx(ctx, func(t *tx) error {
		was := ""
		if err := t.QueryRowContext(ctx, `SELECT full_name FROM workspaces WHERE id = ?`, w.ID).Scan(&was); err != nil {
			return notInOrganization(err, "workspace")
		}
		t.audit(audited{action: "workspace.update", workspaceID: w.ID, id: w.ID, name: w.Name, before: map[string]any{"fullName": was}, after: map[string]any{"fullName": w.FullName}})
		_, err := t.ExecContext(ctx, `UPDATE workspaces SET full_name = ? WHERE id = ?`, w.FullName, w.ID)
		return err
	})
}

// hindrances are what keeps a workspace from being deleted: machines that live, what Wherry made in an account, what is still kept
// there. Each query lists names.
var hindrances = []struct{ what, query string }{
	{"runs that have not ended", `SELECT name FROM runs WHERE workspace_id = ? AND state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED') ORDER BY id LIMIT 5`},
	{"Studios", `SELECT name FROM studios WHERE workspace_id = ? AND deleted_at = 0 ORDER BY name LIMIT 5`},
	{"machines that are not gone yet", `SELECT id FROM machines WHERE workspace_id = ? AND state <> 'terminated' LIMIT 5`},
	{"compute environments", `SELECT name FROM compute_envs WHERE workspace_id = ? AND deleted_at = 0 ORDER BY name LIMIT 5`},
}

// WorkspaceHindrances tells what keeps a workspace from being deleted, each as words such as "compute environments: a, b".
func (d *DB) WorkspaceHindrances(ctx context.Context, id int64) ([]string, error) {
	return workspaceHindrances(ctx, d.read, id)
}

func workspaceHindrances(ctx context.Context, q queryer, id int64) (list []string, err error) {
	for _, h := range hindrances {
		names, err := all(ctx, q, scanString, h.query, id)
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			list = append(list, h.what+": "+strings.Join(names, ", "))
		}
	}
	return list, nil
}

// DeleteWorkspace deletes a workspace with all that it holds: pipelines, credentials, and its runs with their logs. CodeConflict
// names what stands in the way.
func (d *DB) DeleteWorkspace(ctx context.Context, w platform.Workspace) error {
	return d.inTx(ctx, func(t *tx) error {
		stands, err := workspaceHindrances(ctx, t, w.ID)
		if err != nil {
			return err
		}
		if len(stands) > 0 {
			return platform.Errorf(platform.CodeConflict, "The workspace %s still has %s. Cancel, stop and delete these first.", w.Name, strings.Join(stands, "; "))
		}
		t.audit(audited{action: "workspace.delete", orgID: w.Organization.ID, id: w.ID, name: w.Name, before: map[string]any{"name": w.Name, "fullName": w.FullName}})
		t.change(w.ID, "", platform.ChangeMembers)
		_, err = t.ExecContext(ctx, `INSERT INTO settings VALUES (?1, CAST(?2 AS TEXT)) ON CONFLICT (name) DO UPDATE SET value = excluded.value
			WHERE CAST(value AS INTEGER) < ?2`, settingLastWorkspace, w.ID)
		if err != nil {
			return err
		}
		for _, query := range workspaceRows {
			if _, err := t.ExecContext(ctx, query, w.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// workspaceRows delete what belongs to a workspace, in the order in which the rows refer to each other. What refers to the workspace
// by ON DELETE CASCADE goes with the last.
var workspaceRows = []string{
	`DELETE FROM log_chunks WHERE work_id IN (SELECT id FROM runs WHERE workspace_id = ?1 UNION ALL SELECT id FROM studio_sessions WHERE workspace_id = ?1)`,
	`DELETE FROM log_streams WHERE work_id IN (SELECT id FROM runs WHERE workspace_id = ?1 UNION ALL SELECT id FROM studio_sessions WHERE workspace_id = ?1)`,
	`DELETE FROM reports WHERE run_id IN (SELECT id FROM runs WHERE workspace_id = ?)`,
	`DELETE FROM tasks WHERE run_id IN (SELECT id FROM runs WHERE workspace_id = ?)`,
	`DELETE FROM checkpoints WHERE studio_id IN (SELECT id FROM studios WHERE workspace_id = ?)`,
	`DELETE FROM steps WHERE machine_id IN (SELECT id FROM machines WHERE workspace_id = ?)`,
	`DELETE FROM sweeps WHERE workspace_id = ?`,
	`DELETE FROM machines WHERE workspace_id = ?`,
	`DELETE FROM studio_sessions WHERE workspace_id = ?`,
	`DELETE FROM studios WHERE workspace_id = ?`,
	`DELETE FROM runs WHERE workspace_id = ?`,
	`DELETE FROM resources WHERE compute_env_id IN (SELECT id FROM compute_envs WHERE workspace_id = ?)`,
	`DELETE FROM compute_envs WHERE workspace_id = ?`,
	`DELETE FROM pipelines WHERE workspace_id = ?`,
	`DELETE FROM credentials WHERE workspace_id = ?`,
	`DELETE FROM limits WHERE workspace_id = ?`,
	`DELETE FROM workspaces WHERE id = ?`,
}
