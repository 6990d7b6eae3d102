package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"wherry/platform"
)

// sync keeps the machine alive in the portal's eyes and hears of a cancel.
func (a *agent) sync(ctx context.Context, give context.CancelCauseFunc) {
	// The portal is heard several times in a lifetime, also while there is nothing to tell.
	req := platform.SyncRequest{Wait: min(platform.MaxSyncWait, a.Lifetime/4)}
	if a.studio != nil {
		req.Wait = min(req.Wait, platform.UsageEvery)
	}
	for ctx.Err() == nil {
		if a.studio != nil {
			req.Usage = a.studio.meter.measure(ctx)
		}
		var answer platform.SyncResponse
		err := a.portal.call(ctx, http.MethodPost, "/agent/sync", req, &answer)
		switch {
		case errors.Is(err, ErrOver):
			give(err)
		case err != nil && ctx.Err() == nil:
			a.Log.Warn("syncing failed", "error", err)
			time.Sleep(maxPause)
		case answer.Cancel && !req.Cancel:
			req.Cancel = true
			a.Log.Info("cancel was asked for")
			a.stop(errCancelled)
		}
		if err == nil && a.studio != nil {
			a.studio.lifespan.hear(answer.StopIn)
		}
	}
}
