package db

import (
	"context"
	"errors"
	"time"

	"wherry/platform"
)

var errNotBuilt = errors.New("not built yet")

// AddStudio saves a Studio that Clean has accepted. A name that is taken is an error at name; an environment that is not
// available, at computeEnvId; a checkpoint of another workspace or environment's work directory, at restore.
func (d *DB) AddStudio(ctx context.Context, s *platform.Studio) error { return errNotBuilt }

// UpdateStudio saves changes of a Studio; s.Version is the version that was changed, CodeConflict if another was saved
// since. Sessions that live keep what they were started with. Its creator, and with it whose it is when private, stays.
func (d *DB) UpdateStudio(ctx context.Context, s platform.Studio) error { return errNotBuilt }

// DeleteStudio takes a Studio out of its workspace; CodeConflict while a session of it lives. Its checkpoints become
// unwanted, those with a name too.
func (d *DB) DeleteStudio(ctx context.Context, workspaceID int64, id string) error {
	return errNotBuilt
}

// Studio reads one Studio of a workspace, with its newest session.
func (d *DB) Studio(ctx context.Context, workspaceID int64, id string) (platform.Studio, error) {
	return platform.Studio{}, errNotBuilt
}

// AnyStudio reads a Studio of whatever workspace, for the loops, its own agent and its own origin.
func (d *DB) AnyStudio(ctx context.Context, id string) (platform.Studio, error) {
	return platform.Studio{}, errNotBuilt
}

// Studios lists a workspace's Studios by name, each with its newest session. text narrows them to those with it in name,
// description or creator; empty: all.
func (d *DB) Studios(ctx context.Context, workspaceID int64, text string) ([]platform.Studio, error) {
	return nil, errNotBuilt
}

// StartStudio saves a session of a Studio, and in the same transaction the wish for its machine, or the warm machine that
// takes it. A session that lives is CodeConflict; limits of the workspace and an environment that is not available are errors
// at computeEnvId.
func (d *DB) StartStudio(ctx context.Context, s platform.Studio, userID int64) (platform.StudioSession, error) {
	return platform.StudioSession{}, errNotBuilt
}

// AskStudioStop notes that a Studio's session shall stop; the first to ask counts. by is empty for a loop. A Studio without
// a living session is CodeConflict.
func (d *DB) AskStudioStop(ctx context.Context, studioID string, reason platform.StopReason, by string) error {
	return errNotBuilt
}

// ExtendStudio puts the end of a living session's lifespan off by hours, at most to platform.MaxLifespanHours, or the
// workspace's limit, from now.
func (d *DB) ExtendStudio(ctx context.Context, workspaceID int64, studioID string, hours int) (platform.StudioSession, error) {
	return platform.StudioSession{}, errNotBuilt
}

// StudioSession reads a session of whatever workspace.
func (d *DB) StudioSession(ctx context.Context, id string) (platform.StudioSession, error) {
	return platform.StudioSession{}, errNotBuilt
}

// StudioSessions lists a Studio's sessions, the newest first.
func (d *DB) StudioSessions(ctx context.Context, studioID string, limit int) ([]platform.StudioSession, error) {
	return nil, errNotBuilt
}

// MoveStudioSession moves a session along the transition table, compare-and-set from a state.
func (d *DB) MoveStudioSession(ctx context.Context, id string, from platform.StudioState, to platform.StudioEnd) error {
	return errNotBuilt
}

// MachineOfStudioSession reads a session's machine.
func (d *DB) MachineOfStudioSession(ctx context.Context, sessionID string) (platform.Machine, error) {
	return platform.Machine{}, errNotBuilt
}

// StudioUsed keeps what a session's agent measured, within the limits (platform.Usage.Bounded). A busy tool counts as active.
func (d *DB) StudioUsed(ctx context.Context, m platform.Machine, u platform.Usage) error {
	return errNotBuilt
}

// StudioActive notes that somebody is connected to a session now. It writes at most every ActiveTouch.
func (d *DB) StudioActive(ctx context.Context, s platform.StudioSession, now time.Time) error {
	return errNotBuilt
}

// ActiveTouch is how often it is written down that somebody is connected.
const ActiveTouch = 30 * time.Second
