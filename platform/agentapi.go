package platform

import "time"

// The agent speaks to the portal with JSON over HTTP, always as the one who calls:
//
//	POST /agent/claim                     ClaimRequest → Spec               with the claim token, once
//	POST /agent/sync                      SyncRequest → SyncResponse        long poll; it is the heartbeat too
//	POST /agent/steps                     []StepReport → {}                 idempotent by name
//	POST /agent/logs/{stream}?offset=N    raw bytes → LogAck                409 with LogAck when N is not what is missing
//	POST /agent/end                       EndReport → {}                    idempotent
//
// and the trace API, as Nextflow's nf-tower plugin would. All but the claim carry "Authorization: Bearer KEY", the key
// that the agent made itself and gave in its claim. An answer of 401 or 410 means that the portal wants nothing more of
// this machine: the agent stops its work and ends.

// ClaimRequest asks for a machine's work. The same agent may repeat it (same key); another is refused.
type ClaimRequest struct {
	MachineID  string `json:"machineId"`
	InstanceID string `json:"instanceId"`
	ClaimToken string `json:"claimToken"`
	Key        string `json:"key"` // made by NewToken on the machine
	Version    string `json:"version"`
}

// Spec is the work of a machine: all that the agent needs to run it. It is kept nowhere but in the agent's memory.
type Spec struct {
	RunID       string `json:"runId"`
	WorkspaceID int64  `json:"workspaceId"`
	Launch      Launch `json:"launch"`     // RunName, WorkDir and, with Resume, SessionID are always set
	ParamsJSON  string `json:"paramsJson"` // the parameters as JSON; "" for none
	// The environment's own parts; the launch's come after them.
	EnvConfigText string              `json:"envConfigText,omitempty"`
	EnvPreRun     string              `json:"envPreRun,omitempty"`
	EnvPostRun    string              `json:"envPostRun,omitempty"`
	Environment   []Env               `json:"environment,omitempty"` // merged
	Secrets       map[string]string   `json:"secrets,omitempty"`     // given to Nextflow as environment variables, never to a file or log
	LogOffsets    map[LogStream]int64 `json:"logOffsets,omitempty"`  // bytes that the portal already has
}

// SyncRequest keeps the machine alive and asks for news. The portal answers at once when what it wants is not what the
// agent knows, and otherwise after Wait.
type SyncRequest struct {
	Cancel bool          `json:"cancel"` // the agent knows that cancel was asked
	Wait   time.Duration `json:"wait"`   // nanoseconds, at most MaxSyncWait
}

// SyncResponse is what the portal wants of the machine.
type SyncResponse struct {
	Cancel bool `json:"cancel"`
}

// Times of the talk between agent and portal.
const (
	MaxSyncWait = 25 * time.Second
	// UnknownAfter is how long an agent may be silent before its run is shown as UNKNOWN.
	UnknownAfter = 90 * time.Second
	// LostAfter is how long an agent may be silent before its run fails and its machine is ended.
	LostAfter = 30 * time.Minute
	// CancelGrace is how long Nextflow may take to stop its tasks before it is killed.
	CancelGrace = 20 * time.Second
	// CancelLimit is how long after a cancel the loops wait for the agent's report before they end the machine.
	CancelLimit = 60 * time.Second
)

// LogAck tells how much of a log the portal has: the offset in bytes at which the next chunk must begin.
type LogAck struct {
	Next int64 `json:"next"`
}

// StepReport is one thing that happened on the machine, for the launch timeline.
type StepReport struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// The steps that an agent reports. The first report of a name counts.
const (
	StepBooted        = "booted"
	StepAgentUp       = "agent up"
	StepFilesWritten  = "files written"
	StepPreRun        = "pre-run script"
	StepNextflow      = "Nextflow started"
	StepNextflowReady = "Nextflow up"
	StepFirstTask     = "first task"
	StepNextflowEnded = "Nextflow ended"
	StepPostRun       = "post-run script"
	StepReported      = "all reported"
)

// AgentSteps lists the names that the portal accepts.
var AgentSteps = []string{StepBooted, StepAgentUp, StepFilesWritten, StepPreRun, StepNextflow, StepNextflowReady,
	StepFirstTask, StepNextflowEnded, StepPostRun, StepReported}

// EndReport is the agent's last word. It is sent when every log chunk and every trace call before it was taken.
type EndReport struct {
	ExitCode    *int      `json:"exitCode,omitempty"`    // Nextflow's; nil when it never ran or was killed by a signal
	Signal      string    `json:"signal,omitempty"`      // what killed Nextflow
	Cancelled   bool      `json:"cancelled,omitempty"`   // it was stopped because cancel was asked
	Reason      string    `json:"reason,omitempty"`      // why it failed, for people, where the agent knows better than Nextflow
	ErrorReport string    `json:"errorReport,omitempty"` // what Nextflow printed about its error
	At          time.Time `json:"at"`
}
