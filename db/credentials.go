package db

import (
	"context"
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
		return credentialsNameTaken(err, c.Name)
	})
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
		return err
	})
}

// usedPrecision keeps a busy loop from writing the same row again and again.
const usedPrecision = time.Minute

// CredentialsUsed writes down that credentials were used now.
func (d *DB) CredentialsUsed(ctx context.Context, id string) error {
	now := time.Now()
	_, err := d.write.ExecContext(ctx, `UPDATE credentials SET last_used_at = ? WHERE id = ? AND last_used_at < ?`,
		millis(now), id, millis(now.Add(-usedPrecision)))
	return err
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
		t.change(workspaceID, "", platform.ChangeCredentials)
		return t.exec(ctx, platform.Errorf(platform.CodeNotFound, "The credentials were deleted already."),
			`DELETE FROM credentials WHERE workspace_id = ? AND id = ?`, workspaceID, id)
	})
}

// ComputeEnvsOf lists the environments that need credentials.
func (d *DB) ComputeEnvsOf(ctx context.Context, credentialsID string) ([]platform.ComputeEnv, error) {
	return all(ctx, d.read, scanComputeEnv, `SELECT `+computeEnvColumns+` FROM compute_envs WHERE credentials_id = ? AND deleted_at = 0 ORDER BY name`, credentialsID)
}
