package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"

	"wherry/platform"
)

const pipelineSecretColumns = `id, coalesce(workspace_id, 0), coalesce(user_id, 0), name, created_at, updated_at, last_used_at`

func scanPipelineSecret(s scanner) (p platform.PipelineSecret, err error) {
	err = s.Scan(&p.ID, &p.Owner.WorkspaceID, &p.Owner.UserID, &p.Name, timeColumn{&p.Created}, timeColumn{&p.Updated}, timeColumn{&p.LastUsed})
	return p, err
}

// ofSecretsOwner is the condition for the secrets of an owner, whose two ids are its arguments.
const ofSecretsOwner = ` coalesce(workspace_id, 0) = ? AND coalesce(user_id, 0) = ?`

// PipelineSecrets lists the pipeline secrets of a workspace or of a user by name, without their values.
func (d *DB) PipelineSecrets(ctx context.Context, of platform.SecretsOwner) ([]platform.PipelineSecret, error) {
	return all(ctx, d.read, scanPipelineSecret, `SELECT `+pipelineSecretColumns+` FROM pipeline_secrets WHERE`+ofSecretsOwner+` ORDER BY name COLLATE NOCASE, name`, of.WorkspaceID, of.UserID)
}

// PipelineSecret reads one pipeline secret of a workspace or of a user, without its value.
func (d *DB) PipelineSecret(ctx context.Context, of platform.SecretsOwner, id int64) (platform.PipelineSecret, error) {
	s, err := scanPipelineSecret(d.read.QueryRowContext(ctx, `SELECT `+pipelineSecretColumns+` FROM pipeline_secrets WHERE`+ofSecretsOwner+` AND id = ?`, of.WorkspaceID, of.UserID, id))
	return s, notFound(err, "secret")
}

// PipelineSecretNamed tells whether a workspace or a user has a secret of that name.
func (d *DB) PipelineSecretNamed(ctx context.Context, of platform.SecretsOwner, name string) (taken bool, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pipeline_secrets WHERE`+ofSecretsOwner+` AND name = ?)`, of.WorkspaceID, of.UserID, name).Scan(&taken)
	return taken, err
}

// AddPipelineSecret saves a new secret that Clean has accepted, and gives it its id. A name that is taken is an error at name.
func (d *DB) AddPipelineSecret(ctx context.Context, s *platform.PipelineSecret) error {
	return d.inTx(ctx, func(t *tx) error {
		s.Created, s.Updated = t.now.UTC(), t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO pipeline_secrets (workspace_id, user_id, name, value, created_at, updated_at) VALUES (nullif(?1, 0), nullif(?2, 0), ?3, '', ?4, ?4) RETURNING id`,
			s.Owner.WorkspaceID, s.Owner.UserID, s.Name, millis(t.now)).Scan(&s.ID)
		if isUnique(err, "pipeline_secret_names") {
			return platform.FieldErrors{"name": "There is a secret named " + s.Name + " already. Edit it to give it another value."}
		}
		if err != nil {
			return err
		}
		t.secretChanged(*s, "create", nil, map[string]any{"name": s.Name})
		return d.sealPipelineSecret(ctx, t, s)
	})
}

// ReplacePipelineSecret gives a secret another value.
func (d *DB) ReplacePipelineSecret(ctx context.Context, s *platform.PipelineSecret) error {
	return d.inTx(ctx, func(t *tx) error {
		s.Updated = t.now.UTC()
		t.secretChanged(*s, "update", map[string]any{}, map[string]any{"secretChanged": true})
		return d.sealPipelineSecret(ctx, t, s)
	})
}

// sealPipelineSecret writes a secret's value, sealed for its row.
func (d *DB) sealPipelineSecret(ctx context.Context, t *tx, s *platform.PipelineSecret) error {
	sealed, err := d.seal(ctx, t, pipelineSecretAt(strconv.FormatInt(s.ID, 10)), s.Value)
	if err != nil {
		return err
	}
	return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The secret was deleted meanwhile."),
		`UPDATE pipeline_secrets SET value = ?, updated_at = ? WHERE`+ofSecretsOwner+` AND id = ?`, sealed, millis(t.now), s.Owner.WorkspaceID, s.Owner.UserID, s.ID)
}

