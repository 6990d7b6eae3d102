// Package db keeps everything that Wherry must not forget, in one SQLite file: one file of code for each word, and no SQL
// anywhere else. Every change that a page may show is written to the journal of changes in its own transaction and, once
// it is safe, told to those who subscribed.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite" // registers the driver too
	sqlite3 "modernc.org/sqlite/lib"

	"wherry/platform"
)

// DB is the open database. Its methods are safe for concurrent use. Those that read one thing return a
// platform.CodeNotFound error when it is not there; those that write return platform.FieldErrors for what breaks a rule.
type DB struct {
	write *sql.DB // one connection: SQLite has one writer, and waiting here is fairer than busy retries
	read  *reader

	// SessionTimes are the lifetimes of sessions; zero: platform.DefaultSessionTimes. They are set before the first use.
	SessionTimes platform.SessionTimes

	keys        *keyRing
	commit      sync.Mutex // held from a commit until it was published, so that subscribers hear of changes in their order
	mu          sync.RWMutex
	subscribers map[*func(platform.Change)]struct{}
}

// FileName is the name of the database in the data folder.
const FileName = "wherry.db"

// Open opens, and where needed creates and migrates, the database in the data folder dir. What is sealed
// in it opens with the folder's key file, which is made too where it is missing and nothing is sealed yet.
func Open(ctx context.Context, dir string) (*DB, error) { return OpenWith(ctx, dir, KeySource{}) }

// OpenWith is Open with the master key from wherever it is.
func OpenWith(ctx context.Context, dir string, source KeySource) (*DB, error) {
	path := filepath.Join(dir, FileName)
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	d := &DB{subscribers: map[*func(platform.Change)]struct{}{}, keys: newKeyRing(dir, source)}
	var err error
	if d.write, err = sql.Open("sqlite", dsn(path, "immediate")); err != nil {
		return nil, err
	}
	d.write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn(path, "deferred"))
	if err != nil {
		return nil, err
	}
	d.read = &reader{DB: read}
	d.read.SetMaxOpenConns(8)
	d.read.SetMaxIdleConns(8)
	if err := migrate(ctx, d.write, path, migrations); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), d.Close())
	}
	if err := d.openKeys(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), d.Close())
	}
	if err := d.WriteAuditNotes(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), d.Close())
	}
	return d, nil
}

// makePrivate makes the database's file where it is missing, for its owner alone whatever the folder is like: SQLite gives
// the files beside it the same mode. One that is there is not touched: closing it would take away SQLite's locks on it.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	return f.Close()
}

// dsn sets what every connection needs. synchronous(FULL): a log line that the agent was told is saved survives even a
// power cut, and so does a wish that the cloud has heard of.
func dsn(path, lock string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)", "cache_size(-16000)"}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// Close closes the database; the last connection folds the write-ahead log into the file.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// Ping tells whether the database can be read.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	return d.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}

// Subscribe calls f with every change once it is committed, in the order of commits, until the returned function is
// called. f must not block and must not call the database.
func (d *DB) Subscribe(f func(platform.Change)) (cancel func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscribers[&f] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.subscribers, &f)
	}
}

func (d *DB) publish(changes []platform.Change) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, c := range changes {
		for f := range d.subscribers {
			(*f)(c)
		}
	}
}

// tx is one write transaction and the changes it makes.
type tx struct {
	*sql.Tx
	now     time.Time
	changes []platform.Change
	audits  []audited
}

// inTx runs f in a write transaction, commits when it returns nil, and then tells subscribers.
func (d *DB) inTx(ctx context.Context, f func(*tx) error) error {
	sqlTx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer sqlTx.Rollback()
	t := &tx{Tx: sqlTx, now: time.Now()}
	if err := f(t); err != nil {
		return err
	}
	if err := t.journal(ctx); err != nil {
		return err
	}
	if err := d.writeAudit(ctx, t); err != nil {
		return err
	}
	d.commit.Lock()
	defer d.commit.Unlock()
	if err := sqlTx.Commit(); err != nil {
		return err
	}
	d.publish(t.changes)
	return nil
}

// change notes that a page may have to show something new of a run or, without one, of the workspace.
func (t *tx) change(workspaceID int64, runID string, kind platform.ChangeKind) {
	t.note(platform.Change{WorkspaceID: workspaceID, RunID: runID, Kind: kind})
}

// changeStudio is change for a Studio, its session or its checkpoints.
func (t *tx) changeStudio(workspaceID int64, studioID string) {
	t.note(platform.Change{WorkspaceID: workspaceID, StudioID: studioID, Kind: platform.ChangeStudio})
}

// changeOf is change for what a machine works on.
func (t *tx) changeOf(m platform.Machine, kind platform.ChangeKind) {
	t.note(platform.Change{WorkspaceID: m.WorkspaceID, RunID: m.RunID, StudioID: m.StudioID, Kind: kind})
}

// note keeps a change. Repeats in one transaction are one change.
func (t *tx) note(c platform.Change) {
	if !slices.Contains(t.changes, c) {
		t.changes = append(t.changes, c)
	}
}

func (t *tx) journal(ctx context.Context) error {
	for i, c := range t.changes {
		if c.Kind == platform.ChangeLog {
			continue
		}
		err := t.QueryRowContext(ctx, `INSERT INTO changes (workspace_id, run_id, studio_id, kind) VALUES (?, ?, ?, ?) RETURNING id`,
			c.WorkspaceID, c.RunID, c.StudioID, c.Kind).Scan(&t.changes[i].ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// exec runs a statement that must change exactly one row; none is the error notOne.
func (t *tx) exec(ctx context.Context, notOne error, query string, args ...any) error {
	result, err := t.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return notOne
}

// changed runs a statement that may find nothing to do, and tells whether it changed a row.
func (t *tx) changed(ctx context.Context, query string, args ...any) (bool, error) {
	result, err := t.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// queryer is a *sql.DB or *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// all reads every row of a query with scan.
func all[T any](ctx context.Context, q queryer, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// notFound turns "no rows" into an error for people about a thing of that name.
func notFound(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return platform.Errorf(platform.CodeNotFound, "This workspace has no such %s. It may have been deleted.", what)
	}
	return err
}

// isUnique tells whether err comes from a UNIQUE constraint or index that holds the column table.name.
func isUnique(err error, name string) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) || (e.Code() != sqlite3.SQLITE_CONSTRAINT_UNIQUE && e.Code() != sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY) {
		return false
	}
	return strings.Contains(e.Error(), name)
}

// millis and fromMillis turn times into columns and back; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// timeColumn scans a column of milliseconds into a time.
type timeColumn struct{ t *time.Time }

func (c timeColumn) Scan(src any) error {
	ms, ok := src.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", src)
	}
	*c.t = fromMillis(ms)
	return nil
}
