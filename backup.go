package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"wherry/db"
)

// backupCommand copies the database of a portal, which may serve meanwhile.
func backupCommand(ctx context.Context, args []string) error {
	s, rest, err := readSettings("backup", optionsFirst(args), nil)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("name one new file for the backup")
	}
	if err := databaseIsThere(s.data); err != nil {
		return err
	}
	made, err := db.Backup(ctx, s.data, rest[0])
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB, schema %d\n", rest[0], float64(made.Bytes)/1e6, made.Version)
	fmt.Println(whereTheKeyIs(s, made.MasterID))
	return nil
}

// whereTheKeyIs tells what a backup is worth nothing without. id is that of the key that opens it; empty: not known.
func whereTheKeyIs(s settings, id string) string {
	if id != "" {
		id = " (" + id + ")"
	}
	where := "This command does not find it where the settings say that it is"
	if key, err := s.key.Find(s.data); err == nil {
		where = "It is in " + key.Where
	}
	return "The master key" + id + " is not in the backup. " + where + ": keep a copy of it, but elsewhere than backups. Without it no secret in the backup opens; with both, all do."
}

// restoreCommand makes a data folder from a backup.
func restoreCommand(ctx context.Context, args []string) error {
	s, rest, err := readSettings("restore", optionsFirst(args), nil)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("name one backup, and with --data the new data folder")
	}
	if err := asItsUser(s.data, os.Geteuid()); err != nil {
		return err
	}
	found, err := db.Restore(ctx, rest[0], s.data, s.key)
	if err != nil {
		return err
	}
	fmt.Printf(`%s is restored to %s (schema %d of %d).

Before you serve it:
- Stop the portal from which the backup came, for good. Both would take the same instances for theirs: the restored portal
  ends every instance that was started after the backup, because it knows nothing of it.
- Runs that had not ended at the time of the backup go on from there: those that waited for a machine are started anew, and those
  of which the machine is gone end, and say so.
- Everyone signs in again, and makes new access tokens; invitations are to be sent again.
`, rest[0], s.data, found.Version, found.Known)
	return nil
}

// optionsFirst lets the one argument of a command come before its options, too.
func optionsFirst(args []string) []string {
	if len(args) > 1 && !strings.HasPrefix(args[0], "-") {
		return append(append([]string{}, args[1:]...), args[0])
	}
	return args
}
