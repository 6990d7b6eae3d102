package db

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wherry/platform"
)

// folderWithKey is a folder in which nothing is but the key of another.
func folderWithKey(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	key, err := os.ReadFile(filepath.Join(from, KeyName))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, KeyName), key, 0o600))
	return dir
}

func TestABackupWhileOthersWriteIsOfOneMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.addCredentials("a", "secret")
	now := time.Now()
	must(t, f.AddSession(t.Context(), "h", Session{UserID: f.member.User.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(platform.DefaultSessionTimes.Idle)}))
	_, err := f.write.ExecContext(t.Context(), `INSERT INTO access_tokens (user_id, name, token_hash, created_at) VALUES (?, 'laptop', 'h', 0)`, f.member.User.ID)
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r := platform.Run{WorkspaceID: f.member.Workspace.ID, UserID: f.member.User.ID, ComputeEnvID: f.env.ID, Name: fmt.Sprint("r", w, "-", n), WorkDir: "/w"}
				if _, err := f.AddRun(context.Background(), &r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	files := t.TempDir()
	for n := range 3 {
		file := filepath.Join(files, fmt.Sprint("backup", n))
		made, err := Backup(t.Context(), f.keys.dir, file)
		if err != nil || made.MasterID != f.masterKey().ID || made.Bytes == 0 {
			t.Fatalf("%+v, %v", made, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	stop()
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(files, "*.part*")); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
	if _, err := Backup(t.Context(), f.keys.dir, filepath.Join(files, "backup0")); err == nil {
		t.Error("a backup was overwritten")
	}
	text, err := os.ReadFile(filepath.Join(files, "backup2"))
	must(t, err)
	if bytes.Contains(text, f.masterKey().bytes) {
		t.Error("the key is in the backup")
	}
	dir := folderWithKey(t, f.keys.dir)
	_, err = Restore(t.Context(), filepath.Join(files, "backup2"), dir, KeySource{})
	must(t, err)
	d, err := Open(t.Context(), dir)
	must(t, err)
	defer d.Close()
	wantSecret(t, d, c.ID, "secret")
	var torn int
	must(t, d.read.QueryRow(`SELECT count(*) FROM runs r LEFT JOIN machines m ON m.run_id = r.id WHERE m.id IS NULL`).Scan(&torn))
	if torn > 0 {
		t.Errorf("%d runs have no machine: the copy is not of one moment", torn)
	}
	_, err = d.Session(t.Context(), "h", now)
	wantCode(t, "a session from before the backup", err, platform.CodeNotFound)
	_, _, err = d.UserByToken(t.Context(), "h", "")
	wantCode(t, "an access token, which may have been revoked since", err, platform.CodeNotFound)
}

func TestARestoreRefusesWhatWouldNotWork(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addCredentials("a", "secret")
	for n := range 40 {
		f.addRun(fmt.Sprint("r", n))
	}
	files := t.TempDir()
	good := filepath.Join(files, "good")
	_, err := Backup(t.Context(), f.keys.dir, good)
	must(t, err)
	text, err := os.ReadFile(good)
	must(t, err)
	write := func(name string, data []byte) string {
		path := filepath.Join(files, name)
		must(t, os.WriteFile(path, data, 0o600))
		return path
	}
	flipped := bytes.Clone(text)
	for i := len(flipped) / 3; i < len(flipped)/3+8000; i++ {
		flipped[i] ^= 0x5a
	}
	newer := bytes.Clone(text)
	newer[60], newer[61], newer[62], newer[63] = 0, 0, 3, 231 // PRAGMA user_version
	with := func() string { return folderWithKey(t, f.keys.dir) }
	used := with()
	must(t, os.WriteFile(filepath.Join(used, FileName), nil, 0o600))
	held := with()
	lease, err := TakeLeaseNow(t.Context(), held)
	must(t, err)
	defer lease.Release()
	stranger := t.TempDir()
	_, err = makeMasterKey(filepath.Join(stranger, KeyName))
	must(t, err)
	for what, c := range map[string]struct{ file, dir, want string }{
		"a folder that is not empty": {good, used, "not empty"},
		"a folder in use":            {good, held, "a portal works on"},
		"no key":                     {good, t.TempDir(), "the master key is missing"},
		"another key":                {good, stranger, "does not open the database"},
		"a file cut off":             {write("cut", text[:len(text)/2]), with(), "damaged"},
		"changed bytes":              {write("flipped", flipped), with(), "damaged"},
		"a newer version":            {write("newer", newer), with(), "newer version"},
		"a text":                     {write("text", []byte(strings.Repeat("hello\n", 1000))), with(), "no database"},
		"an empty file":              {write("empty", nil), with(), "not a database of Wherry"},
		"no file":                    {filepath.Join(files, "none"), with(), "no such file"},
	} {
		_, err := Restore(t.Context(), c.file, c.dir, KeySource{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), ".part") {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if left, _ := filepath.Glob(filepath.Join(c.dir, FileName+"*")); c.dir != used && len(left) > 0 {
			t.Errorf("%s: %v is left behind", what, left)
		}
	}
	must(t, lease.Release())
	if _, err := Restore(t.Context(), good, held, KeySource{}); err != nil {
		t.Errorf("once nobody works there: %v", err)
	}
}
