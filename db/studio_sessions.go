package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wherry/platform"
)

const studioSessionQuery = `SELECT o.id, o.studio_id, o.workspace_id, o.user_id, u.user_name, o.compute_env_id, o.studio_name, o.config, o.work_dir,
	o.restored, o.state, o.state_since, o.created_at, o.started_at, o.ended_at, o.stop_at, o.stop_asked_at, o.stopped_by, o.stop_reason,
	o.building_at, o.ready_at, o.active_at, o.usage, o.end_report, o.message, o.details
	FROM studio_sessions o JOIN users u ON u.id = o.user_id `

func scanStudioSession(row scanner) (s platform.StudioSession, err error) {
	var end string
	err = row.Scan(&s.ID, &s.StudioID, &s.WorkspaceID, &s.UserID, &s.UserName, &s.ComputeEnvID, &s.StudioName, jsonColumn{&s.Config}, &s.WorkDir,
		&s.Restored, &s.State, timeColumn{&s.StateSince}, timeColumn{&s.Created}, timeColumn{&s.Started}, timeColumn{&s.Ended}, timeColumn{&s.StopAt},
		timeColumn{&s.StopAsked}, &s.StoppedBy, &s.StopReason, timeColumn{&s.Building}, timeColumn{&s.Ready}, timeColumn{&s.Active},
		jsonColumn{&s.Usage}, &end, &s.Message, &s.Details)
	if err == nil && end != "" {
		s.End = &platform.EndReport{}
		err = json.Unmarshal([]byte(end), s.End)
	}
	return s, err
}

// StartStudio saves a session of a Studio, and in the same transaction the wish for its machine, or the warm machine that
// takes it. A session that lives is CodeConflict; limits of the workspace and an environment that is not available are errors
// at computeEnvId, and a checkpoint that it cannot begin with is one at restore.
func (d *DB) StartStudio(ctx context.Context, s platform.Studio, userID int64) (session platform.StudioSession, err error) {
	err = d.inTx(ctx, func(t *tx) error {
		if s, err = t.studio(ctx, s.WorkspaceID, s.ID); err != nil {
			return err
		}
		env, limits, err := t.mayStart(ctx, s)
		if err != nil {
			return err
		}
		session = platform.StudioSession{ID: platform.NewID(), StudioID: s.ID, WorkspaceID: s.WorkspaceID, UserID: userID, ComputeEnvID: env.ID,
			StudioName: s.Name, Config: s.Config, WorkDir: env.WorkDir, State: platform.StudioStarting, Created: t.now.UTC(), StateSince: t.now.UTC()}
		session.Config.LifespanHours = limits.Lifespan(s.Config.LifespanHours)
		if session.Restored, err = t.toRestore(ctx, s, env); err != nil {
			return err
		}
		if err := t.insertSession(ctx, session); err != nil {
			return err
		}
		t.audit(audited{action: "studio.start", workspaceID: s.WorkspaceID, id: s.ID, name: s.Name, after: fields{"sessionId": session.ID,
			"computeEnvId": env.ID, "lifespanHours": session.Config.LifespanHours, "restored": session.Restored}})
		return t.giveMachine(ctx, env, session)
	})
	if err != nil {
		return platform.StudioSession{}, err
	}
	return d.StudioSession(ctx, session.ID)
}

// mayStart reads where a Studio is to start, if it may: it has no living session, and its workspace's limits leave room.
func (t *tx) mayStart(ctx context.Context, s platform.Studio) (env platform.ComputeEnv, limits platform.Limits, err error) {
	if limits, err = limitsOf(ctx, t.Tx, s.WorkspaceID); err != nil {
		return env, limits, err
	}
	var living int
	var lives bool
	err = t.QueryRowContext(ctx, `SELECT count(*), coalesce(max(studio_id = ?), 0) FROM studio_sessions WHERE workspace_id = ? AND ended_at = 0`, s.ID, s.WorkspaceID).Scan(&living, &lives)
	switch {
	case err != nil:
		return env, limits, err
	case lives:
		return env, limits, platform.Errorf(platform.CodeConflict, "%s has been started already.", s.Name)
	case limits.Studios > 0 && living >= limits.Studios:
		return env, limits, platform.FieldErrors{"computeEnvId": fmt.Sprintf("This workspace runs as many Studios as it may: %d of %d. Stop one that is not needed, or ask an owner or admin to raise the limit.", living, limits.Studios)}
	}
	if err := t.checkSpend(ctx, s.WorkspaceID); err != nil {
		return env, limits, err
	}
	env, err = t.useComputeEnv(ctx, s.WorkspaceID, s.ComputeEnvID)
	return env, limits, err
}

