package platform

import (
	"encoding/json"
	"time"
)

// The agent speaks to the portal with JSON over HTTP, always as the one who calls:
//
//	POST /agent/claim                     ClaimRequest → Spec               with the claim token, once
//	POST /agent/sync                      SyncRequest → SyncResponse        long poll; it is the heartbeat too
//	POST /agent/steps                     []StepReport → {}                 idempotent by name
//	POST /agent/logs/{stream}?offset=N    raw bytes → LogAck                409 with LogAck when N is not what is missing
//	POST /agent/reports                   []Report → {}                     idempotent by name
//	POST /agent/end                       EndReport → {}                    idempotent
//	POST /agent/checkpoints               []CheckpointReport → CheckpointAck  idempotent by id
//	POST /agent/checkpoints/removed       []string → {}                     ids of checkpoints that were to be forgotten and are removed
//	GET  /agent/tunnel                    a WebSocket that carries tunnel/'s connections to the Studio's port
//
// Before there is an agent, the boot script of a machine in a cloud speaks with the claim token, which stays good:
//
//	GET  /agent/download/{arch}           the agent's binary                with no token; the script knows its digest
//	POST /agent/boot/{machine}            BootReport → {}                   idempotent by name of step
//
// and the trace API, as Nextflow's nf-tower plugin would. All but the claim carry "Authorization: Bearer KEY", the key
// that the agent made itself and gave in its claim. An answer of 401 or 410 means that the portal wants nothing more of
// this machine: the agent stops its work and ends.

// ClaimRequest asks for a machine's work. The same agent may repeat it (same key); another is refused. An answer of 202
// means that there is no work yet, as for a warm machine: the agent asks again.
type ClaimRequest struct {
	MachineID  string `json:"machineId"`
	InstanceID string `json:"instanceId"`
	ClaimToken string `json:"claimToken"`
	Key        string `json:"key"` // made by NewToken on the machine
	Version    string `json:"version"`
}

// BootReport is what a boot script saw happen. Failure, when it is not empty, says that the machine gives up and why.
type BootReport struct {
	Steps   []StepReport `json:"steps,omitempty"`
	Failure string       `json:"failure,omitempty"`
}

// Spec is the work of a machine: all that the agent needs to run it. It is kept nowhere but in the agent's memory.
type Spec struct {
	RunID       string `json:"runId,omitempty"` // empty: a session of a Studio
	WorkspaceID int64  `json:"workspaceId"`
	Launch      Launch `json:"launch"`     // RunName, WorkDir and, with Resume, SessionID are always set
	ParamsJSON  string `json:"paramsJson"` // the parameters as JSON; "" for none
	// The environment's own parts; the launch's come after them.
	EnvConfigText string            `json:"envConfigText,omitempty"`
	EnvPreRun     string            `json:"envPreRun,omitempty"`
	EnvPostRun    string            `json:"envPostRun,omitempty"`
	Environment   []Env             `json:"environment,omitempty"` // merged
	Secrets       map[string]string `json:"secrets,omitempty"`     // given to Nextflow as environment variables, never to a file or log
	// PipelineSecrets are those that pipelines ask for by name (`secret 'NAME'`, `secrets.NAME`), of a run: value by name, each name as
	// ^[a-zA-Z_][0-9A-Za-z_]*$. The agent gives them to Nextflow in a store of secrets of its own, which ends with the run. The portal
	// may not make secrets in an account's Secrets Manager; those that are there are read by the pipeline itself, by the machine's role.
	PipelineSecrets map[string]string   `json:"pipelineSecrets,omitempty"`
	LogOffsets      map[LogStream]int64 `json:"logOffsets,omitempty"` // bytes that the portal already has
	Cloud           CloudSpec           `json:"cloud,omitzero"`
	// Studio is the work where it is no run; then, of the above, only Environment, LogOffsets, Cloud and Launch.WorkDir count.
	Studio *StudioSpec `json:"studio,omitempty"`
}

// WorkID is the id of the run, or of the session of a Studio.
func (s Spec) WorkID() string {
	if s.Studio != nil {
		return s.Studio.SessionID
	}
	return s.RunID
}

