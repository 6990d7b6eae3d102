package platform

import "slices"

// ComputeEnvStatus tells whether work can be sent to a compute environment.
//
//	CREATING → AVAILABLE ⇄ DISABLED
//	   ⇅          ⇅
//	ERRORED    INVALID      and from each of them → DELETING → DELETED
type ComputeEnvStatus string

// The states of a compute environment, as the API names them.
const (
	ComputeEnvCreating  ComputeEnvStatus = "CREATING"  // what it needs in the account is being made, or changed
	ComputeEnvAvailable ComputeEnvStatus = "AVAILABLE" // runs can be launched
	ComputeEnvErrored   ComputeEnvStatus = "ERRORED"   // it could not be made; Message says why
	ComputeEnvInvalid   ComputeEnvStatus = "INVALID"   // what it names is not as it must be any more; Message says what
	ComputeEnvDisabled  ComputeEnvStatus = "DISABLED"  // someone switched it off
	ComputeEnvDeleting  ComputeEnvStatus = "DELETING"  // what was made for it is being removed
	ComputeEnvDeleted   ComputeEnvStatus = "DELETED"   // only its runs remember it
)

// ComputeEnvStatuses lists every status.
var ComputeEnvStatuses = []ComputeEnvStatus{ComputeEnvCreating, ComputeEnvAvailable, ComputeEnvErrored, ComputeEnvInvalid,
	ComputeEnvDisabled, ComputeEnvDeleting, ComputeEnvDeleted}

// computeEnvMoves is the transition table: every move that exists, and no other.
var computeEnvMoves = map[ComputeEnvStatus][]ComputeEnvStatus{
	ComputeEnvCreating:  {ComputeEnvAvailable, ComputeEnvErrored, ComputeEnvDeleting},
	ComputeEnvAvailable: {ComputeEnvCreating, ComputeEnvInvalid, ComputeEnvDisabled, ComputeEnvDeleting},
	ComputeEnvErrored:   {ComputeEnvCreating, ComputeEnvDeleting},
	ComputeEnvInvalid:   {ComputeEnvCreating, ComputeEnvAvailable, ComputeEnvDeleting},
	ComputeEnvDisabled:  {ComputeEnvCreating, ComputeEnvAvailable, ComputeEnvDeleting},
	ComputeEnvDeleting:  {ComputeEnvDeleted},
	ComputeEnvDeleted:   {},
}

// CanMove tells whether the table allows a move.
func (s ComputeEnvStatus) CanMove(to ComputeEnvStatus) bool {
	return slices.Contains(computeEnvMoves[s], to)
}
