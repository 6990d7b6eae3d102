package bench

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/cloud/local"
	"wherry/db"
	"wherry/handlers"
	"wherry/handlers/api"
	"wherry/jobs"
	"wherry/platform"
	"wherry/web"
)

// site is a whole portal on a real socket, with its loops.
type site struct {
	*httptest.Server
	db      *db.DB
	member  platform.Member
	env     platform.ComputeEnv
	browser *http.Client
	csrf    string
}

func newSite(b *testing.B, place cloud.Cloud) *site {
	b.Helper()
	d, err := db.Open(b.Context(), b.TempDir())
	must(b, err)
	log, key := slog.New(slog.DiscardHandler), []byte("key")
	clouds := map[platform.PlatformName]cloud.Cloud{platform.PlatformLocal: place, platform.PlatformAWSCloud: place}
	server := &web.Server{DB: d, Hub: web.NewHub(d), Log: log, Pages: &handlers.Handlers{DB: d, Clouds: clouds, Log: log, SignIns: handlers.NewSignInLimit(), AgentURLReachable: true,
		Accounts: map[platform.PlatformName]cloud.Account{platform.PlatformAWSCloud: silentAccount{}}, Pending: handlers.NewPending()},
		API: &api.API{DB: d, Key: key, Log: log}}
	s := &site{db: d, Server: httptest.NewServer(server.Handler())}
	loops := &jobs.Jobs{DB: d, Clouds: clouds, Key: key, PortalURL: s.URL, Log: log}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { loops.Run(ctx) })
	b.Cleanup(func() {
		stop()
		wg.Wait()
		server.Hub.Close()
		s.Close()
		d.Close()
	})
	s.member, err = d.SetUp(b.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(b, err)
	s.env = platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: "here", Platform: platform.PlatformLocal, WorkDir: b.TempDir(), Status: platform.ComputeEnvAvailable}
	must(b, d.AddComputeEnv(b.Context(), &s.env))
	s.signIn(b)
	return s
}

const ws = "/orgs/lab/workspaces/rivers"

func (s *site) signIn(b *testing.B) {
	jar, err := cookiejar.New(nil)
	must(b, err)
	s.browser = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	token := platform.NewToken()
	must(b, s.db.AddSignInLink(b.Context(), s.member.User.ID, platform.HashToken(token), time.Now().Add(time.Minute)))
	resp, err := s.browser.PostForm(s.URL+"/sign-in/link", url.Values{"token": {token}})
	must(b, err)
	resp.Body.Close()
	resp, err = s.browser.Get(s.URL + ws + "/launchpad")
	must(b, err)
	defer resp.Body.Close()
	page := new(strings.Builder)
	_, err = bufio.NewReader(resp.Body).WriteTo(page)
	must(b, err)
	s.csrf = regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(page.String())[1]
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// table prints a line of the results: how many were measured, their median and their 99th percentile.
func table(b *testing.B, what string, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	at := func(share float64) time.Duration {
		return times[int(share*float64(len(times)-1))].Round(10 * time.Microsecond)
	}
	fmt.Printf("| %-46s | %6d | %10s | %10s |\n", what, len(times), at(.5), at(.99))
	b.ReportMetric(float64(at(.5).Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(at(.99).Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "machine" || os.Args[1] == "agent") {
		if os.Args[1] == "machine" {
			_ = local.Supervise(context.Background())
		}
		return // an agent that has nothing to do
	}
	fmt.Printf("| %-46s | %6s | %10s | %10s |\n| --- | ---: | ---: | ---: |\n", "what", "count", "median", "p99")
	os.Exit(m.Run())
}

// BenchmarkClickToRequested is from the click on Launch to the moment at which the platform has accepted the machine: here a
// real supervisor process on this host.
func BenchmarkClickToRequested(b *testing.B) {
	place := &timedCloud{Cloud: local.New(local.Config{Dir: b.TempDir(), Command: []string{os.Args[0], "machine"}}), at: map[string]time.Time{}}
	s := newSite(b, place)
	for range b.N {
		var times []time.Duration
		for range 200 {
			clicked := time.Now()
			resp, err := s.browser.PostForm(s.URL+ws+"/launch", url.Values{"csrf": {s.csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "runName": {"r" + platform.NewID()}})
			must(b, err)
			resp.Body.Close()
			runID := filepath.Base(resp.Header.Get("Location"))
			times = append(times, place.wait(b, runID).Sub(clicked))
		}
		table(b, "click on Launch to machine requested", times)
	}
}

// timedCloud notes when a platform had accepted each run's machine.
type timedCloud struct {
	cloud.Cloud
	mu sync.Mutex
	at map[string]time.Time
}

func (c *timedCloud) Start(ctx context.Context, env platform.ComputeEnv, req cloud.StartRequest) (cloud.Started, error) {
	started, err := c.Cloud.Start(ctx, env, req)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[req.RunID] = time.Now()
	return started, err
}

func (c *timedCloud) wait(b *testing.B, runID string) time.Time {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		at, ok := c.at[runID]
		c.mu.Unlock()
		if ok {
			return at
		}
	}
	b.Fatal("the machine was not requested")
	return time.Time{}
}

// idle is a platform on which nothing starts.
type idle struct{}

func (idle) Start(context.Context, platform.ComputeEnv, cloud.StartRequest) (cloud.Started, error) {
	return cloud.Started{InstanceID: "i"}, nil
}
func (idle) Describe(_ context.Context, _ platform.ComputeEnv, m platform.Machine) (cloud.Instance, error) {
	return cloud.Instance{MachineID: m.ID, Status: cloud.StatusRunning}, nil
}
func (idle) Terminate(context.Context, platform.ComputeEnv, platform.Machine) error { return nil }
func (idle) End(context.Context, platform.ComputeEnv, string) error                 { return nil }
func (idle) Recover(context.Context, platform.ComputeEnv, cloud.RecoverRequest) (cloud.Recovered, error) {
	return cloud.Recovered{}, nil
}
func (idle) LastWords(context.Context, platform.ComputeEnv, platform.Machine) string { return "" }
func (idle) List(context.Context, platform.ComputeEnv) ([]cloud.Instance, error)     { return nil, nil }
func (idle) Open(context.Context, platform.ComputeEnv, string, string) (fs.File, error) {
	return nil, fs.ErrNotExist
}
func (idle) CheckLaunch(context.Context, platform.ComputeEnv, platform.Launch) error { return nil }
func (idle) Check(context.Context, platform.ComputeEnv) error                        { return nil }

func (s *site) addRun(b *testing.B) (platform.Run, platform.Machine) {
	r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "r" + platform.NewID(), WorkDir: "/w"}
	m, err := s.db.AddRun(b.Context(), &r)
	must(b, err)
	return r, m
}

// follow calls got with the data of every event, until the benchmark ends.
func (s *site) follow(b *testing.B, query string, got func(data string)) {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+ws+"/events"+query, nil)
	must(b, err)
	resp, err := s.browser.Do(req)
	must(b, err)
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
	go func() {
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				got(data)
			}
		}
	}()
}

