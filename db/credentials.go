package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wherry/platform"
)

const credentialsColumns = `id, workspace_id, name, mode, access_key, role_arn, external_id, status, message, created_at, updated_at, last_used_at, validated_at`

func scanCredentials(s scanner) (c platform.Credentials, err error) {
	err = s.Scan(&c.ID, &c.WorkspaceID, &c.Name, &c.Mode, &c.AccessKey, &c.RoleARN, &c.ExternalID, &c.Status, &c.Message,
		timeColumn{&c.Created}, timeColumn{&c.Updated}, timeColumn{&c.LastUsed}, timeColumn{&c.Validated})
	return c, err
}

func sealedAt(credentialsID string) string { return "credentials/" + credentialsID + "/secret_key" }

// CredentialsList lists a workspace's credentials, without their secrets.
func (d *DB) CredentialsList(ctx context.Context, workspaceID int64) ([]platform.Credentials, error) {
	return all(ctx, d.read, scanCredentials, `SELECT `+credentialsColumns+` FROM credentials WHERE workspace_id = ? ORDER BY name`, workspaceID)
}

// Credentials reads one of a workspace's credentials, without its secret.
func (d *DB) Credentials(ctx context.Context, workspaceID int64, id string) (platform.Credentials, error) {
	c, err := scanCredentials(d.read.QueryRowContext(ctx, `SELECT `+credentialsColumns+` FROM credentials WHERE workspace_id = ? AND id = ?`, workspaceID, id))
	return c, notFound(err, "credentials")
}

// OpenCredentials reads credentials of whatever workspace with their secret, for whoever reaches the account.
func (d *DB) OpenCredentials(ctx context.Context, id string) (platform.Credentials, error) {
	var sealed string
	row := d.read.QueryRowContext(ctx, `SELECT `+credentialsColumns+`, secret_key FROM credentials WHERE id = ?`, id)
	c, err := scanCredentials(alsoScan{row, &sealed})
	if err != nil {
		return c, notFound(err, "credentials")
	}
	c.SecretKey, err = d.open(ctx, sealedAt(id), sealed)
	return c, err
}

// alsoScan scans one column more than its user knows of.
type alsoScan struct {
	scanner
	last any
}

func (s alsoScan) Scan(dest ...any) error { return s.scanner.Scan(append(dest, s.last)...) }

