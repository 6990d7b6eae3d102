package platform

import (
	"cmp"
	"slices"
	"time"
)

// MachineState is where a machine stands between the wish for it and its end.
//
//	wanted → requested → booting → working → draining → terminating → terminated
//	   └─────────┴──────────┴─ failed to start ──────────────┘
//
// Only the loops in jobs/ move it, and only along machineMoves.
type MachineState string

// The states of a machine.
const (
	MachineWanted      MachineState = "wanted"          // the row is there; the platform may or may not have heard
	MachineRequested   MachineState = "requested"       // the platform accepted the request
	MachineBooting     MachineState = "booting"         // the platform says that it runs; the agent has not come yet
	MachineWorking     MachineState = "working"         // the agent has claimed the work
	MachineDraining    MachineState = "draining"        // the work is over; nothing more is expected of it
	MachineFailed      MachineState = "failed to start" // it never worked; Failure says why
	MachineTerminating MachineState = "terminating"     // the platform was asked, or is about to be asked, to end it
	MachineTerminated  MachineState = "terminated"      // the platform says that it is gone
)

// machineMoves is the transition table: every move that exists, and no other.
var machineMoves = map[MachineState][]MachineState{
	MachineWanted:      {MachineRequested, MachineFailed, MachineTerminating},
	MachineRequested:   {MachineBooting, MachineFailed, MachineTerminating},
	MachineBooting:     {MachineWorking, MachineFailed, MachineTerminating},
	MachineWorking:     {MachineDraining, MachineTerminating},
	MachineDraining:    {MachineTerminating},
	MachineFailed:      {MachineTerminating},
	MachineTerminating: {MachineTerminated},
	MachineTerminated:  {},
}

// MachineStates lists every state in the order of a machine's life.
var MachineStates = []MachineState{MachineWanted, MachineRequested, MachineBooting, MachineWorking, MachineDraining,
	MachineFailed, MachineTerminating, MachineTerminated}

// CanMove tells whether the table allows a move.
func (s MachineState) CanMove(to MachineState) bool { return slices.Contains(machineMoves[s], to) }

// Living tells whether the machine may still exist on its platform.
func (s MachineState) Living() bool { return s != MachineTerminated }

// Wanted tells whether the machine still has work to do, or may get it.
func (s MachineState) Wanted() bool {
	return s == MachineWanted || s == MachineRequested || s == MachineBooting || s == MachineWorking
}

// Machine is one instance that was asked of a platform for one run, or one session of a Studio. Its id is the idempotency token of that request.
type Machine struct {
	ID          string
	WorkspaceID int64
	RunID       string
	// StudioSessionID is set where RunID is not; without both it is a warm machine, which waits for work.
	StudioSessionID string
	StudioID        string // of StudioSessionID, filled in by reading
	ComputeEnvID    string
	State           MachineState
	InstanceID      string // the platform's name for it; empty until requested
	Failure         string // why it failed to start or was ended early, for people
	Attempts        int    // failed attempts at the present step
	Waiting         string // what holds its start up, for people; empty: nothing
	// Placement is what the platform wrote down before it asked for the instance (cloud.StartRequest), for itself alone.
	Placement string
	Placed    time.Time // when Placement was written
	Hardware  Hardware
	// Digest tells what of its environment a warm machine was started with (ComputeEnv.MachineDigest).
	Digest string
	// BootFailure is why the boot script or the agent gave up, in their own last words; empty: they did not.
	BootFailure string
	EndAsked    time.Time // when someone asked for the end of a warm machine; zero: nobody did
	EndAskedBy  string    // user name
	Admitted    time.Time // when its workspace's limits let it start; zero: not yet
	Launched    time.Time // since when the platform counts it as there, and bills it; zero: not yet, or not told
	Gone        time.Time // since when nothing of it is left; zero: not yet
	NextStep    time.Time
	StateSince  time.Time
	Claimed     time.Time // when the agent claimed the work; zero: not yet
	Heartbeat   time.Time // when the agent was last heard; zero: never
	Ended       time.Time // when the agent reported the end; zero: not yet
	Created     time.Time
}

// WorkID is the run or the Studio's session that the machine is for; empty: it is warm.
func (m Machine) WorkID() string { return cmp.Or(m.RunID, m.StudioSessionID) }

// Hardware is what a machine runs on, as far as its platform tells.
type Hardware struct {
	InstanceType string `json:"instanceType,omitempty"`
	Region       string `json:"region,omitempty"`
	Zone         string `json:"zone,omitempty"`
	Spot         bool   `json:"spot,omitempty"`
	// HourMicroUSD is the price of an hour in millionths of a US dollar; 0: free, or not known.
	HourMicroUSD int64 `json:"hourMicroUsd,omitempty"`
	// Estimate says that HourMicroUSD is not the price that will be billed, but near it.
	Estimate bool `json:"estimate,omitempty"`
}

// With returns h with what is known in addition; what other leaves out stays as it is.
func (h Hardware) With(other Hardware) Hardware {
	h.InstanceType = cmp.Or(other.InstanceType, h.InstanceType)
	h.Region, h.Zone = cmp.Or(other.Region, h.Region), cmp.Or(other.Zone, h.Zone)
	h.Spot = h.Spot || other.Spot
	if other.HourMicroUSD != 0 {
		h.HourMicroUSD, h.Estimate = other.HourMicroUSD, other.Estimate
	}
	return h
}

// Step is one line of a launch timeline: a state of the machine, or something the agent saw happen.
type Step struct {
	Name  string // a MachineState, or a name from the list in agentapi.go
	Agent bool   // reported by the agent, on the machine's clock
	At    time.Time
	Note  string
}
