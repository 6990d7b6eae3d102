package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// keepChanges is how many lines of the journal are kept: a browser that slept through more starts afresh.
const keepChanges = 50_000

// sweepUntil sweeps at once, and then again and again until ctx is done.
func (j *Jobs) sweepUntil(ctx context.Context) {
	for ctx.Err() == nil {
		j.Pulse.look(loopSweep)
		if _, err := j.Sweep(ctx); err != nil && ctx.Err() == nil {
			j.Pulse.fail(loopSweep, err)
			j.Log.Warn("sweep failed", "error", err)
		}
		if err := j.DB.Tidy(ctx, keepChanges); err != nil && ctx.Err() == nil {
			j.Log.Warn("tidying the database failed", "error", err)
		}
		if err := j.DB.RetainAudit(ctx, j.AuditRetention); err != nil && ctx.Err() == nil {
			j.Log.Warn("taking away what is old in the audit log failed", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(j.Times.Sweep):
		}
	}
}

// Sweep ends every instance for which no living machine stands, in all environments, and tells which. The cloud is listed
// first and the rows are read after: a row is always older than its instance, so a machine that was just wished for is
// never taken for an orphan.
func (j *Jobs) Sweep(ctx context.Context) (ended []string, err error) {
	envs, err := j.DB.SweptComputeEnvs(ctx)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, env := range envs {
		place, ok := j.Clouds[env.Platform]
		if !ok {
			continue
		}
		ids, err := j.sweepEnv(ctx, env, place)
		ended = append(ended, ids...)
		if err != nil {
			failures = append(failures, fmt.Errorf("compute environment %s: %w", env.ID, err))
		}
	}
	return ended, errors.Join(failures...)
}

func (j *Jobs) sweepEnv(ctx context.Context, env platform.ComputeEnv, place cloud.Cloud) (ended []string, err error) {
	ctx, cancel := context.WithTimeout(platform.WithPurpose(ctx, "sweep of the compute environment "+env.ID), stepLimit)
	defer cancel()
	instances, err := place.List(ctx, env)
	if err != nil || len(instances) == 0 {
		return nil, err
	}
	living, err := j.DB.LivingMachines(ctx)
	if err != nil {
		return nil, err
	}
	machines, instancesOf := make(map[string]platform.Machine, len(living)), map[string]bool{}
	for _, m := range living {
		machines[m.ID] = m
		instancesOf[m.InstanceID] = m.InstanceID != ""
	}
	var failures []error
	for _, i := range instances {
		m, known := machines[i.MachineID]
		if instancesOf[i.InstanceID] || (known && m.InstanceID == "") {
			continue // also where somebody took its tags away
		}
		if err := j.sweepInstance(ctx, env, place, i, known); err != nil {
			failures = append(failures, err)
			continue
		}
		ended = append(ended, i.InstanceID)
	}
	return ended, errors.Join(failures...)
}

// sweepInstance ends one instance that nobody answers for. That is written down first.
func (j *Jobs) sweepInstance(ctx context.Context, env platform.ComputeEnv, place cloud.Cloud, i cloud.Instance, known bool) error {
	why := "No living machine stood for it: its machine had ended, or was never there."
	if known {
		why = "Its machine has another instance."
	}
	j.Log.Warn("sweep ends an instance that no machine stands for", "instance", i.InstanceID, "machine", i.MachineID, "environment", env.ID, "why", why)
	if err := j.DB.AddSweep(ctx, platform.Sweep{WorkspaceID: env.WorkspaceID, ComputeEnvID: env.ID, MachineID: i.MachineID, InstanceID: i.InstanceID, Why: why}); err != nil {
		return err
	}
	if err := place.End(ctx, env, i.InstanceID); err != nil {
		return err
	}
	j.Pulse.sweep()
	return nil
}