func (t *tx) insertSession(ctx context.Context, s platform.StudioSession) error {
	_, err := t.ExecContext(ctx, `INSERT INTO studio_sessions (id, studio_id, workspace_id, user_id, compute_env_id, studio_name, config, work_dir, restored,
		state, state_since, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, s.ID, s.StudioID, s.WorkspaceID, s.UserID, s.ComputeEnvID, s.StudioName,
		toJSON(s.Config), s.WorkDir, s.Restored, s.State, millis(s.StateSince), millis(s.Created))
	t.changeStudio(s.WorkspaceID, s.StudioID)
	return err
}

// giveMachine takes a warm machine for a session, or wishes for one. A warm machine was started as its environment says, also
// in whether it is a Spot instance.
func (t *tx) giveMachine(ctx context.Context, env platform.ComputeEnv, s platform.StudioSession) error {
	w := workOf{sessionID: s.ID, studioID: s.StudioID}
	if s.Config.Spot == env.Config.Spot {
		if _, warm, err := t.takeWarm(ctx, env, w); warm || err != nil {
			return err
		}
	}
	_, err := t.addMachine(ctx, env, w)
	return err
}

// StudioSession reads a session of whatever workspace.
func (d *DB) StudioSession(ctx context.Context, id string) (platform.StudioSession, error) {
	s, err := scanStudioSession(d.read.QueryRowContext(ctx, studioSessionQuery+`WHERE o.id = ?`, id))
	return s, notFound(err, "session")
}

// StudioSessions lists a Studio's sessions, the newest first.
func (d *DB) StudioSessions(ctx context.Context, studioID string, limit int) ([]platform.StudioSession, error) {
	return all(ctx, d.read, scanStudioSession, studioSessionQuery+`WHERE o.studio_id = ? ORDER BY o.id DESC LIMIT ?`, studioID, limit)
}

// livingSession reads the session of a Studio that has not ended; CodeConflict when there is none.
func (t *tx) livingSession(ctx context.Context, studioID string) (platform.StudioSession, error) {
	s, err := scanStudioSession(t.QueryRowContext(ctx, studioSessionQuery+`WHERE o.studio_id = ? AND o.ended_at = 0`, studioID))
	if errors.Is(err, sql.ErrNoRows) {
		err = platform.Errorf(platform.CodeConflict, "This Studio is not running.")
	}
	return s, err
}

// AskStudioStop notes that a Studio's session shall stop; the first to ask counts. by is empty for a loop. A Studio without
// a living session is CodeConflict.
func (d *DB) AskStudioStop(ctx context.Context, studioID string, reason platform.StopReason, by string) error {
	return d.inTx(ctx, func(t *tx) error {
		s, err := t.livingSession(ctx, studioID)
		if err != nil || !s.StopAsked.IsZero() {
			return err
		}
		_, err = t.ExecContext(ctx, `UPDATE studio_sessions SET stop_asked_at = ?, stop_reason = ?, stopped_by = ? WHERE id = ?`, millis(t.now), reason, by, s.ID)
		if err != nil {
			return err
		}
		t.changeStudio(s.WorkspaceID, s.StudioID)
		t.audit(audited{action: "studio.stop", workspaceID: s.WorkspaceID, id: s.StudioID, name: s.StudioName, after: fields{"sessionId": s.ID, "reason": reason}})
		return t.stepNow(ctx, s.ID)
	})
}

// StudioConnected notes that somebody opens a session of a Studio.
func (d *DB) StudioConnected(ctx context.Context, s platform.Studio) error {
	return d.inTx(ctx, func(t *tx) error {
		is := fields{}
		if s.Session != nil {
			is["sessionId"] = s.Session.ID
		}
		t.audit(audited{action: "studio.connect", workspaceID: s.WorkspaceID, id: s.ID, name: s.Name, after: is})
		return nil
	})
}

// ExtendStudio puts the end of a living session's lifespan off by hours, at most to platform.MaxLifespanHours, or the
// workspace's limit, from now. Hours that are none are an error at hours; a session that has no lifespan to make longer, or
// that ends as late as it may already, is CodeConflict.
func (d *DB) ExtendStudio(ctx context.Context, workspaceID int64, studioID string, hours int) (session platform.StudioSession, err error) {
	if hours < 1 || hours > platform.MaxLifespanHours {
		return session, platform.FieldErrors{"hours": fmt.Sprintf("Enter hours from 1 to %d.", platform.MaxLifespanHours)}
	}
	err = d.inTx(ctx, func(t *tx) error {
		session, err = t.livingSession(ctx, studioID)
		switch {
		case err != nil:
			return err
		case session.WorkspaceID != workspaceID:
			return notFound(sql.ErrNoRows, "Studio")
		case !session.Extendable():
			return platform.Errorf(platform.CodeConflict, "%s is being stopped, has not come up yet, or runs until it is stopped: there is nothing to extend.", session.StudioName)
		}
		limits, err := limitsOf(ctx, t.Tx, workspaceID)
		if err != nil {
			return err
		}
		most := limits.Lifespan(platform.MaxLifespanHours)
		until := session.StopAt.Add(time.Duration(hours) * time.Hour)
		if latest := t.now.Add(time.Duration(most) * time.Hour).UTC(); until.After(latest) {
			until = latest
		}
		if !until.After(session.StopAt) {
			return platform.Errorf(platform.CodeConflict, "%s runs as long as it may already: at most %d hours from now.", session.StudioName, most)
		}
		t.changeStudio(workspaceID, studioID)
		t.audit(audited{action: "studio.extend", workspaceID: workspaceID, id: studioID, name: session.StudioName,
			before: fields{"stopAt": session.StopAt}, after: fields{"stopAt": fromMillis(millis(until)), "hours": hours}})
		session.StopAt = fromMillis(millis(until))
		_, err = t.ExecContext(ctx, `UPDATE studio_sessions SET stop_at = ? WHERE id = ?`, millis(until), session.ID)
		return err
	})
	return session, err
}

// MoveStudioSession moves a session along the transition table, compare-and-set from a state; a move that the table does not
// have, or from another state, is CodeConflict and changes nothing. Once it runs, its lifespan begins. A session whose tool
// answered has started, even if nobody saw it running.
func (d *DB) MoveStudioSession(ctx context.Context, id string, from platform.StudioState, to platform.StudioEnd) error {
	if !from.CanMove(to.State) {
		return platform.Errorf(platform.CodeConflict, "A Studio does not go from %s to %s.", from, to.State)
	}
	return d.inTx(ctx, func(t *tx) error {
		var workspaceID int64
		var studioID string
		err := t.QueryRowContext(ctx, `UPDATE studio_sessions SET state = ?1, state_since = ?2,
			started_at = CASE WHEN started_at <> 0 THEN started_at WHEN ?1 = 'running' THEN ?2 WHEN ?3 AND ready_at <> 0 THEN min(ready_at, ?2) ELSE 0 END,
			stop_at = iif(?1 = 'running' AND stop_at = 0 AND coalesce(json_extract(config, '$.lifespanHours'), 0) > 0,
				?2 + json_extract(config, '$.lifespanHours') * 3600000, stop_at),
			ended_at = iif(?3, ?2, 0), stop_reason = iif(?4 = '', stop_reason, ?4), message = ?5, details = ?6
			WHERE id = ?7 AND state = ?8 RETURNING workspace_id, studio_id`,
			to.State, millis(t.now), to.State.Ended(), to.StopReason, to.Message, to.Details, id, from).Scan(&workspaceID, &studioID)
		if errors.Is(err, sql.ErrNoRows) {
			return platform.Errorf(platform.CodeConflict, "The Studio is not %s any more.", from)
		}
		t.changeStudio(workspaceID, studioID)
		return err
	})
}

// studioStepped keeps what an agent's step says of a session: that its packages are being installed, or that its tool answers.
func (t *tx) studioStepped(ctx context.Context, m platform.Machine, r platform.StepReport) error {
	column := studioFacts[r.Name]
	if m.StudioSessionID == "" || column == "" {
		return nil
	}
	first, err := t.changed(ctx, `UPDATE studio_sessions SET `+column+` = ? WHERE id = ? AND ended_at = 0 AND `+column+` = 0`, millis(r.At), m.StudioSessionID)
	if err != nil || !first {
		return err
	}
	t.changeStudio(m.WorkspaceID, m.StudioID)
	return t.stepNow(ctx, m.StudioSessionID)
}

// studioFacts are the columns in which steps of agents are facts about their session.
var studioFacts = map[string]string{platform.StepPackages: "building_at", platform.StepToolReady: "ready_at"}

// StudioUsed keeps what a session's agent measured, within the limits (platform.Usage.Bounded). A busy tool counts as active.
// It is no change of the journal: pages ask for it now and then, because each measure would make every part of them look again.
func (d *DB) StudioUsed(ctx context.Context, m platform.Machine, u platform.Usage) error {
	return d.inTx(ctx, func(t *tx) error {
		u = u.Bounded(t.now.UTC())
		_, err := t.ExecContext(ctx, `UPDATE studio_sessions SET usage = ?1, active_at = iif(?2, ?3, active_at) WHERE id = ?4 AND ended_at = 0`,
			toJSON(u), u.Busy(), millis(t.now), m.StudioSessionID)
		return err
	})
}

// ActiveTouch is how often it is written down that somebody is connected.
const ActiveTouch = 30 * time.Second

// StudioActive notes that somebody is connected to a session now. It writes at most every ActiveTouch.
func (d *DB) StudioActive(ctx context.Context, s platform.StudioSession, now time.Time) error {
	if now.Sub(s.Active) < ActiveTouch {
		return nil
	}
	_, err := d.write.ExecContext(ctx, `UPDATE studio_sessions SET active_at = ?1 WHERE id = ?2 AND ended_at = 0 AND active_at <= ?3`,
		millis(now), s.ID, millis(now.Add(-ActiveTouch)))
	return err
}
