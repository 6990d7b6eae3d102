package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"wherry/platform"
)

const runQuery = `SELECT r.id, r.workspace_id, r.user_id, u.user_name, r.pipeline_id, coalesce(p.name, ''), r.compute_env_id, c.name,
	r.name, r.launch, r.work_dir, r.state, r.created_at, r.started_at, r.ended_at, r.cancel_asked_at, r.cancelled_by,
	r.session_id, r.begun_at, r.command_line, r.workflow, r.progress, r.completion, r.end_report,
	r.error_message, r.error_report, r.exit_status, r.stop_reason, r.relaunch_of, r.relaunches, coalesce(n.id, '')
	FROM runs r JOIN users u ON u.id = r.user_id JOIN compute_envs c ON c.id = r.compute_env_id
	LEFT JOIN pipelines p ON p.id = r.pipeline_id AND p.workspace_id = r.workspace_id LEFT JOIN runs n ON n.relaunch_of <> '' AND n.relaunch_of = r.id `

func scanRun(s scanner) (r platform.Run, err error) {
	var workflow, completion, end string
	err = s.Scan(&r.ID, &r.WorkspaceID, &r.UserID, &r.UserName, &r.PipelineID, &r.PipelineName, &r.ComputeEnvID, &r.ComputeEnv,
		&r.Name, jsonColumn{&r.Launch}, &r.WorkDir, &r.State, timeColumn{&r.Created}, timeColumn{&r.Started}, timeColumn{&r.Ended},
		timeColumn{&r.CancelAsked}, &r.CancelledBy, &r.SessionID, timeColumn{&r.Begun}, &r.CommandLine, &workflow,
		jsonColumn{&r.Progress}, &completion, &end, &r.ErrorMessage, &r.ErrorReport, &r.ExitStatus, &r.StopReason, &r.RelaunchOf,
		&r.Relaunches, &r.RelaunchedAs)
	if err != nil {
		return r, err
	}
	r.Workflow = json.RawMessage(workflow)
	if completion != "" {
		r.Completed = &platform.Completion{}
		err = json.Unmarshal([]byte(completion), r.Completed)
	}
	if err == nil && end != "" {
		r.End = &platform.EndReport{}
		err = json.Unmarshal([]byte(end), r.End)
	}
	return r, err
}

// AddRun saves a run that Clean and CleanFor have accepted, and in the same transaction the wish for its machine, or the
// warm machine that takes it. The run's WorkDir must be set. A name that is taken is an error at runName; a workspace that
// has spent what it may, at computeEnvId.
func (d *DB) AddRun(ctx context.Context, r *platform.Run) (m platform.Machine, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		m, err = t.addRun(ctx, r)
		return err
	})
	return m, err
}

