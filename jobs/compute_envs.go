package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// checkAttempts is how often a check is tried while its account does not answer.
const checkAttempts = 5

// environments are the rows of compute environments that have something to make, to remove or to check.
func (j *Jobs) environments() rows[platform.ComputeEnv] {
	return rows[platform.ComputeEnv]{
		due:  j.DB.DueComputeEnvs,
		read: j.DB.AnyComputeEnv,
		isDue: func(e platform.ComputeEnv) bool {
			return (e.Status == platform.ComputeEnvCreating || e.Status == platform.ComputeEnvDeleting || !e.CheckAsked.IsZero()) && !e.NextStep.After(time.Now())
		},
		facts: func(e platform.ComputeEnv) facts {
			return facts{e.ID, fmt.Sprintf("compute environment %s, %s", e.ID, e.Status), "compute environment " + e.ID, "", e.Attempts}
		},
		postpone: func(ctx context.Context, e platform.ComputeEnv, next time.Time, attempts int, why error) error {
			return j.DB.PostponeComputeEnv(ctx, e, next, attempts, forPeople(why))
		},
	}
}

// forPeople is what a page says about an error: what a platform or a rule says in words for people, and of anything else
// only that it happened.
func forPeople(err error) string {
	var c *cloud.Error
	var queued *inQueue
	switch {
	case err == nil:
		return ""
	case errors.As(err, &queued):
		return queued.why
	case errors.As(err, &c):
		return platform.WithDetails(c.Message, c.Details)
	case platform.ErrorCode(err) != "":
		return err.Error()
	}
	return "Something went wrong in the portal itself; its log says what. Wherry tries again."
}

// stepEnvironment makes, removes or checks what an environment has in its account.
func (j *Jobs) stepEnvironment(ctx context.Context, env platform.ComputeEnv) (time.Time, error) {
	switch env.Status {
	case platform.ComputeEnvCreating:
		return time.Time{}, j.makeEnvironment(ctx, env)
	case platform.ComputeEnvDeleting:
		return time.Time{}, j.removeEnvironment(ctx, env)
	}
	return time.Time{}, j.checkEnvironment(ctx, env)
}

// ledger is what is known of an environment's resources, as the account writes it down.
func (j *Jobs) ledger(ctx context.Context, env platform.ComputeEnv) (cloud.Ledger, error) {
	known, err := j.DB.Resources(ctx, env.ID)
	return cloud.Ledger{Known: known, Save: func(ctx context.Context, r platform.Resource) error { return j.DB.SaveResource(ctx, env, r) }}, err
}

// makeEnvironment makes what is missing. What makes no sense to repeat ends in ERRORED, from where people retry.
func (j *Jobs) makeEnvironment(ctx context.Context, env platform.ComputeEnv) error {
	account, ok := j.Accounts[env.Platform]
	if !ok {
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvAvailable, "")
	}
	ledger, err := j.ledger(ctx, env)
	if err != nil {
		return err
	}
	err = account.Make(ctx, env, ledger)
	if noteErr := j.noteCredentials(ctx, env, err); noteErr != nil {
		return noteErr
	}
	switch kind := cloud.KindOf(err); {
	case err == nil:
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvAvailable, "")
	case ctx.Err() != nil || platform.ErrorCode(err) == platform.CodeConflict:
		return err // the portal stops, or the environment is to be deleted: no verdict
	case kind == cloud.KindDenied || kind == cloud.KindInvalid || kind == cloud.KindIdentity || platform.ErrorCode(err) != "":
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvErrored, forPeople(err))
	case kind != cloud.KindThrottled && time.Since(j.sinceStart(env.StatusSince)) > j.Times.MakeLimit:
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvErrored, fmt.Sprintf("It could not be made for %s, the last time because: %s", j.Times.MakeLimit, forPeople(err)))
	}
	return err
}

// removeEnvironment removes what was made, and tries again for as long as it takes: nothing is given up but by people.
func (j *Jobs) removeEnvironment(ctx context.Context, env platform.ComputeEnv) error {
	if n, err := j.DB.LivingIn(ctx, env.ID); err != nil {
		return err
	} else if n > 0 {
		return cloud.Errorf(cloud.KindTransient, nil, "Its machines are being ended first: %d are left.", n)
	}
	if account, ok := j.Accounts[env.Platform]; ok {
		ledger, err := j.ledger(ctx, env)
		if err != nil {
			return err
		}
		err = account.Remove(ctx, env, ledger)
		if err := errors.Join(err, j.noteCredentials(ctx, env, err)); err != nil {
			return err
		}
	}
	return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvDeleted, "")
}

// checkEnvironment looks whether what an environment names is still as it must be.
func (j *Jobs) checkEnvironment(ctx context.Context, env platform.ComputeEnv) error {
	err := j.validate(ctx, env)
	if noteErr := j.noteCredentials(ctx, env, err); noteErr != nil {
		return noteErr
	}
	verdict := platform.ErrorCode(err) == platform.CodeInvalid
	switch {
	case err == nil && env.Status == platform.ComputeEnvInvalid:
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvAvailable, "")
	case err == nil:
		return j.DB.ComputeEnvChecked(ctx, env, "")
	case verdict && env.Status == platform.ComputeEnvAvailable:
		return j.DB.MoveComputeEnv(ctx, env, platform.ComputeEnvInvalid, forPeople(err))
	case verdict || env.Attempts >= checkAttempts:
		return j.DB.ComputeEnvChecked(ctx, env, forPeople(err))
	}
	return err
}

func (j *Jobs) validate(ctx context.Context, env platform.ComputeEnv) error {
	if account, ok := j.Accounts[env.Platform]; ok {
		return account.Validate(ctx, env)
	}
	if place, ok := j.Clouds[env.Platform]; ok {
		if err := place.Check(ctx, env); err != nil {
			return platform.FieldErrors{"workDir": forPeople(err)}
		}
	}
	return nil
}

// noteCredentials writes down whether credentials worked, as far as the outcome tells.
func (j *Jobs) noteCredentials(ctx context.Context, env platform.ComputeEnv, outcome error) error {
	if env.CredentialsID == "" || ctx.Err() != nil {
		return nil
	}
	status := platform.CredentialsAvailable
	switch {
	case outcome != nil && cloud.KindOf(outcome) == cloud.KindIdentity:
		status = platform.CredentialsInvalid
	case outcome != nil:
		return nil
	}
	c, err := j.DB.Credentials(ctx, env.WorkspaceID, env.CredentialsID)
	if err != nil || c.Status == status {
		return err
	}
	return j.DB.CredentialsTried(ctx, c, status, forPeople(outcome))
}
