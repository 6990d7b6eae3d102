package db

import (
	"context"
	"time"

	"wherry/platform"
)

// Session is one signed-in browser.
type Session struct {
	UserID  int64
	CSRF    string
	Created time.Time
	Seen    time.Time // to within SessionTouch
	Expires time.Time
}

// Lifetimes of sessions.
const (
	SessionIdle  = 7 * 24 * time.Hour  // unused for so long, it ends
	SessionLimit = 30 * 24 * time.Hour // it ends however busy it is
	SessionTouch = 10 * time.Minute    // how often use is written down
)

// AddSession begins a session.
func (d *DB) AddSession(ctx context.Context, tokenHash string, s Session) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO sessions (token_hash, user_id, csrf, created_at, seen_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)`,
		tokenHash, s.UserID, s.CSRF, millis(s.Created), millis(s.Seen), millis(s.Expires))
	return err
}

// Session reads a living session, and prolongs it now and then.
func (d *DB) Session(ctx context.Context, tokenHash string, now time.Time) (s Session, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT user_id, csrf, created_at, seen_at, expires_at FROM sessions WHERE token_hash = ? AND expires_at > ?`,
		tokenHash, millis(now)).Scan(&s.UserID, &s.CSRF, timeColumn{&s.Created}, timeColumn{&s.Seen}, timeColumn{&s.Expires})
	if err != nil {
		return s, notFound(err, "session")
	}
	if now.Sub(s.Seen) < SessionTouch {
		return s, nil
	}
	s.Seen, s.Expires = now, now.Add(SessionIdle)
	if limit := s.Created.Add(SessionLimit); s.Expires.After(limit) {
		s.Expires = limit
	}
	_, err = d.write.ExecContext(ctx, `UPDATE sessions SET seen_at = ?, expires_at = ? WHERE token_hash = ?`,
		millis(s.Seen), millis(s.Expires), tokenHash)
	return s, err
}

// EndSession ends a session; one that is not there has ended.
func (d *DB) EndSession(ctx context.Context, tokenHash string) error {
	_, err := d.write.ExecContext(ctx, `DELETE FROM sessions WHERE token_hash = ?`, tokenHash)
	return err
}

// Tidy removes what is of no more use: ended sessions, old links, and all but the newest keepChanges lines of the
// journal.
func (d *DB) Tidy(ctx context.Context, keepChanges int64) error {
	return d.inTx(ctx, func(t *tx) error {
		for _, q := range []struct {
			query string
			arg   int64
		}{
			{`DELETE FROM sessions WHERE expires_at <= ?`, millis(t.now)},
			{`DELETE FROM sign_in_links WHERE expires_at <= ?`, millis(t.now)},
			{`DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - ?`, keepChanges},
		} {
			if _, err := t.ExecContext(ctx, q.query, q.arg); err != nil {
				return err
			}
		}
		return nil
	})
}

// Setting reads a setting; "" when it was never set.
func (d *DB) Setting(ctx context.Context, name string) (value string, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM settings WHERE name = ?), '')`, name).Scan(&value)
	return value, err
}

// settingPortal is the name of the setting with the portal's id.
const settingPortal = "portal-id"

// PortalID returns the id of this portal, made on the first start. Everything that it starts in a cloud is tagged with it.
func (d *DB) PortalID(ctx context.Context) (id string, err error) {
	if _, err := d.write.ExecContext(ctx, `INSERT OR IGNORE INTO settings VALUES (?, ?)`, settingPortal, platform.NewID()); err != nil {
		return "", err
	}
	return d.Setting(ctx, settingPortal)
}
