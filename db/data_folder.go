package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the files in the data folder beside the database.
const (
	LockName = "wherry.lock"
	KeyName  = "wherry.key"
)

// KeyLength is the length of the data folder's key in bytes.
const KeyLength = 32

// Lease is the right to work on a data folder. Only one process on the host holds it.
type Lease struct{ file *os.File }

// TakeLease makes the data folder where it is missing and waits for its lease until ctx is done. waiting is called once
// if another process holds it. The lease is a file lock and not a row with an expiry: the kernel lets go of it the moment
// its holder dies, however it dies, so that a restarted portal works at once and two never work together.
func TakeLease(ctx context.Context, dir string, waiting func()) (*Lease, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
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

// Key reads the data folder's key, and makes it on the first start. From it come claim tokens and, for credentials, the
// encryption at rest: whoever has the database alone has neither.
func Key(dir string) ([]byte, error) {
	path := filepath.Join(dir, KeyName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != KeyLength {
		return nil, fmt.Errorf("the key file %s is damaged: it must hold %d bytes in hex; restore it from a backup", path, KeyLength)
	}
	return key, nil
}

// makeKey writes a new key under another name first, and has it on the disk before it gets its own, so that neither a crash
// nor a power cut leaves half a key.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, KeyLength)
	rand.Read(key)
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing the key file: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("writing the key file: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return nil, err
	}
	return key, syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
