package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Inspection is what a database file says of itself, whatever version wrote it. Nothing is changed by looking.
type Inspection struct {
	Version int      // of its schema
	Known   int      // the newest that this program knows
	Masters []string // ids of the master keys that open its ring of keys, the newest last
	path    string
	sealed  []string // ids of the keys by which its values are sealed, in a database without a ring
}

// Inspect looks at a database file. What is none is an error.
func Inspect(ctx context.Context, path string) (i Inspection, err error) {
	i.path = path
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return i, err
	}
	i.Known = len(names)
	conn, err := openAsIs(path)
	if err != nil {
		return i, err
	}
	defer conn.Close()
	if err := conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&i.Version); err != nil {
		return i, fmt.Errorf("%s is damaged, or no database: %w", path, err)
	}
	there, err := hasColumn(ctx, conn, "settings", "value")
	if err != nil || !there || i.Version == 0 {
		return i, errors.Join(fmt.Errorf("%s is not a database of Wherry", path), err)
	}
	if there, err = hasColumn(ctx, conn, "master_keys", "id"); err != nil {
		return i, err
	}
	if there {
		i.Masters, err = all(ctx, conn, scanString, `SELECT id FROM master_keys ORDER BY seq`)
	} else {
		i.sealed, err = sealedBy(ctx, conn)
	}
	return i, err
}

func hasColumn(ctx context.Context, conn *sql.DB, table, column string) (there bool, err error) {
	err = conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = ?)`, table, column).Scan(&there)
	return there, err
}

// sealedBy lists the keys by which values are sealed.
func sealedBy(ctx context.Context, conn *sql.DB) (ids []string, err error) {
	for _, c := range sealedColumns {
		there, err := hasColumn(ctx, conn, c.table, c.column)
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		found, err := all(ctx, conn, scanString, `SELECT DISTINCT `+keyIDOf(c.column)+` FROM `+c.table+` WHERE `+c.column+` <> ''`)
		if err != nil {
			return nil, err
		}
		ids = append(ids, found...)
	}
	return ids, nil
}

// Newer tells whether a newer version of Wherry wrote the database.
func (i Inspection) Newer() error {
	if i.Version <= i.Known {
		return nil
	}
	return fmt.Errorf("%s was written by a newer version of Wherry (schema %d, this one knows %d): install that version", i.path, i.Version, i.Known)
}

// Damage reads the whole file and tells what is wrong in it.
func (i Inspection) Damage(ctx context.Context) error {
	conn, err := openAsIs(i.path)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := all(ctx, conn, scanString, `PRAGMA integrity_check(3)`)
	if err != nil {
		return fmt.Errorf("%s is damaged: %w", i.path, err)
	}
	if !slices.Equal(found, []string{"ok"}) {
		return fmt.Errorf("%s is damaged: %q", i.path, found)
	}
	return nil
}

// OpensWith tells why the database's secrets do not open with the master key from source; dir is the data folder that it is or
// will be in. A database in which nothing is sealed needs no key.
func (i Inspection) OpensWith(source KeySource, dir string) error {
	if len(i.Masters) == 0 && len(i.sealed) == 0 {
		return nil
	}
	master, err := source.Find(dir)
	if errors.Is(err, ErrNoKey) {
		return fmt.Errorf("%w. Secrets in the database are sealed by it%s: put it there from where you keep its copy, or name it with WHERRY_KEY_FILE", err, i.keyName())
	}
	if err != nil {
		return err
	}
	if len(i.Masters) > 0 {
		if !slices.Contains(i.Masters, master.ID) {
			return fmt.Errorf("%s does not open the database: its id is %s, and the database is sealed by the key %s", master.Where, master.ID, last(i.Masters))
		}
		return nil
	}
	first, err := master.firstDataKey()
	if err != nil {
		return err
	}
	if id := keyID(first); !slices.Contains(i.sealed, id) {
		return fmt.Errorf("%s does not open the database: its secrets are sealed by another key", master.Where)
	}
	return nil
}

func (i Inspection) keyName() string {
	if len(i.Masters) == 0 {
		return ""
	}
	return " (its id is " + last(i.Masters) + ")"
}
