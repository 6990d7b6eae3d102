// Package processes finds and kills all processes that carry a mark, whatever session or group they put themselves in.
package processes

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mark is a variable, NAME=value, in the environment of processes. A process hands its environment down to its children;
// that is how they are all found.
type Mark string

// Process is one process as /proc shows it. Its start time, in clock ticks since boot, tells it from a later process that
// got the same number.
type Process struct {
	PID             int
	parent, session int
	start           string
	marked          bool
}

// List lists the processes that carry the mark, what those have started, and what is in a session that they lead. Zombies
// and the caller are not counted.
func (m Mark) List() []Process {
	processes := m.read()
	mine := map[int]bool{}
	sessions := map[int]bool{}
	for _, p := range processes {
		if p.marked {
			mine[p.PID], sessions[p.session] = true, true
		}
	}
	own, _ := unix.Getsid(0)
	delete(sessions, own)
	delete(sessions, 0)       // of processes whose session leader is in another PID namespace
	for grew := true; grew; { // children may be listed before their parents
		grew = false
		for _, p := range processes {
			if !mine[p.PID] && (mine[p.parent] || sessions[p.session]) {
				mine[p.PID], grew = true, true
			}
		}
	}
	var list []Process
	for _, p := range processes {
		if mine[p.PID] && p.PID != os.Getpid() {
			list = append(list, p)
		}
	}
	return list
}

// read reads all living processes of the host. What ends while it reads is left out.
func (m Mark) read() []Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right, so there is no error
	want := []byte(m)
	list := make([]Process, 0, len(dirs))
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		p, alive := parseStat(string(stat))
		if !alive {
			continue
		}
		environ, _ := os.ReadFile(dir + "/environ") // not ours to read: not ours
		for _, e := range bytes.Split(environ, []byte{0}) {
			p.marked = p.marked || bytes.Equal(e, want)
		}
		list = append(list, p)
	}
	return list
}

// parseStat reads a line of /proc/PID/stat (proc_pid_stat(5)). The command's name may hold spaces and brackets, so fields
// are counted from its last bracket.
func parseStat(stat string) (p Process, alive bool) {
	name := strings.LastIndexByte(stat, ')')
	if name < 0 {
		return p, false
	}
	pid, _, _ := strings.Cut(stat, " ")
	fields := strings.Fields(stat[name+1:])
	if len(fields) < 20 {
		return p, false
	}
	p.PID, _ = strconv.Atoi(pid)
	p.parent, _ = strconv.Atoi(fields[1])
	p.session, _ = strconv.Atoi(fields[3])
	p.start = fields[19]
	return p, fields[0] != "Z" && fields[0] != "X"
}

// KillAll kills the processes of the mark, again and again until none is left, and tells how many are after limit.
func (m Mark) KillAll(ctx context.Context, limit time.Duration) (left int) {
	deadline := time.Now().Add(limit)
	for {
		list := m.List()
		for _, p := range list {
			p.Kill()
		}
		if len(list) == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return len(list)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Kill kills the very process that was listed, and not a later one with its number: the descriptor holds on to one
// process, and the start time is checked after it was taken.
func (p Process) Kill() {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return // gone
	}
	defer unix.Close(fd)
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/stat")
	if err != nil {
		return
	}
	if now, _ := parseStat(string(stat)); now.start == p.start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may be gone by now, which is as good
	}
}
