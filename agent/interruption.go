package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wherry/platform"
)

// errInterrupted means that the place takes the machine away.
var errInterrupted = errors.New("the machine is taken away")

// interruptedReason is what people read of a run that an interruption ended. Every place with interruptions calls them so.
const interruptedReason = "EC2 takes the Spot instance back. What had ended by then is kept, so the run can be launched again and resumed. " +
	"On-Demand instances are not taken back."

// watchInterruption stops the work when the place takes the machine away, and bounds what is kept by that time, also when the
// work has ended before.
func (a *agent) watchInterruption(alive context.Context) {
	at, err := a.Place.Interruption(alive)
	if err != nil {
		return // all is over
	}
	a.Log.Warn("the machine is taken away", "at", at)
	a.steps.add(platform.StepInterrupted, time.Now(), fmt.Sprintf("The machine ends at %s.", at.UTC().Format(time.RFC3339)))
	a.keeping.endBy(at)
	a.stop(errInterrupted)
}
