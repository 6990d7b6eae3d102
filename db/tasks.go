package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"wherry/platform"
)

// TakeTrace keeps a trace call that an agent kept. A call that is none is CodeInvalid.
func (d *DB) TakeTrace(ctx context.Context, r platform.Run, kept platform.KeptCall) error {
	var call platform.TraceCall
	if err := json.Unmarshal(kept.Body, &call); err != nil {
		return platform.Errorf(platform.CodeInvalid, "The trace call %s cannot be read: %v", kept.Name, err)
	}
	return d.TraceCalled(ctx, r, kept.Name, call)
}

// TraceCalled keeps what a call of the trace API says, by the call's name, within the limits (platform.TraceCall.Bounded).
func (d *DB) TraceCalled(ctx context.Context, r platform.Run, name string, c platform.TraceCall) error {
	w, err := c.ReadWorkflow() // of the whole object
	if err != nil {
		return err
	}
	if c, err = c.Bounded(); err != nil {
		return err
	}
	progress := TraceProgress{Tasks: c.Tasks, Progress: c.Progress, Instant: c.At()}
	switch name {
	case "create":
		return d.TraceCreated(ctx, r, c.SessionID)
	case "begin":
		return d.TraceBegan(ctx, r, TraceBegin{SessionID: w.SessionID, CommandLine: w.CommandLine, Workflow: c.Workflow, ProcessNames: c.ProcessNames, At: w.Start})
	case "progress", "heartbeat":
		return d.TraceProgressed(ctx, r, progress)
	case "complete":
		if len(c.Workflow) == 0 {
			return platform.Errorf(platform.CodeInvalid, "A complete call has a workflow object.")
		}
		progress.Workflow, progress.Completed = c.Workflow, w.Completion()
		return d.TraceProgressed(ctx, r, progress)
	}
	return platform.Errorf(platform.CodeInvalid, "There is no trace call %q.", name)
}

// TraceBegin is what Nextflow says when it begins.
type TraceBegin struct {
	SessionID    string
	CommandLine  string
	Workflow     json.RawMessage
	ProcessNames []string
	At           time.Time
}

// TraceCreated notes the Nextflow session of a run.
func (d *DB) TraceCreated(ctx context.Context, r platform.Run, sessionID string) error {
	if sessionID == "" || sessionID == r.SessionID {
		return nil
	}
	return d.inTx(ctx, func(t *tx) error {
		t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
		_, err := t.ExecContext(ctx, `UPDATE runs SET session_id = ? WHERE id = ?`, sessionID, r.ID)
		return err
	})
}

// TraceBegan notes that Nextflow has begun; a repeat changes nothing, and one after progress keeps the progress.
func (d *DB) TraceBegan(ctx context.Context, r platform.Run, b TraceBegin) error {
	return d.inTx(ctx, func(t *tx) error {
		progress := platform.Progress{}
		for i, name := range b.ProcessNames {
			progress.Processes = append(progress.Processes, platform.ProcessProgress{Index: i, Name: name})
		}
		_, err := t.ExecContext(ctx, `UPDATE runs SET begun_at = iif(begun_at = 0, ?1, begun_at), session_id = iif(?2 = '', session_id, ?2),
			command_line = iif(?3 = '', command_line, ?3), workflow = iif(completion = '' AND ?4 <> '', ?4, workflow),
			progress = iif(progress = '', ?5, progress) WHERE id = ?6`,
			millis(b.At), b.SessionID, b.CommandLine, string(b.Workflow), toJSON(progress), r.ID)
		if err != nil {
			return err
		}
		t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
		return t.stepNow(ctx, r.ID)
	})
}

// TraceProgress is a report of what changed: tasks, and the counts at an instant of Nextflow's clock.
type TraceProgress struct {
	Tasks     []platform.Task
	Progress  *platform.Progress // nil: not told
	Instant   time.Time
	Workflow  json.RawMessage      // with Completed: the final "workflow" object
	Completed *platform.Completion // nil: the run goes on
}

