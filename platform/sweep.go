package platform

import "time"

// Sweep is one instance that the sweep ended, because no living machine stood for it.
type Sweep struct {
	WorkspaceID  int64
	ComputeEnvID string
	ComputeEnv   string // name of ComputeEnvID, filled in by reading
	MachineID    string // as the instance named it; may be of no machine
	InstanceID   string
	Why          string // for people
	At           time.Time
}
