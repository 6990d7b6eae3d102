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
