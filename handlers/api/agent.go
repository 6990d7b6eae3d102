package api

import (
	"cmp"
	"context"
	"crypto/subtle"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/handlers"
	"wherry/jobs"
	"wherry/platform"
)

// Claim gives an agent its machine's work, once.
func (a *API) Claim(c echo.Context) error {
	var req platform.ClaimRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	want := jobs.ClaimToken(a.Key, req.MachineID)
	if subtle.ConstantTimeCompare([]byte(req.ClaimToken), []byte(want)) != 1 {
		return platform.Errorf(platform.CodeUnauthorized, "The claim token is not this machine's.")
	}
	if len(req.Key) < 40 { // what platform.NewToken makes has 43
		return platform.Errorf(platform.CodeInvalid, "The agent's key is too short.")
	}
	ctx := asMachine(c.Request().Context(), req.MachineID)
	m, err := a.claim(ctx, req)
	if err != nil {
		return err
	}
	if m.WorkID() == "" {
		return c.JSON(http.StatusAccepted, empty{})
	}
	spec, err := a.spec(c.Request().Context(), m)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, spec)
}

// asMachine says to the audit log which machine asks, once its claim token was checked.
func asMachine(ctx context.Context, machineID string) context.Context {
	who := platform.ActorOf(ctx)
	who.Kind, who.UserName = platform.ActorAgent, machineID
	return platform.WithActor(ctx, who)
}

// claim waits a while for the work of a warm machine, which has none yet.
func (a *API) claim(ctx context.Context, req platform.ClaimRequest) (platform.Machine, error) {
	news, leave := a.listen("")
	defer leave()
	limit := time.NewTimer(platform.MaxSyncWait)
	defer limit.Stop()
	for {
		m, err := a.DB.Claim(ctx, req.MachineID, req.InstanceID, platform.HashToken(req.Key))
		if err != nil || m.WorkID() != "" {
			return m, err
		}
		select {
		case <-news:
		case <-limit.C:
			return m, nil
		case <-a.waiters.closing:
			return m, nil
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

// Boot takes what a machine's boot script saw, which has the claim token and no key yet.
func (a *API) Boot(c echo.Context) error {
	id := c.Param("machine")
	token, _ := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(jobs.ClaimToken(a.Key, id))) != 1 {
		return platform.Errorf(platform.CodeUnauthorized, "The claim token is not this machine's.")
	}
	var report platform.BootReport
	if err := readJSON(c, &report); err != nil {
		return err
	}
	if err := a.DB.BootReported(c.Request().Context(), id, report); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, empty{})
}

// Reports takes which files a run made for people.
func (a *API) Reports(c echo.Context) error {
	var reports []platform.Report
	if err := readJSON(c, &reports); err != nil {
		return err
	}
	if err := a.DB.AddReports(c.Request().Context(), handlers.Machine(c), reports); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, empty{})
}

// spec gathers a machine's work.
func (a *API) spec(ctx context.Context, m platform.Machine) (spec platform.Spec, err error) {
	if m.StudioSessionID != "" {
		spec, err = a.studioSpec(ctx, m)
	} else {
		spec, err = a.runSpec(ctx, m)
	}
	spec.LogOffsets = map[platform.LogStream]int64{}
	for _, stream := range platform.LogStreams {
		if err == nil {
			spec.LogOffsets[stream], _, err = a.DB.LogSize(ctx, m.WorkID(), stream)
		}
	}
	return spec, err
}

func (a *API) runSpec(ctx context.Context, m platform.Machine) (platform.Spec, error) {
	run, err := a.DB.AnyRun(ctx, m.RunID)
	if err != nil {
		return platform.Spec{}, err
	}
	env, err := a.DB.OpenComputeEnv(ctx, m.ComputeEnvID)
	if err != nil {
		return platform.Spec{}, err
	}
	spec := platform.Spec{RunID: run.ID, WorkspaceID: run.WorkspaceID, Launch: run.Launch,
		EnvConfigText: platform.TaskEnvironmentConfig(env.Config.TaskEnvironment()) + env.Config.NextflowConfig, EnvPreRun: env.Config.PreRunScript, EnvPostRun: env.Config.PostRunScript,
		Environment: platform.MergeEnv(env.Config.HeadEnvironment(), run.Launch.Environment)}
	spec.Launch.RunName, spec.Launch.WorkDir = run.Name, run.WorkDir
	if spec.PipelineSecrets, err = a.DB.UsePipelineSecrets(asMachine(ctx, m.ID), run); err != nil {
		return spec, err
	}
	if env.Platform != platform.PlatformLocal {
		spec.Cloud = env.CloudSpec()
	}
	if params, err := platform.ParseParams(run.Launch.ParamsText); err != nil {
		return spec, err
	} else if params != nil {
		text, err := platform.ParamsJSON(run.Launch.ParamsText)
		if err != nil {
			return spec, err
		}
		spec.ParamsJSON = string(text)
	}
	return spec, nil
}

