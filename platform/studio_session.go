package platform

import (
	"cmp"
	"slices"
	"time"
)

// StudioState is where a session of a Studio stands, in the API's words. Only the loops in jobs/ move it, and only along
// studioMoves.
type StudioState string

// The states of a Studio's session.
const (
	StudioStarting    StudioState = "starting"    // wished for; the tool does not answer yet
	StudioBuilding    StudioState = "building"    // its packages are being installed
	StudioRunning     StudioState = "running"     // the tool answers
	StudioStopping    StudioState = "stopping"    // its end was asked for; its work is being kept
	StudioStopped     StudioState = "stopped"     // it ended as it should
	StudioErrored     StudioState = "errored"     // it ended otherwise; the message says why
	StudioBuildFailed StudioState = "buildFailed" // its packages could not be installed
)

// studioMoves is the transition table: every move that exists, and no other. An ended session never changes its end.
var studioMoves = map[StudioState][]StudioState{
	StudioStarting:    {StudioBuilding, StudioRunning, StudioStopping, StudioStopped, StudioErrored, StudioBuildFailed},
	StudioBuilding:    {StudioRunning, StudioStopping, StudioStopped, StudioErrored, StudioBuildFailed},
	StudioRunning:     {StudioStopping, StudioStopped, StudioErrored},
	StudioStopping:    {StudioStopped, StudioErrored},
	StudioStopped:     {},
	StudioErrored:     {},
	StudioBuildFailed: {},
}

// StudioStates lists every state, living ones first.
var StudioStates = []StudioState{StudioStarting, StudioBuilding, StudioRunning, StudioStopping, StudioStopped, StudioErrored, StudioBuildFailed}

// CanMove tells whether the table allows a move.
func (s StudioState) CanMove(to StudioState) bool { return slices.Contains(studioMoves[s], to) }

// Ended tells whether the session is over for good.
func (s StudioState) Ended() bool {
	return s == StudioStopped || s == StudioErrored || s == StudioBuildFailed
}

// StopReason is why a session stopped. The first two are the API's words.
type StopReason string

// The reasons to stop.
const (
	StopLifespan StopReason = "LIFESPAN_EXPIRED"
	StopSpot     StopReason = "SPOT_RECLAMATION"
	StopUser     StopReason = "USER_REQUEST"
	StopIdle     StopReason = "IDLE"
	StopItself   StopReason = "TOOL_ENDED" // the tool ended by itself, without an error
)

// StudioSession is one start of a Studio, from the wish to its end. It has one machine.
type StudioSession struct {
	ID           string
	StudioID     string
	WorkspaceID  int64
	UserID       int64  // who started it
	UserName     string // of UserID, filled in by reading
	ComputeEnvID string
	StudioName   string       // at the start
	Config       StudioConfig // at the start
	WorkDir      string       // of the environment at the start; checkpoints are kept in it
	Restored     string       // the checkpoint that it started with; empty: none
	State        StudioState
	Created      time.Time
	StateSince   time.Time
	Started      time.Time // when it was moved to running; zero: not yet
	Ended        time.Time // zero: not yet
	StopAt       time.Time // the end of its lifespan; zero: it has none, or has not begun
	StopAsked    time.Time // zero: nobody did
	StoppedBy    string    // user name; empty: a loop did
	StopReason   StopReason

	// What the agent reported and the portal saw: facts, from which the loops decide on the state.
	Building time.Time  // its packages are being installed since then; zero: not yet
	Ready    time.Time  // the tool answers since then; zero: not yet
	Active   time.Time  // when somebody was last connected, or the tool last worked; zero: not since its start
	Usage    Usage      // the newest
	End      *EndReport // the agent's report of the end; nil: not reported

	// Why it ended as it did: Message is one or two sentences, Details is a program's own words.
	Message string
	Details string
}

// Usage is what a Studio uses of its machine. It is measured by the agent.
type Usage struct {
	At        time.Time `json:"at,omitzero"`         // zero: not measured yet
	CPU       float64   `json:"cpu,omitempty"`       // percent of one CPU, since the measure before
	CPUs      int       `json:"cpus,omitempty"`      // of the machine
	Memory    int64     `json:"memory,omitempty"`    // bytes
	MemoryMax int64     `json:"memoryMax,omitempty"` // bytes of the machine
	Disk      int64     `json:"disk,omitempty"`      // bytes in use on the disk of /workspace
	DiskMax   int64     `json:"diskMax,omitempty"`   // bytes of that disk
	GPU       float64   `json:"gpu,omitempty"`       // percent, the mean of all GPUs
	GPUs      int       `json:"gpus,omitempty"`
	GPUMemory int64     `json:"gpuMemory,omitempty"` // bytes, of all GPUs
	GPUMemMax int64     `json:"gpuMemoryMax,omitempty"`
}

// BusyCPU is how much of one CPU, in percent, a Studio uses at least when it counts as at work.
const BusyCPU = 10

// Busy tells whether the tool works for itself, whoever is connected.
func (u Usage) Busy() bool { return u.CPU >= BusyCPU || u.GPU >= BusyCPU }

