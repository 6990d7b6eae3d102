package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"wherry/platform"
)

// Copy is a copy of a database that Backup made.
type Copy struct {
	Bytes    int64
	Version  int    // of its schema
	MasterID string // of the key that opens it; empty: it was made before there was a ring of keys
}

// Backup writes a copy of the database in a data folder to a new file, as it is at one moment, also while a portal works on it.
// The master key is not in it, and is not needed for it.
func Backup(ctx context.Context, dir, to string) (c Copy, err error) {
	if _, err := os.Stat(to); err == nil {
		return c, fmt.Errorf("%s is there already: a backup is a new file", to)
	}
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); err != nil {
		return c, fmt.Errorf("there is no database to back up: %w", err)
	}
	conn, err := openAsIs(path)
	if err != nil {
		return c, err
	}
	defer conn.Close()
	part, err := copyDatabase(ctx, conn, to)
	if err != nil {
		return c, err
	}
	found, err := Inspect(ctx, part)
	if err == nil {
		err = found.Damage(ctx)
	}
	info, statErr := os.Stat(part)
	if err := errors.Join(err, statErr); err != nil {
		return c, errors.Join(err, os.Remove(part))
	}
	c.Bytes, c.Version = info.Size(), found.Version
	if len(found.Masters) > 0 {
		c.MasterID = last(found.Masters)
	}
	if err := errors.Join(os.Rename(part, to), syncFolder(filepath.Dir(to))); err != nil {
		return c, err
	}
	return c, leaveNoteBeside(ctx, conn, note{Action: "portal.backup", Actor: platform.ActorOf(ctx), At: time.Now(), After: fields{"file": filepath.Base(to), "schema": c.Version}})
}

// copyDatabase writes a consistent copy, for its owner alone, under a name that begins with that of the file that it is to be. It is
// on the disk when copyDatabase returns.
func copyDatabase(ctx context.Context, conn *sql.DB, to string) (part string, err error) {
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part*")
	if err != nil {
		return "", fmt.Errorf("writing the copy: %w", err)
	}
	defer f.Close()
	if _, err := conn.ExecContext(ctx, `VACUUM INTO ?`, f.Name()); err != nil {
		return "", errors.Join(fmt.Errorf("copying the database: %w", err), os.Remove(f.Name()))
	}
	if err := f.Sync(); err != nil {
		return "", errors.Join(fmt.Errorf("writing the copy: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// openAsIs opens a database file without bringing its schema up to date.
func openAsIs(path string) (*sql.DB, error) {
	q := url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(10000)", "foreign_keys(1)"}}
	conn, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err == nil {
		conn.SetMaxOpenConns(1)
	}
	return conn, err
}