// KeptFolder is where the work's kept files are, relative to the work directory.
func (s Spec) KeptFolder() string {
	if s.Studio != nil {
		return KeptStudioFolder(s.Studio.StudioID, s.Studio.SessionID)
	}
	return KeptFolder(s.RunID)
}

// StudioSpec is a session of a Studio, as its agent runs it.
type StudioSpec struct {
	StudioID  string         `json:"studioId"`
	SessionID string         `json:"sessionId"`
	Name      string         `json:"name"`
	URL       string         `json:"url"`      // where people open it
	Template  StudioTemplate `json:"template"` // of a custom image CustomTemplate
	Token     string         `json:"token"`    // of Template.Authorization. A secret
	// CondaPackages are installed before the tool starts, from conda-forge and bioconda.
	CondaPackages []string          `json:"condaPackages,omitempty"`
	Mounts        []StudioMountSpec `json:"mounts,omitempty"`
	StopIn        time.Duration     `json:"stopIn,omitempty"`  // nanoseconds until its lifespan ends, counted from the tool's start; 0: it has none
	Restore       *CheckpointRef    `json:"restore,omitempty"` // nil: /workspace begins empty
	// Forget are checkpoints in the work directory whose archives are to be removed, of this Studio and of deleted ones, at most
	// MaxCheckpointReports. The agent tells which it removed.
	Forget []CheckpointRef `json:"forget,omitempty"`
}

// StudioMountSpec is a mount as the agent makes it.
type StudioMountSpec struct {
	StudioMount
	ReadOnly bool `json:"readOnly,omitempty"`
}

// CheckpointRef names a checkpoint, and with it its archive (CheckpointKey).
type CheckpointRef struct {
	StudioID     string `json:"studioId"`
	CheckpointID string `json:"checkpointId"`
}

// MaxCheckpointReports is how many checkpoints an agent tells of, and is told to remove, at once.
const MaxCheckpointReports = 100

// CheckpointAck says that the portal has the checkpoints that it was told, and which archives are to be removed now, at most
// MaxCheckpointReports: a long session would otherwise leave hundreds.
type CheckpointAck struct {
	Forget []CheckpointRef `json:"forget,omitempty"`
}

// CloudSpec is what the work of a machine in a cloud has beside that of one on the portal's own host.
type CloudSpec struct {
	Region          string `json:"region,omitempty"`
	LogGroup        string `json:"logGroup,omitempty"` // where the agent streams logs to, beside the portal
	Wave            bool   `json:"wave,omitempty"`
	Fusion          bool   `json:"fusion,omitempty"` // Nextflow works in Launch.WorkDir itself
	KeepForResume   bool   `json:"keepForResume,omitempty"`
	NextflowVersion string `json:"nextflowVersion,omitempty"` // of the container image, where none is baked in
	// AccessToken is the user's own token for Wave and Fusion; empty: none. A secret.
	AccessToken string `json:"accessToken,omitempty"`
}

// Files that the agent keeps in a run's folder of the work directory (KeptFolder), for people, for a resumed run, and for a
// portal that did not hear it.
const (
	KeptOutput   = "stdout.log"   // LogOutput
	KeptNextflow = "nextflow.log" // LogNextflow
	KeptTrace    = "trace.jsonl"  // the trace calls, one KeptCall a line, in order; written at the end
	KeptReports  = "reports"      // a folder with a file for each Report
	KeptEnd      = "end.json"     // KeptEndFile; written last
	// KeptCheckpointList has all []CheckpointReport of a Studio's session; it is written anew with each, so that none is lost with
	// a machine that ends without a word.
	KeptCheckpointList = "checkpoints.json"
)

// SecretsFolder is where the agent has Nextflow's store of Spec.PipelineSecrets while the run goes on, in the machine's own folder.
// Whoever ends a machine whose folder stays removes it.
const SecretsFolder = "secrets"

// KeptFolder is where a run's kept files are, relative to the work directory, with slashes.
func KeptFolder(runID string) string { return ".wherry/runs/" + runID }

// KeptStudioFolder is KeptFolder for a session of a Studio.
func KeptStudioFolder(studioID, sessionID string) string {
	return ".wherry/studios/" + studioID + "/sessions/" + sessionID
}

// KeptCall is one trace call as the agent keeps it.
type KeptCall struct {
	Name string          `json:"name"` // create, begin, progress, heartbeat or complete
	Body json.RawMessage `json:"body"`
}

