package db

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"wherry/platform"
)

func (f *fixture) addCredentials(name, secret string) platform.Credentials {
	f.t.Helper()
	c := platform.Credentials{WorkspaceID: f.member.Workspace.ID, Name: name, Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret(secret)}
	must(f.t, f.AddCredentials(f.t.Context(), &c))
	return c
}

func wantSecret(t *testing.T, d *DB, id, want string) {
	t.Helper()
	if c, err := d.OpenCredentials(t.Context(), id); err != nil || c.SecretKey.Reveal() != want {
		t.Errorf("the secret of %s is %q, %v; want %q", id, c.SecretKey.Reveal(), err, want)
	}
}

func TestTheKeyIsMadeOnceAndADamagedOneIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var keys [][]byte
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 { // many processes may start at once, and must agree
		wg.Go(func() {
			key, err := makeMasterKey(filepath.Join(dir, KeyName))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key.bytes)
		})
	}
	wg.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) || len(key) != KeyLength {
			t.Errorf("%x and %x", keys[0], key)
		}
	}
	path := filepath.Join(dir, KeyName)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files are left behind: %v, %v", left, err)
	}
	must(t, os.WriteFile(path, []byte("abc"), 0o600))
	if _, err := (KeySource{}).Find(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestTheKeyComesFromOnePlaceAlone(t *testing.T) {
	t.Parallel()
	value := platform.NewSecret(strings.Repeat("ab", KeyLength))
	file := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(file, []byte(strings.Repeat("cd", KeyLength)+"\n"), 0o600))
	with := t.TempDir()
	must(t, os.WriteFile(filepath.Join(with, KeyName), []byte(strings.Repeat("ef", KeyLength)), 0o600))
	for what, c := range map[string]struct {
		dir    string
		source KeySource
		want   string // of the error, or where the key is said to come from
	}{
		"the folder's":        {with, KeySource{}, "wherry.key"},
		"a variable":          {t.TempDir(), KeySource{Value: value}, "WHERRY_KEY"},
		"another file":        {t.TempDir(), KeySource{File: file}, file},
		"the folder's, named": {with, KeySource{File: filepath.Join(with, KeyName)}, "wherry.key"},
		"both variables":      {t.TempDir(), KeySource{Value: value, File: file}, "both set"},
		"variable and folder": {with, KeySource{Value: value}, "two master keys"},
		"file and folder":     {with, KeySource{File: file}, "two master keys"},
		"nowhere":             {t.TempDir(), KeySource{}, "missing"},
		"a file that is not":  {t.TempDir(), KeySource{File: file + "x"}, "missing"},
	} {
		key, err := c.source.Find(c.dir)
		if got := fmt.Sprint(key.Where, err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// TestEverySealedColumnIsRotated compares the list of sealed columns with the schema.
func TestEverySealedColumnIsRotated(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations, "migrations/*.sql")
	must(t, err)
	said := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(migrations, name)
		must(t, err)
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:ALTER TABLE \w+ ADD )?(\w+)\s.*-- sealed \(db/seal\.go\)`).FindAllSubmatch(text, -1) {
			said[string(m[1])] = true
		}
	}
	for _, c := range sealedColumns {
		if !said[c.column] {
			t.Errorf("no migration says of the column %s that it is sealed (db/seal.go)", c.column)
		}
		delete(said, c.column)
	}
	if len(said) > 0 {
		t.Errorf("sealedColumns lacks %v: a rotation would leave them out", said)
	}
}

func TestAWrongOrMissingKeyIsNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addCredentials("a", "secret")
	id := f.masterKey().ID
	path := filepath.Join(f.keys.dir, KeyName)
	must(t, os.Rename(path, path+".away"))
	if _, err := Open(t.Context(), f.keys.dir); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), path) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made beside secrets that it does not open")
	}
	other, err := makeMasterKey(path)
	must(t, err)
	if _, err := Open(t.Context(), f.keys.dir); err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), other.ID) {
		t.Errorf("with another key: %v", err)
	}
	must(t, os.Rename(path+".away", path))
	d, err := Open(t.Context(), f.keys.dir)
	must(t, err)
	must(t, d.Close())
}

// before makes the database what it was before there was a ring of keys: sealed by a key that was derived from the master key.
func (f *fixture) before(t *testing.T) *sealer {
	t.Helper()
	key, err := f.masterKey().firstDataKey()
	must(t, err)
	s, err := newSealer(key)
	must(t, err)
	_, err = f.write.Exec(`DELETE FROM data_keys; DELETE FROM master_keys`)
	must(t, err)
	return s
}

func TestWhatWasSealedBeforeThereWasARingOpens(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.addCredentials("a", "secret")
	f.addRun("lives")
	s := f.before(t)
	_, err := f.write.Exec(`UPDATE credentials SET secret_key = ?`, s.seal(sealedAt(c.ID), platform.NewSecret("old secret")))
	must(t, err)
	d, err := Open(t.Context(), f.keys.dir)
	must(t, err)
	defer d.Close()
	wantSecret(t, d, c.ID, "old secret")
	if key, err := d.MachineKey(t.Context()); err != nil || !bytes.Equal(key, d.masterKey().bytes) {
		t.Errorf("the machines that live are not known by their tokens any more: %v", err)
	}
	r, err := d.RotateKeys(t.Context())
	if err != nil || r.Sealed != 1 || r.KeyID == s.keyID {
		t.Errorf("%+v, %v", r, err)
	}
	wantSecret(t, d, c.ID, "old secret")
}

func TestTheMachineKeyFollowsARotationOnlyWhenNoMachineLives(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := func() string {
		t.Helper()
		key, err := f.MachineKey(t.Context())
		must(t, err)
		return hex.EncodeToString(key)
	}
	first := key()
	_, m := f.addRun("a")
	for range 2 {
		_, err := f.RotateKeys(t.Context())
		must(t, err)
	}
	_, done, err := f.ReplaceMasterKey(t.Context(), filepath.Join(t.TempDir(), "new"))
	if err != nil || !done || key() != first {
		t.Errorf("it changed while a machine lives: %v", err)
	}
	_, err = f.write.Exec(`UPDATE machines SET state = 'terminated' WHERE id = ?`, m.ID)
	must(t, err)
	second := key()
	if second == first || key() != second {
		t.Error("when none lives it is to change, and once")
	}
}

// TestKeysRotateUnderLoad has several open the database, as processes do, and write and read secrets while keys rotate and the master
// key is replaced.
func TestKeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := range 3 * sealBatch {
		f.addCredentials(fmt.Sprint("c", n), fmt.Sprint("secret ", n))
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	portal, err := Open(t.Context(), f.keys.dir)
	must(t, err)
	defer portal.Close()
	for w := range 3 {
		wg.Go(func() {
			c := platform.Credentials{WorkspaceID: f.member.Workspace.ID, Name: fmt.Sprint("w", w), Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret("0")}
			if err := portal.AddCredentials(context.Background(), &c); err != nil {
				t.Error(err)
			}
			for n := 1; ctx.Err() == nil && !t.Failed(); n++ {
				c.SecretKey = platform.NewSecret(fmt.Sprint(n))
				if err := portal.UpdateCredentials(context.Background(), &c); err != nil {
					t.Error(err)
				}
				if got, err := portal.OpenCredentials(context.Background(), c.ID); err != nil || got.SecretKey != c.SecretKey {
					t.Errorf("%q, %v", got.SecretKey.Reveal(), err)
				}
			}
		})
	}
	for n := range 4 {
		if n == 2 {
			if _, done, err := f.ReplaceMasterKey(t.Context(), filepath.Join(f.keys.dir, "..", "next")); err != nil || !done {
				t.Error(done, err)
			}
			continue
		}
		if _, err := f.RotateKeys(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	keys, err := portal.Keys(t.Context())
	must(t, err)
	if keys.Unopened != 0 || keys.Data[0].Values != 3*sealBatch+3 || len(keys.Others) > 0 || keys.MasterID != f.masterKey().ID {
		t.Errorf("afterwards: %+v", keys)
	}
	list, err := portal.CredentialsList(t.Context(), f.member.Workspace.ID)
	must(t, err)
	for _, c := range list {
		if n, ok := strings.CutPrefix(c.Name, "c"); ok {
			wantSecret(t, portal, c.ID, "secret "+n)
		}
	}
}

func TestAMasterKeyInAVariableIsReplacedWithTheNextStart(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "next")
	first := KeySource{Value: platform.NewSecret(strings.Repeat("ab", KeyLength))}
	d, err := OpenWith(t.Context(), dir, first)
	must(t, err)
	if _, done, err := d.ReplaceMasterKey(t.Context(), other); err != nil || done {
		t.Fatalf("%v, %v", done, err)
	}
	if _, err := d.RotateKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "start it again") {
		t.Errorf("a rotation that the portal would not understand: %v", err)
	}
	must(t, d.SettleMasterKey(t.Context())) // a start with the old one gives up nothing
	must(t, d.Close())
	text, err := os.ReadFile(other)
	must(t, err)
	second := KeySource{Value: platform.NewSecret(strings.TrimSpace(string(text)))}
	for _, source := range []KeySource{first, second} {
		d, err = OpenWith(t.Context(), dir, source)
		if err != nil {
			t.Fatalf("both keys are to open it: %v", err)
		}
		if source != second {
			must(t, d.Close())
		}
	}
	defer d.Close()
	must(t, d.SettleMasterKey(t.Context()))
	if _, err := OpenWith(t.Context(), dir, first); err == nil {
		t.Error("the old master key opens the database still")
	}
	_, err = d.RotateKeys(t.Context())
	must(t, err)
}

func TestAReplacementThatWasCutShortIsNoLoss(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.addCredentials("a", "secret")
	next, err := makeMasterKey(filepath.Join(t.TempDir(), "next"))
	must(t, err)
	must(t, f.wrapAgain(t.Context(), f.masterKey(), next)) // and then the process is killed
	d, err := Open(t.Context(), f.keys.dir)
	must(t, err)
	wantSecret(t, d, c.ID, "secret")
	_, err = d.RotateKeys(t.Context()) // the key file tells that the old one counts
	must(t, err)
	must(t, d.Close())
	must(t, f.wrapAgain(t.Context(), f.masterKey(), next))
	must(t, replaceKeyFile(filepath.Join(f.keys.dir, KeyName), next.bytes)) // and then the process is killed
	d, err = Open(t.Context(), f.keys.dir)
	must(t, err)
	defer d.Close()
	wantSecret(t, d, c.ID, "secret")
	must(t, d.SettleMasterKey(t.Context()))
	if keys, err := d.Keys(t.Context()); err != nil || len(keys.Others) > 0 || keys.MasterID != next.ID {
		t.Errorf("%+v, %v", keys, err)
	}
}

// TestAKeyFileThatCannotBeReplacedIsReplacedByHand has the key on what is read-only, as mounted secrets are.
func TestAKeyFileThatCannotBeReplacedIsReplacedByHand(t *testing.T) {
	t.Parallel()
	mount, next := filepath.Join(t.TempDir(), "mount"), filepath.Join(t.TempDir(), "next")
	must(t, os.Mkdir(mount, 0o700))
	source := KeySource{File: filepath.Join(mount, "key")}
	if _, err := OpenWith(t.Context(), t.TempDir(), source); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "openssl rand") {
		t.Errorf("a named key is nothing that is made by itself: %v", err)
	}
	_, err := makeMasterKey(source.File)
	must(t, err)
	d, err := OpenWith(t.Context(), t.TempDir(), source)
	must(t, err)
	defer d.Close()
	must(t, os.Rename(mount, mount+".away"))
	if _, done, err := d.ReplaceMasterKey(t.Context(), next); err == nil || done || !strings.Contains(err.Error(), "Nothing is lost") {
		t.Errorf("%v, %v", done, err)
	}
	must(t, os.Rename(mount+".away", mount))
	again, err := OpenWith(t.Context(), d.keys.dir, source)
	must(t, err)
	must(t, again.Close())
	must(t, os.Rename(next, source.File))
	again, err = OpenWith(t.Context(), d.keys.dir, source)
	must(t, err)
	defer again.Close()
	_, err = again.RotateKeys(t.Context())
	must(t, err)
	c := platform.Credentials{WorkspaceID: 1, Name: "a", Mode: "keys", AccessKey: "AKIA", SecretKey: platform.NewSecret("secret")}
	_, err = d.SetUp(t.Context(), setUp, "hash")
	must(t, err)
	must(t, d.AddCredentials(t.Context(), &c)) // by the process that has the old key in memory
	wantSecret(t, again, c.ID, "secret")
}

func TestALostKeyLosesSecretsAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.addCredentials("a", "secret")
	if err := LoseSecrets(t.Context(), f.keys.dir); err == nil {
		t.Error("secrets are given up although their key is there")
	}
	must(t, os.Remove(filepath.Join(f.keys.dir, KeyName)))
	must(t, LoseSecrets(t.Context(), f.keys.dir))
	d, err := Open(t.Context(), f.keys.dir)
	must(t, err)
	defer d.Close()
	_, err = d.OpenCredentials(t.Context(), c.ID)
	wantCode(t, "the lost secret", err, platform.CodeConflict)
	r, err := d.RotateKeys(t.Context())
	if err != nil || len(r.Unopened) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	c.SecretKey = platform.NewSecret("entered again")
	must(t, d.UpdateCredentials(t.Context(), &c))
	wantSecret(t, d, c.ID, "entered again")
}

// TestNoKeyAndNoSecretIsInTheFiles searches the bytes of the database and of what is beside it.
func TestNoKeyAndNoSecretIsInTheFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.addCredentials("a", "canary-of-credentials")
	_, err := f.RotateKeys(t.Context())
	must(t, err)
	wantSecret(t, f.DB, c.ID, "canary-of-credentials")
	machines, err := f.MachineKey(t.Context())
	must(t, err)
	id, err := newestKey(t.Context(), f.read, purposeValues)
	must(t, err)
	values, err := f.dataKey(t.Context(), f.read, purposeValues, id)
	must(t, err)
	must(t, f.Close())
	hidden := map[string][]byte{"the secret": []byte("canary-of"), "the master key": f.masterKey().bytes, "the machine key": machines, "the data key": values}
	files, err := filepath.Glob(filepath.Join(f.keys.dir, "*"))
	must(t, err)
	for _, path := range files {
		if filepath.Base(path) == KeyName {
			continue
		}
		text, err := os.ReadFile(path)
		must(t, err)
		for what, b := range hidden {
			if bytes.Contains(text, b) || bytes.Contains(text, []byte(hex.EncodeToString(b))) {
				t.Errorf("%s is in %s", what, path)
			}
		}
	}
}

// older makes a database of the schema before there was a ring of keys, with a sealed secret in it.
func older(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, FileName)
	before := fstest.MapFS{}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	must(t, err)
	for _, name := range names {
		if name < "migrations/0006" {
			text, err := fs.ReadFile(migrations, name)
			must(t, err)
			before[name] = &fstest.MapFile{Data: text}
		}
	}
	must(t, makePrivate(path))
	master, err := makeMasterKey(filepath.Join(dir, KeyName))
	must(t, err)
	conn, err := openAsIs(path)
	must(t, err)
	defer conn.Close()
	must(t, migrate(t.Context(), conn, path, before))
	key, err := master.firstDataKey()
	must(t, err)
	s, err := newSealer(key)
	must(t, err)
	_, err = conn.Exec(`PRAGMA foreign_keys = 0; INSERT INTO credentials (id, workspace_id, name, mode, access_key, secret_key, role_arn, external_id, status, message, created_at, updated_at)
		VALUES ('c', 1, 'a', 'keys', 'AKIA', ?, '', '', 'AVAILABLE', '', 1, 1)`, s.seal(sealedAt("c"), platform.NewSecret("from before")))
	must(t, err)
	return dir
}

// TestADatabaseOfTheSchemaBeforeTheRingIsUpgraded goes the whole way: the old schema, its copy, and what was sealed in it.
func TestADatabaseOfTheSchemaBeforeTheRingIsUpgraded(t *testing.T) {
	t.Parallel()
	dir := older(t)
	d, err := Open(t.Context(), dir)
	must(t, err)
	defer d.Close()
	wantSecret(t, d, "c", "from before")
	if _, err := os.Stat(filepath.Join(dir, FileName+".v5")); err != nil {
		t.Errorf("no copy from before: %v", err)
	}
}

func TestABackupOfTheSchemaBeforeTheRingIsRestoredWithItsKey(t *testing.T) {
	t.Parallel()
	dir, file := older(t), filepath.Join(t.TempDir(), "backup")
	_, err := Backup(t.Context(), dir, file)
	must(t, err)
	stranger := t.TempDir()
	_, err = makeMasterKey(filepath.Join(stranger, KeyName))
	must(t, err)
	for other, want := range map[string]string{stranger: "does not open", t.TempDir(): "missing"} {
		if _, err := Restore(t.Context(), file, other, KeySource{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	with := folderWithKey(t, dir)
	if i, err := Restore(t.Context(), file, with, KeySource{}); err != nil || i.Version != 5 {
		t.Fatalf("%+v, %v", i, err)
	}
	d, err := Open(t.Context(), with)
	must(t, err)
	defer d.Close()
	wantSecret(t, d, "c", "from before")
}
