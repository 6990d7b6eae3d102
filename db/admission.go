package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wherry/platform"
)

// Limits reads what a workspace may use.
func (d *DB) Limits(ctx context.Context, workspaceID int64) (platform.Limits, error) {
	return limitsOf(ctx, d.read, workspaceID)
}

func limitsOf(ctx context.Context, q queryer, workspaceID int64) (l platform.Limits, err error) {
	err = q.QueryRowContext(ctx, `SELECT instances, studios, lifespan_hours, month_micro_usd FROM limits WHERE workspace_id = ?`, workspaceID).
		Scan(&l.Instances, &l.Studios, &l.LifespanHours, &l.MonthMicroUSD)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return l, err
}

// SetLimits saves what a workspace may use. Machines that wait are looked at again.
func (d *DB) SetLimits(ctx context.Context, workspaceID int64, l platform.Limits) error {
	return d.inTx(ctx, func(t *tx) error {
		was, err := limitsOf(ctx, t, workspaceID)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT OR REPLACE INTO limits (workspace_id, instances, studios, lifespan_hours, month_micro_usd) VALUES (?, ?, ?, ?, ?)`,
			workspaceID, l.Instances, l.Studios, l.LifespanHours, l.MonthMicroUSD)
		if err != nil {
			return err
		}
		t.change(workspaceID, "", platform.ChangeMachine)
		t.audit(audited{action: "limits.update", workspaceID: workspaceID, before: limitsFields(was), after: limitsFields(l)})
		return t.wakeWaiting(ctx, workspaceID)
	})
}

// wakeWaiting makes the wanted machines of a workspace due, because there may be a place for them.
func (t *tx) wakeWaiting(ctx context.Context, workspaceID int64) error {
	_, err := t.ExecContext(ctx, `UPDATE machines SET next_step_at = min(next_step_at, ?) WHERE workspace_id = ? AND state = 'wanted' AND admitted_at = 0`,
		millis(t.now), workspaceID)
	return err
}

// Admission is the answer to a machine that wants to start.
type Admission struct {
	Admitted bool
	Place    int // in the queue of its workspace, from 1
	Living   int // machines of the workspace that have a place now
	Limits   platform.Limits
	Spent    int64 // in this month, in millionths of a US dollar
}

// Admit gives a wanted machine one of the places that its workspace's limits leave, once. Who has fewer machines comes
// first, and then who has waited longer; warm machines come last.
func (d *DB) Admit(ctx context.Context, m platform.Machine) (a Admission, err error) {
	if !m.Admitted.IsZero() {
		return Admission{Admitted: true}, nil
	}
	err = d.inTx(ctx, func(t *tx) error {
		if a, err = t.queue(ctx, m); err != nil {
			return err
		}
		free := a.Limits.Instances == 0 || a.Place <= a.Limits.Instances-a.Living
		if a.Admitted = free && a.Limits.Allow(a.Spent); !a.Admitted {
			return nil
		}
		return t.exec(ctx, platform.Errorf(platform.CodeConflict, "The machine is not wanted any more."),
			`UPDATE machines SET admitted_at = ? WHERE id = ? AND state = 'wanted'`, millis(t.now), m.ID)
	})
	return a, err
}

// queue tells where a machine stands among those of its workspace that wait.
func (t *tx) queue(ctx context.Context, m platform.Machine) (a Admission, err error) {
	if a.Limits, err = limitsOf(ctx, t.Tx, m.WorkspaceID); err != nil {
		return a, err
	}
	if a.Limits.MonthMicroUSD > 0 {
		if a.Spent, err = spent(ctx, t.Tx, m.WorkspaceID, platform.Month(t.now), t.now); err != nil {
			return a, err
		}
	}
	if a.Limits.Instances == 0 {
		return a, nil
	}
	err = t.QueryRowContext(ctx, `WITH
		living AS (SELECT coalesce(r.user_id, o.user_id, 0) AS user, count(*) AS n FROM machines m LEFT JOIN runs r ON r.id = m.run_id
			LEFT JOIN studio_sessions o ON o.id = m.studio_session_id
			WHERE m.workspace_id = ?1 AND m.admitted_at <> 0 AND m.state <> 'terminated' GROUP BY 1),
		waiting AS (SELECT m.id, m.created_at, coalesce(r.user_id, o.user_id, 0) AS user,
			row_number() OVER (PARTITION BY coalesce(r.user_id, o.user_id) ORDER BY m.created_at, m.id) AS k FROM machines m LEFT JOIN runs r ON r.id = m.run_id
			LEFT JOIN studio_sessions o ON o.id = m.studio_session_id
			WHERE m.workspace_id = ?1 AND m.admitted_at = 0 AND m.state = 'wanted'),
		queue AS (SELECT id, row_number() OVER (ORDER BY user = 0, k + coalesce(n, 0), created_at, id) AS place FROM waiting LEFT JOIN living USING (user))
		SELECT coalesce((SELECT place FROM queue WHERE id = ?2), 0), coalesce((SELECT sum(n) FROM living), 0)`, m.WorkspaceID, m.ID).Scan(&a.Place, &a.Living)
	return a, err
}

// Spent tells what the machines of a workspace cost from a time until now, in millionths of a US dollar.
func (d *DB) Spent(ctx context.Context, workspaceID int64, from, now time.Time) (microUSD int64, err error) {
	return spent(ctx, d.read, workspaceID, from, now)
}

// spent adds up by seconds, a minute at the least, as platform.Cost does for one machine.
func spent(ctx context.Context, q queryer, workspaceID int64, from, now time.Time) (microUSD int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT coalesce(sum(json_extract(hardware, '$.hourMicroUsd') *
		max(60000, iif(gone_at = 0, ?3, gone_at) - max(launched_at, ?2)) / 3600000), 0)
		FROM machines WHERE workspace_id = ?1 AND launched_at <> 0 AND (gone_at = 0 OR gone_at > ?2)
		AND json_extract(hardware, '$.hourMicroUsd') > 0`, workspaceID, millis(from), millis(now)).Scan(&microUSD)
	return microUSD, err
}
