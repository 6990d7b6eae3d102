package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"wherry/cloud"
	"wherry/cloud/local"
	"wherry/db"
	"wherry/handlers"
	"wherry/handlers/api"
	"wherry/jobs"
	"wherry/platform"
)

// site is a portal's server without its loops, so that nothing starts.
type site struct {
	*httptest.Server
	t      *testing.T
	server *Server
	db     *db.DB
	data   string // the data folder
	member platform.Member
	env    platform.ComputeEnv
}

var siteKey = []byte("0123456789abcdef0123456789abcdef")

func newSite(t *testing.T) *site {
	t.Helper()
	data := t.TempDir()
	d, err := db.Open(t.Context(), data)
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	clouds := map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: local.New(local.Config{Dir: t.TempDir(), Nextflow: "true"})}
	s := &site{t: t, db: d, data: data, server: &Server{DB: d, Hub: NewHub(d), Log: log,
		Pages: &handlers.Handlers{DB: d, Clouds: clouds, Log: log, SignIns: handlers.NewSignInLimit(), Pending: handlers.NewPending(), PortalURL: "http://portal", Templates: platform.ShippedTemplates(),
			StudioConnections: func(string) []platform.StudioConnection { return nil }},
		API: &api.API{DB: d, Key: siteKey, PortalURL: "http://portal", Version: "test", Log: log}}}
	s.Server = httptest.NewServer(s.watchAudit(s.server.Handler()))
	t.Cleanup(func() {
		s.server.Hub.Close()
		s.Close()
		d.Close()
	})
	return s
}

// setUp makes an owner with a compute environment.
func (s *site) setUp() {
	s.t.Helper()
	var err error
	s.member, err = s.db.SetUp(s.t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(s.t, err)
	s.env = platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: s.t.TempDir(), Status: platform.ComputeEnvAvailable}
	must(s.t, s.db.AddComputeEnv(s.t.Context(), &s.env))
}

const ws = "/orgs/lab/workspaces/rivers"

// browser is a client with cookies that does not follow redirects.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	must(s.t, err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// signedIn is a browser of the owner, with its CSRF token.
func (s *site) signedIn() (*http.Client, string) {
	s.t.Helper()
	token := platform.NewToken()
	must(s.t, s.db.AddSignInLink(s.t.Context(), s.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	b := s.browser()
	resp, err := b.PostForm(s.URL+"/sign-in/link", url.Values{"token": {token}})
	must(s.t, err)
	resp.Body.Close()
	_, page := s.get(b, ws+"/launchpad")
	match := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page)
	if match == nil {
		s.t.Fatalf("no CSRF token in %s", page)
	}
	return b, match[1]
}

func (s *site) get(b *http.Client, path string) (int, string) {
	s.t.Helper()
	resp, err := b.Get(s.URL + path)
	must(s.t, err)
	return readAll(s.t, resp)
}

func (s *site) post(b *http.Client, path string, form url.Values) (int, string) {
	s.t.Helper()
	resp, err := b.PostForm(s.URL+path, form)
	must(s.t, err)
	return readAll(s.t, resp)
}

func readAll(t *testing.T, resp *http.Response) (int, string) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) addRun(name string) (platform.Run, platform.Machine) {
	s.t.Helper()
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: name, WorkDir: s.env.WorkDir}
	m, err := s.db.AddRun(s.t.Context(), &r)
	must(s.t, err)
	must(s.t, s.db.MoveMachine(s.t.Context(), m, db.Move{To: platform.MachineRequested, InstanceID: "i"}))
	m, err = s.db.Machine(s.t.Context(), m.ID)
	must(s.t, err)
	return r, m
}

