package db

import (
	"context"
	"database/sql"

	"wherry/platform"
)

// LastChange is the id of the newest line of the journal; 0 when nothing ever changed.
func (d *DB) LastChange(ctx context.Context) (id int64, err error) {
	// sqlite_sequence, and not max(id), because the newest lines may have been tidied away.
	err = d.read.QueryRowContext(ctx, `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)`).Scan(&id)
	return id, err
}

// ChangesSince lists a workspace's changes after the one with that id, narrowed to a run or a Studio, and to who
// is in the workspace, unless of, its id, is empty.
// complete is false when older lines than are kept were asked for: the caller has to start afresh.
func (d *DB) ChangesSince(ctx context.Context, workspaceID int64, of string, after int64) (changes []platform.Change, complete bool, err error) {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // so that nothing is tidied away between the two questions
	if err != nil {
		return nil, false, err
	}
	defer tx.Rollback()
	var oldest, newest int64
	err = tx.QueryRowContext(ctx, `SELECT coalesce(min(id), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) FROM changes`).Scan(&oldest, &newest)
	if err != nil {
		return nil, false, err
	}
	if after > newest || (after < newest && (oldest == 0 || after < oldest-1)) {
		return nil, false, nil
	}
	changes, err = all(ctx, tx, scanChange, `SELECT id, workspace_id, run_id, studio_id, kind FROM changes
		WHERE id > ?1 AND workspace_id = ?2 AND (?3 = '' OR run_id = ?3 OR studio_id = ?3 OR kind = 'members') ORDER BY id`, after, workspaceID, of)
	return changes, true, err
}

func scanChange(s scanner) (c platform.Change, err error) {
	err = s.Scan(&c.ID, &c.WorkspaceID, &c.RunID, &c.StudioID, &c.Kind)
	return c, err
}
