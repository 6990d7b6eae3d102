package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wherry/platform"
)

// Restore puts a backup into a data folder in which nothing is but its key. It refuses what would not work: a folder in use, a
// damaged file, one of a newer version, and one that the key does not open. Everyone has to sign in again: sessions that were ended
// since the backup must not come back.
func Restore(ctx context.Context, file, dir string, source KeySource) (i Inspection, err error) {
	lease, err := TakeLeaseNow(ctx, dir)
	if err != nil {
		return i, err
	}
	defer lease.Release()
	if err := emptyFolder(dir); err != nil {
		return i, err
	}
	part := filepath.Join(dir, FileName+".part")
	defer os.Remove(part) // where it is not renamed
	if err := copyFile(file, part); err != nil {
		return i, fmt.Errorf("copying the backup: %w", err)
	}
	if i, err = Inspect(ctx, part); err != nil {
		return i, inWords(err, part, file)
	}
	if err := errors.Join(i.Newer(), i.Damage(ctx), i.OpensWith(source, dir)); err != nil {
		return i, inWords(err, part, file)
	}
	if err := endSessions(ctx, part, i.Version, file); err != nil {
		return i, err
	}
	return i, errors.Join(os.Rename(part, filepath.Join(dir, FileName)), syncFolder(dir))
}

// inWords names the backup instead of the copy of it that was looked at.
func inWords(err error, part, file string) error {
	return errors.New(strings.ReplaceAll(err.Error(), part, file))
}

// TakeLeaseNow takes a data folder's lease, and refuses where another process has it.
func TakeLeaseNow(ctx context.Context, dir string) (*Lease, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lease, err := TakeLease(ctx, dir, cancel)
	if errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("a portal works on %s: stop it first", dir)
	}
	return lease, err
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains([]string{LockName, KeyName, keysLockName, FileName + ".part"}, e.Name()) {
			return fmt.Errorf("%s is not empty: it has %s. Restore into a new folder, in which nothing is but the key file", dir, e.Name())
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// endedByRestore are the tables of what opens the portal: none that was ended or revoked since the backup comes back.
var endedByRestore = []string{"sessions", "sign_in_links", "access_tokens", "invitations"}

// endSessions also leaves the word for the audit log that this is a restored database.
func endSessions(ctx context.Context, path string, version int, file string) error {
	conn, err := openAsIs(path)
	if err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, `PRAGMA synchronous = FULL`)
	for _, table := range endedByRestore {
		there, found := hasColumn(ctx, conn, table, "token_hash") // a backup of an older version may not have it
		if err = errors.Join(err, found); err == nil && there {
			_, err = conn.ExecContext(ctx, `DELETE FROM `+table)
		}
	}
	if err == nil {
		err = leaveNote(ctx, conn, note{Action: "portal.restore", Actor: platform.ActorOf(ctx), At: time.Now(),
			After: fields{"file": filepath.Base(file), "schema": version}})
	}
	return errors.Join(err, conn.Close())
}
