package platform

import (
	"encoding/json"
	"strings"
	"time"
)

// TaskStatus is the state of a task, in the API's words.
type TaskStatus string

// The states of a task.
const (
	TaskNew       TaskStatus = "NEW"
	TaskSubmitted TaskStatus = "SUBMITTED"
	TaskRunning   TaskStatus = "RUNNING"
	TaskCached    TaskStatus = "CACHED"
	TaskCompleted TaskStatus = "COMPLETED"
	TaskFailed    TaskStatus = "FAILED"
	TaskAborted   TaskStatus = "ABORTED"
)

// TaskStatuses lists every state in the order of a task's life.
var TaskStatuses = []TaskStatus{TaskNew, TaskSubmitted, TaskRunning, TaskCached, TaskCompleted, TaskFailed, TaskAborted}

// Ended tells whether the task is over.
func (s TaskStatus) Ended() bool {
	return s == TaskCached || s == TaskCompleted || s == TaskFailed || s == TaskAborted
}

// rank orders states in time, so that a report that comes late does not undo a newer one.
func (s TaskStatus) rank() int {
	switch s {
	case TaskNew:
		return 0
	case TaskSubmitted:
		return 1
	case TaskRunning:
		return 2
	}
	return 3
}

// Newer tells whether a report with status s says more than one with status old.
func (s TaskStatus) Newer(old TaskStatus) bool { return s.rank() >= old.rank() }

// NoExit is what Nextflow sends as exit status of a task that has not ended (Java's Integer.MAX_VALUE).
const NoExit = 2147483647

// Task is one Nextflow task of a run, with the names of the trace API. Times are UTC; durations are in milliseconds, sizes
// in bytes, CPU and memory shares in percent; nil is "not told".
type Task struct {
	TaskID      int64      `json:"taskId"`
	Status      TaskStatus `json:"status"`
	Hash        string     `json:"hash"`
	Name        string     `json:"name"`
	Process     string     `json:"process"`
	Tag         *string    `json:"tag"`
	Exit        *int       `json:"exit"` // never NoExit: that is read as nil
	Attempt     int        `json:"attempt"`
	Submit      *time.Time `json:"submit"`
	Start       *time.Time `json:"start"`
	Complete    *time.Time `json:"complete"`
	Duration    *int64     `json:"duration"`
	Realtime    *int64     `json:"realtime"`
	Module      []string   `json:"module"`
	Container   *string    `json:"container"`
	Script      string     `json:"script"`
	Scratch     *string    `json:"scratch"`
	Workdir     string     `json:"workdir"`
	Queue       *string    `json:"queue"`
	CPUs        *int       `json:"cpus"`
	Memory      *int64     `json:"memory"`
	Disk        *int64     `json:"disk"`
	Time        *int64     `json:"time"`
	Env         *string    `json:"env"`
	ErrorAction *string    `json:"errorAction"`
	PCPU        *float64   `json:"pcpu"`
	CPUModel    *string    `json:"cpuModel"`
	PMem        *float64   `json:"pmem"`
	RSS         *int64     `json:"rss"`
	VMem        *int64     `json:"vmem"`
	PeakRSS     *int64     `json:"peakRss"`
	PeakVMem    *int64     `json:"peakVmem"`
	RChar       *int64     `json:"rchar"`
	WChar       *int64     `json:"wchar"`
	SysCR       *int64     `json:"syscr"`
	SysCW       *int64     `json:"syscw"`
	ReadBytes   *int64     `json:"readBytes"`
	WriteBytes  *int64     `json:"writeBytes"`
	VolCtxt     *int64     `json:"volCtxt"`
	InvCtxt     *int64     `json:"invCtxt"`
	NativeID    *string    `json:"nativeId"`
	Executor    *string    `json:"executor"`
	MachineType *string    `json:"machineType"`
	CloudZone   *string    `json:"cloudZone"`
	PriceModel  *string    `json:"priceModel"`
}

// UnmarshalJSON accepts what plugins of different versions send: nativeId and scratch as number, boolean or string, and an
// exit status of NoExit for a task that has not ended. Scripts lose the indentation that they have in the pipeline.
func (t *Task) UnmarshalJSON(data []byte) error {
	type plain Task
	in := struct {
		*plain
		NativeID json.RawMessage `json:"nativeId"`
		Scratch  json.RawMessage `json:"scratch"`
	}{plain: (*plain)(t)}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	t.NativeID, t.Scratch = looseString(in.NativeID), looseString(in.Scratch)
	t.Script = stripIndent(t.Script)
	if t.Exit != nil && *t.Exit == NoExit {
		t.Exit = nil
	}
	return nil
}

// stripIndent takes the indentation that all lines share, and empty lines around them, off a script: the plugin sends it as it stands in
// the pipeline, and Nextflow runs it, and writes it into .command.sh, without.
func stripIndent(script string) string {
	lines := strings.Split(script, "\n")
	shared := -1
	for _, line := range lines {
		if text := strings.TrimLeft(line, " \t"); text != "" && (shared < 0 || len(line)-len(text) < shared) {
			shared = len(line) - len(text)
		}
	}
	for i, line := range lines {
		if lines[i] = ""; strings.TrimSpace(line) != "" {
			lines[i] = strings.TrimRight(line[shared:], " \t")
		}
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// looseString reads a JSON string, number or boolean as text; null, and nothing, as nil.
func looseString(raw json.RawMessage) *string {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return &s
}