// AddCredentials saves new credentials that Clean has accepted, and gives them their id. Those that are refused stay as they
// are.
func (d *DB) AddCredentials(ctx context.Context, creds *platform.Credentials) error {
	c := *creds
	err := d.inTx(ctx, func(t *tx) error {
		c.ID, c.Created, c.Updated, c.Status = platform.NewID(), t.now.UTC(), t.now.UTC(), platform.CredentialsAvailable
		sealed, err := d.seal(ctx, t, sealedAt(c.ID), c.SecretKey)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT INTO credentials (id, workspace_id, name, mode, access_key, secret_key, role_arn, external_id, status, message, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?)`, c.ID, c.WorkspaceID, c.Name, c.Mode, c.AccessKey, sealed,
			c.RoleARN, c.ExternalID, c.Status, millis(t.now), millis(t.now))
		t.change(c.WorkspaceID, "", platform.ChangeCredentials)
		t.audit(audited{action: "credentials.add", workspaceID: c.WorkspaceID, id: c.ID, name: c.Name, after: credentialsFields(c)})
		return credentialsNameTaken(err, c.Name)
	})
	if err == nil {
		*creds = c
	}
	return err
}

// UpdateCredentials saves changed credentials. An empty SecretKey keeps the one that is there, except where the mode has
// none. What was found out about them before is forgotten.
func (d *DB) UpdateCredentials(ctx context.Context, c *platform.Credentials) error {
	return d.inTx(ctx, func(t *tx) error {
		gone := platform.Errorf(platform.CodeNotFound, "The credentials were deleted meanwhile.")
		was, err := t.credentials(ctx, c.WorkspaceID, c.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return gone
		}
		if err != nil {
			return err
		}
		sealed, err := d.seal(ctx, t, sealedAt(c.ID), c.SecretKey)
		if err != nil {
			return err
		}
		err = t.exec(ctx, gone, `UPDATE credentials SET name = ?1, mode = ?2, access_key = ?3,
			secret_key = CASE WHEN ?2 = 'role' THEN '' WHEN ?4 = '' THEN secret_key ELSE ?4 END, role_arn = ?5, external_id = ?6,
			status = ?7, message = '', updated_at = ?8, validated_at = 0 WHERE id = ?9 AND workspace_id = ?10`,
			c.Name, c.Mode, c.AccessKey, sealed, c.RoleARN, c.ExternalID,
			platform.CredentialsAvailable, millis(t.now), c.ID, c.WorkspaceID)
		t.change(c.WorkspaceID, "", platform.ChangeCredentials)
		is := credentialsFields(*c)
		is["secretChanged"] = sealed != "" && c.Mode != platform.CredentialsRole
		t.audit(audited{action: "credentials.update", workspaceID: c.WorkspaceID, id: c.ID, name: c.Name, before: credentialsFields(was), after: is})
		return credentialsNameTaken(err, c.Name)
	})
}

func (t *tx) credentials(ctx context.Context, workspaceID int64, id string) (platform.Credentials, error) {
	return scanCredentials(t.QueryRowContext(ctx, `SELECT `+credentialsColumns+` FROM credentials WHERE workspace_id = ? AND id = ?`, workspaceID, id))
}

func credentialsNameTaken(err error, name string) error {
	if isUnique(err, "credentials.name") {
		return platform.FieldErrors{"name": "There are credentials named " + name + " in this workspace already."}
	}
	return err
}

// CredentialsTried writes down whether credentials worked. updated is their Updated when they were read: what was found out
// about older ones says nothing about those that are there now.
func (d *DB) CredentialsTried(ctx context.Context, c platform.Credentials, status platform.CredentialsStatus, message string) error {
	return d.inTx(ctx, func(t *tx) error {
		_, err := t.ExecContext(ctx, `UPDATE credentials SET status = ?, message = ?, validated_at = ? WHERE id = ? AND updated_at = ?`,
			status, message, millis(t.now), c.ID, millis(c.Updated))
		t.change(c.WorkspaceID, "", platform.ChangeCredentials)
		if platform.ActorOf(ctx).Kind == platform.ActorPortal && status == c.Status {
			return err // a loop found what was known
		}
		t.audit(audited{action: "credentials.test", workspaceID: c.WorkspaceID, id: c.ID, name: c.Name,
			before: fields{"status": c.Status}, after: fields{"status": status, "message": message}})
		return err
	})
}

// usedPrecision keeps a busy loop from writing the same row again and again.
const usedPrecision = time.Minute

// usedAgain is for how long more uses of credentials, by the same actor for the same purpose, are one use in the audit log.
const usedAgain = time.Hour

// CredentialsUsed writes down that credentials were used now, and in the audit log for what (platform.PurposeOf): once in
// usedAgain for each actor and purpose.
func (d *DB) CredentialsUsed(ctx context.Context, c platform.Credentials) error {
	if known, err := usedLately(ctx, d.read, c.ID, time.Now()); err != nil || known && time.Since(c.LastUsed) < usedPrecision {
		return err
	}
	return d.inTx(ctx, func(t *tx) error {
		_, err := t.ExecContext(ctx, `UPDATE credentials SET last_used_at = ? WHERE id = ? AND last_used_at < ?`,
			millis(t.now), c.ID, millis(t.now.Add(-usedPrecision)))
		if err != nil {
			return err
		}
		known, err := usedLately(ctx, t, c.ID, t.now)
		if !known {
			t.audit(audited{action: "credentials.use", workspaceID: c.WorkspaceID, id: c.ID, name: c.Name, after: useFields(ctx)})
		}
		return err
	})
}

func useFields(ctx context.Context) fields { return fields{"for": platform.PurposeOf(ctx)} }

// usedLately tells whether the audit log has this use of credentials already.
func usedLately(ctx context.Context, q queryer, id string, now time.Time) (known bool, err error) {
	who := platform.ActorOf(ctx)
	after, err := auditObject(useFields(ctx))
	if err != nil {
		return false, err
	}
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM audit_log WHERE target_id = ? AND at > ? AND action = 'credentials.use'
		AND actor_kind = ? AND user_id = ? AND user_name = ? AND token = ? AND after = ?)`, id, millis(now.Add(-usedAgain)),
		who.Kind, who.UserID, who.UserName, who.Token, auditJSON(after)).Scan(&known)
	return known, err
}

// DeleteCredentials deletes credentials. While a compute environment needs them it answers CodeConflict with its name.
func (d *DB) DeleteCredentials(ctx context.Context, workspaceID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		names, err := all(ctx, t, scanString, `SELECT name FROM compute_envs WHERE credentials_id = ? AND deleted_at = 0 ORDER BY name LIMIT 10`, id)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return platform.Errorf(platform.CodeConflict, "These compute environments need the credentials: %s. Delete them first.", quoted(names))
		}
		deleted := platform.Errorf(platform.CodeNotFound, "The credentials were deleted already.")
		was, err := t.credentials(ctx, workspaceID, id)
		if errors.Is(err, sql.ErrNoRows) {
			return deleted
		}
		if err != nil {
			return err
		}
		t.change(workspaceID, "", platform.ChangeCredentials)
		t.audit(audited{action: "credentials.delete", workspaceID: workspaceID, id: id, name: was.Name, before: credentialsFields(was)})
		return t.exec(ctx, deleted, `DELETE FROM credentials WHERE workspace_id = ? AND id = ?`, workspaceID, id)
	})
}

// ComputeEnvsOf lists the environments that need credentials.
func (d *DB) ComputeEnvsOf(ctx context.Context, credentialsID string) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE credentials_id = ? AND deleted_at = 0 ORDER BY name`, credentialsID)
}
