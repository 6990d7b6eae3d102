package db

import (
	"context"

	"wherry/platform"
)

// AddCheckpoints keeps what a session's agent has saved, once for each id, and makes the oldest without a name unwanted
// where there are more than platform.KeptCheckpoints. Too many at once are CodeInvalid.
func (d *DB) AddCheckpoints(ctx context.Context, m platform.Machine, reports []platform.CheckpointReport) error {
	return errNotBuilt
}

// CheckpointsRemoved notes that the archives of unwanted checkpoints of the machine's Studio are gone.
func (d *DB) CheckpointsRemoved(ctx context.Context, m platform.Machine, ids []string) error {
	return errNotBuilt
}

// Checkpoints lists a Studio's saved checkpoints, the newest first.
func (d *DB) Checkpoints(ctx context.Context, workspaceID int64, studioID string) ([]platform.Checkpoint, error) {
	return nil, errNotBuilt
}

// Checkpoint reads a saved checkpoint of a workspace.
func (d *DB) Checkpoint(ctx context.Context, workspaceID int64, id string) (platform.Checkpoint, error) {
	return platform.Checkpoint{}, errNotBuilt
}

// UnwantedCheckpoints lists checkpoints whose archives a session's agent is to remove: those of its workspace and work
// directory that nobody wants any more, also of deleted Studios, which have no agent of their own. What a living session
// begins with is not among them.
func (d *DB) UnwantedCheckpoints(ctx context.Context, s platform.StudioSession) ([]platform.CheckpointRef, error) {
	return nil, errNotBuilt
}

// NameCheckpoint names a checkpoint, or with "" takes the name away.
func (d *DB) NameCheckpoint(ctx context.Context, workspaceID int64, id, name string) error {
	return errNotBuilt
}

// DeleteCheckpoint makes a checkpoint unwanted; its archive is removed by the next session's agent.
func (d *DB) DeleteCheckpoint(ctx context.Context, workspaceID int64, id string) error {
	return errNotBuilt
}
