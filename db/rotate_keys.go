package db

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const (
	// keysLockName is the lock of those who change the ring of keys, beside the portal that serves.
	keysLockName = "wherry.keys.lock"
	// sealBatch is how many values one transaction of a rotation seals anew: a portal that serves waits for it.
	sealBatch = 50
)

// Rotation is what came of a rotation.
type Rotation struct {
	KeyID    string   // of the new data key
	MasterID string   // of the master key that seals it
	Sealed   int      // values that were sealed anew
	Unopened []string // places of values that no key of the ring opens; they stay as they are
}

// RotateKeys makes a new data key and seals every value anew with it, while others work on the database too. Each step is a
// transaction of its own, and the old key stays in the ring until the next rotation: whenever this is cut short, everything
// opens, and the next rotation does what was left.
func (d *DB) RotateKeys(ctx context.Context) (r Rotation, err error) {
	lock, err := d.lockKeys(ctx)
	if err != nil {
		return r, err
	}
	defer lock.Release()
	own, err := d.insistent(ctx)
	if err != nil {
		return r, err
	}
	defer own.write.Close()
	return own.rotateKeys(ctx)
}

func (d *DB) rotateKeys(ctx context.Context) (r Rotation, err error) {
	key := newKey()
	r.KeyID, r.MasterID = keyID(key), d.masterKey().ID
	err = d.insist(ctx, func(t *tx) error {
		if err := d.onlyMaster(ctx, t); err != nil {
			return err
		}
		if err := t.forgetUnusedKeys(ctx); err != nil {
			return err
		}
		t.audit(audited{action: "keys.rotate", after: fields{"keyId": r.KeyID, "masterKeyId": r.MasterID}})
		return t.addDataKey(ctx, d.masterKey(), purposeValues, key)
	})
	if err != nil {
		return r, err
	}
	for _, c := range sealedColumns {
		for after, more := "", true; more; {
			if after, more, err = d.sealAnew(ctx, c, after, &r); err != nil {
				return r, fmt.Errorf("sealing %s.%s anew: %w (everything opens still; rotate again to seal the rest)", c.table, c.column, err)
			}
		}
	}
	return r, nil
}

// lockKeys keeps two from changing the ring at once.
func (d *DB) lockKeys(ctx context.Context) (*Lease, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lock, err := lockFile(ctx, filepath.Join(d.keys.dir, keysLockName), cancel)
	if errors.Is(err, context.Canceled) {
		return nil, errors.New("the keys of this data folder are being changed by another process now; try again when it has ended")
	}
	return lock, err
}

// onlyMaster gives up every other master key. A key file tells which one counts, and a portal that serves reads it again. A variable
// does not: there the portal must have been started with the new one before.
func (d *DB) onlyMaster(ctx context.Context, t *tx) error {
	own := d.masterKey()
	var others int
	if err := t.QueryRowContext(ctx, `SELECT count(*) FROM master_keys WHERE id <> ?`, own.ID).Scan(&others); err != nil || others == 0 {
		return err
	}
	if own.file == "" {
		return errors.New("the master key is being replaced: set WHERRY_KEY to the new one for the portal, start it again, and rotate then")
	}
	_, err := t.ExecContext(ctx, `DELETE FROM master_keys WHERE id <> ?`, own.ID)
	return err
}

// forgetUnusedKeys takes keys out of the ring by which nothing is sealed any more.
func (t *tx) forgetUnusedKeys(ctx context.Context) error {
	newest, err := newestKey(ctx, t, purposeValues)
	if err != nil {
		return err
	}
	var used []string
	for _, c := range sealedColumns {
		used = append(used, `SELECT `+keyIDOf(c.column)+` FROM `+c.table+` WHERE `+c.column+` <> ''`)
	}
	_, err = t.ExecContext(ctx, `DELETE FROM data_keys WHERE purpose = 'values' AND id <> ? AND id NOT IN (`+strings.Join(used, ` UNION ALL `)+`)`, newest)
	return err
}

// keyIDOf is the id of the key in a sealed value, "v1.KEY.TEXT".
func keyIDOf(column string) string {
	return `substr(` + column + `, 4, instr(substr(` + column + `, 4), '.') - 1)`
}

type sealedRow struct{ id, sealed string }