func (t *tx) addRun(ctx context.Context, r *platform.Run) (m platform.Machine, err error) {
	if err := t.checkSpend(ctx, r.WorkspaceID); err != nil {
		return m, err
	}
	if _, err := launchSecrets(ctx, t, *r); err != nil {
		return m, err
	}
	r.ID, r.State, r.Created = platform.NewID(), platform.RunSubmitted, t.now.UTC()
	_, err = t.ExecContext(ctx, `INSERT INTO runs (id, workspace_id, user_id, pipeline_id, compute_env_id, name, launch, work_dir, state, created_at, session_id,
		relaunch_of, relaunches) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.WorkspaceID, r.UserID, r.PipelineID, r.ComputeEnvID, r.Name,
		toJSON(r.Launch), r.WorkDir, r.State, millis(t.now), r.Launch.SessionID, r.RelaunchOf, r.Relaunches)
	if isUnique(err, "runs.name") {
		return m, platform.FieldErrors{"runName": "There is a run named " + r.Name + " in this workspace already. Choose another name."}
	}
	if err != nil {
		return m, err
	}
	env, err := t.useComputeEnv(ctx, r.WorkspaceID, r.ComputeEnvID)
	if err != nil {
		return m, err
	}
	if err := t.labelRun(ctx, *r, env); err != nil {
		return m, err
	}
	if err := t.auditLaunch(*r); err != nil {
		return m, err
	}
	defer t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
	m, warm, err := t.takeWarm(ctx, env, workOf{runID: r.ID})
	if warm || err != nil {
		return m, err
	}
	return t.addMachine(ctx, env, workOf{runID: r.ID})
}

// auditLaunch notes a run that a person launched, or the portal in the place of one that was interrupted.
func (t *tx) auditLaunch(r platform.Run) error {
	action := "run.launch"
	if r.RelaunchOf != "" {
		action = "run.relaunch"
	}
	is, err := runFields(r)
	t.audit(audited{action: action, workspaceID: r.WorkspaceID, id: r.ID, name: r.Name, after: is})
	return err
}

// labelRun gives a new run its labels.
func (t *tx) labelRun(ctx context.Context, r platform.Run, env platform.ComputeEnv) error {
	err := t.setLabels(ctx, r.WorkspaceID, platform.LabelsRun, r.ID, r.Launch.LabelIDs)
	if err == nil && r.RelaunchOf != "" {
		err = t.labelRelaunch(ctx, r)
	}
	if err != nil {
		return err
	}
	return t.checkTags(ctx, env, platform.LabelsRun, r.ID)
}

// useComputeEnv reads an environment in which work starts now. One that is not available is an error at computeEnvId.
func (t *tx) useComputeEnv(ctx context.Context, workspaceID int64, id string) (platform.ComputeEnv, error) {
	env, err := scanComputeEnv(t.QueryRowContext(ctx, `UPDATE compute_envs SET last_used_at = ? WHERE id = ? AND workspace_id = ? AND status = ?
		RETURNING `+computeEnvColumns, millis(t.now), id, workspaceID, platform.ComputeEnvAvailable))
	return env, envNotAvailable(err)
}

// envNotAvailable turns "no rows" into what people are told about an environment in which nothing can start.
func envNotAvailable(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return platform.FieldErrors{"computeEnvId": "This compute environment is not available any more. Choose another."}
	}
	return err
}

// checkSpend refuses what would cost more than the workspace may spend in the month.
func (t *tx) checkSpend(ctx context.Context, workspaceID int64) error {
	limits, err := limitsOf(ctx, t.Tx, workspaceID)
	if err != nil || limits.MonthMicroUSD == 0 {
		return err
	}
	spent, err := spent(ctx, t.Tx, workspaceID, platform.Month(t.now), t.now)
	if err == nil && !limits.Allow(spent) {
		err = platform.FieldErrors{"computeEnvId": limits.Refusal(spent, t.now)}
	}
	return err
}

// Run reads one run of a workspace.
func (d *DB) Run(ctx context.Context, workspaceID int64, id string) (platform.Run, error) {
	r, err := scanRun(d.read.QueryRowContext(ctx, runQuery+`WHERE r.workspace_id = ? AND r.id = ?`, workspaceID, id))
	return r, notFound(err, "run")
}

// AnyRun reads a run of whatever workspace, for the loops and for its own agent.
func (d *DB) AnyRun(ctx context.Context, id string) (platform.Run, error) {
	r, err := scanRun(d.read.QueryRowContext(ctx, runQuery+`WHERE r.id = ?`, id))
	return r, notFound(err, "run")
}

// LivingRuns lists the runs of every workspace that have not ended.
func (d *DB) LivingRuns(ctx context.Context) ([]platform.Run, error) {
	return all(ctx, d.read, scanRun, runQuery+`WHERE r.state IN ('SUBMITTED', 'RUNNING', 'UNKNOWN') ORDER BY r.id`)
}

// RunFilter narrows a list of runs.
type RunFilter struct {
	Text   string              // in the run's name, pipeline's name or address, or user's name
	States []platform.RunState // empty: all
	Label  int64               // the run has the label with this id; 0: whatever
	Before string              // ids older than this one; empty: from the newest
	Limit  int
}

// Runs lists a workspace's runs, newest first.
func (d *DB) Runs(ctx context.Context, workspaceID int64, f RunFilter) ([]platform.Run, error) {
	where, args := []string{"r.workspace_id = ?"}, []any{workspaceID}
	if f.Text = strings.TrimSpace(f.Text); f.Text != "" {
		where = append(where, `(instr(lower(r.name || char(10) || coalesce(p.name, '') || char(10) || u.user_name || char(10) || json_extract(r.launch, '$.pipeline')), lower(?)) > 0)`)
		args = append(args, f.Text)
	}
	if len(f.States) > 0 {
		where = append(where, "r.state IN (?"+strings.Repeat(", ?", len(f.States)-1)+")")
		for _, s := range f.States {
			args = append(args, s)
		}
	}
	if f.Label != 0 {
		where = append(where, `EXISTS (SELECT 1 FROM label_uses WHERE kind = 'run' AND of_id = r.id AND label_id = ?)`)
		args = append(args, f.Label)
	}
	if f.Before != "" {
		where, args = append(where, "r.id < ?"), append(args, f.Before)
	}
	args = append(args, f.Limit)
	return all(ctx, d.read, scanRun, runQuery+`WHERE `+strings.Join(where, " AND ")+` ORDER BY r.id DESC LIMIT ?`, args...)
}

// LastRuns maps the id of each saved pipeline of a workspace to its newest run.
func (d *DB) LastRuns(ctx context.Context, workspaceID int64) (map[int64]platform.Run, error) {
	runs, err := all(ctx, d.read, scanRun, runQuery+`WHERE r.id IN (SELECT max(id) FROM runs WHERE workspace_id = ? AND pipeline_id <> 0 GROUP BY pipeline_id)`, workspaceID)
	last := make(map[int64]platform.Run, len(runs))
	for _, r := range runs {
		last[r.PipelineID] = r
	}
	return last, err
}

// RunNameTaken tells whether a workspace has a run of that name.
func (d *DB) RunNameTaken(ctx context.Context, workspaceID int64, name string) (taken bool, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM runs WHERE workspace_id = ? AND name = ? COLLATE NOCASE)`, workspaceID, name).Scan(&taken)
	return taken, err
}

