package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"wherry/cloud/aws"
	"wherry/db"
	"wherry/platform"
)

// checkFolder looks at who may do what with the data folder and the files in it.
func (d *doctor) checkFolder() {
	info, err := os.Stat(d.data)
	if err != nil || !info.IsDir() {
		d.note("data folder", wrong, fmt.Sprintf("%s is not there: %v", d.data, err), "name it with --data or WHERRY_DATA; \"wherry serve\" makes a new one")
		return
	}
	mode := info.Mode().Perm()
	d.noteIf(mode&0o077 != 0, "data folder", unsure, fmt.Sprintf("%s has the mode %#o", d.data, mode), "chmod 700: it is for the portal's user alone")
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() {
		d.note("data folder", unsure, fmt.Sprintf("it belongs to the user %d, and this is %d", owner, os.Geteuid()), "run wherry as the portal's user, so that it can write what it must")
	}
	for _, name := range []string{db.FileName, db.KeyName} {
		if info, err := os.Stat(filepath.Join(d.data, name)); err == nil {
			mode := info.Mode().Perm()
			d.noteIf(mode&0o077 != 0, name, wrong, fmt.Sprintf("its mode is %#o", mode), "chmod 600: others on this host may read it")
		}
	}
	if probe, err := os.CreateTemp(d.data, ".doctor-*"); err != nil {
		d.note("data folder", wrong, err.Error(), "let the portal's user write there")
	} else {
		probe.Close()
		os.Remove(probe.Name())
	}
}

func (d *doctor) checkLease() {
	held, pid, err := db.LeaseHolder(d.data)
	switch {
	case err != nil:
		d.note("lease", wrong, err.Error(), "let the portal's user read and write "+db.LockName)
	case !held:
		d.note("lease", fine, "no portal works on the data folder now", "")
	case pid == 0:
		d.note("lease", fine, "a portal works on the data folder", "")
	default:
		d.note("lease", fine, fmt.Sprintf("the process %d works on the data folder", pid), "")
	}
	d.served = held
}

// checkDatabase looks at the database and its key without bringing its schema up to date.
func (d *doctor) checkDatabase(ctx context.Context) {
	path := filepath.Join(d.data, db.FileName)
	if _, err := os.Stat(path); err != nil {
		d.note("database", skipped, "there is none yet", "\"wherry serve\" makes it")
		return
	}
	i, err := db.Inspect(ctx, path)
	if err == nil {
		err = i.Newer()
	}
	if err != nil {
		d.note("database", wrong, err.Error(), "install the version that wrote it, or restore a backup")
		return
	}
	d.noteIf(i.Version < i.Known, "database", unsure, fmt.Sprintf("schema %d of %d", i.Version, i.Known), "the next start of the portal upgrades it, after a copy")
	if err := i.OpensWith(d.key, d.data); err != nil {
		d.note("key", wrong, err.Error(), "see \"Keys\" in docs/operating.md")
		return
	}
	key, err := d.key.Find(d.data)
	if err != nil {
		d.note("key", skipped, err.Error(), "nothing is sealed yet; the portal makes one")
		return
	}
	d.note("key", fine, fmt.Sprintf("%s, from %s", key.ID, key.Where), "")
	if file := d.key.File; file != "" {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o007 != 0 {
			d.note("key", unsure, fmt.Sprintf("%s has the mode %#o", file, info.Mode().Perm()), "let the portal's user alone read it")
		}
	}
	d.opens = i.Version == i.Known
}

// checkEnvironments looks at what is in the database: keys that did not follow a rotation, and with --online the credentials.
func (d *doctor) checkEnvironments(ctx context.Context) {
	if !d.opens {
		return
	}
	store, err := db.OpenWith(ctx, d.data, d.key)
	if err != nil {
		d.note("database", wrong, err.Error(), "see \"Keys\" in docs/operating.md")
		return
	}
	defer store.Close()
	if keys, err := store.Keys(ctx); err == nil {
		d.checkRing(keys)
	}
	envs, err := store.SweptComputeEnvs(ctx)
	if err != nil {
		d.note("compute environments", wrong, err.Error(), "look at the portal's log")
		return
	}
	for _, e := range envs {
		switch {
		case e.Status == platform.ComputeEnvDeleted:
		case e.Platform == platform.PlatformLocal:
			d.local = true
		default:
			d.aws = true
			d.checkCredentials(ctx, store, e)
		}
	}
}

func (d *doctor) checkRing(keys db.Keys) {
	if len(keys.Others) > 0 {
		d.note("key", unsure, "the master key is being replaced: the database opens by "+strings.Join(keys.Others, " and ")+" too", "end it with \"wherry keys rotate\"")
	}
	old := 0
	for _, k := range keys.Data {
		if k.Purpose == "values" && !k.Newest {
			old += k.Values
		}
	}
	if old > 0 {
		d.note("key", unsure, fmt.Sprintf("a rotation was cut short: %d secrets have the key before it", old), "\"wherry keys rotate\" again")
	}
	if keys.Unopened > 0 {
		d.note("key", wrong, fmt.Sprintf("%d secrets open with no key of the database", keys.Unopened), "enter them again")
	}
}

// checkCredentials asks AWS who an environment's credentials are.
func (d *doctor) checkCredentials(ctx context.Context, store *db.DB, e platform.ComputeEnv) {
	name := "credentials of " + e.Name
	creds, err := store.OpenCredentials(ctx, e.CredentialsID)
	switch {
	case err != nil:
		d.note(name, wrong, err.Error(), "enter the secret key again")
		return
	case !d.online:
		d.note(name, skipped, "they open", "--online asks AWS whether they are usable")
		return
	}
	if err := store.CredentialsUsed(platform.WithPurpose(ctx, "wherry doctor --online"), creds); err != nil {
		d.note(name, unsure, err.Error(), "")
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	amazon := aws.New(aws.Config{JumpRoleARN: d.jumpRole, InstanceCredentials: d.instanceCredentials})
	who, err := amazon.Identify(ctx, creds)
	if err != nil {
		d.note(name, wrong, err.Error(), "open the credentials in the portal and test them")
		return
	}
	d.note(name, fine, who.ARN, "")
}
