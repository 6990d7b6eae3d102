package db

import (
	"context"
	"strings"

	"wherry/platform"
)

const studioQuery = `SELECT s.id, s.workspace_id, s.user_id, u.user_name, s.compute_env_id, c.name, c.platform, s.name, s.description, s.private,
	s.config, s.created_at, s.updated_at, s.version FROM studios s JOIN users u ON u.id = s.user_id JOIN compute_envs c ON c.id = s.compute_env_id
	WHERE s.deleted_at = 0 `

func scanStudio(row scanner) (s platform.Studio, err error) {
	err = row.Scan(&s.ID, &s.WorkspaceID, &s.UserID, &s.UserName, &s.ComputeEnvID, &s.ComputeEnv, &s.Platform, &s.Name, &s.Description, &s.Private,
		jsonColumn{&s.Config}, timeColumn{&s.Created}, timeColumn{&s.Updated}, &s.Version)
	return s, err
}

// AddStudio saves a Studio that Clean has accepted. A name that is taken is an error at name; an environment that is not
// available, at computeEnvId; a checkpoint that it cannot begin with (checkRestore), at restore.
func (d *DB) AddStudio(ctx context.Context, s *platform.Studio) error {
	added := *s
	err := d.inTx(ctx, func(t *tx) error {
		added.ID, added.Created, added.Updated, added.Version = platform.NewID(), t.now.UTC(), t.now.UTC(), 0
		if err := t.checkStudio(ctx, added); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `INSERT INTO studios (id, workspace_id, user_id, compute_env_id, name, description, private, config, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, added.ID, added.WorkspaceID, added.UserID, added.ComputeEnvID, added.Name, added.Description, added.Private,
			toJSON(added.Config), millis(t.now), millis(t.now))
		t.changeStudio(added.WorkspaceID, added.ID)
		if err != nil {
			return studioNameTaken(err, added.Name)
		}
		if err := t.labelStudio(ctx, added); err != nil {
			return err
		}
		return t.auditStudio("studio.add", nil, &added)
	})
	if err == nil {
		*s = added
	}
	return err
}

// labelStudio gives a Studio its labels, which its machines must be able to have as tags.
func (t *tx) labelStudio(ctx context.Context, s platform.Studio) error {
	if s.LabelIDs == nil {
		return nil
	}
	if err := t.setLabels(ctx, s.WorkspaceID, platform.LabelsStudio, s.ID, s.LabelIDs); err != nil {
		return err
	}
	env, err := scanComputeEnv(t.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE id = ?`, s.ComputeEnvID))
	if err != nil {
		return err
	}
	return t.checkTags(ctx, env, platform.LabelsStudio, s.ID)
}

func studioNameTaken(err error, name string) error {
	if isUnique(err, "studios.name") {
		return platform.FieldErrors{"name": "There is a Studio named " + name + " in this workspace already. Choose another name."}
	}
	return err
}

