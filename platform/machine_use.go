package platform

import "time"

// Use is what the machine is billed for. Whether its platform took it back is not known of it, so that an interruption
// within the first hour, which EC2 does not bill, is counted all the same.
func (m Machine) Use() InstanceUse {
	return InstanceUse{Price: m.Hardware.Price(), Launched: m.Launched, Gone: m.Gone, Spot: m.Hardware.Spot}
}

// Price is what an hour of the hardware costs.
func (h Hardware) Price() Price { return Price{Hour: Money(h.HourMicroUSD), Estimate: h.Estimate} }

// Billed tells whether the hardware costs money by the hour: that of a cloud does, the portal's own host does not.
func (h Hardware) Billed() bool { return h.InstanceType != "" }

// RunningMachine is a machine that may still exist, with what people know it by.
type RunningMachine struct {
	Machine
	ComputeEnv string       // name of ComputeEnvID
	Platform   PlatformName // of ComputeEnvID
	Run        string       // name of RunID; empty: no run's
	RunState   RunState     // empty: no run's
	// Studio is the name of StudioID, and StudioState where its session stands; empty: no Studio's.
	Studio      string
	StudioState StudioState
	UserName    string // whose run or session it is; empty: a warm machine
	// CancelAsked is when someone, or Wherry itself, asked for the end of the run or session; zero: nobody did.
	CancelAsked time.Time
}

// Ending tells whether the machine is on its way out, or was asked to be.
func (m RunningMachine) Ending() bool {
	return !m.State.Wanted() || !m.EndAsked.IsZero() || !m.CancelAsked.IsZero() || m.RunState.Ended() || m.StudioState.Ended()
}

// Queued tells whether the machine waits for a place in its workspace's limits.
func (m RunningMachine) Queued() bool { return m.State == MachineWanted && m.Admitted.IsZero() }
