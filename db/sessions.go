package db

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wherry/platform"
)

// Session is one signed-in browser.
type Session = platform.Session

// sessionQuery reads sessions whose user may come in.
const sessionQuery = `SELECT s.id, s.user_id, s.csrf, s.created_at, s.seen_at, s.expires_at, s.confirmed_at, s.address, s.user_agent, s.method,
	EXISTS (SELECT 1 FROM second_factors f WHERE f.id = s.user_id AND f.confirmed_at > 0)
	FROM sessions s JOIN users ON users.id = s.user_id WHERE users.disabled_at = 0`

func scanSession(r scanner) (s Session, err error) {
	err = r.Scan(&s.ID, &s.UserID, &s.CSRF, timeColumn{&s.Created}, timeColumn{&s.Seen}, timeColumn{&s.Expires}, timeColumn{&s.Confirmed},
		&s.Address, &s.UserAgent, &s.Method, &s.SecondFactor)
	return s, err
}

// Lifetimes are those of sessions of this portal: SessionTimes or, where that was not set, the default.
func (d *DB) Lifetimes() platform.SessionTimes {
	if d.SessionTimes == (platform.SessionTimes{}) {
		return platform.DefaultSessionTimes
	}
	return d.SessionTimes
}

// AddSession begins a session, which is known by its token alone.
func (d *DB) AddSession(ctx context.Context, tokenHash string, s Session) error {
	if s.ID == "" {
		s.ID = platform.NewID()
	}
	return d.inTx(ctx, func(t *tx) error {
		_, err := t.ExecContext(ctx, `INSERT INTO sessions (token_hash, id, user_id, csrf, created_at, seen_at, expires_at, confirmed_at, address, user_agent, method)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, tokenHash, s.ID, s.UserID, s.CSRF, millis(s.Created), millis(s.Seen), millis(s.Expires),
			millis(s.Confirmed), s.Address, s.UserAgent, s.Method)
		if err != nil {
			return err
		}
		return t.auditUser(ctx, "user.sign-in", s.UserID, nil, map[string]any{"session": s.ID, "method": s.Method})
	})
}

// Session reads a living session for a use of it, and prolongs it now and then.
func (d *DB) Session(ctx context.Context, tokenHash string, now time.Time) (Session, error) {
	s, err := d.LookAtSession(ctx, tokenHash, now)
	times := d.Lifetimes()
	if err != nil || now.Sub(s.Seen) < times.Touch() {
		return s, err
	}
	s.Seen, s.Expires = now, now.Add(times.Idle)
	if limit := s.Created.Add(times.Limit); s.Expires.After(limit) {
		s.Expires = limit
	}
	_, err = d.write.ExecContext(ctx, `UPDATE sessions SET seen_at = ?, expires_at = ? WHERE token_hash = ?`,
		millis(s.Seen), millis(s.Expires), tokenHash)
	return s, err
}

// LookAtSession reads a living session without counting as a use of it: an open page that follows the portal by itself is nobody
// who is there. A session whose user was disabled is not there.
func (d *DB) LookAtSession(ctx context.Context, tokenHash string, now time.Time) (Session, error) {
	times := d.Lifetimes()
	// Its lifetime may have been set shorter since it was begun.
	s, err := scanSession(d.read.QueryRowContext(ctx, sessionQuery+` AND s.token_hash = ? AND s.expires_at > ? AND s.created_at > ? AND s.seen_at > ?`,
		tokenHash, millis(now), millis(now.Add(-times.Limit)), millis(now.Add(-times.Idle-times.Touch()))))
	return s, notFound(err, "session")
}

// Sessions lists a user's living sessions, the one used last first.
func (d *DB) Sessions(ctx context.Context, userID int64, now time.Time) ([]Session, error) {
	return all(ctx, d.read, scanSession, sessionQuery+` AND s.user_id = ? AND s.expires_at > ? ORDER BY s.seen_at DESC, s.id`, userID, millis(now))
}

// RenewSession gives a session another token, because what it may do has just grown: whoever knew the old one has nothing.
// confirmed is when it was last proved who is there.
func (d *DB) RenewSession(ctx context.Context, oldHash, newHash string, confirmed time.Time) error {
	return d.inTx(ctx, func(t *tx) error {
		var id string
		var userID int64
		err := t.QueryRowContext(ctx, `UPDATE sessions SET token_hash = ?, confirmed_at = ? WHERE token_hash = ? RETURNING id, user_id`,
			newHash, millis(confirmed), oldHash).Scan(&id, &userID)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoSession
		}
		if err != nil {
			return err
		}
		return t.auditUser(ctx, "user.renew-session", userID, nil, map[string]any{"session": id, "confirmed": confirmed.UTC()})
	})
}

var errNoSession = platform.Errorf(platform.CodeUnauthorized, "You are signed out. Sign in again.")

// EndSession ends a session, as its user wishes; one that is not there has ended.
func (d *DB) EndSession(ctx context.Context, tokenHash string) error {
	return d.inTx(ctx, func(t *tx) error {
		_, err := t.endSessions(ctx, "user.sign-out", `token_hash = ?`, tokenHash)
		return err
	})
}

// RevokeSession ends the session of a user that has this id.
func (d *DB) RevokeSession(ctx context.Context, userID int64, id string) error {
	return d.inTx(ctx, func(t *tx) error {
		n, err := t.endSessions(ctx, "user.revoke-session", `user_id = ? AND id = ?`, userID, id)
		if err == nil && n == 0 {
			return platform.Errorf(platform.CodeNotFound, "This session has ended already.")
		}
		return err
	})
}

// RevokeOtherSessions ends all sessions of a user but the one with the id keep, which may be empty, and tells how many. Sign-in
// links that were not used yet are worth nothing then.
func (d *DB) RevokeOtherSessions(ctx context.Context, userID int64, keep string) (n int, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		n, err = t.endOtherSessions(ctx, userID, keep)
		return err
	})
	return n, err
}

func (t *tx) endOtherSessions(ctx context.Context, userID int64, keep string) (int, error) {
	if _, err := t.ExecContext(ctx, `DELETE FROM sign_in_links WHERE user_id = ?`, userID); err != nil {
		return 0, err
	}
	return t.endSessions(ctx, "user.revoke-session", `user_id = ? AND id <> ?`, userID, keep)
}

// endSessions ends the sessions of which a condition holds, and writes each down as that action.
func (t *tx) endSessions(ctx context.Context, action, condition string, args ...any) (n int, err error) {
	type ended struct {
		id   string
		user int64
	}
	list, err := all(ctx, t, func(s scanner) (e ended, err error) {
		err = s.Scan(&e.id, &e.user)
		return e, err
	}, `DELETE FROM sessions WHERE `+condition+` RETURNING id, user_id`, args...)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		if err := t.auditUser(ctx, action, e.user, map[string]any{"session": e.id}, nil); err != nil {
			return 0, err
		}
	}
	return len(list), nil
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
