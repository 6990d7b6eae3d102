package platform

import (
	"encoding/json"
	"slices"
	"time"
)

// Limits of what agents and Nextflow say, in bytes where it is not a count. They are far above what honest ones send: they keep a
// broken or hostile machine from filling the database and the pages of its workspace. What is longer is cut and says so, because
// a run is worth more than a text; a list that is longer is CodeInvalid.
const (
	MaxTraceTasks    = 20_000 // in one trace call
	maxProcesses     = 2_000
	MaxStepReports   = 100
	maxErrorReport   = 64 << 10
	maxErrorMessage  = 4 << 10
	maxCommandLine   = 16 << 10
	maxWorkflow      = 256 << 10
	maxTaskScript    = 64 << 10
	maxTaskText      = 2 << 10
	maxTaskEnv       = 16 << 10
	maxTaskModules   = 100
	maxTaskShortText = 200
)

// Bounded is the call within the limits. What is no id of a Nextflow session is left out.
func (c TraceCall) Bounded() (TraceCall, error) {
	if len(c.Tasks) > MaxTraceTasks {
		return c, Errorf(CodeInvalid, "A trace call has at most %d tasks.", MaxTraceTasks)
	}
	if len(c.ProcessNames) > maxProcesses || (c.Progress != nil && len(c.Progress.Processes) > maxProcesses) {
		return c, Errorf(CodeInvalid, "A run has at most %d processes.", maxProcesses)
	}
	c.SessionID, c.Workflow = sessionOrNone(c.SessionID), boundedObject(c.Workflow, maxWorkflow)
	c.ProcessNames, c.Tasks = slices.Clone(c.ProcessNames), slices.Clone(c.Tasks)
	for i, name := range c.ProcessNames {
		c.ProcessNames[i] = Shorten(name, maxTaskText)
	}
	for i := range c.Tasks {
		c.Tasks[i] = c.Tasks[i].bounded()
	}
	if c.Progress != nil {
		progress := *c.Progress
		progress.Processes = slices.Clone(progress.Processes)
		for i, p := range progress.Processes {
			progress.Processes[i].Name = Shorten(p.Name, maxTaskText)
		}
		c.Progress = &progress
	}
	return c, nil
}

func sessionOrNone(id string) string {
	if !sessionPattern.MatchString(id) {
		return ""
	}
	return id
}

// boundedObject leaves the largest members of a JSON object out, one after another, until the rest is short enough. What is no
// object is returned as it is.
func boundedObject(raw json.RawMessage, limit int) json.RawMessage {
	var members map[string]json.RawMessage
	for len(raw) > limit {
		if members == nil && (json.Unmarshal(raw, &members) != nil || len(members) == 0) {
			return raw
		}
		if len(members) == 0 {
			return json.RawMessage("{}")
		}
		delete(members, largest(members))
		raw, _ = json.Marshal(members) // raw JSON that was just read can be written
	}
	return raw
}

func largest(members map[string]json.RawMessage) (name string) {
	size := -1
	for n, value := range members {
		if len(n)+len(value) > size {
			name, size = n, len(n)+len(value)
		}
	}
	return name
}

// bounded is what is read of a workflow, within the limits.
func (w TraceWorkflow) bounded() TraceWorkflow {
	w.SessionID, w.CommandLine = sessionOrNone(w.SessionID), Shorten(w.CommandLine, maxCommandLine)
	w.ErrorMessage, w.ErrorReport = Shorten(w.ErrorMessage, maxErrorMessage), Shorten(w.ErrorReport, maxErrorReport)
	return w
}

func (t Task) bounded() Task {
	t.Status, t.Hash = TaskStatus(Shorten(string(t.Status), maxTaskShortText)), Shorten(t.Hash, maxTaskShortText)
	t.Name, t.Process, t.Workdir = Shorten(t.Name, maxTaskText), Shorten(t.Process, maxTaskText), Shorten(t.Workdir, maxTaskText)
	t.Script = Shorten(t.Script, maxTaskScript)
	for _, text := range []**string{&t.Tag, &t.Container, &t.Scratch, &t.Queue} {
		shortenAt(text, maxTaskText)
	}
	for _, text := range []**string{&t.ErrorAction, &t.CPUModel, &t.NativeID, &t.Executor, &t.MachineType, &t.CloudZone, &t.PriceModel} {
		shortenAt(text, maxTaskShortText)
	}
	shortenAt(&t.Env, maxTaskEnv)
	if t.Module = slices.Clone(t.Module); len(t.Module) > maxTaskModules {
		t.Module = t.Module[:maxTaskModules]
	}
	for i, m := range t.Module {
		t.Module[i] = Shorten(m, maxTaskShortText)
	}
	return t
}

func shortenAt(text **string, limit int) {
	if *text != nil {
		short := Shorten(**text, limit)
		*text = &short
	}
}

// Bounded is the report within the limits.
func (r EndReport) Bounded() EndReport {
	r.Signal, r.Reason = Shorten(r.Signal, maxTaskShortText), Shorten(r.Reason, maxErrorMessage)
	r.ErrorReport = Shorten(r.ErrorReport, maxErrorReport)
	if _, known := stopMessages[r.StopReason]; !known { // of an agent's own reasons; that people wanted it, the portal knows itself
		r.StopReason = ""
	}
	return r
}

// Bounded is the report within the limits. Nothing happened on a machine before it was wished for or after it was told, whatever
// the machine's clock says.
func (r StepReport) Bounded(created, now time.Time) StepReport {
	r.Note = Shorten(r.Note, maxErrorMessage)
	if r.At.After(now) {
		r.At = now
	}
	if r.At.Before(created) {
		r.At = created
	}
	return r
}