// KeptEndFile is what KeptEnd holds.
type KeptEndFile struct {
	Report  EndReport    `json:"report"`
	Steps   []StepReport `json:"steps,omitempty"`
	Reports []Report     `json:"reports,omitempty"`
}

// Report is a file that a run made for people to look at: Nextflow's own reports and what the pipeline's tower.yml names.
type Report struct {
	Name     string `json:"name"`    // unique in the run, with slashes: the file's path below KeptReports
	Display  string `json:"display"` // for people
	MIMEType string `json:"mimeType"`
	Size     int64  `json:"size"` // bytes
}

// SyncRequest keeps the machine alive and asks for news. The portal answers at once when what it wants is not what the
// agent knows, and otherwise after Wait.
type SyncRequest struct {
	Cancel bool          `json:"cancel"` // the agent knows that cancel was asked
	Wait   time.Duration `json:"wait"`   // nanoseconds, at most MaxSyncWait
	// Usage is of a Studio; it is told every UsageEvery.
	Usage *Usage `json:"usage,omitempty"`
}

// SyncResponse is what the portal wants of the machine.
type SyncResponse struct {
	Cancel bool `json:"cancel"` // of a Studio: it shall stop
	// StopIn is how long a Studio's lifespan goes on, in nanoseconds; 0: it has none, or its tool has not started.
	StopIn time.Duration `json:"stopIn,omitempty"`
}

// Times of the talk between agent and portal.
const (
	MaxSyncWait = 25 * time.Second
	// UsageEvery is how often an agent measures what a Studio uses.
	UsageEvery = 10 * time.Second
	// CheckpointEvery is how long after the end of one checkpoint the next begins, where there is something new to keep.
	CheckpointEvery = 5 * time.Minute
	// StudioStopLimit is how long after it was asked to stop the loops wait for a Studio, which keeps its work first.
	StudioStopLimit = 15 * time.Minute
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

	StepAgentFetched = "agent fetched"
	StepImagePulled  = "Nextflow image pulled"
	StepRestored     = "work restored"
	StepInterrupted  = "interruption notice"
	StepKept         = "files kept"

	// Of a Studio, beside those above.
	StepMounted       = "data mounted"
	StepPackages      = "installing packages"
	StepPackagesReady = "packages installed"
	StepToolStarted   = "tool started"
	StepToolReady     = "tool answers"
	StepTunnel        = "tunnel open"
	StepToolEnded     = "tool ended"
	StepCheckpoint    = "work saved"
)

// AgentSteps lists the names that the portal accepts.
var AgentSteps = []string{StepBooted, StepAgentUp, StepFilesWritten, StepPreRun, StepNextflow, StepNextflowReady,
	StepFirstTask, StepNextflowEnded, StepPostRun, StepReported, StepAgentFetched, StepImagePulled, StepRestored, StepInterrupted, StepKept,
	StepMounted, StepPackages, StepPackagesReady, StepToolStarted, StepToolReady, StepTunnel, StepToolEnded, StepCheckpoint}

// NoSpaceLeft is how the kernel, and so every program, says that a disk is full (ENOSPC).
const NoSpaceLeft = "No space left on device"

// EndReport is the agent's last word. It is sent when every log chunk and every trace call before it was taken.
type EndReport struct {
	ExitCode    *int   `json:"exitCode,omitempty"`    // Nextflow's; nil when it never ran or was killed by a signal
	Signal      string `json:"signal,omitempty"`      // what killed Nextflow
	Cancelled   bool   `json:"cancelled,omitempty"`   // it was stopped because cancel was asked
	Reason      string `json:"reason,omitempty"`      // why it failed, for people, where the agent knows better than Nextflow
	ErrorReport string `json:"errorReport,omitempty"` // what Nextflow printed about its error
	Interrupted bool   `json:"interrupted,omitempty"` // the platform takes the machine away, and that stopped the run
	// Of a Studio: its packages could not be installed; or it stopped itself, because its lifespan had ended and no portal was there.
	BuildFailed bool       `json:"buildFailed,omitempty"`
	StopReason  StopReason `json:"stopReason,omitempty"`
	At          time.Time  `json:"at"`
}
