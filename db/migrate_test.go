package db

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"wherry/platform"
)

// later are the migrations of a later version: ours, and another one.
func later(t *testing.T, text string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	must(t, err)
	for _, name := range names {
		data, err := fs.ReadFile(migrations, name)
		must(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	files["migrations/9999_later.sql"] = &fstest.MapFile{Data: []byte(text)}
	return files
}

func version(t *testing.T, d *DB) (n int) {
	t.Helper()
	must(t, d.read.QueryRow(`PRAGMA user_version`).Scan(&n))
	return n
}

func TestAnUpgradeKeepsACopyOfWhatWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	d, err := Open(t.Context(), dir)
	must(t, err)
	defer d.Close()
	_, err = d.SetUp(t.Context(), setUp, "hash")
	must(t, err)
	before := version(t, d)
	if left, _ := filepath.Glob(path + ".v*"); len(left) > 0 {
		t.Errorf("a new database has the copy %v", left)
	}
	must(t, migrate(t.Context(), d.write, path, later(t, `DELETE FROM participants; DELETE FROM organization_members; DELETE FROM users;`)))
	if got := version(t, d); got != before+1 {
		t.Errorf("the version is %d, want %d", got, before+1)
	}
	copied := path + ".v" + string(rune('0'+before))
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the copy: %v, %v", info, err)
	}
	other := t.TempDir()
	must(t, os.Rename(copied, filepath.Join(other, FileName)))
	must(t, os.Link(filepath.Join(dir, KeyName), filepath.Join(other, KeyName)))
	was, err := Open(t.Context(), other)
	must(t, err)
	defer was.Close()
	for which, c := range map[string]struct {
		db   *DB
		want int
	}{"the copy": {was, 1}, "the new one": {d, 0}} {
		if n, err := c.db.UserCount(context.Background()); err != nil || n != c.want {
			t.Errorf("%s has %d users, %v; want %d", which, n, err, c.want)
		}
	}
}

func TestAFailedUpgradeChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r, _ := f.addRun("a")
	before := version(t, f.DB)
	err := migrate(t.Context(), f.write, filepath.Join(t.TempDir(), FileName), later(t, `UPDATE runs SET name = 'b'; SELECT no_such_thing;`))
	if err == nil || !strings.Contains(err.Error(), "9999_later.sql") {
		t.Errorf("the error does not name the migration: %v", err)
	}
	if got, err := f.AnyRun(t.Context(), r.ID); err != nil || got.Name != "a" || version(t, f.DB) != before {
		t.Errorf("half of it stays: %q, version %d, %v", got.Name, version(t, f.DB), err)
	}
}

func TestTheDatabaseIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addRun("a") // writes the file beside it
	var path string
	must(t, f.read.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path))
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestAReopenedDatabaseIsTheSame also shows that opening twice migrates once.
func TestAReopenedDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var ids []string
	for range 2 {
		d, err := Open(t.Context(), dir)
		must(t, err)
		id, err := d.PortalID(t.Context())
		must(t, err)
		ids = append(ids, id)
		must(t, d.Close())
	}
	if !platform.ValidID(ids[0]) || ids[0] != ids[1] {
		t.Errorf("the portal's id is %q and then %q", ids[0], ids[1])
	}
}

// TestRunsOfOlderVersionsKeepTheirLogsAndMachines upgrades a database from before there were Studios.
func TestRunsOfOlderVersionsKeepTheirLogsAndMachines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	old, err := sql.Open("sqlite", "file:"+path) // without foreign keys: only these rows count
	must(t, err)
	before := fstest.MapFS{}
	for _, name := range []string{"0001_ground", "0002_aws_cloud", "0003_machines_in_a_cloud", "0004_compute_env_version"} {
		text, err := fs.ReadFile(migrations, "migrations/"+name+".sql")
		must(t, err)
		before["migrations/"+name+".sql"] = &fstest.MapFile{Data: text}
	}
	must(t, migrate(t.Context(), old, path, before))
	_, err = old.ExecContext(t.Context(), `
		INSERT INTO machines (id, workspace_id, run_id, compute_env_id, state, next_step_at, state_since, created_at) VALUES ('m', 1, 'r', 'e', 'working', 1, 1, 1), ('warm', 1, NULL, 'e', 'booting', 1, 1, 1);
		INSERT INTO log_streams (run_id, stream, size, newlines) VALUES ('r', 'stdout', 8, 2);
		INSERT INTO log_chunks (run_id, stream, position, newlines_before, data) VALUES ('r', 'stdout', 0, 0, CAST('one' || char(10) || 'two' || char(10) AS BLOB))`)
	must(t, err)
	must(t, old.Close())
	d, err := Open(t.Context(), dir)
	must(t, err)
	defer d.Close()
	var log strings.Builder
	must(t, d.CopyLog(t.Context(), &log, "r", platform.LogOutput))
	if size, lines, err := d.LogSize(t.Context(), "r", platform.LogOutput); err != nil || size != 8 || lines != 2 || log.String() != "one\ntwo\n" {
		t.Errorf("the log has %d bytes and %d lines, %v: %q", size, lines, err, log.String())
	}
	if m, err := d.MachineOfRun(t.Context(), "r"); err != nil || m.WorkID() != "r" || m.State != platform.MachineWorking {
		t.Errorf("%+v, %v", m, err)
	}
	if warm, err := d.WarmMachines(t.Context(), "e"); err != nil || len(warm) != 1 || warm[0].WorkID() != "" {
		t.Errorf("warm are %+v, %v", warm, err)
	}
}
