package db

import (
	"context"
	"time"

	"wherry/platform"
)

// UserByToken finds whose access token it is, and the token's name, and writes down its use now and then. A token that was
// revoked or has expired, or whose user was disabled, is CodeNotFound.
func (d *DB) UserByToken(ctx context.Context, tokenHash, address string) (u platform.User, tokenName string, err error) {
	now, id, used := time.Now(), int64(0), time.Time{}
	err = d.read.QueryRowContext(ctx, `SELECT `+userColumns+`, t.name, t.id, t.last_used_at FROM access_tokens t JOIN users ON users.id = t.user_id
		WHERE t.token_hash = ? AND (t.expires_at = 0 OR t.expires_at > ?) AND users.disabled_at = 0`, tokenHash, millis(now)).
		Scan(append(userFields(&u), &tokenName, &id, timeColumn{&used})...)
	if err != nil || now.Sub(used) < usedPrecision {
		return u, tokenName, notFound(err, "access token")
	}
	_, err = d.write.ExecContext(ctx, `UPDATE access_tokens SET last_used_at = ?, last_address = ? WHERE id = ?`, millis(now), address, id)
	return u, tokenName, err
}

// AddAccessToken keeps a user's new access token, of which the database has the hash alone.
func (d *DB) AddAccessToken(ctx context.Context, token *platform.AccessToken, tokenHash string) error {
	return d.inTx(ctx, func(t *tx) error {
		token.Created = t.now.UTC()
		err := t.QueryRowContext(ctx, `INSERT INTO access_tokens (user_id, name, token_hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?) RETURNING id`,
			token.UserID, token.Name, tokenHash, millis(t.now), millis(token.Expires)).Scan(&token.ID)
		if isUnique(err, "access_tokens.name") {
			return platform.FieldErrors{"name": "You have a token of this name already. Revoke that, or choose another name."}
		}
		if err != nil {
			return err
		}
		t.audit(audited{action: "access-token.create", id: token.ID, name: token.Name, after: auditedToken(*token)})
		return nil
	})
}

func auditedToken(token platform.AccessToken) map[string]any {
	a := map[string]any{"userId": token.UserID, "name": token.Name}
	if !token.Expires.IsZero() {
		a["expires"] = token.Expires.UTC()
	}
	return a
}

const accessTokenColumns = `id, user_id, name, created_at, last_used_at, last_address, expires_at`

func scanAccessToken(s scanner) (t platform.AccessToken, err error) {
	err = s.Scan(&t.ID, &t.UserID, &t.Name, timeColumn{&t.Created}, timeColumn{&t.LastUsed}, &t.LastAddress, timeColumn{&t.Expires})
	return t, err
}

// AccessTokens lists a user's access tokens, those that have expired too, by name.
func (d *DB) AccessTokens(ctx context.Context, userID int64) ([]platform.AccessToken, error) {
	return all(ctx, d.read, scanAccessToken, `SELECT `+accessTokenColumns+` FROM access_tokens WHERE user_id = ? ORDER BY name`, userID)
}

// RevokeAccessToken ends one of a user's access tokens.
func (d *DB) RevokeAccessToken(ctx context.Context, userID, id int64) error {
	return d.inTx(ctx, func(t *tx) error {
		n, err := t.revokeTokens(ctx, `user_id = ? AND id = ?`, userID, id)
		if err == nil && n == 0 {
			return platform.Errorf(platform.CodeNotFound, "You have no such access token. It may have been revoked already.")
		}
		return err
	})
}

// RevokeAllAccessTokens ends all access tokens of a user, and tells how many.
func (d *DB) RevokeAllAccessTokens(ctx context.Context, userID int64) (n int, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		n, err = t.revokeTokens(ctx, `user_id = ?`, userID)
		return err
	})
	return n, err
}

func (t *tx) revokeTokens(ctx context.Context, condition string, args ...any) (int, error) {
	list, err := all(ctx, t, scanAccessToken, `DELETE FROM access_tokens WHERE `+condition+` RETURNING `+accessTokenColumns, args...)
	for _, token := range list {
		t.audit(audited{action: "access-token.revoke", id: token.ID, name: token.Name, before: auditedToken(token)})
	}
	return len(list), err
}