// Bounded is the usage within what can be. now is the portal's clock.
func (u Usage) Bounded(now time.Time) Usage {
	atLeast0 := func(f float64, most float64) float64 {
		if !(f >= 0) { // NaN too
			return 0
		}
		return min(f, most)
	}
	u.At, u.CPUs, u.GPUs = now, min(max(u.CPUs, 0), 4096), min(max(u.GPUs, 0), 64)
	u.CPU, u.GPU = atLeast0(u.CPU, 409600), atLeast0(u.GPU, 100)
	for _, n := range []*int64{&u.Memory, &u.MemoryMax, &u.Disk, &u.DiskMax, &u.GPUMemory, &u.GPUMemMax} {
		*n = max(*n, 0)
	}
	return u
}

// Extendable tells whether a session's lifespan can be made longer.
func (s StudioSession) Extendable() bool {
	return !s.State.Ended() && s.StopAsked.IsZero() && !s.StopAt.IsZero()
}

// EndsSoon tells whether the lifespan ends within LifespanWarningMinutes.
func (s StudioSession) EndsSoon(now time.Time) bool {
	return s.Extendable() && s.StopAt.Sub(now) < LifespanWarningMinutes*time.Minute
}

// Connectable tells whether the tool is there to be opened.
func (s StudioSession) Connectable() bool { return s.State == StudioRunning }

// StudioEnd is the state that a loop moves a session to, and with an end why it ended.
type StudioEnd struct {
	State      StudioState
	StopReason StopReason // empty: as it is
	Message    string
	Details    string
}

// StudioEndFromReport decides how a session ended from what its agent reported.
func StudioEndFromReport(s StudioSession, report EndReport) StudioEnd {
	switch {
	case report.Interrupted:
		return StudioEnd{State: StudioStopped, StopReason: StopSpot, Message: cmp.Or(report.Reason, stopMessages[StopSpot])}
	case !s.StopAsked.IsZero():
		return StudioStoppedEnd(s).with(report)
	case report.BuildFailed:
		return StudioEnd{State: StudioBuildFailed, Message: cmp.Or(report.Reason, "Its packages could not be installed. Its log says more."), Details: report.ErrorReport}
	case report.StopReason != "":
		return StudioEnd{State: StudioStopped, StopReason: report.StopReason, Message: stopMessages[report.StopReason]}.with(report)
	case report.Reason == "" && report.ExitCode != nil && *report.ExitCode == 0:
		return StudioEnd{State: StudioStopped, StopReason: StopItself, Message: stopMessages[StopItself]}
	case report.Reason == "":
		report.Reason = "The Studio's tool ended with an error. Its log says more."
	}
	return StudioEnd{State: StudioErrored, Message: report.Reason, Details: report.ErrorReport}
}

// with adds what went wrong while a session stopped, such as that its work could not be saved.
func (e StudioEnd) with(report EndReport) StudioEnd {
	if report.Reason != "" {
		e.Message, e.Details = e.Message+" "+report.Reason, report.ErrorReport
	}
	return e
}

var stopMessages = map[StopReason]string{
	StopLifespan: "It stopped because its lifespan had ended.",
	StopIdle:     "It stopped because nobody was connected and nothing was computed.",
	StopItself:   "Its tool ended by itself.",
	StopSpot:     "EC2 took the Spot instance back.",
}

// StudioStoppedEnd is the end of a session whose stop was asked for.
func StudioStoppedEnd(s StudioSession) StudioEnd {
	end := StudioEnd{State: StudioStopped, StopReason: s.StopReason, Message: stopMessages[s.StopReason]}
	if s.StopReason == StopUser {
		end.Message = "It was stopped."
		if s.StoppedBy != "" {
			end.Message = "It was stopped by " + s.StoppedBy + "."
		}
	}
	return end
}

// StoppedWithTrouble tells whether a session stopped as it was asked to, but something went wrong meanwhile, such as that its
// work could not be saved. Its message says what.
func (s StudioSession) StoppedWithTrouble() bool {
	return s.State == StudioStopped && s.StopReason != StopSpot && s.Message != "" && s.Message != StudioStoppedEnd(s).Message
}

// IdleFor is how long nobody has been connected and nothing was computed.
func (s StudioSession) IdleFor(now time.Time) time.Duration {
	since := s.Started
	if s.Active.After(since) {
		since = s.Active
	}
	if since.IsZero() {
		return 0
	}
	return now.Sub(since)
}

// StopDue is why the session should stop now; empty: it should not.
func (s StudioSession) StopDue(now time.Time) StopReason {
	switch {
	case !s.StopAsked.IsZero() || s.State.Ended():
		return ""
	case !s.StopAt.IsZero() && !now.Before(s.StopAt):
		return StopLifespan
	case s.State == StudioRunning && s.Config.IdleMinutes > 0 && s.IdleFor(now) >= time.Duration(s.Config.IdleMinutes)*time.Minute:
		return StopIdle
	}
	return ""
}

// StudioConnection is a person who has a Studio open.
type StudioConnection struct {
	UserName string
	Since    time.Time
}