func TestEveryRouteDeclaresAPermissionOfTheTable(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	public := map[string]bool{}
	for _, r := range s.server.routes() {
		if !r.Permission.Known() {
			t.Errorf("%s %s declares %q, which the table does not have", r.Method, r.Path, r.Permission)
		}
		if r.Permission.InWorkspace() != strings.Contains(r.Path, ":workspace") && !strings.HasPrefix(r.Path, "/api/") {
			t.Errorf("%s %s declares %q", r.Method, r.Path, r.Permission)
		}
		if r.Permission == platform.Public {
			public[r.Method+" "+r.Path] = true
		}
	}
	// Whoever makes another route public has to say so here too.
	for _, path := range []string{"GET /", "GET /healthz", "GET /readyz", "GET /metrics", "GET /static/*", "GET /favicon.ico", "GET /set-up", "POST /set-up", "GET /sign-in",
		"POST /sign-in", "GET /sign-in/link", "POST /sign-in/link", "GET /invitation", "POST /invitation", "POST /invitation/account", "POST /agent/claim", "POST /agent/boot/:machine", "GET /agent/download/:arch", "GET /api/service-info"} {
		delete(public, path)
	}
	if len(public) > 0 {
		t.Errorf("these routes are public, and should they be? %v", public)
	}
}

func TestMonitorsMayAskForHeadersAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	for path, want := range map[string]int{"/healthz": 200, ws + "/launchpad": 200, ws + "/events": 404, "/nothing": 404} {
		resp, err := b.Head(s.URL + path)
		must(t, err)
		if status, body := readAll(t, resp); status != want || body != "" {
			t.Errorf("HEAD %s: %d and %q, want %d and no body", path, status, body, want)
		}
	}
}

func TestNothingIsShownWithoutSigningIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	r, _ := s.addRun("a")
	fill := strings.NewReplacer(":organization", "lab", ":workspace", "rivers", ":run", r.ID, ":task", "1", ":stream", "stdout", ":file", ".command.out", ":pipeline", "1", ":env", s.env.ID, ":workflow", r.ID)
	for _, route := range s.server.routes() {
		if route.Permission == platform.Public {
			continue
		}
		req, err := http.NewRequest(route.Method, s.URL+fill.Replace(route.Path), strings.NewReader("{}"))
		must(t, err)
		resp, err := s.browser().Do(req)
		must(t, err)
		status, body := readAll(t, resp)
		if (route.Permission == platform.ByAgent || strings.HasPrefix(route.Path, "/api/")) && status != http.StatusUnauthorized {
			t.Errorf("%s %s without a key: %d", route.Method, route.Path, status)
		}
		if route.Permission != platform.ByAgent && !strings.HasPrefix(route.Path, "/api/") && (status != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/sign-in")) {
			t.Errorf("%s %s: %d to %q", route.Method, route.Path, status, resp.Header.Get("Location"))
		}
		if strings.Contains(body, "here") && len(body) > 500 {
			t.Errorf("%s %s shows something: %s", route.Method, route.Path, body)
		}
	}
}

func TestAFormOfAnotherSessionIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	r, _ := s.addRun("a")
	for _, token := range []string{"", "x", csrf + "x"} {
		if status, _ := s.post(b, ws+"/runs/"+r.ID+"/cancel", url.Values{"csrf": {token}}); status != http.StatusForbidden {
			t.Errorf("with the token %q: %d", token, status)
		}
	}
	req, err := http.NewRequest(http.MethodPost, s.URL+"/sign-in", strings.NewReader(""))
	must(t, err)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := b.Do(req)
	must(t, err)
	if status, _ := readAll(t, resp); status != http.StatusForbidden {
		t.Errorf("from another site: %d", status)
	}
	if got, err := s.db.AnyRun(t.Context(), r.ID); err != nil || !got.CancelAsked.IsZero() {
		t.Errorf("it was cancelled: %+v, %v", got, err)
	}
	if status, _ := s.post(b, ws+"/runs/"+r.ID+"/cancel", url.Values{"csrf": {csrf}}); status != http.StatusSeeOther {
		t.Errorf("with its own token: %d", status)
	}
}

func TestPagesOfOtherOriginsLinkHereAndLoadNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	ask := func(path, site, mode, dest string) int {
		r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		must(t, err)
		for name, value := range map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} {
			r.Header.Set(name, value)
		}
		resp, err := b.Do(r)
		must(t, err)
		status, _ := readAll(t, resp)
		return status
	}
	const page, events = "/orgs/lab/workspaces/rivers/runs", "/orgs/lab/workspaces/rivers/events?once=1"
	for _, site := range []string{"same-site", "cross-site"} {
		if status := ask(page, site, "navigate", "document"); status != http.StatusOK {
			t.Errorf("a link from a %s page: %d", site, status)
		}
		for _, c := range [][3]string{{events, "no-cors", "empty"}, {events, "cors", "empty"}, {page, "no-cors", "script"}, {page, "no-cors", "image"}, {page, "navigate", "iframe"}} {
			if status := ask(c[0], site, c[1], c[2]); status != http.StatusForbidden {
				t.Errorf("%s loaded by a %s page (%s, %s): %d", c[0], site, c[1], c[2], status)
			}
		}
	}
	if status := ask(events, "same-origin", "cors", "empty"); status != http.StatusOK {
		t.Errorf("the portal's own page: %d", status)
	}
}

func TestBadLaunchesCreateNothingAndKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.addRun("taken")
	good := url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "runName": {"brisk_thames"}, "preRunScript": {"echo kept"}}
	for field, value := range map[string]string{"pipeline": "/no/such/pipeline", "paramsText": "a: [", "runName": "taken", "computeEnvId": platform.NewID(),
		"environment": "no equals sign", "configProfiles": "-x", "revision": "--x", "workDir": "relative"} {
		form := url.Values{}
		for name, v := range good {
			form[name] = v
		}
		form.Set(field, value)
		status, page := s.post(b, ws+"/launch", form)
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, "aria-invalid=\"true\"") || !strings.Contains(page, "echo kept") {
			t.Errorf("%s = %q: %d\n%s", field, value, status, page)
		}
		if field != "paramsText" && !strings.Contains(page, `id="`+field+`-error"`) {
			t.Errorf("%s = %q: no error beside the field", field, value)
		}
	}
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 10})
	if err != nil || len(runs) != 1 {
		t.Errorf("runs: %v, %v", runs, err)
	}
	if status, _ := s.post(b, ws+"/launch", good); status != http.StatusSeeOther {
		t.Errorf("a good launch: %d", status)
	}
}

func TestOtherWorkspacesAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, _ := s.addRun("a")
	for _, path := range []string{"/orgs/lab/workspaces/other/runs", ws + "/runs/" + platform.NewID(), ws + "/runs/x", "/runs/" + platform.NewID(), ws + "/runs/" + r.ID + "/tasks/9",
		ws + "/runs/" + r.ID + "/log/other", "/nothing"} {
		if status, page := s.get(b, path); status != http.StatusNotFound || !strings.Contains(page, "<h1>Not found</h1>") {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestPagesAllowNoInlineScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, _ := s.addRun("a")
	studio := s.addStudio("a", false)
	s.runStudio(studio)
	inline := regexp.MustCompile(`<script>|<script [^>]*>[^<]|style="|<style| on[a-z]+="|javascript:`)
	for _, path := range []string{"/launchpad", "/launch", "/runs", "/runs/" + r.ID, "/compute-envs", "/compute-envs/new", "/pipelines/new",
		"/studios", "/studios/new", "/studios/" + studio.ID, "/studios/" + studio.ID + "/edit"} {
		resp, err := b.Get(s.URL + ws + path)
		must(t, err)
		policy := resp.Header.Get("Content-Security-Policy")
		status, page := readAll(t, resp)
		if status != http.StatusOK || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "script-src 'self'") {
			t.Errorf("%s: %d with the policy %q", path, status, policy)
		}
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
}

func TestAPanicIsAnErrorPageWithAReference(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var logged strings.Builder
	s.server.Log = slog.New(slog.NewTextHandler(&logged, nil))
	e := echo.New()
	e.HTTPErrorHandler = s.server.answerError
	e.Use(s.server.recoverPanics)
	e.GET("/", func(echo.Context) error { panic("the secret cause") })
	w := httptest.NewRecorder()
	w.Header().Set(echo.HeaderXRequestID, "reference-1")
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "reference-1") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(logged.String(), "the secret cause") || !strings.Contains(logged.String(), "reference-1") {
		t.Errorf("the log has %q", logged.String())
	}
}

func TestGuessingPasswordsIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b := s.browser()
	form := url.Values{"login": {"ada"}, "password": {"wrong wrong"}}
	for i := range 10 {
		if status, _ := s.post(b, "/sign-in", form); status != http.StatusUnprocessableEntity {
			t.Fatalf("attempt %d: %d", i, status)
		}
	}
	if status, page := s.post(b, "/sign-in", form); status != http.StatusTooManyRequests || !strings.Contains(page, "Try again in") {
		t.Errorf("then: %d", status)
	}
}

