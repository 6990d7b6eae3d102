// Package faults lets the portal's loops work with the real cloud/aws against an account on this host in which calls fail and
// in which many launches come at once. Agents are goroutines that say what an agent says.
package faults

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/cloud/aws"
	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/policies"
	"wherry/db"
	"wherry/jobs"
	"wherry/platform"
)

const region = "eu-west-1"

func TestMain(m *testing.M) {
	os.Unsetenv("AWS_CA_BUNDLE") // the SDK would put it into a client that is its own, which that of these tests is not
	os.Exit(m.Run())
}

// account is what a team has in AWS: a user whose key may assume a role with the published policies, and an instance profile.
type account struct {
	moto    *awstest.Server
	creds   platform.Credentials
	profile string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{moto: awstest.Moto(t)}
	name := "faults-" + platform.NewID()
	key, user := a.moto.User(t, name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}]}`)
	role := a.moto.Role(t, name, fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%q},"Action":["sts:AssumeRole","sts:TagSession"]}]}`, user),
		policies.Credentials()...)
	a.profile = a.moto.Profile(t, "machines-"+name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	a.creds = platform.Credentials{Mode: platform.CredentialsKeys, AccessKey: key.ID, SecretKey: platform.NewSecret(key.Secret), RoleARN: role}
	return a
}

// world is one portal with that account.
type world struct {
	*account
	t        *testing.T
	proxy    *awstest.Proxy
	dir      string
	db       *db.DB
	member   platform.Member
	env      platform.ComputeEnv
	portalID string
	times    jobs.Times
	rate     float64 // launches a second
	wire     func(awssdk.HTTPClient) awssdk.HTTPClient
	cloud    atomic.Pointer[asked]
	open     atomic.Bool // agents may end their work

	mu     sync.Mutex
	cancel context.CancelFunc // kills the portal that lives
	done   chan struct{}      // closed when it is dead
}

func newWorld(t *testing.T, a *account) *world {
	t.Helper()
	w := &world{account: a, t: t, proxy: awstest.NewProxy(t, a.moto), dir: memoryDir(t), portalID: "portal-" + platform.NewID()}
	var err error
	w.db, err = db.Open(t.Context(), w.dir)
	must(t, err)
	t.Cleanup(func() { must(t, w.db.Close()) })
	w.member, err = w.db.SetUp(t.Context(), platform.SetUp{Email: "ada@example.org", UserName: "ada", Organization: "lab", Workspace: "rivers"}, "")
	must(t, err)
	creds := a.creds
	creds.WorkspaceID, creds.Name = w.member.Workspace.ID, "ours"
	must(t, w.db.AddCredentials(t.Context(), &creds))
	w.env = platform.ComputeEnv{WorkspaceID: w.member.Workspace.ID, Name: "cloudy", Platform: platform.PlatformAWSCloud, Region: region, WorkDir: "s3://rivers/work",
		CredentialsID: creds.ID, Status: platform.ComputeEnvAvailable}
	w.env.Config.InstanceProfileARN, w.env.Config.ImageID = a.profile, "ami-03cf127a" // moto takes long to look for the newest
	must(t, w.db.AddComputeEnv(t.Context(), &w.env))
	w.times = jobs.Times{Poll: 100 * time.Millisecond, Drain: 20 * time.Millisecond, Sweep: 500 * time.Millisecond, Backoff: 300 * time.Millisecond, Idle: 500 * time.Millisecond, Lifetime: 30 * time.Minute}
	w.rate = 1000
	return w
}

// memoryDir is a folder in memory where there is one: nothing here has to survive a power cut.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "wherry-faults-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asked counts what the loops ask of the cloud.
type asked struct {
	cloud.Cloud
	describes atomic.Int64
}

func (a *asked) Describe(ctx context.Context, env platform.ComputeEnv, m platform.Machine) (cloud.Instance, error) {
	a.describes.Add(1)
	return a.Cloud.Describe(ctx, env, m)
}

// amazon is AWS as a portal that has just started reaches it. The SDK repeats nothing, so that each fault comes to the loops.
func (w *world) amazon() cloud.Cloud {
	load := []func(*config.LoadOptions) error{config.WithBaseEndpoint(w.proxy.URL), config.WithEC2IMDSClientEnableState(2),
		config.WithRetryer(func() awssdk.Retryer { return awssdk.NopRetryer{} })}
	if w.wire != nil {
		load = append(load, config.WithHTTPClient(w.wire(connections)))
	}
	return aws.New(aws.Config{PortalID: w.portalID, LaunchesPerSecond: w.rate, Load: load,
		Credentials: w.db.OpenCredentials,
		AgentDigest: func(string) (string, bool) { return strings.Repeat("ab", 32), true }})
}

// start starts a portal's loops, with nothing but what the database remembers.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done, place := make(chan struct{}), &asked{Cloud: w.amazon()}
	w.cloud.Store(place)
	j := &jobs.Jobs{DB: w.db, Clouds: map[platform.PlatformName]cloud.Cloud{platform.PlatformAWSCloud: place}, Key: []byte("key"),
		PortalURL: "https://portal.example.org", Log: slog.New(slog.DiscardHandler), Times: w.times}
	w.mu.Lock()
	w.cancel, w.done = cancel, done
	w.mu.Unlock()
	go func() {
		defer close(done)
		j.Run(ctx)
	}()
}

