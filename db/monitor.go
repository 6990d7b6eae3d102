package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"wherry/platform"
)

// settingReady is written to see whether the database takes anything.
const settingReady = "ready"

// Writable tells whether the database takes a change, down to the disk.
func (d *DB) Writable(ctx context.Context) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO settings VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2`, settingReady, time.Now().UTC().Format(time.RFC3339))
	return err
}

// Count is how many things are in a state.
type Count struct {
	State string
	N     int
}

func scanCount(s scanner) (c Count, err error) {
	err = s.Scan(&c.State, &c.N)
	return c, err
}

// MachineCounts counts machines that may exist, by state.
func (d *DB) MachineCounts(ctx context.Context) ([]Count, error) {
	return all(ctx, d.read, scanCount, `SELECT state, count(*) FROM machines WHERE state <> 'terminated' GROUP BY state`)
}

// RunCounts counts runs by state, those that have ended too.
func (d *DB) RunCounts(ctx context.Context) ([]Count, error) {
	return all(ctx, d.read, scanCount, `SELECT state, count(*) FROM runs GROUP BY state`)
}

// StudioCounts counts the sessions of Studios that have not ended, by state.
func (d *DB) StudioCounts(ctx context.Context) ([]Count, error) {
	return all(ctx, d.read, scanCount, `SELECT state, count(*) FROM studio_sessions WHERE ended_at = 0 GROUP BY state`)
}

// OldestWanted tells since when the oldest machines wait that are wanted: one that its workspace's limits let start, and one that they
// hold back. Zero: there is none.
func (d *DB) OldestWanted(ctx context.Context) (admitted, queued time.Time, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT coalesce(min(iif(admitted_at > 0, admitted_at, NULL)), 0), coalesce(min(iif(admitted_at = 0, created_at, NULL)), 0)
		FROM machines WHERE state = ?`, platform.MachineWanted).Scan(timeColumn{&admitted}, timeColumn{&queued})
	return admitted, queued, err
}

// Size is how many bytes the database has on the disk, with what is not folded into it yet.
func (d *DB) Size() (bytes int64, err error) {
	for _, name := range []string{FileName, FileName + "-wal"} {
		info, err := os.Stat(filepath.Join(d.keys.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if err == nil {
			bytes += info.Size()
		}
	}
	return bytes, nil
}

// Held tells whether the lease is what it was: that the file which this process has locked is the one in the data folder still.
func (l *Lease) Held() error {
	own, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.file.Name())
	if err != nil {
		return err
	}
	if !os.SameFile(own, there) {
		return fmt.Errorf("%s is another file now: the data folder was replaced", l.file.Name())
	}
	return nil
}