func (t *tx) secretChanged(s platform.PipelineSecret, verb string, before, after any) {
	t.audit(audited{action: "pipeline-secret." + verb, workspaceID: s.Owner.WorkspaceID, id: s.ID, name: s.Name, before: before, after: after})
	if s.Owner.WorkspaceID != 0 {
		t.change(s.Owner.WorkspaceID, "", platform.ChangeLaunch)
	}
}

// DeletePipelineSecret deletes a secret. Pipelines that name it say so when they are launched the next time.
func (d *DB) DeletePipelineSecret(ctx context.Context, s platform.PipelineSecret) error {
	return d.inTx(ctx, func(t *tx) error {
		t.secretChanged(s, "delete", map[string]any{"name": s.Name}, nil)
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The secret was deleted already."),
			`DELETE FROM pipeline_secrets WHERE`+ofSecretsOwner+` AND id = ?`, s.Owner.WorkspaceID, s.Owner.UserID, s.ID)
	})
}

// PipelinesWithSecret lists the saved pipelines that name a workspace's secret. Those that name a user's own are not known: they
// mean the secret of that name of whoever launches them.
func (d *DB) PipelinesWithSecret(ctx context.Context, s platform.PipelineSecret) ([]platform.Pipeline, error) {
	return all(ctx, d.read, scanPipeline, `SELECT `+pipelineColumns+` FROM pipelines WHERE workspace_id = ?
		AND EXISTS (SELECT 1 FROM json_each(launch, '$.workspaceSecrets') WHERE value = ?) ORDER BY name`, s.Owner.WorkspaceID, s.Name)
}

// launchSecrets are the secrets that a run's launch names, those of its user after those of its workspace. Those that are
// not there are errors at the fields that name them.
func launchSecrets(ctx context.Context, q queryer, r platform.Run) (secrets []sealedSecret, err error) {
	errs := platform.FieldErrors{}
	for _, named := range []struct {
		of    platform.SecretsOwner
		names []string
	}{{platform.SecretsOwner{WorkspaceID: r.WorkspaceID}, r.Launch.WorkspaceSecrets}, {platform.SecretsOwner{UserID: r.UserID}, r.Launch.UserSecrets}} {
		var missing []string
		for _, name := range named.names {
			s, err := scanSealedSecret(q.QueryRowContext(ctx, `SELECT `+pipelineSecretColumns+`, value FROM pipeline_secrets WHERE`+ofSecretsOwner+` AND name = ?`,
				named.of.WorkspaceID, named.of.UserID, name))
			switch {
			case errors.Is(err, sql.ErrNoRows):
				missing = append(missing, name)
			case err != nil:
				return nil, err
			default:
				secrets = append(secrets, s)
			}
		}
		if len(missing) > 0 {
			errs.Add(named.of.Field(), "%s", missingSecrets(named.of, missing))
		}
	}
	return secrets, errs.OrNil()
}

// checkPipelineSecrets refuses a saved pipeline that names secrets that its workspace does not have. The users' own are those of
// whoever launches it, and nobody's yet.
func (t *tx) checkPipelineSecrets(ctx context.Context, p platform.Pipeline) error {
	_, err := launchSecrets(ctx, t, platform.Run{WorkspaceID: p.WorkspaceID, Launch: platform.Launch{WorkspaceSecrets: p.Launch.WorkspaceSecrets}})
	return err
}

func missingSecrets(of platform.SecretsOwner, names []string) string {
	if of.UserID != 0 {
		return "Whoever launches the run needs secrets of their own named " + quoted(names) + ". Add them on your account's page of secrets, or launch without them."
	}
	return "The workspace has no secrets named " + quoted(names) + " any more. Add them again, or launch without them."
}