// kill kills the portal where it is; dead waits until it is dead.
func (w *world) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel()
}

func (w *world) dead() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

// launch saves a run of a user.
func (w *world) launch(userID int64) platform.Run {
	r := platform.Run{WorkspaceID: w.member.Workspace.ID, UserID: userID, ComputeEnvID: w.env.ID, Name: "r" + platform.NewID(), WorkDir: "s3://rivers/work"}
	_, err := w.db.AddRun(context.Background(), &r)
	if err != nil {
		w.t.Error(err)
	}
	return r
}

// users are so many more people, as many as the portal has no page for yet.
func (w *world) users(names ...string) (ids []int64) {
	w.t.Helper()
	direct, err := sql.Open("sqlite", filepath.Join(w.dir, db.FileName))
	must(w.t, err)
	defer direct.Close()
	for _, name := range names {
		var id int64
		must(w.t, direct.QueryRow(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES (?, ?, '', 1) RETURNING id`, name, name+"@example.org").Scan(&id))
		ids = append(ids, id)
	}
	return ids
}

// agents lets every machine that has an instance do its work, until the test ends.
func (w *world) agents() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.stepAgents(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(25 * time.Millisecond):
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (w *world) stepAgents(ctx context.Context) {
	machines, err := w.db.LivingMachines(ctx)
	if err != nil {
		return // the test ends
	}
	up := w.moto.Instances()
	for _, m := range machines {
		if m.InstanceID == "" || !m.State.Wanted() || !slices.Contains(up, m.InstanceID) {
			continue
		}
		if err := w.stepAgent(ctx, m); err != nil && ctx.Err() == nil && platform.ErrorCode(err) == "" {
			w.t.Errorf("the agent of %s: %v", m.ID, err)
		}
	}
}

// stepAgent claims the work, begins it, and once the portal has seen that, ends it.
func (w *world) stepAgent(ctx context.Context, m platform.Machine) error {
	run, err := w.db.AnyRun(ctx, m.RunID)
	switch {
	case err != nil:
		return err
	case m.Claimed.IsZero():
		if _, err := w.db.Claim(ctx, m.ID, m.InstanceID, "key of "+m.InstanceID); err != nil {
			return err
		}
		return w.db.TraceCalled(ctx, run, "begin", platform.TraceCall{SessionID: "s"})
	case run.State == platform.RunRunning && run.End == nil && w.open.Load():
		code := 0
		return w.db.AddEndReport(ctx, m, platform.EndReport{ExitCode: &code, At: time.Now()})
	}
	return nil
}

// instances are all that the portal ever had, as the account's owner sees them.
func (w *world) instances() (list []types.Instance) {
	w.t.Helper()
	out := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(w.moto.Admin(w.t, region)),
		&ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: awssdk.String("tag:wherry:portal"), Values: []string{w.portalID}}}})
	for out.HasMorePages() {
		page, err := out.NextPage(context.Background())
		must(w.t, err)
		for _, r := range page.Reservations {
			list = append(list, r.Instances...)
		}
	}
	return list
}

func tag(i types.Instance, key string) string {
	for _, t := range i.Tags {
		if awssdk.ToString(t.Key) == key {
			return awssdk.ToString(t.Value)
		}
	}
	return ""
}

// checkInstances fails the test unless each of so many machines had exactly one instance, and none is left.
func (w *world) checkInstances(machines int) {
	w.t.Helper()
	had := map[string]int{}
	for _, i := range w.instances() {
		had[tag(i, "wherry:machine")]++
		if i.State.Name != types.InstanceStateNameTerminated {
			w.t.Errorf("%s is left, %s", awssdk.ToString(i.InstanceId), i.State.Name)
		}
	}
	for id, n := range had {
		if n > 1 {
			w.t.Errorf("machine %s had %d instances", id, n)
		}
	}
	if len(had) != machines {
		w.t.Errorf("%d machines had instances, want %d", len(had), machines)
	}
}

// stuckAfter is how long nothing may change in the database, so that a test that is stuck tells it, and one on a busy host goes on.
const stuckAfter = 60 * time.Second

// await waits until something is so; of what never comes it tells.
func (w *world) await(what string, so func() bool) {
	w.t.Helper()
	last, moved := int64(-1), time.Now()
	for ; !so(); time.Sleep(20 * time.Millisecond) {
		change, err := w.db.LastChange(context.Background())
		must(w.t, err)
		if change != last {
			last, moved = change, time.Now()
		}
		if time.Since(moved) > stuckAfter {
			machines, _ := w.db.LivingMachines(context.Background())
			for _, m := range machines[:min(len(machines), 5)] {
				w.t.Logf("machine %s, %s, instance %q, attempts %d: %s", m.ID, m.State, m.InstanceID, m.Attempts, m.Waiting)
			}
			w.t.Fatalf("%s: nothing has changed for %s", what, stuckAfter)
		}
	}
}

// atRest tells whether every run has ended and no machine lives.
func (w *world) atRest() bool {
	runs, err := w.db.LivingRuns(context.Background())
	must(w.t, err)
	machines, err := w.db.LivingMachines(context.Background())
	must(w.t, err)
	return len(runs) == 0 && len(machines) == 0
}
