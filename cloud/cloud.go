// Package cloud is the port to places that run machines. Loops and handlers know only this; what EC2 or this host need to
// know to do it stands behind it, in cloud/aws and cloud/local.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"wherry/platform"
)

// Cloud runs machines for the compute environments of one platform. Every method may be repeated, is safe for concurrent
// use, and returns an *Error whose Kind tells what to do.
type Cloud interface {
	// Start asks for the machine. It is idempotent by req.MachineID: at most one instance ever exists for it, however often,
	// and from however many crashed portals, it is asked, as long as what it kept (req.Keep) comes back with req.Placement.
	Start(ctx context.Context, env platform.ComputeEnv, req StartRequest) (Started, error)
	// Describe tells how the machine is. A machine that never was, and one long gone, are both StatusGone; one that may exist
	// although the platform does not show it yet is StatusPending.
	Describe(ctx context.Context, env platform.ComputeEnv, m platform.Machine) (Instance, error)
	// Terminate asks for the machine's end, with all its processes and disks. For one that is gone it does nothing.
	Terminate(ctx context.Context, env platform.ComputeEnv, m platform.Machine) error
	// Assign tells the platform whose a machine is that was started before its run was known, for people who look at its own
	// pages and bills. Only the machine's ids and names in the request count.
	Assign(ctx context.Context, env platform.ComputeEnv, m platform.Machine, req StartRequest) error
	// End asks for the end of one instance by the platform's name for it. For one that is gone it does nothing.
	End(ctx context.Context, env platform.ComputeEnv, instanceID string) error
	// List finds every machine that this portal ever started in the environment and that is not gone.
	List(ctx context.Context, env platform.ComputeEnv) ([]Instance, error)
	// Recover reads back what a machine's agent left for a portal that did not hear it. Nothing left is no error.
	Recover(ctx context.Context, env platform.ComputeEnv, req RecoverRequest) (Recovered, error)
	// LastWords are the last lines of the machine's console, where the platform shows them and allows it; "" otherwise.
	LastWords(ctx context.Context, env platform.ComputeEnv, m platform.Machine) string
	// Open opens a file in a run's work directory for reading. name is relative to workDir, with slashes, and must be
	// inside it (fs.ErrNotExist, or an *Error of KindInvalid).
	Open(ctx context.Context, env platform.ComputeEnv, workDir, name string) (fs.File, error)
	// CheckLaunch tells what this place knows to be wrong with a launch, as platform.FieldErrors. It is asked while someone
	// waits at the form, so it looks at what is near and asks nobody far away.
	CheckLaunch(ctx context.Context, env platform.ComputeEnv, l platform.Launch) error
	// Check tells whether the environment can run machines now, for instance whether its work directory can be written.
	Check(ctx context.Context, env platform.ComputeEnv) error
}

// StartRequest is what a machine needs to come up and find its portal.
type StartRequest struct {
	MachineID  string
	RunID      string // with StudioID empty: a warm machine
	StudioID   string // of the Studio whose session it is for
	Name       string // of the run or Studio, for people who look at the platform's own pages
	Spot       *bool  // over the environment's; nil: as the environment says
	UserName   string
	Tags       []platform.Label // of the environment's and the work's labels, beside the environment's resource labels
	PortalURL  string           // where the agent reaches the portal
	ClaimToken string           // given to the agent, which exchanges it once for its work
	Lifetime   time.Duration    // dead-man's timer: without word from the portal for so long, the machine ends itself
	// Placement is what an earlier Start for this machine kept last; empty: nothing.
	Placement string
	// Keep writes down for good, before it returns, what a repeated Start must know: it is called before the platform is asked.
	Keep func(ctx context.Context, placement string) error
}

// Started is a machine that the platform accepted.
type Started struct {
	InstanceID string
	Hardware   platform.Hardware
}

// RecoverRequest asks for what the agent of a run or Studio left.
type RecoverRequest struct {
	WorkID    string // of the run or the Studio's session
	Folder    string // in which its files are kept (platform.KeptFolder, KeptStudioFolder)
	MachineID string
	WorkDir   string                       // the run's or session's
	Offsets   map[platform.LogStream]int64 // how much of each log the portal has, in bytes
	// Ended says that nothing more is expected of the machine, so that what it left counts; otherwise only logs are looked for.
	Ended bool
}

// Recovered is what an agent left.
type Recovered struct {
	Logs  map[platform.LogStream][]byte // what follows the offsets that were asked for
	More  bool                          // there is more of the logs than was read: ask again
	Trace []platform.KeptCall           // trace calls in order; the portal may have had some
	// Checkpoints are those of a Studio's session; the portal may have had some.
	Checkpoints []platform.CheckpointReport
	End         *platform.KeptEndFile // nil: it left no end
}

// Status is what a platform says of a machine.
type Status string

// The statuses.
const (
	StatusPending  Status = "pending"  // accepted, not yet up
	StatusRunning  Status = "running"  // up
	StatusStopping Status = "stopping" // on its way out
	StatusGone     Status = "gone"     // nothing of it is left
)

// Instance is a machine as its platform sees it.
type Instance struct {
	MachineID  string
	InstanceID string
	Status     Status
	Reason     string // why it stopped, where the platform knows, as a sentence without its full stop
	Started    time.Time
	// Interrupted says that the platform took the machine away for others.
	Interrupted bool
	Hardware    platform.Hardware // as far as it is known
}

// Kind sorts what goes wrong by what the caller should do.
type Kind string

// The kinds of error.
const (
	KindThrottled Kind = "throttled" // slow down and repeat
	KindTransient Kind = "transient" // repeat later: a network error, a profile not yet visible
	KindCapacity  Kind = "capacity"  // the place is full: try another, or later
	KindDenied    Kind = "denied"    // a permission is missing
	KindInvalid   Kind = "invalid"   // the request can never work as it is
	KindIdentity  Kind = "identity"  // the credentials open nothing: a bad key, a role that may not be assumed
)

// Error is an error of a platform in words for people.
type Error struct {
	Kind    Kind
	Message string // what happened and what to do
	Details string // codes and request ids, for the curious
	// Permission names the permission that is missing (KindDenied), where the platform told.
	Permission string
	Err        error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s (%v)", e.Message, e.Err)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error.
func Errorf(kind Kind, err error, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: err}
}

// KindOf returns the kind of err; an error without one counts as transient, because repeating an idempotent request does
// no harm and giving up might.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindTransient
}
