package db

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// MinAuditRetention is the least time for which entries of the audit log are kept.
const MinAuditRetention = 90 * 24 * time.Hour

const (
	// retainEvery keeps a retention from leaving an entry of its own more than once a day.
	retainEvery = 24 * time.Hour
	// retainBatch is how many entries one transaction takes away: others wait for it.
	retainBatch = 20_000
	// actionRetention is the entry that proves where the log begins now.
	actionRetention = "audit.retention"
)

// retention is what the entry of a retention says.
type retention struct {
	UpTo int64     `json:"upTo"` // the last entry that was taken away
	Hash string    `json:"hash"` // of that one
	At   time.Time `json:"until"`
}

// RetainAudit takes away entries of the audit log that are older than keep, and notes that in the log. It waits until there is a
// day's worth of them. keep is MinAuditRetention at least; 0 keeps everything.
func (d *DB) RetainAudit(ctx context.Context, keep time.Duration) error {
	for keep != 0 {
		more, err := d.retainAudit(ctx, max(keep, MinAuditRetention))
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (d *DB) retainAudit(ctx context.Context, keep time.Duration) (more bool, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		cutoff := t.now.Add(-keep)
		var due bool
		if err := t.QueryRowContext(ctx, `SELECT coalesce((SELECT at < ? FROM audit_log ORDER BY seq LIMIT 1), 0)`, millis(cutoff.Add(-retainEvery))).Scan(&due); err != nil || !due {
			return err
		}
		r := retention{}
		err := t.QueryRowContext(ctx, `SELECT seq, hash, at FROM (SELECT seq, hash, at FROM audit_log ORDER BY seq LIMIT ?1)
			WHERE seq < coalesce((SELECT seq FROM audit_log WHERE at >= ?2 ORDER BY seq LIMIT 1), 1 << 62) ORDER BY seq DESC LIMIT 1`,
			retainBatch, millis(cutoff)).Scan(&r.UpTo, &r.Hash, timeColumn{&r.At})
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `UPDATE audit_start SET seq = ?, hash = ?`, r.UpTo, r.Hash); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM audit_log WHERE seq <= ?`, r.UpTo); err != nil {
			return err
		}
		t.audit(audited{action: actionRetention, after: r})
		more = true
		return nil
	})
	return more, err
}