// BenchmarkLineToBrowser is from a line that Nextflow prints on its machine to the browser's event: through the real agent's
// file reading, the portal, SQLite and SSE.
func BenchmarkLineToBrowser(b *testing.B) {
	nextflow := filepath.Join(b.TempDir(), "nextflow")
	must(b, os.WriteFile(nextflow, []byte("#!/bin/bash\nfor i in $(seq 1 400); do echo \"at $(date +%s%N)\"; sleep 0.0$((RANDOM % 90 + 10)); done\n"), 0o755))
	wherry := filepath.Join(b.TempDir(), "wherry")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", wherry, "wherry").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	s := newSite(b, local.New(local.Config{Dir: b.TempDir(), Command: []string{wherry, "machine"}, Nextflow: nextflow}))
	stamp := regexp.MustCompile(`at (\d{19})`)
	for range b.N {
		r := platform.Run{WorkspaceID: s.member.Workspace.ID, UserID: s.member.User.ID, ComputeEnvID: s.env.ID, Name: "r" + platform.NewID(), WorkDir: s.env.WorkDir,
			Launch: platform.Launch{Pipeline: "x"}}
		_, err := s.db.AddRun(b.Context(), &r)
		must(b, err)
		var mu sync.Mutex
		seen := map[string]time.Duration{}
		s.follow(b, "?run="+r.ID+"&log=stdout", func(data string) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now().UnixNano()
			for _, m := range stamp.FindAllStringSubmatch(data, -1) {
				var at int64
				fmt.Sscan(m[1], &at)
				if _, again := seen[m[1]]; !again {
					seen[m[1]] = time.Duration(now - at)
				}
			}
		})
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
			mu.Lock()
			n := len(seen)
			mu.Unlock()
			if n == 400 {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d of 400 lines came", n)
			}
		}
		times := make([]time.Duration, 0, len(seen))
		for _, d := range seen {
			times = append(times, d)
		}
		table(b, "line printed on the machine to browser's event", times)
	}
}

