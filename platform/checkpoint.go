package platform

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// CheckpointState is where a checkpoint stands.
type CheckpointState string

// The states of a checkpoint.
const (
	CheckpointSaved    CheckpointState = "saved"    // its archive is in the work directory
	CheckpointUnwanted CheckpointState = "unwanted" // its archive is to be removed; the agent of the next session in its work directory does that
	CheckpointRemoved  CheckpointState = "removed"
)

// Checkpoint is a copy of a Studio's /workspace: files and links, no processes. It is one archive in the work directory.
type Checkpoint struct {
	ID        string // made by the agent (NewID)
	StudioID  string
	SessionID string // the session that saved it
	Studio    string // name of StudioID, filled in by reading
	Name      string // given by people; empty: none. One with a name is kept until someone deletes it
	State     CheckpointState
	Saved     time.Time
	Size      int64 // of the archive, in bytes
	Files     int64
	Final     bool   // it was saved when the session stopped
	WorkDir   string // of its session
}

// CheckpointReport is a checkpoint that an agent has saved.
type CheckpointReport struct {
	ID    string    `json:"id"`
	Saved time.Time `json:"saved"`
	Size  int64     `json:"size"`
	Files int64     `json:"files"`
	Final bool      `json:"final,omitempty"`
}

// Bounded is the report within what can be. Nothing was saved before its machine was wished for or after it was told.
func (r CheckpointReport) Bounded(created, now time.Time) CheckpointReport {
	if r.Saved.After(now) {
		r.Saved = now
	}
	if r.Saved.Before(created) {
		r.Saved = created
	}
	r.Size, r.Files = max(r.Size, 0), max(r.Files, 0)
	return r
}

// CheckpointKey is where a checkpoint's archive is, relative to the work directory, with slashes.
func CheckpointKey(studioID, checkpointID string) string {
	return ".wherry/studios/" + studioID + "/checkpoints/" + checkpointID + ".tar.gz"
}

// CleanCheckpointName trims and checks the name of a checkpoint; an empty one takes the name away.
func CleanCheckpointName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case utf8.RuneCountInString(name) > MaxCheckpointName:
		return name, FieldErrors{"name": fmt.Sprintf("Use at most %d characters.", MaxCheckpointName)}
	case !plain(name, ""):
		return name, FieldErrors{"name": notPlain}
	}
	return name, nil
}
