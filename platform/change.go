package platform

// ChangeKind says what about a run, or a workspace, is new.
type ChangeKind string

// The kinds of change.
const (
	ChangeRun     ChangeKind = "run"     // the run's state, facts or progress
	ChangeTasks   ChangeKind = "tasks"   // its tasks
	ChangeMachine ChangeKind = "machine" // its machine, or a step of its timeline
	ChangeLog     ChangeKind = "log"     // its log; not kept in the journal, because the log's own position tells it
	ChangeEnvs    ChangeKind = "compute-envs"
	ChangeLaunch  ChangeKind = "pipelines"

	ChangeCredentials ChangeKind = "credentials"
	ChangeStudio      ChangeKind = "studio"  // a Studio, its session or its checkpoints
	ChangeMembers     ChangeKind = "members" // who is in the workspace, and with which role
)

// Change is one line of the journal of changes, which is written in the same transaction as what it tells of. Pages follow
// it over SSE; ID is the id of the event.
type Change struct {
	ID          int64 // 0 for ChangeLog
	WorkspaceID int64
	RunID       string // empty for changes that are no run's
	StudioID    string // the same for Studios
	Kind        ChangeKind
}
