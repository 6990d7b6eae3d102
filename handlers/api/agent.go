package api

import (
	"context"
	"crypto/subtle"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
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
	m, err := a.claim(c.Request().Context(), req)
	if err != nil {
		return err
	}
	if m.RunID == "" {
		return c.JSON(http.StatusAccepted, empty{})
	}
	spec, err := a.spec(c.Request().Context(), m)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, spec)
}

// claim waits a while for the work of a warm machine; without a run there is none yet.
func (a *API) claim(ctx context.Context, req platform.ClaimRequest) (platform.Machine, error) {
	news, leave := a.listen("")
	defer leave()
	limit := time.NewTimer(platform.MaxSyncWait)
	defer limit.Stop()
	for {
		m, err := a.DB.Claim(ctx, req.MachineID, req.InstanceID, platform.HashToken(req.Key))
		if err != nil || m.RunID != "" {
			return m, err
		}
		select {
		case <-news:
		case <-limit.C:
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
func (a *API) spec(ctx context.Context, m platform.Machine) (platform.Spec, error) {
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
		Environment: platform.MergeEnv(env.Config.HeadEnvironment(), run.Launch.Environment), LogOffsets: map[platform.LogStream]int64{}}
	spec.Launch.RunName, spec.Launch.WorkDir = run.Name, run.WorkDir
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
	for _, stream := range platform.LogStreams {
		if spec.LogOffsets[stream], _, err = a.DB.LogSize(ctx, run.ID, stream); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

// Sync is an agent's heartbeat and its long poll for news.
func (a *API) Sync(c echo.Context) error {
	var req platform.SyncRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	m, ctx := handlers.Machine(c), c.Request().Context()
	if err := a.DB.Heartbeat(ctx, m, time.Now()); err != nil {
		return err
	}
	news, leave := a.listen(m.RunID)
	defer leave()
	limit := time.NewTimer(min(max(req.Wait, 0), platform.MaxSyncWait))
	defer limit.Stop()
	for {
		answer, err := a.wanted(ctx, m.ID)
		if err != nil {
			return err
		}
		if answer.Cancel != req.Cancel {
			return c.JSON(http.StatusOK, answer)
		}
		select {
		case <-news:
		case <-limit.C:
			return c.JSON(http.StatusOK, answer)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wanted tells what the portal wants of a machine now.
func (a *API) wanted(ctx context.Context, machineID string) (platform.SyncResponse, error) {
	m, err := a.DB.Machine(ctx, machineID)
	if err != nil {
		return platform.SyncResponse{}, err
	}
	if !m.State.Wanted() {
		return platform.SyncResponse{}, platform.Errorf(platform.CodeGone, "This machine's work is over.")
	}
	run, err := a.DB.AnyRun(ctx, m.RunID)
	return platform.SyncResponse{Cancel: !run.CancelAsked.IsZero()}, err
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

// waiters are the long polls that wait for news of a run.
type waiters struct {
	mu    sync.Mutex
	byRun map[string]map[chan struct{}]struct{}
}

// listen tells of changes to a run until leave is called. The channel holds one token at most.
func (a *API) listen(runID string) (news <-chan struct{}, leave func()) {
	a.once.Do(func() {
		a.waiters.byRun = map[string]map[chan struct{}]struct{}{}
		a.DB.Subscribe(a.tellWaiters)
	})
	ch := make(chan struct{}, 1)
	w := &a.waiters
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byRun[runID] == nil {
		w.byRun[runID] = map[chan struct{}]struct{}{}
	}
	w.byRun[runID][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.byRun[runID], ch); len(w.byRun[runID]) == 0 {
			delete(w.byRun, runID)
		}
	}
}

func (a *API) tellWaiters(change platform.Change) {
	if change.Kind != platform.ChangeRun && change.Kind != platform.ChangeMachine {
		return
	}
	a.waiters.mu.Lock()
	defer a.waiters.mu.Unlock()
	for _, run := range []string{change.RunID, ""} { // "" are warm machines that wait for any run
		for ch := range a.waiters.byRun[run] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}
