package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"wherry/platform"
)

const machineColumns = `id, workspace_id, coalesce(run_id, ''), compute_env_id, state, instance_id, failure, attempts, next_step_at, state_since,
	claimed_at, heartbeat_at, reported_at, created_at, waiting, placement, placed_at, hardware, digest, boot_failure, admitted_at, launched_at, gone_at,
	end_asked_at, end_asked_by, coalesce(studio_session_id, ''), coalesce((SELECT studio_id FROM studio_sessions o WHERE o.id = studio_session_id), '')`

func scanMachine(s scanner) (m platform.Machine, err error) {
	err = s.Scan(&m.ID, &m.WorkspaceID, &m.RunID, &m.ComputeEnvID, &m.State, &m.InstanceID, &m.Failure, &m.Attempts,
		timeColumn{&m.NextStep}, timeColumn{&m.StateSince}, timeColumn{&m.Claimed}, timeColumn{&m.Heartbeat}, timeColumn{&m.Ended}, timeColumn{&m.Created},
		&m.Waiting, &m.Placement, timeColumn{&m.Placed}, jsonColumn{&m.Hardware}, &m.Digest, &m.BootFailure, timeColumn{&m.Admitted},
		timeColumn{&m.Launched}, timeColumn{&m.Gone}, timeColumn{&m.EndAsked}, &m.EndAskedBy, &m.StudioSessionID, &m.StudioID)
	return m, err
}

// addMachine writes down the wish for a machine for a run or a Studio's session; without either it is a warm one.
func (t *tx) addMachine(ctx context.Context, env platform.ComputeEnv, w workOf) (platform.Machine, error) {
	m := platform.Machine{ID: platform.NewID(), WorkspaceID: env.WorkspaceID, RunID: w.runID, StudioSessionID: w.sessionID, StudioID: w.studioID, ComputeEnvID: env.ID,
		Digest: env.MachineDigest(), State: platform.MachineWanted, Created: t.now.UTC(), StateSince: t.now.UTC(), NextStep: t.now.UTC()}
	_, err := t.ExecContext(ctx, `INSERT INTO machines (id, workspace_id, run_id, studio_session_id, compute_env_id, digest, state, next_step_at, state_since, created_at)
		VALUES (?, ?, nullif(?, ''), nullif(?, ''), ?, ?, ?, ?, ?, ?)`, m.ID, m.WorkspaceID, m.RunID, m.StudioSessionID, m.ComputeEnvID, m.Digest, m.State,
		millis(t.now), millis(t.now), millis(t.now))
	if err != nil {
		return m, err
	}
	t.changeOf(m, platform.ChangeMachine)
	return m, t.addStep(ctx, m.ID, platform.Step{Name: string(m.State), At: t.now})
}

// workOf names what a machine is for: a run, or a session of a Studio, or nothing yet.
type workOf struct{ runID, sessionID, studioID string }

func (t *tx) addStep(ctx context.Context, machineID string, s platform.Step) error {
	_, err := t.ExecContext(ctx, `INSERT OR IGNORE INTO steps (machine_id, name, by_agent, at, note) VALUES (?, ?, ?, ?, ?)`,
		machineID, s.Name, s.Agent, millis(s.At), s.Note)
	return err
}

// stepNow makes the machine of a run or a Studio's session due, because a fact came in that its loop should look at. The time is always before the
// one that was there, also when several facts come within a millisecond, so that it is none that a loop can have read
// without the fact, and the loop does not postpone the machine (PostponeMachine).
func (t *tx) stepNow(ctx context.Context, workID string) error {
	_, err := t.ExecContext(ctx, `UPDATE machines SET next_step_at = min(next_step_at - 1, ?1) WHERE work_id = ?2 AND state <> 'terminated'`, millis(t.now), workID)
	return err
}

// MachineOfRun reads a run's machine.
func (d *DB) MachineOfRun(ctx context.Context, runID string) (platform.Machine, error) {
	m, err := scanMachine(d.read.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE run_id = ?`, runID))
	return m, notFound(err, "machine")
}

// MachineOfStudioSession reads a session's machine.
func (d *DB) MachineOfStudioSession(ctx context.Context, sessionID string) (platform.Machine, error) {
	m, err := scanMachine(d.read.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE studio_session_id = ?`, sessionID))
	return m, notFound(err, "machine")
}

// Machine reads a machine by its id.
func (d *DB) Machine(ctx context.Context, id string) (platform.Machine, error) {
	m, err := scanMachine(d.read.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE id = ?`, id))
	return m, notFound(err, "machine")
}

// MachineByKey finds the machine whose agent has the key with that hash; CodeUnauthorized when there is none.
func (d *DB) MachineByKey(ctx context.Context, keyHash string) (platform.Machine, error) {
	m, err := scanMachine(d.read.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE key_hash = ? AND key_hash <> ''`, keyHash))
	if errors.Is(err, sql.ErrNoRows) {
		err = platform.Errorf(platform.CodeUnauthorized, "This key belongs to no machine, and is no access token.")
	}
	return m, err
}

