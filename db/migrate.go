package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"wherry/platform"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date: migrations are numbered, forward only, each in a transaction of its own. A copy
// of the file as it was is kept beside it first, named after the version it has.
func migrate(ctx context.Context, conn *sql.DB, path string, migrations fs.FS) error {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted, and so in order
	if err != nil {
		return err
	}
	var version int
	if err := conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(names) {
		return fmt.Errorf("the database was written by a newer version of Wherry (schema %d, this one knows %d): install that version again", version, len(names))
	}
	if version > 0 && version < len(names) {
		if err := backUp(ctx, conn, fmt.Sprintf("%s.v%d", path, version)); err != nil {
			return err
		}
		err := leaveNote(ctx, conn, note{Action: "portal.upgrade", Actor: platform.ActorOf(ctx), At: time.Now(),
			Before: fields{"schema": version}, After: fields{"schema": len(names)}})
		if err != nil {
			return err
		}
	}
	for i := version; i < len(names); i++ {
		text, err := fs.ReadFile(migrations, names[i])
		if err != nil {
			return err
		}
		if err := applyMigration(ctx, conn, string(text), i+1); err != nil {
			return fmt.Errorf("migration %s: %w", strings.TrimPrefix(names[i], "migrations/"), err)
		}
	}
	return nil
}

// backUp writes a consistent copy of the database; a half-written copy never has the final name.
func backUp(ctx context.Context, conn *sql.DB, to string) error {
	part, err := copyDatabase(ctx, conn, to)
	if err != nil {
		return fmt.Errorf("before its migration: %w", err)
	}
	return os.Rename(part, to)
}

func applyMigration(ctx context.Context, conn *sql.DB, text string, version int) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, version)); err != nil {
		return err
	}
	return tx.Commit()
}
