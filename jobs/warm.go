package jobs

import (
	"cmp"
	"context"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

const (
	// warmLook is how often the warm machines are counted; a launch makes it look at once.
	warmLook = 10 * time.Second
	// warmPause is how long no warm machine is started after one that failed to start.
	warmPause = 5 * time.Minute
)

// warmUntil keeps environments' warm machines as many as they should be, until ctx is done.
func (j *Jobs) warmUntil(ctx context.Context, wake <-chan struct{}) {
	for ctx.Err() == nil {
		j.Pulse.look(loopWarm)
		if err := j.warm(ctx); err != nil && ctx.Err() == nil {
			j.Pulse.fail(loopWarm, err)
			j.Log.Warn("counting warm machines failed", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-time.After(warmLook):
		}
	}
}

func (j *Jobs) warm(ctx context.Context) error {
	envs, err := j.DB.EnvsWithWarm(ctx)
	if err != nil {
		return err
	}
	for _, env := range envs {
		if err := j.warmEnv(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// assign tells the platform whose a machine is now that was warm: older than its work. Work does not wait for that.
func (j *Jobs) assign(ctx context.Context, w watched) {
	if !w.m.Created.Before(w.created()) {
		return
	}
	req := cloud.StartRequest{MachineID: w.m.ID}
	w.request(&req)
	var err error
	if req.Tags, err = j.DB.MachineTags(ctx, w.m); err == nil {
		err = w.place.Assign(ctx, w.env, w.m, req)
	}
	if err != nil && ctx.Err() == nil {
		j.Log.Warn("a warm machine was not given the names of its work", "machine", w.m.ID, "work", w.m.WorkID(), "error", err)
	}
}

// warmWanted is how many warm machines an environment should have now: some, while it was used a while ago.
func warmWanted(env platform.ComputeEnv, now time.Time) int {
	idle := time.Duration(cmp.Or(env.Config.WarmMinutes, platform.DefaultWarmMinutes)) * time.Minute
	if env.Status != platform.ComputeEnvAvailable || env.LastUsed.IsZero() || now.Sub(env.LastUsed) > idle {
		return 0
	}
	return env.Config.WarmInstances
}

// warmEnv wishes for one more, or ends those that are too many or were started for what the environment was before.
func (j *Jobs) warmEnv(ctx context.Context, env platform.ComputeEnv) error {
	have, err := j.DB.WarmMachines(ctx, env.ID)
	if err != nil {
		return err
	}
	wanted, kept := warmWanted(env, time.Now()), 0
	for _, m := range have {
		if kept < wanted && m.Digest == env.MachineDigest() && m.EndAsked.IsZero() {
			kept++
			continue
		}
		if m.State == platform.MachineWanted && m.Placement != "" {
			continue // the platform may be starting it just now: it is ended once its instance is known
		}
		err := j.DB.MoveMachine(ctx, m, db.Move{To: platform.MachineTerminating, Note: "no work needs it any more"})
		if err != nil && platform.ErrorCode(err) != platform.CodeConflict {
			return err
		}
	}
	if kept >= wanted {
		return nil
	}
	failures, err := j.DB.WarmFailures(ctx, env.ID, time.Now().Add(-warmPause))
	if err != nil || failures > 0 {
		return err
	}
	for ; kept < wanted; kept++ {
		if err := j.DB.AddWarmMachine(ctx, env, wanted); err != nil {
			return err
		}
	}
	return nil
}