// checkStudio makes sure that a Studio can be started in the environment that it names, with what it begins with.
func (t *tx) checkStudio(ctx context.Context, s platform.Studio) error {
	env, err := scanComputeEnv(t.QueryRowContext(ctx, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE id = ? AND workspace_id = ? AND status = ?`,
		s.ComputeEnvID, s.WorkspaceID, platform.ComputeEnvAvailable))
	if err != nil {
		return envNotAvailable(err)
	}
	_, err = t.toRestore(ctx, s, env)
	return err
}

// UpdateStudio saves changes of a Studio; s.Version is the version that was changed, CodeConflict if another was saved
// since. Sessions that live keep what they were started with. Its creator, and with it whose it is when private, stays.
// Errors at fields are those of AddStudio; an environment and a checkpoint that stay as they are, are not looked at.
func (d *DB) UpdateStudio(ctx context.Context, s platform.Studio) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := t.studio(ctx, s.WorkspaceID, s.ID)
		switch {
		case err != nil:
			return err
		case was.Version != s.Version:
			return platform.Errorf(platform.CodeConflict, "Nothing was saved, because the Studio was changed after this page was loaded, by somebody else or in another tab. Load the page again, and make your changes to what it is now.")
		}
		s.UserID = was.UserID
		if s.ComputeEnvID != was.ComputeEnvID || s.Config.Restore != was.Config.Restore {
			if err := t.checkStudio(ctx, s); err != nil {
				return err
			}
		}
		_, err = t.ExecContext(ctx, `UPDATE studios SET compute_env_id = ?, name = ?, description = ?, private = ?, config = ?, updated_at = ?, version = version + 1
			WHERE id = ?`, s.ComputeEnvID, s.Name, s.Description, s.Private, toJSON(s.Config), millis(t.now), s.ID)
		t.changeStudio(s.WorkspaceID, s.ID)
		if err != nil {
			return studioNameTaken(err, s.Name)
		}
		if err := t.labelStudio(ctx, s); err != nil {
			return err
		}
		return t.auditStudio("studio.update", &was, &s)
	})
}

// DeleteStudio takes a Studio out of its workspace; CodeConflict while a session of it lives. Its checkpoints become
// unwanted, those with a name too.
func (d *DB) DeleteStudio(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		s, err := t.studio(ctx, workspaceID, id)
		if err != nil {
			return err
		}
		var lives bool
		if err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM studio_sessions WHERE studio_id = ? AND ended_at = 0)`, id).Scan(&lives); err != nil {
			return err
		}
		if lives {
			return platform.Errorf(platform.CodeConflict, "%s has not stopped yet. Stop it first, and then delete it.", s.Name)
		}
		if _, err := t.ExecContext(ctx, `UPDATE studios SET deleted_at = ? WHERE id = ?`, millis(t.now), id); err != nil {
			return err
		}
		t.changeStudio(workspaceID, id)
		if err := t.unlabel(ctx, platform.LabelsStudio, id); err != nil {
			return err
		}
		if err := t.auditStudio("studio.delete", &s, nil); err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `UPDATE checkpoints SET state = ? WHERE studio_id = ? AND state = ?`, platform.CheckpointUnwanted, id, platform.CheckpointSaved)
		return err
	})
}

// studio reads a Studio without its session.
func (t *tx) studio(ctx context.Context, workspaceID int64, id string) (platform.Studio, error) {
	s, err := scanStudio(t.QueryRowContext(ctx, studioQuery+`AND s.workspace_id = ? AND s.id = ?`, workspaceID, id))
	return s, notFound(err, "Studio")
}

// Studio reads one Studio of a workspace, with its newest session.
func (d *DB) Studio(ctx context.Context, workspaceID int64, id string) (platform.Studio, error) {
	s, err := d.AnyStudio(ctx, id)
	if err == nil && s.WorkspaceID != workspaceID {
		return platform.Studio{}, platform.Errorf(platform.CodeNotFound, "This workspace has no such Studio. It may have been deleted.")
	}
	return s, err
}

// AnyStudio reads a Studio of whatever workspace, with its newest session, for its own agent and its own origin.
func (d *DB) AnyStudio(ctx context.Context, id string) (platform.Studio, error) {
	s, err := scanStudio(d.read.QueryRowContext(ctx, studioQuery+`AND s.id = ?`, id))
	if err != nil {
		return s, notFound(err, "Studio")
	}
	newest, err := d.StudioSessions(ctx, id, 1)
	if len(newest) > 0 {
		s.Session = &newest[0]
	}
	return s, err
}

// Studios lists a workspace's Studios by name, each with its newest session. text narrows them to those with it in name,
// description or creator; empty: all.
func (d *DB) Studios(ctx context.Context, workspaceID int64, text string) ([]platform.Studio, error) {
	list, err := all(ctx, d.read, scanStudio, studioQuery+`AND s.workspace_id = ?1 AND (?2 = '' OR
		instr(lower(s.name || char(10) || s.description || char(10) || u.user_name), lower(?2)) > 0) ORDER BY s.name COLLATE NOCASE`,
		workspaceID, strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	newest, err := all(ctx, d.read, scanStudioSession, studioSessionQuery+`WHERE o.id IN
		(SELECT (SELECT max(n.id) FROM studio_sessions n WHERE n.studio_id = s.id) FROM studios s WHERE s.workspace_id = ? AND s.deleted_at = 0)`, workspaceID)
	sessions := make(map[string]*platform.StudioSession, len(newest))
	for i, n := range newest {
		sessions[n.StudioID] = &newest[i]
	}
	for i := range list {
		list[i].Session = sessions[list[i].ID]
	}
	return list, err
}