// Sync is an agent's heartbeat and its long poll for news. What came between two polls, the next one's answer tells.
func (a *API) Sync(c echo.Context) error {
	var req platform.SyncRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	m, ctx := handlers.Machine(c), c.Request().Context()
	if err := a.DB.Heartbeat(ctx, m, time.Now()); err != nil {
		return err
	}
	news, leave := a.listen(cmp.Or(m.RunID, m.StudioID))
	defer leave()
	first, err := a.wanted(ctx, m.ID)
	if err != nil {
		return err
	}
	if req.Usage != nil && m.StudioSessionID != "" {
		if err := a.DB.StudioUsed(ctx, m, *req.Usage); err != nil {
			return err
		}
	}
	limit := time.NewTimer(min(max(req.Wait, 0), platform.MaxSyncWait))
	defer limit.Stop()
	for now := first; ; {
		if now.cancel != req.Cancel || !now.stopAt.Equal(first.stopAt) {
			return c.JSON(http.StatusOK, now.answer())
		}
		select {
		case <-news:
		case <-limit.C:
			return c.JSON(http.StatusOK, now.answer())
		case <-a.waiters.closing:
			return c.JSON(http.StatusOK, now.answer())
		case <-ctx.Done():
			return ctx.Err()
		}
		if now, err = a.wanted(ctx, m.ID); err != nil {
			return err
		}
	}
}

// wish is what the portal wants of a machine.
type wish struct {
	cancel bool
	stopAt time.Time // the end of a Studio's lifespan; zero: there is none
}

func (w wish) answer() platform.SyncResponse {
	return platform.SyncResponse{Cancel: w.cancel, StopIn: timeLeft(w.stopAt)}
}

// timeLeft is how long it is until a time, and more than 0 when it has gone by: 0 means that there is none.
func timeLeft(until time.Time) time.Duration {
	if until.IsZero() {
		return 0
	}
	return max(time.Until(until), 1)
}

// wanted tells what the portal wants of a machine now.
func (a *API) wanted(ctx context.Context, machineID string) (wish, error) {
	m, err := a.DB.Machine(ctx, machineID)
	switch {
	case err != nil:
		return wish{}, err
	case !m.State.Wanted():
		return wish{}, platform.Errorf(platform.CodeGone, "This machine's work is over.")
	case m.StudioSessionID != "":
		s, err := a.DB.StudioSession(ctx, m.StudioSessionID)
		return wish{!s.StopAsked.IsZero(), s.StopAt}, err
	}
	run, err := a.DB.AnyRun(ctx, m.RunID)
	return wish{cancel: !run.CancelAsked.IsZero()}, err
}

// Steps takes what an agent saw happen.
func (a *API) Steps(c echo.Context) error {
	var reports []platform.StepReport
	if err := readJSON(c, &reports); err != nil {
		return err
	}
	if err := a.DB.AddSteps(c.Request().Context(), handlers.Machine(c), reports); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, empty{})
}

// AppendLog takes a chunk of a log. The answer tells where the next must begin, whether this one was taken or not.
func (a *API) AppendLog(c echo.Context) error {
	stream := platform.LogStream(c.Param("stream"))
	offset, err := strconv.ParseInt(c.QueryParam("offset"), 10, 64)
	if !stream.Known() || err != nil || offset < 0 {
		return platform.Errorf(platform.CodeInvalid, "A chunk names its stream and its offset in bytes.")
	}
	data, err := io.ReadAll(io.LimitReader(c.Request().Body, platform.MaxLogChunk+1))
	if err != nil {
		return platform.Errorf(platform.CodeInvalid, "The chunk ends early.")
	}
	if len(data) > platform.MaxLogChunk {
		return echo.NewHTTPError(http.StatusRequestEntityTooLarge, "The chunk is larger than platform.MaxLogChunk.")
	}
	next, err := a.DB.AppendLog(c.Request().Context(), handlers.Machine(c), stream, offset, data)
	if platform.ErrorCode(err) == platform.CodeConflict {
		return c.JSON(http.StatusConflict, platform.LogAck{Next: next})
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, platform.LogAck{Next: next})
}

// End takes an agent's last word.
func (a *API) End(c echo.Context) error {
	var report platform.EndReport
	if err := readJSON(c, &report); err != nil {
		return err
	}
	if err := a.DB.AddEndReport(c.Request().Context(), handlers.Machine(c), report); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, empty{})
}
