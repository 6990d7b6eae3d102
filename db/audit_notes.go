package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wherry/platform"
)

// note is an entry of the audit log that could not be written when it happened, because the database had no such log then, or no
// key for it: it waits among the settings, and is written by whoever opens the database next, or by the portal that serves.
type note struct {
	Action        string
	Actor         platform.Actor
	At            time.Time
	Before, After fields
}

// noteName begins the names of the settings that are notes.
const noteName = "audit-note-"

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// leaveNoteBeside is leaveNote beside a portal that may write without a pause.
func leaveNoteBeside(ctx context.Context, db *sql.DB, n note) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return err
	}
	return insist(ctx, func() error { return leaveNote(ctx, conn, n) })
}

func leaveNote(ctx context.Context, conn execer, n note) error {
	_, err := conn.ExecContext(ctx, `INSERT INTO settings VALUES (?, ?)`, noteName+platform.NewID(), toJSON(n))
	return err
}

// WriteAuditNotes writes the entries that wait, of commands that had no key for them. Each becomes an entry once.
func (d *DB) WriteAuditNotes(ctx context.Context) error {
	names, err := all(ctx, d.read, scanString, `SELECT name FROM settings WHERE name GLOB ? ORDER BY name`, noteName+"*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.auditNote(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) auditNote(ctx context.Context, name string) error {
	var waiting string
	err := d.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&waiting)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // another process was quicker
	}
	if err != nil {
		return err
	}
	var n note
	if err := json.Unmarshal([]byte(waiting), &n); err != nil {
		return fmt.Errorf("the setting %s is damaged: %w", name, err)
	}
	return d.inTx(platform.WithActor(ctx, n.Actor), func(t *tx) error {
		if there, err := t.changed(ctx, `DELETE FROM settings WHERE name = ? AND value = ?`, name, waiting); err != nil || !there {
			return err
		}
		after := fields{"at": n.At.UTC()}
		for name, value := range n.After {
			after[name] = value
		}
		t.audit(audited{action: n.Action, before: n.Before, after: after})
		return nil
	})
}

// lostKeys are the keys that LoseSecrets gave up.
type lostKeys struct {
	Audit   []string `json:"auditKeys"` // entries by these are proven no more
	Masters []string `json:"masterKeys"`
}

// actionLoseSecrets is the entry that says by which keys entries before it can be proven no more.
const actionLoseSecrets = "keys.lose-secrets"

func noteLost(ctx context.Context, lost lostKeys) note {
	return note{Action: actionLoseSecrets, Actor: platform.ActorOf(ctx), At: time.Now(), After: fields{"auditKeys": lost.Audit, "masterKeys": lost.Masters}}
}

// loseKeys takes the ring of keys away, and leaves the note of it, at once.
func loseKeys(ctx context.Context, conn *sql.DB, n note) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `DELETE FROM data_keys; DELETE FROM master_keys;`); err != nil {
		return err
	}
	if err := leaveNote(ctx, tx, n); err != nil {
		return err
	}
	return tx.Commit()
}

// settingsNote is the setting that holds which settings the portal was served with last.
const settingsNote = "served-with"

// ServedWith notes with which settings the portal is served from now on, where they are others than before. They hold no secrets.
func (d *DB) ServedWith(ctx context.Context, settings map[string]string) error {
	return d.inTx(ctx, func(t *tx) error {
		var known string
		err := t.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, settingsNote).Scan(&known)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		now := toJSON(settings)
		if now == known {
			return nil
		}
		var before any
		if known != "" {
			before = json.RawMessage(known)
		}
		t.audit(audited{action: "portal.settings", before: before, after: settings})
		_, err = t.ExecContext(ctx, `INSERT OR REPLACE INTO settings VALUES (?, ?)`, settingsNote, now)
		return err
	})
}
