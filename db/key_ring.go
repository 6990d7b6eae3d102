package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"wherry/platform"
)

// What data keys are for.
const (
	purposeValues   = "values"   // they seal
	purposeMachines = "machines" // claim tokens and those of Studios come from them
	purposeAudit    = "audit"    // the macs of audit entries come from them; they stay, because old entries are checked by them
)

// keyRing holds the data keys that this process has used. The ring itself is in the database: who meets a key that it does not
// know looks there, and so hears of a rotation by another process without being told.
type keyRing struct {
	dir    string
	source KeySource

	mu     sync.Mutex
	master MasterKey
	values map[string]*sealer // by key id. None is ever taken out: what was read a moment ago must open
}

func newKeyRing(dir string, source KeySource) *keyRing {
	return &keyRing{dir: dir, source: source, values: map[string]*sealer{}}
}

// wrappedAt is the place for which a data key is sealed by a master key.
func wrappedAt(purpose, id string) string { return "data_keys/" + purpose + "/" + id }

// openKeys makes sure that there is a ring of keys, and that the master key opens it.
func (d *DB) openKeys(ctx context.Context) error {
	master, err := d.keys.source.Find(d.keys.dir)
	if err != nil && !errors.Is(err, ErrNoKey) {
		return err
	}
	missing := err
	masters, err := all(ctx, d.read, scanString, `SELECT id FROM master_keys ORDER BY seq`)
	if err != nil {
		return err
	}
	if len(masters) == 0 {
		if master, err = d.makeRing(ctx, master, missing); err != nil {
			return err
		}
		if masters, err = all(ctx, d.read, scanString, `SELECT id FROM master_keys ORDER BY seq`); err != nil {
			return err
		}
	} else if missing != nil {
		return fmt.Errorf("%w, and secrets in the database are sealed by it (its id is %s). Put the key file there from where you keep its copy, or name it with WHERRY_KEY_FILE", missing, last(masters))
	}
	if !slices.Contains(masters, master.ID) {
		return fmt.Errorf("%s is not the key of this database: its id is %s, and the database is sealed by the key %s. Put the key there that belongs to the database", master.Where, master.ID, last(masters))
	}
	d.keys.master = master
	return nil
}

func last(list []string) string { return list[len(list)-1] }

// makeRing makes the ring of a database that has none, and the key file where there is none and nothing needs it yet.
func (d *DB) makeRing(ctx context.Context, master MasterKey, missing error) (MasterKey, error) {
	sealed, machines, err := usedBefore(ctx, d.read)
	if err != nil {
		return master, err
	}
	if missing != nil {
		if sealed || d.keys.source.File != "" {
			return master, fmt.Errorf("%w. Put it there from where you keep its copy; a new portal takes what \"openssl rand -hex 32\" prints", missing)
		}
		if master, err = makeMasterKey(filepath.Join(d.keys.dir, KeyName)); err != nil {
			return master, err
		}
	}
	return master, d.inTx(ctx, func(t *tx) error {
		var there bool
		if err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM master_keys)`).Scan(&there); err != nil || there {
			return err // another process was quicker
		}
		values, tokens := newKey(), newKey()
		if sealed || machines { // what is sealed must open, and machines that live must be known by their tokens
			first, err := master.firstDataKey()
			if err != nil {
				return err
			}
			values, tokens = first, master.bytes
		}
		if err := t.addMaster(ctx, master); err != nil {
			return err
		}
		return errors.Join(t.addDataKey(ctx, master, purposeValues, values), t.addDataKey(ctx, master, purposeMachines, tokens))
	})
}

// usedBefore tells whether a version without a ring of keys has left sealed values in the database, or machines.
func usedBefore(ctx context.Context, q queryer) (sealed, machines bool, err error) {
	for _, c := range sealedColumns {
		var some bool
		if err := q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+c.table+` WHERE `+c.column+` <> '')`).Scan(&some); err != nil {
			return false, false, err
		}
		sealed = sealed || some
	}
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM machines)`).Scan(&machines)
	return sealed, machines, err
}

func (t *tx) addMaster(ctx context.Context, master MasterKey) error {
	_, err := t.ExecContext(ctx, `INSERT INTO master_keys (id, created_at) VALUES (?, ?)`, master.ID, millis(t.now))
	return err
}

func (t *tx) addDataKey(ctx context.Context, master MasterKey, purpose string, key []byte) error {
	id := keyID(key)
	if _, err := t.ExecContext(ctx, `INSERT INTO data_keys (id, purpose, created_at) VALUES (?, ?, ?)`, id, purpose, millis(t.now)); err != nil {
		return err
	}
	return t.wrap(ctx, master, purpose, id, key)
}

// wrap seals a data key by a master key.
func (t *tx) wrap(ctx context.Context, master MasterKey, purpose, id string, key []byte) error {
	_, err := t.ExecContext(ctx, `INSERT OR REPLACE INTO wrapped_keys (key_id, master_id, sealed) VALUES (?, ?, ?)`,
		id, master.ID, master.seals.seal(wrappedAt(purpose, id), platform.NewSecret(string(key))))
	return err
}