// sealedSecret is a pipeline secret with its value as it is in the database.
type sealedSecret struct {
	platform.PipelineSecret
	sealed string
}

func scanSealedSecret(s scanner) (out sealedSecret, err error) {
	out.PipelineSecret, err = scanPipelineSecret(alsoScan{s, &out.sealed})
	return out, err
}

// UsePipelineSecrets opens the secrets that a run was launched with, by name, to be given to its agent, and notes that. A
// user's own wins over the workspace's. Where one was deleted since, or its user is out of the workspace, the run is to end, and the answer
// is CodeGone.
func (d *DB) UsePipelineSecrets(ctx context.Context, r platform.Run) (values map[string]string, err error) {
	if len(r.Launch.UserSecrets)+len(r.Launch.WorkspaceSecrets) == 0 {
		return nil, nil
	}
	var gone platform.FieldErrors
	why := "The run was not started, because a secret that it was launched with was deleted meanwhile."
	err = d.inTx(ctx, func(t *tx) error {
		if role, err := t.roleIn(ctx, r.WorkspaceID, r.UserID); err != nil {
			return err
		} else if role == "" && len(r.Launch.UserSecrets) > 0 {
			why, gone = "The run was not started, because it was launched with secrets of "+r.UserName+", who is not in this workspace any more.", platform.FieldErrors{}
			return nil
		}
		secrets, err := launchSecrets(ctx, t, r)
		if errors.As(err, &gone) {
			return nil
		}
		if err != nil {
			return err
		}
		if values, err = d.openSecrets(ctx, t, secrets); err != nil {
			return err
		}
		return t.secretsUsed(ctx, r, secrets)
	})
	if gone == nil || err != nil {
		return values, err
	}
	for _, field := range []string{"workspaceSecrets", "userSecrets"} {
		if gone[field] != "" {
			why += " " + gone[field]
		}
	}
	if err := d.AskStop(ctx, r, why); err != nil {
		return nil, err
	}
	return nil, platform.Errorf(platform.CodeGone, "%s", why)
}

func (d *DB) openSecrets(ctx context.Context, q queryer, secrets []sealedSecret) (map[string]string, error) {
	values := map[string]string{}
	for _, s := range secrets {
		value, err := d.openPipelineSecret(ctx, q, s)
		if err != nil {
			return nil, err
		}
		values[s.Name] = value
	}
	return values, nil
}

func (d *DB) openPipelineSecret(ctx context.Context, q queryer, s sealedSecret) (string, error) {
	value, err := d.openIn(ctx, q, pipelineSecretAt(strconv.FormatInt(s.ID, 10)), s.sealed)
	return value.Reveal(), err
}

func (t *tx) secretsUsed(ctx context.Context, r platform.Run, secrets []sealedSecret) error {
	for _, s := range secrets {
		if _, err := t.ExecContext(ctx, `UPDATE pipeline_secrets SET last_used_at = ? WHERE id = ?`, millis(t.now), s.ID); err != nil {
			return err
		}
	}
	t.audit(audited{action: "pipeline-secret.use", workspaceID: r.WorkspaceID, kind: "run", id: r.ID, name: r.Name,
		after: map[string]any{"userSecrets": r.Launch.UserSecrets, "workspaceSecrets": r.Launch.WorkspaceSecrets, "userName": r.UserName}})
	return nil
}

// RunSecretValues are the values of the secrets that a run was launched with, as far as they are there, to mask them in what is
// shown of the run.
func (d *DB) RunSecretValues(ctx context.Context, r platform.Run) ([]string, error) {
	if len(r.Launch.UserSecrets)+len(r.Launch.WorkspaceSecrets) == 0 {
		return nil, nil
	}
	secrets, err := launchSecrets(ctx, d.read, r)
	var missing platform.FieldErrors
	if err != nil && !errors.As(err, &missing) {
		return nil, err
	}
	var values []string
	for _, s := range secrets {
		value, err := d.openPipelineSecret(ctx, d.read, s)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}
