package db

import (
	"context"

	"wherry/platform"
)

// runningQuery reads machines with what people know them by, as one JSON value after the machine's own columns.
const runningQuery = `SELECT ` + machineColumns + `, json_object(
	'ComputeEnv', (SELECT name FROM compute_envs c WHERE c.id = compute_env_id),
	'Platform', (SELECT platform FROM compute_envs c WHERE c.id = compute_env_id),
	'Run', (SELECT name FROM runs r WHERE r.id = run_id),
	'RunState', (SELECT state FROM runs r WHERE r.id = run_id),
	'Studio', (SELECT studio_name FROM studio_sessions o WHERE o.id = studio_session_id),
	'StudioState', (SELECT state FROM studio_sessions o WHERE o.id = studio_session_id),
	'UserName', coalesce((SELECT user_name FROM runs r JOIN users u ON u.id = r.user_id WHERE r.id = run_id),
		(SELECT user_name FROM studio_sessions o JOIN users u ON u.id = o.user_id WHERE o.id = studio_session_id)),
	'CancelAsked', coalesce((SELECT cancel_asked_at FROM runs r WHERE r.id = run_id),
		(SELECT stop_asked_at FROM studio_sessions o WHERE o.id = studio_session_id)))
	FROM machines `

func scanRunning(s scanner) (m platform.RunningMachine, err error) {
	about := struct {
		ComputeEnv, Run, Studio, UserName string
		Platform                          platform.PlatformName
		RunState                          platform.RunState
		StudioState                       platform.StudioState
		CancelAsked                       int64
	}{}
	machine, err := scanMachine(alsoScan{s, jsonColumn{&about}})
	return platform.RunningMachine{Machine: machine, ComputeEnv: about.ComputeEnv, Platform: about.Platform, Run: about.Run,
		RunState: about.RunState, Studio: about.Studio, StudioState: about.StudioState, UserName: about.UserName, CancelAsked: fromMillis(about.CancelAsked)}, err
}

// RunningMachines lists the machines of a workspace that may still exist, the oldest first.
func (d *DB) RunningMachines(ctx context.Context, workspaceID int64) ([]platform.RunningMachine, error) {
	return all(ctx, d.read, scanRunning, runningQuery+`WHERE workspace_id = ? AND state <> 'terminated' ORDER BY id`, workspaceID)
}

// RunningMachine reads a machine of a workspace, one that has ended too.
func (d *DB) RunningMachine(ctx context.Context, workspaceID int64, id string) (platform.RunningMachine, error) {
	m, err := scanRunning(d.read.QueryRowContext(ctx, runningQuery+`WHERE workspace_id = ? AND id = ?`, workspaceID, id))
	return m, notFound(err, "machine")
}

// Report reads one of a run's reports by its name.
func (d *DB) Report(ctx context.Context, runID, name string) (r platform.Report, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT name, display, mime_type, size FROM reports WHERE run_id = ? AND name = ?`, runID, name).
		Scan(&r.Name, &r.Display, &r.MIMEType, &r.Size)
	return r, notFound(err, "report")
}