// DueMachines lists machines in some states whose next step is due, the longest waiting first, and tells when the next of
// those states is due after that (zero: none). Of wanted ones, users take turns.
func (d *DB) DueMachines(ctx context.Context, now time.Time, limit int, states ...platform.MachineState) (due []platform.Machine, next time.Time, err error) {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	in := `('` + strings.Join(names, `', '`) + `')` // not as parameters: with those SQLite plans the question anew each time
	order := `next_step_at, id`
	if slices.Contains(states, platform.MachineWanted) {
		order = `row_number() OVER (PARTITION BY coalesce((SELECT user_id FROM runs WHERE runs.id = run_id),
			(SELECT user_id FROM studio_sessions o WHERE o.id = studio_session_id)) ORDER BY next_step_at, id), next_step_at, id`
	}
	due, err = all(ctx, d.read, scanMachine, `SELECT `+machineColumns+` FROM machines WHERE state <> 'terminated' AND state IN `+in+
		` AND next_step_at <= ? ORDER BY `+order+` LIMIT ?`, millis(now), limit)
	if err != nil {
		return nil, next, err
	}
	err = d.read.QueryRowContext(ctx, `SELECT coalesce(min(next_step_at), 0) FROM machines WHERE state <> 'terminated' AND state IN `+in+
		` AND next_step_at > ?`, millis(now)).Scan(timeColumn{&next})
	return due, next, err
}

// LivingMachines lists every machine that may still exist on its platform.
func (d *DB) LivingMachines(ctx context.Context) ([]platform.Machine, error) {
	return all(ctx, d.read, scanMachine, `SELECT `+machineColumns+` FROM machines WHERE state <> 'terminated' ORDER BY id`)
}

// LivingIn counts the machines of an environment that may still exist.
func (d *DB) LivingIn(ctx context.Context, envID string) (n int, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT count(*) FROM machines WHERE compute_env_id = ? AND state <> 'terminated'`, envID).Scan(&n)
	return n, err
}

// Move is a machine's move to another state and what is known with it. What is empty or zero is kept as it was.
type Move struct {
	To         platform.MachineState
	InstanceID string
	Failure    string
	Hardware   platform.Hardware
	Launched   time.Time
	NextStep   time.Time // zero: now
	Note       string    // for the timeline
}

// MoveMachine moves a machine along the transition table, and writes the time into its timeline. A move that the table
// does not have, or from another state than the machine is in, or of a warm machine that was given work meanwhile, is
// CodeConflict and changes nothing. Once it is terminated, machines that wait for its place are due.
func (d *DB) MoveMachine(ctx context.Context, m platform.Machine, move Move) error {
	if !m.State.CanMove(move.To) {
		return platform.Errorf(platform.CodeConflict, "A machine does not go from %s to %s.", m.State, move.To)
	}
	return d.inTx(ctx, func(t *tx) error {
		next := move.NextStep
		if next.IsZero() {
			next = t.now
		}
		err := t.exec(ctx, platform.Errorf(platform.CodeConflict, "The machine is not %s any more.", m.State),
			`UPDATE machines SET state = ?1, state_since = ?2, attempts = 0, next_step_at = ?3, waiting = '',
			instance_id = iif(?4 = '', instance_id, ?4), failure = iif(?5 = '', failure, ?5),
			hardware = iif(?8 = '{}', hardware, ?8), launched_at = iif(?9 = 0, launched_at, ?9),
			gone_at = iif(?1 = 'terminated', ?2, gone_at) WHERE id = ?6 AND state = ?7 AND coalesce(work_id, '') = ?10`,
			move.To, millis(t.now), millis(next), move.InstanceID, move.Failure, m.ID, m.State, toJSON(move.Hardware), millis(move.Launched), m.WorkID())
		if err != nil {
			return err
		}
		if move.To == platform.MachineTerminated {
			if err := t.wakeWaiting(ctx, m.WorkspaceID); err != nil {
				return err
			}
		}
		t.changeOf(m, platform.ChangeMachine)
		return t.addStep(ctx, m.ID, platform.Step{Name: string(move.To), At: t.now, Note: move.Note})
	})
}

// PostponeMachine sets when the machine is looked at again; attempts counts failures of the present step, and waiting is
// what holds it, for people. It leaves a machine alone to which a fact came since it was read.
func (d *DB) PostponeMachine(ctx context.Context, m platform.Machine, next time.Time, attempts int, waiting string) error {
	if waiting == m.Waiting { // the journal has nothing to tell
		_, err := d.write.ExecContext(ctx, postponeMachine, millis(next), attempts, waiting, m.ID, m.State, millis(m.NextStep))
		return err
	}
	return d.inTx(ctx, func(t *tx) error {
		t.changeOf(m, platform.ChangeMachine)
		_, err := t.ExecContext(ctx, postponeMachine, millis(next), attempts, waiting, m.ID, m.State, millis(m.NextStep))
		return err
	})
}

const postponeMachine = `UPDATE machines SET next_step_at = ?, attempts = ?, waiting = ? WHERE id = ? AND state = ? AND next_step_at = ?`

// KeepPlacement writes down what a platform must know when it is asked for the machine again, before it is asked.
func (d *DB) KeepPlacement(ctx context.Context, machineID, placement string) error {
	return d.inTx(ctx, func(t *tx) error {
		return t.exec(ctx, platform.Errorf(platform.CodeConflict, "The machine is not wanted any more."),
			`UPDATE machines SET placement = ?, placed_at = ? WHERE id = ? AND state = 'wanted'`, placement, millis(t.now), machineID)
	})
}

// Steps reads a machine's launch timeline, in order of time.
func (d *DB) Steps(ctx context.Context, machineID string) ([]platform.Step, error) {
	return all(ctx, d.read, func(s scanner) (st platform.Step, err error) {
		err = s.Scan(&st.Name, &st.Agent, timeColumn{&st.At}, &st.Note)
		return st, err
	}, `SELECT name, by_agent, at, note FROM steps WHERE machine_id = ? ORDER BY at, id`, machineID)
}