// AskCancel notes that a run shall be cancelled, by whom. A second time changes nothing; an ended run is CodeConflict.
func (d *DB) AskCancel(ctx context.Context, workspaceID int64, id, userName string) error {
	return d.inTx(ctx, func(t *tx) error {
		r, err := scanRun(t.QueryRowContext(ctx, runQuery+`WHERE r.workspace_id = ? AND r.id = ?`, workspaceID, id))
		switch {
		case err != nil:
			return notFound(err, "run")
		case r.State.Ended():
			return platform.Errorf(platform.CodeConflict, "The run %s has ended already: %s.", r.Name, r.State)
		case !r.CancelAsked.IsZero():
			return nil
		}
		if _, err := t.ExecContext(ctx, `UPDATE runs SET cancel_asked_at = ?, cancelled_by = ? WHERE id = ?`, millis(t.now), userName, id); err != nil {
			return err
		}
		t.change(workspaceID, id, platform.ChangeRun)
		t.audit(audited{action: "run.cancel", workspaceID: workspaceID, id: id, name: r.Name, before: fields{"status": r.State}})
		return t.stepNow(ctx, id)
	})
}

// relaunch adds the run that takes the place of one that ends. Where that cannot be, the end says why.
func (t *tx) relaunch(ctx context.Context, end *platform.RunEnd) error {
	if _, err := t.ExecContext(ctx, `SAVEPOINT relaunch`); err != nil {
		return err
	}
	noted := len(t.audits)
	_, err := t.addRun(ctx, end.Relaunch)
	if platform.ErrorCode(err) != "" {
		t.audits = t.audits[:noted]
		end.ErrorMessage += " It was not launched again: " + err.Error()
		_, err = t.ExecContext(ctx, `ROLLBACK TO relaunch`)
	}
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `RELEASE relaunch`)
	return err
}

