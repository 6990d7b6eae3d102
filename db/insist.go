package db

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"wherry/platform"
)

// insistPause is how long one who insists waits between two attempts. SQLite itself waits up to 100 ms between two, and so may find a
// portal that writes without a pause at work each time.
const insistPause = time.Millisecond

// insistent is the same database with a connection of its own, for one who writes beside a portal that serves and cannot wait for
// a quiet moment.
func (d *DB) insistent(ctx context.Context) (*DB, error) {
	var path string
	if err := d.read.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		return nil, err
	}
	write, err := sql.Open("sqlite", dsn(path, "immediate"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if _, err := write.ExecContext(ctx, `PRAGMA busy_timeout = 0`); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{write: write, read: d.read, keys: d.keys, subscribers: map[*func(platform.Change)]struct{}{}}, nil
}

// insist is inTx that tries again, without an end but that of ctx, while another process writes. f is not called before it is its turn.
func (d *DB) insist(ctx context.Context, f func(*tx) error) error {
	return insist(ctx, func() error { return d.inTx(ctx, f) })
}

// insist tries to write until another process leaves room, or ctx ends.
func insist(ctx context.Context, write func() error) error {
	for {
		err := write()
		if e := (*sqlite.Error)(nil); !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(insistPause/4 + rand.N(insistPause)):
		}
	}
}
