package instance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Interruption waits for the Spot interruption notice, which comes two minutes before the instance is taken. A rebalance
// recommendation is none: the instance may well stay.
func (i *Instance) Interruption(ctx context.Context) (time.Time, error) {
	tick := time.NewTicker(i.look)
	defer tick.Stop()
	warned := false
	for {
		at, noticed, err := i.notice(ctx)
		if noticed {
			return at, nil
		}
		if err != nil && !warned && ctx.Err() == nil {
			warned = true
			i.log.Warn("the Spot interruption notice cannot be looked for; trying on", "error", err)
		}
		select {
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// noticeTime is how long before the end a notice comes; it is used where a notice tells no time.
const noticeTime = 2 * time.Minute

// notice reads spot/instance-action, which is there only after the notice (EC2's user guide, "Spot Instance interruption
// notices").
func (i *Instance) notice(ctx context.Context) (at time.Time, noticed bool, err error) {
	text, err := i.fact(ctx, "spot/instance-action")
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	var action struct {
		Action string
		Time   time.Time
	}
	if err := json.Unmarshal([]byte(text), &action); err != nil {
		return at, false, err
	}
	if action.Time.IsZero() {
		action.Time = time.Now().Add(noticeTime)
	}
	return action.Time, action.Action != "", nil
}
