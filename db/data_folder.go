package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the files in the data folder beside the database.
const (
	LockName = "wherry.lock"
	KeyName  = "wherry.key" // the master key, unless it is kept elsewhere (KeySource)
)

// Lease is the right to work on a data folder. Only one process on the host holds it.
type Lease struct{ file *os.File }

// TakeLease makes the data folder where it is missing and waits for its lease until ctx is done. waiting is called once
// if another process holds it. The lease is a file lock and not a row with an expiry: the kernel lets go of it the moment
// its holder dies, however it dies, so that a restarted portal works at once and two never work together.
func TakeLease(ctx context.Context, dir string, waiting func()) (*Lease, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	return lockFile(ctx, filepath.Join(dir, LockName), waiting)
}

func lockFile(ctx context.Context, path string, waiting func()) (*Lease, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data folder's lock: %w", err)
	}
	for first := true; ; first = false {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &Lease{f}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking the data folder: %w", err), f.Close())
		}
		if first {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Release gives the lease back.
func (l *Lease) Release() error { return l.file.Close() }

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