// TraceProgressed keeps a report. One that comes late changes nothing that a newer one said: tasks go forward only, and
// counts by their instant.
func (d *DB) TraceProgressed(ctx context.Context, r platform.Run, p TraceProgress) error {
	return d.inTx(ctx, func(t *tx) error {
		for _, task := range p.Tasks {
			if err := t.saveTask(ctx, r.ID, task); err != nil {
				return err
			}
		}
		if len(p.Tasks) > 0 {
			t.change(r.WorkspaceID, r.ID, platform.ChangeTasks)
		}
		if p.Progress != nil {
			t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
			if _, err := t.ExecContext(ctx, `UPDATE runs SET progress = ?1, progress_at = ?2 WHERE id = ?3 AND progress_at <= ?2`,
				toJSON(p.Progress), millis(p.Instant), r.ID); err != nil {
				return err
			}
		}
		if p.Completed != nil {
			t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
			if _, err := t.ExecContext(ctx, `UPDATE runs SET completion = ?, workflow = ? WHERE id = ? AND completion = ''`,
				toJSON(p.Completed), string(p.Workflow), r.ID); err != nil {
				return err
			}
		}
		return t.abortLate(ctx, r)
	})
}

// abortLate keeps a report that comes after the end of its run from bringing back tasks that run.
func (t *tx) abortLate(ctx context.Context, r platform.Run) error {
	var state platform.RunState
	err := t.QueryRowContext(ctx, `SELECT state FROM runs WHERE id = ?`, r.ID).Scan(&state)
	if err != nil || !state.Ended() {
		return err
	}
	return t.abortTasks(ctx, r.WorkspaceID, r.ID)
}

func (t *tx) saveTask(ctx context.Context, runID string, task platform.Task) error {
	var old platform.TaskStatus
	err := t.QueryRowContext(ctx, `SELECT status FROM tasks WHERE run_id = ? AND task_id = ?`, runID, task.TaskID).Scan(&old)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && !task.Status.Newer(old) {
		return nil
	}
	var submit time.Time
	if task.Submit != nil {
		submit = *task.Submit
	}
	var tag string
	if task.Tag != nil {
		tag = *task.Tag
	}
	_, err = t.ExecContext(ctx, `INSERT OR REPLACE INTO tasks (run_id, task_id, status, hash, name, process, tag, exit, submit, duration, realtime, pcpu, peak_rss, task)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, runID, task.TaskID, task.Status, task.Hash, task.Name, task.Process, tag,
		task.Exit, millis(submit), task.Duration, task.Realtime, task.PCPU, task.PeakRSS, toJSON(task))
	return err
}

func scanTask(s scanner) (task platform.Task, err error) {
	err = s.Scan(jsonColumn{&task})
	return task, err
}

// Task reads one task of a run.
func (d *DB) Task(ctx context.Context, runID string, taskID int64) (platform.Task, error) {
	task, err := scanTask(d.read.QueryRowContext(ctx, `SELECT task FROM tasks WHERE run_id = ? AND task_id = ?`, runID, taskID))
	return task, notFound(err, "task")
}

// TaskFilter narrows and orders a list of tasks.
type TaskFilter struct {
	Text       string // in name, tag, process or hash
	Status     platform.TaskStatus
	Sort       string // a key of taskSorts; empty: by id
	Descending bool
	Offset     int
	Limit      int
}

// taskSorts maps what a list of tasks can be ordered by to its column.
var taskSorts = map[string]string{"": "task_id", "id": "task_id", "name": "name", "process": "process", "status": "status",
	"exit": "exit", "submit": "submit", "duration": "duration", "realtime": "realtime", "cpu": "pcpu", "memory": "peak_rss"}

// Tasks lists a run's tasks and how many there are in all that the filter lets through.
func (d *DB) Tasks(ctx context.Context, runID string, f TaskFilter) (tasks []platform.Task, total int, err error) {
	where, args := `run_id = ?`, []any{runID}
	if text := strings.TrimSpace(f.Text); text != "" {
		where += ` AND instr(lower(name || char(10) || process || char(10) || tag || char(10) || hash), lower(?)) > 0`
		args = append(args, text)
	}
	if f.Status != "" {
		where, args = where+` AND status = ?`, append(args, f.Status)
	}
	if err := d.read.QueryRowContext(ctx, `SELECT count(*) FROM tasks WHERE `+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	order, ok := taskSorts[f.Sort]
	if !ok {
		order = "task_id"
	}
	if f.Descending {
		order += " DESC"
	}
	tasks, err = all(ctx, d.read, scanTask, `SELECT task FROM tasks WHERE `+where+` ORDER BY `+order+` NULLS LAST, task_id LIMIT ? OFFSET ?`,
		append(args, f.Limit, f.Offset)...)
	return tasks, total, err
}
