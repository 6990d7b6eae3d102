package platform

import "slices"

// Counts says how many tasks are in which state, and what they load, with the names of the trace API.
type Counts struct {
	Pending     int   `json:"pending"`
	Submitted   int   `json:"submitted"`
	Running     int   `json:"running"`
	Succeeded   int   `json:"succeeded"`
	Cached      int   `json:"cached"`
	Failed      int   `json:"failed"`
	Aborted     int   `json:"aborted"`
	Stored      int   `json:"stored"`
	Ignored     int   `json:"ignored"` // failed, and their run goes on without them
	Retries     int   `json:"retries"`
	LoadCPUs    int64 `json:"loadCpus"`
	LoadMemory  int64 `json:"loadMemory"` // bytes
	PeakRunning int   `json:"peakRunning"`
	PeakCPUs    int64 `json:"peakCpus"`
	PeakMemory  int64 `json:"peakMemory"` // bytes
}

// Progress counts the tasks of a run, in all and by process.
type Progress struct {
	Counts
	Processes []ProcessProgress `json:"processes"`
}

// ProcessProgress counts the tasks of one process.
type ProcessProgress struct {
	Counts
	Index      int    `json:"index"`
	Name       string `json:"name"`
	Terminated bool   `json:"terminated"`
}

// Done counts the tasks that are over, however they ended.
func (c Counts) Done() int { return c.Succeeded + c.Cached + c.Stored + c.Failed + c.Aborted }

// Waiting counts the tasks that have not begun.
func (c Counts) Waiting() int { return c.Pending + c.Submitted }

// Total counts the tasks that are known so far.
func (c Counts) Total() int { return c.Done() + c.Waiting() + c.Running }

// Add counts one more task. One that has not begun is pending.
func (c *Counts) Add(status TaskStatus) {
	switch status {
	case TaskNew:
		c.Pending++
	case TaskSubmitted:
		c.Submitted++
	case TaskRunning:
		c.Running++
	case TaskCompleted:
		c.Succeeded++
	case TaskCached:
		c.Cached++
	case TaskFailed:
		c.Failed++
	case TaskAborted:
		c.Aborted++
	}
}

// stopped counts as aborted all that was not over.
func (c Counts) stopped() Counts {
	c.Aborted += c.Waiting() + c.Running
	c.Pending, c.Submitted, c.Running, c.LoadCPUs, c.LoadMemory = 0, 0, 0, 0, 0
	return c
}

// Stopped counts as aborted all that was not over: the run has ended.
func (p Progress) Stopped() Progress {
	p.Counts, p.Processes = p.stopped(), slices.Clone(p.Processes)
	for i := range p.Processes {
		of := &p.Processes[i]
		of.Counts, of.Terminated = of.stopped(), true
	}
	return p
}
