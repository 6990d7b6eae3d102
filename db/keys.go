package db

import (
	"context"
	"time"
)

// DataKey is a key of the ring, as people may know it.
type DataKey struct {
	ID      string
	Purpose string // values: it seals; machines: tokens of machines and Studios come from it; audit: it proves the audit log
	Created time.Time
	Newest  bool // of its purpose: the one in use
	Values  int  // sealed by it
}

// Keys are the keys of a database.
type Keys struct {
	MasterID string
	Where    string   // the master key is
	Others   []string // ids of master keys by which the ring opens too, while the master key is replaced
	Data     []DataKey
	Unopened int // values that no key of the ring opens
}

func scanDataKey(s scanner) (k DataKey, err error) {
	err = s.Scan(&k.ID, &k.Purpose, timeColumn{&k.Created})
	return k, err
}

// Keys tells of the keys of this database, the newest first.
func (d *DB) Keys(ctx context.Context) (k Keys, err error) {
	master := d.masterKey()
	k.MasterID, k.Where = master.ID, master.Where
	if k.Others, err = all(ctx, d.read, scanString, `SELECT id FROM master_keys WHERE id <> ? ORDER BY seq`, k.MasterID); err != nil {
		return k, err
	}
	if k.Data, err = all(ctx, d.read, scanDataKey, `SELECT id, purpose, created_at FROM data_keys ORDER BY seq DESC`); err != nil {
		return k, err
	}
	values := map[string]int{}
	for _, c := range sealedColumns {
		ids, err := all(ctx, d.read, scanString, `SELECT `+keyIDOf(c.column)+` FROM `+c.table+` WHERE `+c.column+` <> ''`)
		if err != nil {
			return k, err
		}
		for _, id := range ids {
			values[id]++
			k.Unopened++
		}
	}
	newest := map[string]bool{}
	for i := range k.Data {
		key := &k.Data[i]
		key.Newest = !newest[key.Purpose]
		newest[key.Purpose] = true
		key.Values = values[key.ID]
		k.Unopened -= key.Values
	}
	return k, nil
}
