package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"wherry/platform"
)

const checkpointQuery = `SELECT k.id, k.studio_id, k.session_id, s.name, k.name, k.state, k.saved_at, k.size, k.files, k.final, k.work_dir
	FROM checkpoints k JOIN studios s ON s.id = k.studio_id `

// newestFirst orders checkpoints by when they were saved. Sessions are in the portal's order; within one, the agent's counts.
const newestFirst = ` ORDER BY k.session_id DESC, k.saved_at DESC, k.id DESC`

func scanCheckpoint(row scanner) (c platform.Checkpoint, err error) {
	err = row.Scan(&c.ID, &c.StudioID, &c.SessionID, &c.Studio, &c.Name, &c.State, timeColumn{&c.Saved}, &c.Size, &c.Files, &c.Final, &c.WorkDir)
	return c, err
}

// AddCheckpoints keeps what a session's agent has saved, once for each id, and makes the oldest without a name unwanted
// where there are more than platform.KeptCheckpoints. Too many at once or of one session, and what is no checkpoint, are
// CodeInvalid.
func (d *DB) AddCheckpoints(ctx context.Context, m platform.Machine, reports []platform.CheckpointReport) error {
	switch {
	case len(reports) == 0:
		return nil
	case m.StudioSessionID == "":
		return platform.Errorf(platform.CodeInvalid, "Only Studios have checkpoints.")
	case len(reports) > platform.MaxCheckpointReports:
		return platform.Errorf(platform.CodeInvalid, "At most %d checkpoints are told at once.", platform.MaxCheckpointReports)
	}
	return d.inTx(ctx, func(t *tx) error {
		for _, r := range reports {
			if !platform.ValidID(r.ID) {
				return platform.Errorf(platform.CodeInvalid, "%q is not a checkpoint's id.", platform.Shorten(r.ID, 100))
			}
			r = r.Bounded(m.Created, t.now.UTC())
			// A checkpoint that comes after its Studio was deleted is one that nobody wants.
			_, err := t.ExecContext(ctx, `INSERT OR IGNORE INTO checkpoints (id, studio_id, session_id, state, saved_at, size, files, final, work_dir)
				SELECT ?1, o.studio_id, o.id, iif(s.deleted_at = 0, ?2, ?3), ?4, ?5, ?6, ?7, o.work_dir FROM studio_sessions o JOIN studios s ON s.id = o.studio_id WHERE o.id = ?8`,
				r.ID, platform.CheckpointSaved, platform.CheckpointUnwanted, millis(r.Saved), r.Size, r.Files, r.Final, m.StudioSessionID)
			if err != nil {
				return err
			}
		}
		var n int
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM checkpoints WHERE studio_id = ? AND session_id = ?`, m.StudioID, m.StudioSessionID).Scan(&n); err != nil {
			return err
		}
		if n > maxCheckpoints {
			return platform.Errorf(platform.CodeInvalid, "A session has at most %d checkpoints.", maxCheckpoints)
		}
		t.changeStudio(m.WorkspaceID, m.StudioID)
		return t.retain(ctx, m.StudioID)
	})
}

// maxCheckpoints is how many checkpoints a session may tell of, all that were removed too: one a minute for a week is less.
const maxCheckpoints = 10_100

// retain makes a Studio's oldest checkpoints unwanted, where it has more than it keeps. Those stay that have a name, and those
// that another Studio shall begin with and has not yet.
func (t *tx) retain(ctx context.Context, studioID string) error {
	_, err := t.ExecContext(ctx, `UPDATE checkpoints SET state = ?1 WHERE id IN (SELECT k.id FROM checkpoints k
		WHERE k.studio_id = ?2 AND k.state = ?3 AND k.name = ''`+newestFirst+` LIMIT -1 OFFSET ?4) AND id NOT IN (`+awaited+`)`,
		platform.CheckpointUnwanted, studioID, platform.CheckpointSaved, platform.KeptCheckpoints)
	return err
}

// awaiting are the Studios that shall begin with a checkpoint and have saved nothing of their own, and awaited those checkpoints.
const (
	awaiting = ` FROM studios s WHERE s.deleted_at = 0 AND json_extract(s.config, '$.restore') <> ''
		AND NOT EXISTS (SELECT 1 FROM checkpoints own WHERE own.studio_id = s.id)`
	awaited = `SELECT json_extract(s.config, '$.restore')` + awaiting
)

// CheckpointsRemoved notes that the archives of unwanted checkpoints are gone, in the work directory of a machine's session.
func (d *DB) CheckpointsRemoved(ctx context.Context, m platform.Machine, ids []string) error {
	if len(ids) > platform.MaxCheckpointReports {
		return platform.Errorf(platform.CodeInvalid, "At most %d checkpoints are told at once.", platform.MaxCheckpointReports)
	}
	return d.inTx(ctx, func(t *tx) error {
		for _, id := range ids {
			_, err := t.ExecContext(ctx, `UPDATE checkpoints SET state = ?1 WHERE id = ?2 AND state = ?3
				AND work_dir = (SELECT work_dir FROM studio_sessions WHERE id = ?4) AND studio_id IN (SELECT id FROM studios WHERE workspace_id = ?5)`,
				platform.CheckpointRemoved, id, platform.CheckpointUnwanted, m.StudioSessionID, m.WorkspaceID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Checkpoints lists a Studio's saved checkpoints, the newest first.
func (d *DB) Checkpoints(ctx context.Context, workspaceID int64, studioID string) ([]platform.Checkpoint, error) {
	return all(ctx, d.read, scanCheckpoint, checkpointQuery+`WHERE s.workspace_id = ? AND k.studio_id = ? AND k.state = ?`+newestFirst,
		workspaceID, studioID, platform.CheckpointSaved)
}

// Checkpoint reads a saved checkpoint of a workspace.
func (d *DB) Checkpoint(ctx context.Context, workspaceID int64, id string) (platform.Checkpoint, error) {
	c, err := savedCheckpoint(ctx, d.read, workspaceID, id)
	return c, notFound(err, "checkpoint")
}

// RestoredCheckpoint names what a session begins with, which nobody may want any more meanwhile; nil: nothing.
func (d *DB) RestoredCheckpoint(ctx context.Context, s platform.StudioSession) (*platform.CheckpointRef, error) {
	if s.Restored == "" {
		return nil, nil
	}
	ref := platform.CheckpointRef{CheckpointID: s.Restored}
	err := d.read.QueryRowContext(ctx, `SELECT studio_id FROM checkpoints WHERE id = ?`, s.Restored).Scan(&ref.StudioID)
	return &ref, notFound(err, "checkpoint")
}

// UnwantedCheckpoints lists checkpoints whose archives a session's agent is to remove: those of its workspace and work
// directory that nobody wants any more, also of deleted Studios, which have no agent of their own. What a living session
// begins with is not among them.
func (d *DB) UnwantedCheckpoints(ctx context.Context, s platform.StudioSession) ([]platform.CheckpointRef, error) {
	return all(ctx, d.read, func(row scanner) (c platform.CheckpointRef, err error) {
		return c, row.Scan(&c.StudioID, &c.CheckpointID)
	}, `SELECT k.studio_id, k.id FROM checkpoints k JOIN studios s ON s.id = k.studio_id WHERE s.workspace_id = ? AND k.work_dir = ? AND k.state = ?
		AND k.id NOT IN (SELECT restored FROM studio_sessions WHERE ended_at = 0) ORDER BY k.id LIMIT ?`,
		s.WorkspaceID, s.WorkDir, platform.CheckpointUnwanted, platform.MaxCheckpointReports)
}

// NameCheckpoint names a checkpoint, or with "" takes the name away.
func (d *DB) NameCheckpoint(ctx context.Context, workspaceID int64, id, name string) error {
	name, err := platform.CleanCheckpointName(name)
	if err != nil {
		return err
	}
	return d.changeCheckpoint(ctx, workspaceID, id, func(t *tx, c platform.Checkpoint) error {
		if _, err := t.ExecContext(ctx, `UPDATE checkpoints SET name = ? WHERE id = ?`, name, id); err != nil {
			return err
		}
		t.audit(audited{action: "checkpoint.name", workspaceID: workspaceID, id: id, name: name,
			before: fields{"studio": c.Studio, "name": c.Name}, after: fields{"studio": c.Studio, "name": name}})
		return t.retain(ctx, c.StudioID)
	})
}

// DeleteCheckpoint makes a checkpoint unwanted; its archive is removed by the agent of the next session in its work directory.
// One that a Studio shall begin with, and has not yet, is CodeConflict.
func (d *DB) DeleteCheckpoint(ctx context.Context, workspaceID int64, id string) error {
	return d.changeCheckpoint(ctx, workspaceID, id, func(t *tx, c platform.Checkpoint) error {
		var studio string
		err := t.QueryRowContext(ctx, `SELECT s.name`+awaiting+` AND s.workspace_id = ? AND json_extract(s.config, '$.restore') = ?`, workspaceID, id).Scan(&studio)
		if err == nil {
			return platform.Errorf(platform.CodeConflict, "%s shall begin with this checkpoint and has not yet. Start that Studio first, or let it begin with something else.", studio)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		t.audit(audited{action: "checkpoint.delete", workspaceID: workspaceID, id: id, name: c.Name,
			before: fields{"studio": c.Studio, "name": c.Name, "savedAt": c.Saved}})
		_, err = t.ExecContext(ctx, `UPDATE checkpoints SET state = ? WHERE id = ?`, platform.CheckpointUnwanted, id)
		return err
	})
}

// changeCheckpoint changes a saved checkpoint of a workspace.
func (d *DB) changeCheckpoint(ctx context.Context, workspaceID int64, id string, change func(*tx, platform.Checkpoint) error) error {
	return d.inTx(ctx, func(t *tx) error {
		c, err := savedCheckpoint(ctx, t, workspaceID, id)
		if err != nil {
			return notFound(err, "checkpoint")
		}
		t.changeStudio(workspaceID, c.StudioID)
		return change(t, c)
	})
}

func savedCheckpoint(ctx context.Context, q queryer, workspaceID int64, id string) (platform.Checkpoint, error) {
	return scanCheckpoint(q.QueryRowContext(ctx, checkpointQuery+`WHERE s.workspace_id = ? AND k.id = ? AND k.state = ?`, workspaceID, id, platform.CheckpointSaved))
}

// toRestore tells which checkpoint a session of a Studio begins with; empty: none. It is the Studio's own newest; before it has
// saved anything it is the one that it shall begin with. Where that cannot be read in the environment the error is at
// computeEnvId, or at restore for that of another Studio: nobody finds an empty workspace where there should be work.
func (t *tx) toRestore(ctx context.Context, s platform.Studio, env platform.ComputeEnv) (id string, err error) {
	var any bool
	if err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM checkpoints WHERE studio_id = ?)`, s.ID).Scan(&any); err != nil {
		return "", err
	}
	if !any {
		return s.Config.Restore, t.checkRestore(ctx, s, env)
	}
	newest, err := scanCheckpoint(t.QueryRowContext(ctx, checkpointQuery+`WHERE k.studio_id = ? AND k.state = ?`+newestFirst+` LIMIT 1`, s.ID, platform.CheckpointSaved))
	switch {
	case errors.Is(err, sql.ErrNoRows): // people deleted them all
		return "", nil
	case err != nil:
		return "", err
	case newest.WorkDir != env.WorkDir:
		return "", platform.FieldErrors{"computeEnvId": fmt.Sprintf("This Studio's work is kept in %s, and the work directory of %s is %s. Choose a compute environment with that work directory; or delete the Studio's checkpoints, and it begins with nothing.", newest.WorkDir, env.Name, env.WorkDir)}
	}
	return newest.ID, nil
}

// checkRestore makes sure that a Studio can begin with the checkpoint that it names.
func (t *tx) checkRestore(ctx context.Context, s platform.Studio, env platform.ComputeEnv) error {
	if s.Config.Restore == "" {
		return nil
	}
	c, err := savedCheckpoint(ctx, t, s.WorkspaceID, s.Config.Restore)
	if errors.Is(err, sql.ErrNoRows) {
		return platform.FieldErrors{"restore": "This checkpoint is not there any more. Choose another, or none."}
	}
	if err != nil {
		return err
	}
	var hidden bool
	if err := t.QueryRowContext(ctx, `SELECT private AND user_id <> ? FROM studios WHERE id = ?`, s.UserID, c.StudioID).Scan(&hidden); err != nil {
		return err
	}
	switch {
	case hidden:
		return platform.FieldErrors{"restore": "This checkpoint is of somebody else's private Studio. Choose another, or none."}
	case c.WorkDir != env.WorkDir:
		return platform.FieldErrors{"restore": fmt.Sprintf("This checkpoint is kept in %s, and the work directory of %s is %s. Choose a compute environment with that work directory, or another checkpoint.", c.WorkDir, env.Name, env.WorkDir)}
	}
	return nil
}