// sealAnew seals some values of a column with the newest key, and tells after which row to go on. What was sealed meanwhile has
// the newest key already.
func (d *DB) sealAnew(ctx context.Context, c sealedColumn, after string, r *Rotation) (next string, more bool, err error) {
	err = d.insist(ctx, func(t *tx) error {
		rows, err := all(ctx, t, func(s scanner) (row sealedRow, err error) {
			err = s.Scan(&row.id, &row.sealed)
			return row, err
		}, `SELECT CAST(id AS TEXT) AS place, `+c.column+` FROM `+c.table+` WHERE place > ? AND `+c.column+` <> '' AND `+keyIDOf(c.column)+` <> ? ORDER BY place LIMIT ?`, after, r.KeyID, sealBatch)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := d.sealRow(ctx, t, c, row, r); err != nil {
				return err
			}
			next = row.id
		}
		more = len(rows) == sealBatch
		return nil
	})
	return next, more, err
}

func (d *DB) sealRow(ctx context.Context, t *tx, c sealedColumn, row sealedRow, r *Rotation) error {
	secret, err := d.openIn(ctx, t, c.place(row.id), row.sealed)
	if errors.Is(err, errSealed) {
		r.Unopened = append(r.Unopened, c.place(row.id))
		return nil
	}
	if err != nil {
		return err
	}
	sealed, err := d.seal(ctx, t, c.place(row.id), secret)
	if err != nil {
		return err
	}
	r.Sealed++
	return t.exec(ctx, errors.New("the row is gone"), `UPDATE `+c.table+` SET `+c.column+` = ? WHERE id = ?`, sealed, row.id)
}

// ReplaceMasterKey seals the ring by the master key in the file newFile, which is made where it is missing, puts that key into the
// key file, and rotates the data key too: whoever has the old master key and an old copy of the database learns nothing of
// what is sealed from then on. Until the key file holds the new key, the ring opens by both.
//
// A key in a variable it cannot replace: then the portal is to be started with the new one, and done is false.
func (d *DB) ReplaceMasterKey(ctx context.Context, newFile string) (r Rotation, done bool, err error) {
	lock, err := d.lockKeys(ctx)
	if err != nil {
		return r, false, err
	}
	defer lock.Release()
	next, err := readMasterKey(newFile)
	if errors.Is(err, ErrNoKey) {
		next, err = makeMasterKey(newFile)
	}
	if err != nil {
		return r, false, err
	}
	old := d.masterKey()
	if next.ID == old.ID {
		return r, false, fmt.Errorf("the key in %s is the one that is in use: name a file that holds another, or one that is not there yet", newFile)
	}
	own, err := d.insistent(ctx)
	if err != nil {
		return r, false, err
	}
	defer own.write.Close()
	if err := own.wrapAgain(ctx, old, next); err != nil {
		return r, false, err
	}
	r.MasterID = next.ID
	if old.file == "" {
		return r, false, nil
	}
	if err := replaceKeyFile(old.file, next.bytes); err != nil {
		return r, false, fmt.Errorf("%w. Nothing is lost: the database opens by the old key and by the new one. Put the new one into %s yourself, and rotate then", err, old.file)
	}
	if _, err := d.readMasterAgain(); err != nil {
		return r, false, err
	}
	r, err = own.rotateKeys(ctx)
	return r, err == nil, err
}

// wrapAgain seals every data key by the next master key too.
func (d *DB) wrapAgain(ctx context.Context, old, next MasterKey) error {
	return d.insist(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `DELETE FROM master_keys WHERE id <> ?`, old.ID); err != nil { // of a replacement that was cut short
			return err
		}
		if err := t.addMaster(ctx, next); err != nil {
			return err
		}
		if _, _, err := d.auditKey(ctx, t); err != nil { // it is there from now on, and so is sealed by the next master key too
			return err
		}
		t.audit(audited{action: "keys.replace-master", before: fields{"masterKeyId": old.ID}, after: fields{"masterKeyId": next.ID}})
		keys, err := all(ctx, t, scanDataKey, `SELECT id, purpose, created_at FROM data_keys`)
		if err != nil {
			return err
		}
		for _, k := range keys {
			key, err := d.dataKey(ctx, t, k.Purpose, k.ID)
			if err != nil {
				return fmt.Errorf("opening the data key %s: %w", k.ID, err)
			}
			if err := t.wrap(ctx, next, k.Purpose, k.ID, key); err != nil {
				return err
			}
		}
		return nil
	})
}
