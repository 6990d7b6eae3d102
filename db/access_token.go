package db

import (
	"context"

	"wherry/platform"
)

func accessTokenAt(envID string) string { return "compute_envs/" + envID + "/access_token" }

// OpenComputeEnv reads an environment of whatever workspace with its access token, for the machine that needs it.
func (d *DB) OpenComputeEnv(ctx context.Context, id string) (platform.ComputeEnv, error) {
	var sealed string
	row := d.read.QueryRowContext(ctx, `SELECT `+computeEnvColumns+`, access_token FROM compute_envs WHERE id = ?`, id)
	c, err := scanComputeEnv(alsoScan{row, &sealed})
	if err != nil {
		return c, notFound(err, "compute environment")
	}
	c.AccessToken, err = d.open(ctx, accessTokenAt(id), sealed)
	return c, err
}

// keepAccessToken saves the token that was entered with an environment, or removes the saved one where c says that there
// is none. Otherwise the saved one stays.
func (d *DB) keepAccessToken(ctx context.Context, t *tx, c platform.ComputeEnv) error {
	if c.AccessToken.IsZero() && c.HasAccessToken {
		return nil
	}
	sealed, err := d.seal(ctx, t, accessTokenAt(c.ID), c.AccessToken)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `UPDATE compute_envs SET access_token = ? WHERE id = ?`, sealed, c.ID)
	return err
}
