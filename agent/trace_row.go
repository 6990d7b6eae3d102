package agent

import (
	"math"
	"strconv"
	"time"

	"wherry/platform"
)

// traceRow is a line of Nextflow's trace file with raw values: times in milliseconds since 1970, durations in
// milliseconds, sizes in bytes, shares in percent. What Nextflow does not know is not in it.
type traceRow map[string]string

// fill writes what the row tells into a task.
func (r traceRow) fill(t *platform.Task) {
	t.Status, t.Name, t.Process, t.Workdir = platform.TaskStatus(r["status"]), r["name"], r["process"], r["workdir"]
	t.Tag, t.Container, t.Queue, t.Scratch, t.ErrorAction = r.text("tag"), r.text("container"), r.text("queue"), r.text("scratch"), r.text("error_action")
	t.NativeID = r.text("native_id")
	t.Exit, t.CPUs = r.count("exit"), r.count("cpus")
	if t.Exit != nil && *t.Exit == platform.NoExit {
		t.Exit = nil
	}
	if attempt := r.count("attempt"); attempt != nil {
		t.Attempt = *attempt
	}
	t.Submit, t.Start, t.Complete = r.time("submit", t.Submit), r.time("start", t.Start), r.time("complete", t.Complete)
	for _, f := range []struct {
		to   **int64
		name string
	}{{&t.Time, "time"}, {&t.Disk, "disk"}, {&t.Memory, "memory"}, {&t.Duration, "duration"}, {&t.Realtime, "realtime"},
		{&t.RSS, "rss"}, {&t.VMem, "vmem"}, {&t.PeakRSS, "peak_rss"}, {&t.PeakVMem, "peak_vmem"}, {&t.RChar, "rchar"},
		{&t.WChar, "wchar"}, {&t.SysCR, "syscr"}, {&t.SysCW, "syscw"}, {&t.ReadBytes, "read_bytes"},
		{&t.WriteBytes, "write_bytes"}, {&t.VolCtxt, "vol_ctxt"}, {&t.InvCtxt, "inv_ctxt"}} {
		*f.to = r.number(f.name)
	}
	t.PCPU, t.PMem = r.share("%cpu"), r.share("%mem")
}

func (r traceRow) text(name string) *string {
	if v, ok := r[name]; ok {
		return &v
	}
	return nil
}

func (r traceRow) number(name string) *int64 {
	if n, err := strconv.ParseInt(r[name], 10, 64); err == nil {
		return &n
	}
	return nil
}

func (r traceRow) count(name string) *int {
	if n, err := strconv.Atoi(r[name]); err == nil {
		return &n
	}
	return nil
}

func (r traceRow) share(name string) *float64 {
	if f, err := strconv.ParseFloat(r[name], 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) { // JSON has neither
		return &f
	}
	return nil
}

// lastTime is the last that JSON can tell, in milliseconds since 1970. The trace file is the pipeline's to write, too.
var lastTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()

func (r traceRow) time(name string, fallback *time.Time) *time.Time {
	ms := r.number(name)
	if ms == nil || *ms < 0 || *ms > lastTime {
		return fallback
	}
	t := time.UnixMilli(*ms).UTC()
	return &t
}
