package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// LeaseHolder tells whether a process works on the data folder, and which where the kernel shows it (0: it does not). It takes
// nothing and makes nothing.
func LeaseHolder(dir string) (held bool, pid int, err error) {
	f, err := os.Open(filepath.Join(dir, LockName))
	if errors.Is(err, os.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
		return false, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return true, 0, err
	}
	return true, lockedBy(info.Sys().(*syscall.Stat_t).Ino), nil
}

// lockedBy looks a lock up in the kernel's list: "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF".
func lockedBy(inode uint64) (pid int) {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], fmt.Sprintf(":%d", inode)) {
			continue
		}
		if _, err := fmt.Sscan(fields[4], &pid); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}
