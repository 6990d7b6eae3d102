package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"wherry/platform"
)

const (
	// ticksPerSecond is the unit of CPU times in /proc (USER_HZ, the same on every Linux).
	ticksPerSecond = 100
	// measureLeast is the shortest time over which CPU is measured.
	measureLeast = time.Second
	// gpuLimit is how long the GPUs' tool may take to answer.
	gpuLimit = 5 * time.Second
)

// meter measures what a Studio uses: of a machine of its own all of it, and else what the tool's processes use.
type meter struct {
	whole bool         // the machine is the Studio's own
	tool  func() []int // ids of the tool's processes
	disks []string     // of the first that is there the disk counts

	mu   sync.Mutex
	at   time.Time
	busy float64 // CPU seconds until then
}

func newMeter(s *studio) *meter {
	return &meter{whole: s.Place != nil, disks: []string{s.workspace, s.Dir}, tool: func() (pids []int) {
		for _, p := range s.mark().List() {
			pids = append(pids, p.PID)
		}
		return pids
	}}
}

// measure returns what is used now, or nil when it was measured only a moment ago, or for the first time.
func (m *meter) measure(ctx context.Context) *platform.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	passed := now.Sub(m.at)
	if passed < measureLeast {
		return nil
	}
	busy, memory := m.processes()
	first := m.at.IsZero()
	u := &platform.Usage{At: now.UTC(), CPUs: runtime.NumCPU(), CPU: max(0, 100*(busy-m.busy)/passed.Seconds()), Memory: memory}
	m.at, m.busy = now, busy
	if first {
		return nil
	}
	u.MemoryMax, _ = totalMemory("/proc/meminfo")
	u.Disk, u.DiskMax = diskUse(m.disks)
	addGPUs(ctx, u)
	return u
}

// processes tells how many CPU seconds were used until now, and the bytes of memory in use.
func (m *meter) processes() (busy float64, memory int64) {
	if m.whole {
		return machineCPU("/proc/stat") - ownCPU(), usedMemory("/proc/meminfo")
	}
	for _, pid := range m.tool() {
		ticks, pages := processUse(pid)
		busy, memory = busy+float64(ticks)/ticksPerSecond, memory+pages*int64(os.Getpagesize())
	}
	return busy, memory
}

// machineCPU reads how many seconds the machine's CPUs have worked (proc_stat(5)).
func machineCPU(path string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	ticks := 0.0
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseFloat(field, 64)
		// user, nice, system, -idle-, -iowait-, irq, softirq; the rest is in these, or other machines'
		if err == nil && i >= 1 && i <= 7 && i != 4 && i != 5 {
			ticks += n
		}
	}
	return ticks / ticksPerSecond
}

// ownCPU is how many seconds this agent has worked: packing a checkpoint is not the Studio's own work.
func ownCPU() float64 {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()).Seconds()
}

// usedMemory reads how many bytes of the machine's memory are in use; what the kernel does not tell is 0.
func usedMemory(meminfo string) int64 {
	total, _ := totalMemory(meminfo)
	available, _ := readMemory(meminfo, "MemAvailable")
	return total - available
}

// processUse reads a process's CPU time in ticks, with that of its children that have ended, and its memory in pages
// (proc_pid_stat(5)). One that has ended uses nothing.
func processUse(pid int) (ticks, pages int64) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return 0, 0
	}
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	pages, _ = strconv.ParseInt(fields[21], 10, 64)
	return ticks, pages
}

// diskUse tells how many bytes of a folder's disk are in use, and how many it has. The first folder that is there counts.
func diskUse(folders []string) (used, size int64) {
	for _, folder := range folders {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(folder, &fs); err == nil {
			return int64(fs.Blocks-fs.Bfree) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize)
		}
	}
	return 0, 0
}

// gpuCommand tells of the machine's GPUs.
const gpuCommand = "nvidia-smi"

// gpusWork tells whether the machine has GPUs, and what they need.
func gpusWork(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, gpuLimit)
	defer cancel()
	return exec.CommandContext(ctx, gpuCommand).Run() == nil
}

// addGPUs adds what the machine's GPUs do, if it has any.
func addGPUs(ctx context.Context, u *platform.Usage) {
	if _, err := exec.LookPath(gpuCommand); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gpuLimit)
	defer cancel()
	text, err := exec.CommandContext(ctx, gpuCommand, "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return
	}
	sum := 0.0
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var use float64
		var used, size int64
		if n, _ := fmt.Sscanf(strings.ReplaceAll(line, ",", " "), "%g %d %d", &use, &used, &size); n == 3 {
			u.GPUs++
			u.GPUMemory, u.GPUMemMax, sum = u.GPUMemory+used<<20, u.GPUMemMax+size<<20, sum+use
		}
	}
	if u.GPUs > 0 {
		u.GPU = sum / float64(u.GPUs)
	}
}
