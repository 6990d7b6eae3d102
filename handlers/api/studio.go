package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/jobs"
	"wherry/platform"
)

// studioSpec gathers the work of a machine that is for a Studio's session. The token of the environment's owner for Wave and
// Fusion is not in it: a Studio is open to others.
func (a *API) studioSpec(ctx context.Context, m platform.Machine) (spec platform.Spec, err error) {
	s, err := a.DB.StudioSession(ctx, m.StudioSessionID)
	if err != nil {
		return spec, err
	}
	env, err := a.DB.AnyComputeEnv(ctx, m.ComputeEnvID)
	if err != nil {
		return spec, err
	}
	template, err := a.studioTemplate(ctx, m, s)
	if err != nil {
		return spec, err
	}
	spec = platform.Spec{WorkspaceID: s.WorkspaceID, Launch: platform.Launch{WorkDir: s.WorkDir},
		Environment: platform.MergeEnv(env.Config.HeadEnvironment(), s.Config.Environment),
		Studio: &platform.StudioSpec{StudioID: s.StudioID, SessionID: s.ID, Name: s.StudioName, URL: a.StudioURL(s.StudioID), Template: template,
			Token: jobs.StudioToken(a.Key, s.ID), CondaPackages: strings.Fields(s.Config.CondaPackages), Mounts: studioMounts(env, s.Config.Mounts),
			StopIn: studioTime(s)}}
	if env.Platform != platform.PlatformLocal {
		spec.Cloud = env.CloudSpec()
	}
	if spec.Studio.Restore, err = a.DB.RestoredCheckpoint(ctx, s); err != nil {
		return spec, err
	}
	spec.Studio.Forget, err = a.DB.UnwantedCheckpoints(ctx, s)
	return spec, err
}

// studioTemplate is what a session is run as. One that an admin took away meanwhile ends it, in words: its agent asks no more.
func (a *API) studioTemplate(ctx context.Context, m platform.Machine, s platform.StudioSession) (platform.StudioTemplate, error) {
	if s.Config.Template == "" {
		return platform.CustomTemplate(s.Config), nil
	}
	template, ok := platform.FindTemplate(a.Templates, s.Config.Template)
	if ok {
		return template, nil
	}
	reason := "This portal has no template " + s.Config.Template + " any more. Choose another for the Studio."
	if err := a.DB.AddEndReport(ctx, m, platform.EndReport{Reason: reason, At: time.Now()}); err != nil {
		return template, err
	}
	return template, platform.Errorf(platform.CodeGone, "%s", reason)
}

// studioMounts are mounts as the agent makes them: what the environment may write to, it mounts to be written.
func studioMounts(env platform.ComputeEnv, mounts []platform.StudioMount) (list []platform.StudioMountSpec) {
	writable := env.Buckets()
	for _, m := range mounts {
		bucket, _, _ := platform.SplitS3(m.URI)
		list = append(list, platform.StudioMountSpec{StudioMount: m, ReadOnly: !slices.Contains(writable, bucket)})
	}
	return list
}

// studioTime is how long a session may go on: what is left, or all of its lifespan where that has not begun; 0: it has none.
func studioTime(s platform.StudioSession) time.Duration {
	if !s.StopAt.IsZero() {
		return timeLeft(s.StopAt)
	}
	return time.Duration(s.Config.LifespanHours) * time.Hour
}

// Checkpoints takes what a Studio's agent has saved, and answers with what it shall remove.
func (a *API) Checkpoints(c echo.Context) error {
	var reports []platform.CheckpointReport
	if err := readJSON(c, &reports); err != nil {
		return err
	}
	m, ctx := handlers.Machine(c), c.Request().Context()
	if err := a.DB.AddCheckpoints(ctx, m, reports); err != nil {
		return err
	}
	s, err := a.DB.StudioSession(ctx, m.StudioSessionID)
	if err != nil {
		return err
	}
	unwanted, err := a.DB.UnwantedCheckpoints(ctx, s)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, platform.CheckpointAck{Forget: unwanted})
}

// CheckpointsRemoved takes which unwanted checkpoints are gone.
func (a *API) CheckpointsRemoved(c echo.Context) error {
	var ids []string
	if err := readJSON(c, &ids); err != nil {
		return err
	}
	if err := a.DB.CheckpointsRemoved(c.Request().Context(), handlers.Machine(c), ids); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, empty{})
}