// event is one server-sent event.
type event struct{ id, name, data string }

// follow reads events until the test ends.
func (s *site) follow(b *http.Client, path, lastID string) <-chan event {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	must(s.t, err)
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := b.Do(req)
	must(s.t, err)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d", path, resp.StatusCode)
	}
	events := make(chan event, 1000)
	go func() {
		defer resp.Body.Close()
		defer close(events)
		var e event
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func next(t *testing.T, events <-chan event) event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the stream ended")
		}
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event came")
	}
	return event{}
}

func TestAReconnectLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, m := s.addRun("a")
	last, err := s.db.LastChange(t.Context())
	must(t, err)
	write := func(offset int64, text string) int64 {
		next, err := s.db.AppendLog(t.Context(), m, platform.LogOutput, offset, []byte(text))
		must(t, err)
		return next
	}
	at := write(0, "one\ntw")
	path := fmt.Sprintf("%s/events?run=%s&log=stdout&after=%d", ws, r.ID, last)
	first := s.follow(b, path, "")
	e := next(t, first)
	if e.name != "log" || !strings.Contains(e.data, `"lines":["one","tw"]`) || !strings.Contains(e.data, `"partial":true`) {
		t.Errorf("%+v", e)
	}
	write(at, "o\nthree\n")
	if e = next(t, first); e.name != "log" || !strings.Contains(e.data, `"first":1,"lines":["two","three"]`) {
		t.Errorf("%+v", e)
	}
	must(t, s.db.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
	change := next(t, first)
	if change.name != "change" || change.data != fmt.Sprintf(`{"run":"%s","kind":"run"}`, r.ID) {
		t.Errorf("%+v", change)
	}
	again := s.follow(b, path, change.id)
	write(int64(len("one\ntwo\nthree\n")), "four\n")
	if e = next(t, again); e.name != "log" || !strings.Contains(e.data, `"first":3,"lines":["four"]`) {
		t.Errorf("after the reconnect: %+v", e)
	}
	missed := s.follow(b, path, e.id[:strings.IndexByte(change.id, '-')]+"-4")
	must(t, s.db.AddSteps(t.Context(), m, []platform.StepReport{{Name: platform.StepAgentUp, At: time.Now()}}))
	if e = next(t, missed); e.name != "change" || !strings.Contains(e.data, `"machine"`) {
		t.Errorf("%+v", e)
	}
}

func TestWhoIsCutOffAmongChangesGetsThemAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	last, err := s.db.LastChange(t.Context())
	must(t, err)
	r, _ := s.addRun("a") // one transaction with two kinds of changes
	path := fmt.Sprintf("%s/events?run=%s&after=%d", ws, r.ID, last)
	events := s.follow(b, path, "")
	first, second := next(t, events), next(t, events)
	if first.id == second.id {
		t.Fatalf("%+v and %+v have the same id", first, second)
	}
	again := s.follow(b, path, first.id)
	if e := next(t, again); e.data != first.data {
		t.Errorf("whoever saw only the first gets %+v", e)
	}
	if e := next(t, again); e != second {
		t.Errorf("and then %+v, want %+v", e, second)
	}
	must(t, s.db.AskCancel(t.Context(), r.WorkspaceID, r.ID, "ada"))
	if e := next(t, s.follow(b, path, second.id)); !strings.Contains(e.data, `"run"`) || e.id == second.id {
		t.Errorf("whoever saw both gets %+v", e)
	}
}

func TestWhoWasAwayTooLongIsToldToLoadThePageAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	for range 20 {
		s.addRun(platform.NewID() + "x")
	}
	must(t, s.db.Tidy(t.Context(), 3))
	s.server.Hub.mu.Lock()
	s.server.Hub.recent = nil // as after a restart
	s.server.Hub.mu.Unlock()
	if e := next(t, s.follow(b, ws+"/events?after=1&once=1", "")); e.name != "reset" {
		t.Errorf("%+v", e)
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	events := s.follow(b, ws+"/events", "")
	s.server.Hub.Close()
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the stream is still open")
		}
	}
}

func TestAnAgentsTokenIsOfOneRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	r, m := s.addRun("a")
	other, _ := s.addRun("b")
	key := platform.NewToken()
	claim := fmt.Sprintf(`{"machineId":%q,"instanceId":"i","claimToken":%q,"key":%q}`, m.ID, jobs.ClaimToken(siteKey, m.ID), key)
	call := func(method, path, token, body string) int {
		req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
		must(t, err)
		if token != "" {
			req.SetBasicAuth("@token", token)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		status, _ := readAll(t, resp)
		return status
	}
	for name, c := range map[string]struct {
		body string
		want int
	}{"a wrong token": {strings.Replace(claim, `"claimToken":"`, `"claimToken":"x`, 1), 401}, "not JSON": {"{", 422}, "a short key": {strings.Replace(claim, key, "k", 1), 422}} {
		if got := call(http.MethodPost, "/agent/claim", "", c.body); got != c.want {
			t.Errorf("claim with %s: %d, want %d", name, got, c.want)
		}
	}
	for _, want := range []int{200, 200} {
		if got := call(http.MethodPost, "/agent/claim", "", claim); got != want {
			t.Errorf("claim: %d", got)
		}
	}
	if got := call(http.MethodPost, "/agent/claim", "", strings.Replace(claim, key, platform.NewToken(), 1)); got != 409 {
		t.Errorf("a second agent: %d", got)
	}
	for _, c := range []struct {
		method, path, token, body string
		want                      int
	}{
		{"POST", "/api/trace/create", key, `{"workflowId":"` + r.ID + `","sessionId":"s"}`, 200},
		{"PUT", "/api/trace/" + r.ID + "/heartbeat", key, `{}`, 200},
		{"PUT", "/api/trace/" + other.ID + "/begin", key, `{"workflow":{}}`, 403},
		{"PUT", "/api/trace/" + r.ID + "/begin", "another", `{"workflow":{}}`, 401},
		{"PUT", "/api/trace/" + r.ID + "/progress", key, `{"tasks":"x"}`, 422},
		{"GET", "/api/user-info", key, ``, 200},
		{"GET", "/api/service-info", "", ``, 200},
		{"POST", "/agent/logs/stdout?offset=0", key, "text", 200},
		{"POST", "/agent/logs/stdout?offset=9", key, "text", 409},
		{"POST", "/agent/logs/other?offset=0", key, "text", 422},
		{"POST", "/agent/logs/stdout?offset=0", key, strings.Repeat("x", platform.MaxLogChunk+1), 413},
	} {
		if got := call(c.method, c.path, c.token, c.body); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}
	must(t, s.db.MoveMachine(t.Context(), m, db.Move{To: platform.MachineTerminating}))
	if got := call(http.MethodPut, "/api/trace/"+r.ID+"/heartbeat", key, `{}`); got != 410 {
		t.Errorf("after the end: %d", got)
	}
}

// TestWhereNoEnvironmentTakesRunsAPageSaysWhatToDo, and a form that was sent is not lost.
func TestWhereNoEnvironmentTakesRunsAPageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	s.post(b, ws+"/compute-envs/"+s.env.ID+"/disable", url.Values{"csrf": {csrf}})
	for _, path := range []string{"/launch", "/pipelines/new"} {
		if _, page := s.get(b, ws+path); !strings.Contains(page, "No compute environment takes runs now") || strings.Contains(page, `name="computeEnvId"`) {
			t.Errorf("%s has a form, or does not say why it has none", path)
		}
	}
	for _, path := range []string{"/launch", "/pipelines"} {
		status, page := s.post(b, ws+path, url.Values{"csrf": {csrf}, "name": {"boats"}, "pipeline": {"https://example.org/boats"}, "computeEnvId": {s.env.ID}, "paramsText": {"river: severn"}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, "river: severn") || !strings.Contains(page, "is DISABLED and takes no work") {
			t.Errorf("%s: %d, and what was typed is gone", path, status)
		}
	}
	s.post(b, ws+"/compute-envs/"+s.env.ID+"/delete", url.Values{"csrf": {csrf}})
	status, page := s.post(b, ws+"/launch", url.Values{"csrf": {csrf}, "pipeline": {"https://example.org/boats"}, "computeEnvId": {s.env.ID}, "resume": {"true"}, "sessionId": {"x"}})
	if status != http.StatusUnprocessableEntity || !strings.Contains(page, "This is not a Nextflow session id.") {
		t.Errorf("a session id that is none: %d", status)
	}
}
