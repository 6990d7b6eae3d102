package db

import (
	"context"
	"strconv"

	"wherry/platform"
)

// SecondFactor reads a user's second factor with its secret, also one that is not confirmed yet; CodeNotFound where there is none.
func (d *DB) SecondFactor(ctx context.Context, userID int64) (f platform.SecondFactor, err error) {
	var sealed string
	f.UserID = userID
	err = d.read.QueryRowContext(ctx, `SELECT secret, confirmed_at, (SELECT count(*) FROM recovery_codes r WHERE r.user_id = f.id) FROM second_factors f WHERE f.id = ?`, userID).
		Scan(&sealed, timeColumn{&f.Confirmed}, &f.Codes)
	if err != nil {
		return f, notFound(err, "second factor")
	}
	f.Secret, err = d.open(ctx, secondFactorAt(strconv.FormatInt(userID, 10)), sealed)
	return f, err
}

// HasSecondFactor tells whether a user has a second factor that counts.
func (d *DB) HasSecondFactor(ctx context.Context, userID int64) (has bool, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM second_factors WHERE id = ? AND confirmed_at > 0)`, userID).Scan(&has)
	return has, err
}

// BeginSecondFactor keeps the secret of a second factor that counts once it is confirmed. One that counts already is a conflict.
func (d *DB) BeginSecondFactor(ctx context.Context, userID int64, secret platform.Secret) error {
	return d.inTx(ctx, func(t *tx) error {
		sealed, err := d.seal(ctx, t, secondFactorAt(strconv.FormatInt(userID, 10)), secret)
		if err != nil {
			return err
		}
		err = t.exec(ctx, platform.Errorf(platform.CodeConflict, "You have a second factor already. Turn it off first."),
			`INSERT INTO second_factors (id, secret) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET secret = excluded.secret WHERE confirmed_at = 0`, userID, sealed)
		if err != nil {
			return err
		}
		return t.auditUser(ctx, "user.begin-second-factor", userID, nil, map[string]any{"secretChanged": true})
	})
}

// ConfirmSecondFactor makes a second factor count, of which the user has entered the code of a step. It keeps the hashes of the
// recovery codes, and ends all sessions of the user but the one with the id keep.
func (d *DB) ConfirmSecondFactor(ctx context.Context, userID, step int64, codeHashes []string, keep string) error {
	return d.inTx(ctx, func(t *tx) error {
		err := t.exec(ctx, platform.Errorf(platform.CodeConflict, "The second factor is on already."),
			`UPDATE second_factors SET confirmed_at = ?, last_step = ? WHERE id = ? AND confirmed_at = 0`, millis(t.now), step, userID)
		if err != nil {
			return err
		}
		if err := t.setRecoveryCodes(ctx, userID, codeHashes); err != nil {
			return err
		}
		if err := t.auditUser(ctx, "user.add-second-factor", userID, nil, map[string]any{"secondFactor": "totp"}); err != nil {
			return err
		}
		_, err = t.endOtherSessions(ctx, userID, keep)
		return err
	})
}

func (t *tx) setRecoveryCodes(ctx context.Context, userID int64, codeHashes []string) error {
	if _, err := t.ExecContext(ctx, `DELETE FROM recovery_codes WHERE user_id = ?`, userID); err != nil {
		return err
	}
	for _, hash := range codeHashes {
		if _, err := t.ExecContext(ctx, `INSERT INTO recovery_codes VALUES (?, ?)`, userID, hash); err != nil {
			return err
		}
	}
	return nil
}

// SetRecoveryCodes replaces a user's recovery codes, by their hashes.
func (d *DB) SetRecoveryCodes(ctx context.Context, userID int64, codeHashes []string) error {
	return d.inTx(ctx, func(t *tx) error {
		if err := t.setRecoveryCodes(ctx, userID, codeHashes); err != nil {
			return err
		}
		return t.auditUser(ctx, "user.set-recovery-codes", userID, nil, map[string]any{"secretChanged": true})
	})
}

// UseSecondFactor counts the code of a step, once: neither it nor an older one counts again (RFC 6238, 5.2).
func (d *DB) UseSecondFactor(ctx context.Context, userID, step int64) (counts bool, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		counts, err = t.changed(ctx, `UPDATE second_factors SET last_step = ?1 WHERE id = ?2 AND last_step < ?1`, step, userID)
		return err
	})
	return counts, err
}

// UseRecoveryCode takes a recovery code away, and tells whether it was there.
func (d *DB) UseRecoveryCode(ctx context.Context, userID int64, codeHash string) (counts bool, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		counts, err = t.changed(ctx, `DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?`, userID, codeHash)
		if err != nil || !counts {
			return err
		}
		var left int
		if err := t.QueryRowContext(ctx, `SELECT count(*) FROM recovery_codes WHERE user_id = ?`, userID).Scan(&left); err != nil {
			return err
		}
		return t.auditUser(ctx, "user.use-recovery-code", userID, nil, map[string]any{"left": left})
	})
	return counts, err
}

// RemoveSecondFactor turns a user's second factor off, and ends all their sessions but the one with the id keep. Where there is none,
// nothing happens.
func (d *DB) RemoveSecondFactor(ctx context.Context, userID int64, keep string) error {
	return d.inTx(ctx, func(t *tx) error {
		if there, err := t.deleteSecondFactor(ctx, userID); err != nil || !there {
			return err
		}
		if err := t.auditUser(ctx, "user.remove-second-factor", userID, map[string]any{"secondFactor": "totp"}, nil); err != nil {
			return err
		}
		_, err := t.endOtherSessions(ctx, userID, keep)
		return err
	})
}

// deleteSecondFactor takes a user's second factor and recovery codes away, and tells whether there was one.
func (t *tx) deleteSecondFactor(ctx context.Context, userID int64) (there bool, err error) {
	if there, err = t.changed(ctx, `DELETE FROM second_factors WHERE id = ?`, userID); err != nil {
		return there, err
	}
	return there, t.setRecoveryCodes(ctx, userID, nil)
}
