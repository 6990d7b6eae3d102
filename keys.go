package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"wherry/db"
)

// keysCommand shows, rotates or gives up the keys that seal secrets in the database. The first two work beside a portal that serves.
func keysCommand(ctx context.Context, args []string) error {
	what := "list"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		what, args = args[0], args[1:]
	}
	switch what {
	case "list":
		return withKeys(ctx, "keys list", args, nil, func(d *db.DB) error { return listKeys(ctx, d, os.Stdout) })
	case "rotate":
		master := ""
		return withKeys(ctx, "keys rotate", args, func(f *flag.FlagSet) {
			f.StringVar(&master, "master", "", "replace the master key too, by the key in this `file`, which is made where it is missing")
		}, func(d *db.DB) error { return rotateKeys(ctx, d, master, os.Stdout) })
	case "lose-secrets":
		return loseSecrets(ctx, args)
	}
	return fmt.Errorf("there is no \"keys %s\": it is list, rotate or lose-secrets", what)
}

// withKeys works on the database of the data folder that is there.
func withKeys(ctx context.Context, name string, args []string, more func(*flag.FlagSet), work func(*db.DB) error) error {
	s, rest, err := readSettings(name, args, more)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s takes no arguments, but got %q", name, rest)
	}
	d, err := s.openBeside(ctx)
	if err != nil {
		return err
	}
	return errors.Join(work(d), d.Close())
}

// openBeside opens the database of the data folder that is there, for a command beside a portal that may serve.
func (s settings) openBeside(ctx context.Context) (*db.DB, error) {
	if err := errors.Join(databaseIsThere(s.data), asItsUser(filepath.Join(s.data, db.FileName), os.Geteuid())); err != nil {
		return nil, err
	}
	return db.OpenWith(ctx, s.data, s.key)
}

// databaseIsThere keeps a command that looks at a portal from making one where a folder was mistyped.
func databaseIsThere(data string) error {
	if _, err := os.Stat(filepath.Join(data, db.FileName)); err != nil {
		return fmt.Errorf("there is no portal in %s; --data names its data folder (%w)", data, err)
	}
	return nil
}

// asItsUser refuses to change files as another user than whose they are: a key file that root wrote, the portal could not read.
func asItsUser(path string, user int) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // there is nothing that belongs to anyone
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != user {
		return fmt.Errorf("%s belongs to the user %d, and this is %d: run it as the portal's user (sudo -u), who must be able to read what is written", path, owner, user)
	}
	return nil
}

func listKeys(ctx context.Context, d *db.DB, w io.Writer) error {
	keys, err := d.Keys(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "master key %s, from %s\n", keys.MasterID, keys.Where)
	for _, id := range keys.Others {
		fmt.Fprintf(w, "master key %s opens the database too: a replacement has not ended\n", id)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nDATA KEY\tSINCE\tFOR\tVALUES")
	for _, k := range keys.Data {
		purpose, values := "tokens of machines and Studios", "-"
		if k.Purpose == "audit" {
			purpose = "proof of the audit log"
		}
		if k.Purpose == "values" {
			purpose, values = "secrets", fmt.Sprint(k.Values)
			if !k.Newest {
				purpose = "secrets sealed before the last rotation"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", k.ID, k.Created.Format(time.DateTime), purpose, values)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if keys.Unopened > 0 {
		fmt.Fprintf(w, "\nSecrets that no key here opens: %d. Enter them again.\n", keys.Unopened)
	}
	return nil
}

func rotateKeys(ctx context.Context, d *db.DB, master string, w io.Writer) error {
	var r db.Rotation
	var err error
	done := true
	if master == "" {
		r, err = d.RotateKeys(ctx)
	} else {
		r, done, err = d.ReplaceMasterKey(ctx, master)
	}
	if err != nil {
		return err
	}
	if !done {
		fmt.Fprintf(w, "The database opens by the new master key %s too. Set WHERRY_KEY to what is in %s, start the portal again, and run \"wherry keys rotate\" then; until that, the old key works on.\n", r.MasterID, master)
		return nil
	}
	fmt.Fprintf(w, "The new data key is %s. Secrets sealed anew: %d.\n", r.KeyID, r.Sealed)
	for _, place := range r.Unopened {
		fmt.Fprintf(w, "%s opens with no key here, and stays as it was: enter it again.\n", place)
	}
	if master != "" {
		fmt.Fprintf(w, "The key file holds the new master key %s: copy it to where you keep keys, and remove %s. Backups from before need the old one.\n", r.MasterID, master)
	}
	return nil
}

// loseSecrets is the way out where the master key is lost for good.
func loseSecrets(ctx context.Context, args []string) error {
	yes := false
	s, rest, err := readSettings("keys lose-secrets", args, func(f *flag.FlagSet) {
		f.BoolVar(&yes, "yes", false, "do it: secrets in the database will never open again")
	})
	if err != nil {
		return err
	}
	if len(rest) > 0 || !yes {
		return errors.New("this gives up every secret in the database, for a portal of which the master key is lost for good; --yes does it")
	}
	if err := errors.Join(databaseIsThere(s.data), asItsUser(filepath.Join(s.data, db.FileName), os.Geteuid())); err != nil {
		return err
	}
	lease, err := db.TakeLeaseNow(ctx, s.data)
	if err != nil {
		return err
	}
	if err := errors.Join(db.LoseSecrets(ctx, s.data), lease.Release()); err != nil {
		return err
	}
	fmt.Printf("There is a new key file in %s. Enter the secrets of credentials and compute environments again.\n", s.data)
	return nil
}
