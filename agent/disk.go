package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wherry/platform"
)

const (
	// diskLook is how often the free space is looked at.
	diskLook = 2 * time.Second
	// diskPatience is how long a disk may be full. Nextflow 24.10 waits forever for its trace file's writer, which ends
	// at its first error (nextflow.trace.TraceFileObserver.onFlowComplete); the machine must not wait with it.
	diskPatience = 20 * time.Second
	// diskLeast is the free space, in bytes, below which a disk is full.
	diskLeast = 256 << 10
	// reserveSize is what a machine of its own sets aside, in bytes, so that the end of a run on a full disk can be
	// noted, kept and reported.
	reserveSize = 8 << 20
)

// errDiskFull means that a disk was full for too long.
var errDiskFull = errors.New(platform.NoSpaceLeft)

// disks is what is known of the disks that a machine's work writes to.
type disks struct {
	release func()       // gives the reserve back
	seen    atomic.Int64 // when one was last seen full, in Unix nanoseconds
}

// watchDisks stops the work when one of the disks it writes to has stayed full.
func (a *agent) watchDisks(working context.Context) {
	full := map[string]time.Time{} // since when, by folder
	for {
		select {
		case <-working.Done():
			return
		case <-time.After(diskLook):
		}
		for _, dir := range a.writtenFolders() {
			if !diskIsFull(dir) {
				delete(full, dir)
				continue
			}
			a.disks.seen.Store(time.Now().UnixNano())
			if full[dir].IsZero() {
				full[dir] = time.Now()
			}
			if time.Since(full[dir]) >= diskPatience {
				a.Log.Warn("the disk is full", "folder", dir)
				a.disks.release()
				a.stop(errDiskFull)
				return
			}
		}
	}
}

// diskWasFull tells whether a disk is full, or was a moment ago, and makes room for what is still to be told. Programs
// that meet a full disk often say something else: Java calls it an unsafe memory access, a script an exit status.
func (a *agent) diskWasFull() bool {
	full := time.Since(time.Unix(0, a.disks.seen.Load())) < 5*diskLook || slices.ContainsFunc(a.writtenFolders(), diskIsFull)
	if full {
		a.disks.release()
	}
	return full
}

// writtenFolders are those that the work writes to, as far as they are folders of this host.
func (a *agent) writtenFolders() []string {
	dirs := []string{a.Dir}
	if work := a.spec.Launch.WorkDir; filepath.IsAbs(work) {
		dirs = append(dirs, work) // another disk can be mounted there
	}
	if a.studio != nil {
		dirs = append(dirs, a.studio.workspace)
	}
	return dirs
}

// reserve sets space aside, as far as there is any, and returns what gives it back.
func (a *agent) reserve() (release func()) {
	if a.Place == nil {
		return func() {}
	}
	path := filepath.Join(a.Dir, "reserve")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(syscall.Fallocate(int(file.Fd()), 0, 0, reserveSize), file.Close())
	}
	if err != nil {
		a.Log.Warn("no space could be set aside", "error", err)
	}
	return sync.OnceFunc(func() { _ = os.Remove(path) })
}

// diskIsFull tells whether a disk has no space for those who are not root. A folder that does not exist yet has none.
func diskIsFull(dir string) bool {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return false
	}
	return fs.Blocks > 0 && fs.Bavail*uint64(fs.Bsize) < diskLeast
}

// diskFullReason begins with the words by which the portal knows it.
func (a *agent) diskFullReason() string {
	return fmt.Sprintf("%s: a disk of the machine, which holds %s, is full.", platform.NoSpaceLeft, strings.Join(a.writtenFolders(), " and "))
}
