package local

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"wherry/platform"
)

// Files in a machine's folder. The folder stays after the machine's end: its small files keep it from ever being started
// again, and the launch folder may hold what a pipeline wrote beside its work directory.
const (
	lockFile      = "lock"       // locked by the supervisor as long as it lives
	startedFile   = "started"    // there as soon as a supervisor has begun: no other ever will
	terminateFile = "terminate"  // the end was asked for
	endedFile     = "ended.json" // written by the supervisor when nothing is left
	heardFile     = "heard"      // touched by the agent when it hears the portal
	logFile       = "agent.log"  // what supervisor and agent print
)

// folder is the path of a machine's folder.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

func (f folder) make() error { return os.MkdirAll(string(f), 0o700) }

func (f folder) exists() bool {
	_, err := os.Stat(string(f))
	return err == nil
}

func (f folder) has(name string) bool {
	_, err := os.Lstat(f.path(name))
	return err == nil
}

func (f folder) modified() time.Time {
	info, err := os.Stat(string(f))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (f folder) startedAt() time.Time {
	info, err := os.Stat(f.path(startedFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// touch makes an empty file, or gives an old one a new time.
func (f folder) touch(name string) error {
	now := time.Now()
	if err := os.Chtimes(f.path(name), now, now); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(f.path(name), nil, 0o600)
}

// lock takes the supervisor's lock and keeps it for the life of the process; false when another supervisor has it, or had
// it. Someone who only looks whether a supervisor lives (locked) has the lock for a moment too: that is waited out.
func (f folder) lock() (bool, error) {
	fd, err := unix.Open(f.path(lockFile), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false, err
	}
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || f.has(startedFile) {
			return false, errors.Join(ignore(err, unix.EWOULDBLOCK), unix.Close(fd))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ignore returns nil for an error that is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// locked tells whether a supervisor lives.
func (f folder) locked() (bool, error) {
	file, err := os.Open(f.path(lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close() // gives the lock back
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK), ignore(err, unix.EWOULDBLOCK)
}

// waitUnlocked waits until the supervisor's lock is free. A killed process shows no mark any more some moments before the
// kernel closes its files.
func (f folder) waitUnlocked(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		locked, err := f.locked()
		if err != nil || !locked {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// end is what the supervisor writes down at the end.
type end struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// writeEnd writes down that the machine has ended. An agent that was killed could not remove the run's secrets.
func (f folder) writeEnd(reason string) error {
	if err := os.RemoveAll(f.path(platform.SecretsFolder)); err != nil {
		return err
	}
	text, err := json.Marshal(end{reason, time.Now().UTC()})
	if err != nil {
		return err
	}
	part := f.path(endedFile + ".part")
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return err
	}
	return os.Rename(part, f.path(endedFile))
}

func (f folder) endReason() string {
	var e end
	text, err := os.ReadFile(f.path(endedFile))
	if err != nil || json.Unmarshal(text, &e) != nil {
		return ""
	}
	return e.Reason
}

// order is what the portal tells a supervisor, by its standard input.
type order struct {
	MachineID, PortalURL, ClaimToken string
	Lifetime                         time.Duration
	Folder, Nextflow                 string
}

func encodeOrder(o order) ([]byte, error) { return json.Marshal(o) }