// AskStop notes that a loop wants a run's end, and why; its agent hears of it as of a cancel. A second time changes
// nothing, and neither does it after a cancel.
func (d *DB) AskStop(ctx context.Context, r platform.Run, why string) error {
	return d.inTx(ctx, func(t *tx) error {
		first, err := t.changed(ctx, `UPDATE runs SET cancel_asked_at = ?, stop_reason = ? WHERE id = ? AND cancel_asked_at = 0`, millis(t.now), why, r.ID)
		if err != nil {
			return err
		}
		if first {
			t.audit(audited{action: "run.stop", workspaceID: r.WorkspaceID, id: r.ID, name: r.Name, after: fields{"why": why}})
		}
		t.change(r.WorkspaceID, r.ID, platform.ChangeRun)
		return t.stepNow(ctx, r.ID)
	})
}

// MoveRun moves a run along the transition table and, when that ends it, notes how and adds the run that takes its place. A move that the table does not have,
// or from another state than the run is in, is CodeConflict and changes nothing. A run that Nextflow has begun has started,
// even if nobody saw it running; not after now, though the machine's clock may say so.
func (d *DB) MoveRun(ctx context.Context, id string, from platform.RunState, end platform.RunEnd) error {
	if !from.CanMove(end.State) {
		return platform.Errorf(platform.CodeConflict, "A run does not go from %s to %s.", from, end.State)
	}
	return d.inTx(ctx, func(t *tx) error {
		if end.Relaunch != nil && end.State.Ended() {
			if err := t.relaunch(ctx, &end); err != nil {
				return err
			}
		}
		var workspaceID int64
		err := t.QueryRowContext(ctx, `UPDATE runs SET state = ?1,
			started_at = CASE WHEN started_at <> 0 THEN started_at WHEN begun_at <> 0 THEN min(begun_at, ?2) WHEN ?1 = 'RUNNING' THEN ?2 ELSE 0 END,
			ended_at = iif(?3, ?2, 0), error_message = ?4, error_report = ?5, exit_status = ?6
			WHERE id = ?7 AND state = ?8 RETURNING workspace_id`,
			end.State, millis(t.now), end.State.Ended(), end.ErrorMessage, end.ErrorReport, end.ExitStatus, id, from).Scan(&workspaceID)
		if err == sql.ErrNoRows {
			return platform.Errorf(platform.CodeConflict, "The run is not %s any more.", from)
		}
		if err != nil {
			return err
		}
		t.change(workspaceID, id, platform.ChangeRun)
		if end.State.Ended() {
			return t.abortTasks(ctx, workspaceID, id)
		}
		return nil
	})
}

// abortTasks ends the tasks of a run that has ended without saying what became of them: nothing of the run goes on.
func (t *tx) abortTasks(ctx context.Context, workspaceID int64, runID string) error {
	some, err := t.changed(ctx, `UPDATE tasks SET status = 'ABORTED', task = json_set(task, '$.status', 'ABORTED')
		WHERE run_id = ? AND status IN ('NEW', 'SUBMITTED', 'RUNNING')`, runID)
	if err != nil {
		return err
	}
	if some {
		t.change(workspaceID, runID, platform.ChangeTasks)
	}
	var progress platform.Progress
	if err := t.QueryRowContext(ctx, `SELECT progress FROM runs WHERE id = ?`, runID).Scan(jsonColumn{&progress}); err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `UPDATE runs SET progress = ? WHERE id = ?`, toJSON(progress.Stopped()), runID)
	return err
}