// BenchmarkEventsTo500Clients is from a change to its event at each of 500 pages that follow the workspace.
func BenchmarkEventsTo500Clients(b *testing.B) {
	s := newSite(b, idle{})
	r, m := s.addRun(b)
	time.Sleep(500 * time.Millisecond) // the machine's first steps
	last, err := s.db.LastChange(b.Context())
	must(b, err)
	const clients = 500
	var mu sync.Mutex
	var began time.Time
	var times []time.Duration
	var got atomic.Int32
	for range clients {
		s.follow(b, fmt.Sprintf("?after=%d&run=%s", last, r.ID), func(string) {
			mu.Lock()
			times = append(times, time.Since(began))
			mu.Unlock()
			got.Add(1)
		})
	}
	time.Sleep(time.Second)
	for range b.N {
		for range 20 {
			got.Store(0)
			mu.Lock()
			began = time.Now()
			mu.Unlock()
			must(b, s.db.AddSteps(b.Context(), m, []platform.StepReport{{Name: platform.StepAgentUp, At: began}}))
			for got.Load() < clients {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(250 * time.Millisecond) // past the pause in which changes are gathered
		}
		table(b, "change to event, at each of 500 clients", times)
	}
}

// BenchmarkLogChunksIntoSQLite appends chunks to eight logs at once, each durable before it is answered.
func BenchmarkLogChunksIntoSQLite(b *testing.B) {
	s := newSite(b, idle{})
	chunk := []byte(strings.Repeat("a line of a log, as Nextflow writes them\n", 50))
	for range b.N {
		var mu sync.Mutex
		var times []time.Duration
		var wg sync.WaitGroup
		began := time.Now()
		for range 8 {
			_, m := s.addRun(b)
			wg.Go(func() {
				var at int64
				for range 250 {
					start := time.Now()
					next, err := s.db.AppendLog(context.Background(), m, platform.LogOutput, at, chunk)
					if err != nil {
						b.Error(err)
						return
					}
					at = next
					mu.Lock()
					times = append(times, time.Since(start))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		table(b, "log chunk of 2 KiB into SQLite, 8 writers", times)
		fmt.Printf("  that is %.0f chunks and %.1f MiB a second\n", float64(len(times))/took.Seconds(), float64(len(times)*len(chunk))/took.Seconds()/(1<<20))
	}
}

// silentAccount never answers.
type silentAccount struct{ cloud.Account }

func (silentAccount) Regions() []cloud.Region { return []cloud.Region{{Name: "eu-west-1"}} }

func (silentAccount) Lookup(ctx context.Context, _ cloud.LookupRequest) (cloud.Choices, error) {
	<-ctx.Done()
	return cloud.Choices{}, ctx.Err()
}

func (silentAccount) Validate(ctx context.Context, _ platform.ComputeEnv) error {
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkFormsWhileAWSIsSilent is how long someone waits for the form of an environment on AWS, for its choices, and for an
// answer to Save, while the account never answers.
func BenchmarkFormsWhileAWSIsSilent(b *testing.B) {
	s := newSite(b, local.New(local.Config{Dir: b.TempDir()}))
	c := platform.Credentials{WorkspaceID: s.member.Workspace.ID, Name: "key", Mode: platform.CredentialsKeys, AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: platform.NewSecret("secret")}
	must(b, s.db.AddCredentials(b.Context(), &c))
	ask := func(method, path string, form url.Values) {
		r, err := http.NewRequest(method, s.URL+ws+path, strings.NewReader(form.Encode()))
		must(b, err)
		r.Header.Set("HX-Request", "true")
		r.Header.Set("X-CSRF-Token", s.csrf)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := s.browser.Do(r)
		must(b, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("%s %s: %s", method, path, resp.Status)
		}
	}
	for range b.N {
		var times []time.Duration
		for i := range 100 {
			for _, request := range []func(){
				func() { ask(http.MethodGet, "/compute-envs/new?platform=aws-cloud", nil) },
				func() { ask(http.MethodGet, "/compute-envs/lookup/vpcId?region=eu-west-1&credentialsId="+c.ID, nil) },
				func() {
					ask(http.MethodPost, "/compute-envs", url.Values{"platform": {"aws-cloud"}, "name": {fmt.Sprint("e", i)}, "credentialsId": {c.ID}, "region": {"eu-west-1"}, "workDir": {"s3://rivers/work"}})
				},
			} {
				began := time.Now()
				request()
				times = append(times, time.Since(began))
			}
		}
		table(b, "form of an environment while AWS is silent", times)
	}
}

func (idle) Assign(context.Context, platform.ComputeEnv, platform.Machine, cloud.StartRequest) error {
	return nil
}