// seal encrypts a secret for its place with the newest key. It asks for that key within the transaction that keeps the secret, so
// that nothing is sealed by an old key once a rotation has begun.
func (d *DB) seal(ctx context.Context, t *tx, place string, secret platform.Secret) (string, error) {
	if secret.IsZero() {
		return "", nil
	}
	id, err := newestKey(ctx, t, purposeValues)
	if err != nil {
		return "", err
	}
	s, err := d.sealerOf(ctx, t, id)
	if err != nil {
		return "", err
	}
	return s.seal(place, secret), nil
}

// open decrypts what was sealed for a place, by whichever key of the ring. Nothing is opened as nothing.
func (d *DB) open(ctx context.Context, place, sealed string) (platform.Secret, error) {
	return d.openIn(ctx, d.read, place, sealed)
}

func (d *DB) openIn(ctx context.Context, q queryer, place, sealed string) (platform.Secret, error) {
	if sealed == "" {
		return platform.Secret{}, nil
	}
	id, _, err := splitSealed(place, sealed)
	if err != nil {
		return platform.Secret{}, err
	}
	s, err := d.sealerOf(ctx, q, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = errSealed
	}
	if err != nil {
		return platform.Secret{}, fmt.Errorf("%s: %w", place, err)
	}
	return s.open(place, sealed)
}

func newestKey(ctx context.Context, q queryer, purpose string) (id string, err error) {
	err = q.QueryRowContext(ctx, `SELECT id FROM data_keys WHERE purpose = ? ORDER BY seq DESC LIMIT 1`, purpose).Scan(&id)
	return id, err
}

// sealerOf is what seals and opens with a data key.
func (d *DB) sealerOf(ctx context.Context, q queryer, id string) (*sealer, error) {
	d.keys.mu.Lock()
	s := d.keys.values[id]
	d.keys.mu.Unlock()
	if s != nil {
		return s, nil
	}
	key, err := d.dataKey(ctx, q, purposeValues, id)
	if err != nil {
		return nil, err
	}
	if s, err = newSealer(key); err != nil {
		return nil, err
	}
	d.keys.mu.Lock()
	defer d.keys.mu.Unlock()
	d.keys.values[id] = s
	return s, nil
}

// dataKey opens a key of the ring; sql.ErrNoRows: there is none with this id. If the master key that this process knows does not
// open it, the master key was replaced meanwhile, and is read anew.
func (d *DB) dataKey(ctx context.Context, q queryer, purpose, id string) ([]byte, error) {
	master := d.masterKey()
	sealed, err := wrapped(ctx, q, id, master)
	if errors.Is(err, sql.ErrNoRows) {
		if master, err = d.readMasterAgain(); err != nil {
			return nil, err
		}
		sealed, err = wrapped(ctx, q, id, master)
	}
	if err != nil {
		return nil, err
	}
	key, err := master.seals.open(wrappedAt(purpose, id), sealed)
	return []byte(key.Reveal()), err
}

func wrapped(ctx context.Context, q queryer, keyID string, master MasterKey) (sealed string, err error) {
	err = q.QueryRowContext(ctx, `SELECT sealed FROM wrapped_keys WHERE key_id = ? AND master_id = ?`, keyID, master.ID).Scan(&sealed)
	return sealed, err
}

func (d *DB) masterKey() MasterKey {
	d.keys.mu.Lock()
	defer d.keys.mu.Unlock()
	return d.keys.master
}

func (d *DB) setMasterKey(master MasterKey) {
	d.keys.mu.Lock()
	defer d.keys.mu.Unlock()
	d.keys.master = master
}

func (d *DB) readMasterAgain() (MasterKey, error) {
	master, err := d.keys.source.Find(d.keys.dir)
	if err == nil {
		d.setMasterKey(master)
	}
	return master, err
}

// MachineKey is the key from which claim tokens and those of Studios come. It is for the portal at its start, when it has the
// lease: a rotation leaves this key alone, because machines that live are known by what comes from it. It follows here, the
// first time that none lives.
func (d *DB) MachineKey(ctx context.Context) (key []byte, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		old, err := newestKey(ctx, t, purposeMachines)
		if err != nil {
			return err
		}
		var due bool
		err = t.QueryRowContext(ctx, `SELECT (SELECT max(seq) FROM data_keys WHERE purpose = 'values') > (SELECT seq FROM data_keys WHERE id = ?) AND
			NOT EXISTS (SELECT 1 FROM machines WHERE state <> 'terminated') AND NOT EXISTS (SELECT 1 FROM studio_sessions WHERE ended_at = 0)`, old).Scan(&due)
		if err != nil {
			return err
		}
		if !due {
			key, err = d.dataKey(ctx, t, purposeMachines, old)
			return err
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM data_keys WHERE purpose = 'machines'`); err != nil {
			return err
		}
		key = newKey()
		return t.addDataKey(ctx, d.masterKey(), purposeMachines, key)
	})
	return key, err
}

// SettleMasterKey gives up the master keys before the one that this process has. The portal calls it when it has started: that
// it could shows that the newer one is in its place.
func (d *DB) SettleMasterKey(ctx context.Context) error {
	_, err := d.write.ExecContext(ctx, `DELETE FROM master_keys WHERE seq < (SELECT seq FROM master_keys WHERE id = ?)`, d.masterKey().ID)
	return err
}
