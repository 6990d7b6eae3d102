package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"wherry/platform"
)

func TestWhatAToolUsesIsTold(t *testing.T) {
	t.Parallel()
	p := newFakePortal(t, studioSpec(t, "busy"))
	_, ended := p.startStudio(nil)
	busy := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, u := range p.usage {
			if u.Busy() && u.CPUs > 0 && u.Memory > 1<<20 && u.MemoryMax > u.Memory && u.Disk > 0 && u.DiskMax > u.Disk {
				return true
			}
		}
		return false
	}
	until(t, "a tool that computes is told as busy", busy)
	close(p.cancel)
	must(t, finish(t, ended))
}

func TestAProcessCountsWithItsChildrenThatHaveEnded(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `bash -c 'for ((i = 0; i < 200000; i++)); do :; done'; echo done; sleep 1000`)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = out.Read(make([]byte, 8))
	must(t, err)
	if ticks, pages := processUse(cmd.Process.Pid); ticks == 0 || pages == 0 {
		t.Errorf("%d ticks and %d pages", ticks, pages)
	}
	if ticks, pages := processUse(1 << 30); ticks != 0 || pages != 0 {
		t.Error("a process that is not there uses something")
	}
}

func TestTheMachinesOwnNumbersAreRead(t *testing.T) {
	t.Parallel()
	stat := filepath.Join(t.TempDir(), "stat")
	must(t, os.WriteFile(stat, []byte("cpu  100 20 30 4000 500 6 7 80 9 10\ncpu0 1 2 3\n"), 0o600))
	if got := machineCPU(stat); got != 1.63 {
		t.Errorf("%g CPU seconds", got)
	}
	meminfo := filepath.Join(t.TempDir(), "meminfo")
	must(t, os.WriteFile(meminfo, []byte("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"), 0o600))
	if got := usedMemory(meminfo); got != 600<<10 {
		t.Errorf("%d bytes", got)
	}
	m := &meter{whole: true, disks: []string{"/no/such/folder", t.TempDir()}}
	if u := m.measure(t.Context()); u != nil {
		t.Errorf("the first measure has no time to be over: %+v", u)
	}
	m.at = m.at.Add(-time.Minute)
	if u := m.measure(t.Context()); u == nil || u.Memory == 0 || u.DiskMax == 0 || u.CPU < 0 {
		t.Errorf("%+v", u)
	}
	if u := m.measure(t.Context()); u != nil {
		t.Errorf("it was measured a moment ago: %+v", u)
	}
}

func TestGPUsAreCounted(t *testing.T) {
	here := t.TempDir()
	stub(t, here, "nvidia-smi", `[ "$*" = "--query-gpu=utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits" ] && printf '50, 1000, 16000\n10, 0, 16000\n'`)
	t.Setenv("PATH", here+":"+os.Getenv("PATH"))
	var u platform.Usage
	addGPUs(t.Context(), &u)
	if u.GPUs != 2 || u.GPU != 30 || u.GPUMemory != 1000<<20 || u.GPUMemMax != 32000<<20 {
		t.Errorf("%+v", u)
	}
}
