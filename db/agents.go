package db

import (
	"context"
	"slices"
	"time"

	"wherry/platform"
)

// HeartbeatTouch is how often an agent's life is written down; it is far below platform.UnknownAfter.
const HeartbeatTouch = 10 * time.Second

// Claim gives a machine's work to its agent, once: keyHash is the hash of the agent's own key, and the same agent may
// repeat its claim. A warm machine that has no work is returned with none, and stays unclaimed. Another agent is
// CodeConflict; a machine whose work is over, CodeGone; one whose instance is not known yet, CodeNotReady.
func (d *DB) Claim(ctx context.Context, machineID, instanceID, keyHash string) (m platform.Machine, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		var known string
		var run platform.RunState
		var session platform.StudioState
		m, err = scanMachine(t.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE id = ?`, machineID))
		if err != nil {
			return notFound(err, "machine")
		}
		if err := t.QueryRowContext(ctx, `SELECT m.key_hash, coalesce(r.state, ''), coalesce(o.state, '') FROM machines m LEFT JOIN runs r ON r.id = m.run_id
			LEFT JOIN studio_sessions o ON o.id = m.studio_session_id WHERE m.id = ?`, machineID).Scan(&known, &run, &session); err != nil {
			return err
		}
		switch {
		case !m.State.Wanted() || run.Ended() || session.Ended() || !m.EndAsked.IsZero():
			return platform.Errorf(platform.CodeGone, "This machine's work is over.")
		case known == keyHash:
			return nil
		case known != "":
			return platform.Errorf(platform.CodeConflict, "This machine's work was claimed by another agent.")
		case m.InstanceID == "":
			return platform.Errorf(platform.CodeNotReady, "The portal does not know this machine's instance yet. Ask again.")
		case m.InstanceID != instanceID:
			return platform.Errorf(platform.CodeConflict, "This claim is for another instance.")
		case m.WorkID() == "":
			return t.waitsWarm(ctx, m)
		}
		m.Claimed = t.now.UTC()
		t.changeOf(m, platform.ChangeMachine)
		if _, err = t.ExecContext(ctx, `UPDATE machines SET key_hash = ?1, claimed_at = ?2, heartbeat_at = ?2 WHERE id = ?3`,
			keyHash, millis(t.now), machineID); err != nil {
			return err
		}
		t.audit(audited{action: "machine.claim", workspaceID: m.WorkspaceID, id: m.ID, name: m.InstanceID, after: claimFields(m)})
		return t.stepNow(ctx, m.WorkID())
	})
	return m, err
}

// claimFields say what a machine was given: with its work come the secrets that the work needs.
func claimFields(m platform.Machine) fields {
	f := fields{"computeEnvId": m.ComputeEnvID, "instanceId": m.InstanceID}
	if m.RunID != "" {
		f["runId"] = m.RunID
	} else {
		f["studioId"], f["studioSessionId"] = m.StudioID, m.StudioSessionID
	}
	return f
}

// waitsWarm notes that the agent of a warm machine asks for work.
func (t *tx) waitsWarm(ctx context.Context, m platform.Machine) error {
	if m.Heartbeat.IsZero() {
		t.change(m.WorkspaceID, "", platform.ChangeMachine)
	}
	_, err := t.ExecContext(ctx, `UPDATE machines SET heartbeat_at = ? WHERE id = ?`, millis(t.now), m.ID)
	return err
}

// BootReported keeps what a boot script saw, and with a failure makes the loops look. Of two reports of one thing the first
// counts; a machine that has ended keeps its end.
func (d *DB) BootReported(ctx context.Context, machineID string, report platform.BootReport) error {
	return d.inTx(ctx, func(t *tx) error {
		m, err := scanMachine(t.QueryRowContext(ctx, `SELECT `+machineColumns+` FROM machines WHERE id = ?`, machineID))
		if err != nil {
			return notFound(err, "machine")
		}
		if err := t.addSteps(ctx, m, report.Steps); err != nil || report.Failure == "" {
			return err
		}
		_, err = t.ExecContext(ctx, `UPDATE machines SET boot_failure = iif(boot_failure = '', ?1, boot_failure), next_step_at = min(next_step_at - 1, ?2)
			WHERE id = ?3 AND state <> 'terminated'`, platform.Shorten(report.Failure, maxBootFailure), millis(t.now), machineID)
		return err
	})
}

// maxBootFailure is how much of a boot script's last words is kept, in bytes.
const maxBootFailure = 2000

// Heartbeat notes that a machine's agent is alive.
func (d *DB) Heartbeat(ctx context.Context, m platform.Machine, now time.Time) error {
	if now.Sub(m.Heartbeat) < HeartbeatTouch {
		return nil
	}
	_, err := d.write.ExecContext(ctx, `UPDATE machines SET heartbeat_at = ? WHERE id = ?`, millis(now), m.ID)
	return err
}

// AddSteps puts what the agent saw into the launch timeline. Of two reports of one step the first counts; names that are
// not in platform.AgentSteps are passed over. Too many are CodeInvalid.
func (d *DB) AddSteps(ctx context.Context, m platform.Machine, reports []platform.StepReport) error {
	return d.inTx(ctx, func(t *tx) error { return t.addSteps(ctx, m, reports) })
}

func (t *tx) addSteps(ctx context.Context, m platform.Machine, reports []platform.StepReport) error {
	if len(reports) > platform.MaxStepReports {
		return platform.Errorf(platform.CodeInvalid, "At most %d steps are told at once.", platform.MaxStepReports)
	}
	for _, r := range reports {
		r = r.Bounded(m.Created, t.now.UTC())
		if !slices.Contains(platform.AgentSteps, r.Name) {
			continue
		}
		if err := t.addStep(ctx, m.ID, platform.Step{Name: r.Name, Agent: true, At: r.At, Note: r.Note}); err != nil {
			return err
		}
		if err := t.studioStepped(ctx, m, r); err != nil {
			return err
		}
	}
	t.changeOf(m, platform.ChangeMachine)
	return nil
}

// AddEndReport keeps the agent's report of the end, within the limits (platform.EndReport.Bounded); the first one counts.
func (d *DB) AddEndReport(ctx context.Context, m platform.Machine, report platform.EndReport) error {
	report = report.Bounded()
	return d.inTx(ctx, func(t *tx) error {
		if first, err := t.changed(ctx, `UPDATE machines SET reported_at = ? WHERE id = ? AND reported_at = 0`, millis(t.now), m.ID); err != nil || !first {
			return err
		}
		if _, err := t.ExecContext(ctx, `UPDATE runs SET end_report = ? WHERE id = ?`, toJSON(report), m.RunID); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `UPDATE studio_sessions SET end_report = ? WHERE id = ?`, toJSON(report), m.StudioSessionID); err != nil {
			return err
		}
		t.workChanged(m)
		return t.stepNow(ctx, m.WorkID())
	})
}

// workChanged notes that the run or Studio that a machine is for has changed.
func (t *tx) workChanged(m platform.Machine) {
	if m.StudioID != "" {
		t.changeStudio(m.WorkspaceID, m.StudioID)
		return
	}
	t.change(m.WorkspaceID, m.RunID, platform.ChangeRun)
}
