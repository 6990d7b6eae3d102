package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	"wherry/cloud/aws"
	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/policies"
	"wherry/platform"
)

// wire is the way to AWS, and notes when calls were under way.
type wire struct {
	to awssdk.HTTPClient
	mu sync.Mutex
	// calls are those that were answered, and ends when TerminateInstances left.
	calls []span
	ends  []time.Time
}

type span struct{ from, to time.Time }

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	from := time.Now()
	if bytes.Contains(body, []byte("Action=TerminateInstances")) {
		w.mu.Lock()
		w.ends = append(w.ends, from)
		w.mu.Unlock()
	}
	answer, err := w.to.Do(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, span{from, time.Now()})
	return answer, err
}

// busy is for how long between two moments some call was under way.
func (w *wire) busy(from, to time.Time) (sum time.Duration) {
	w.mu.Lock()
	calls := slices.Clone(w.calls)
	w.mu.Unlock()
	slices.SortFunc(calls, func(x, y span) int { return x.from.Compare(y.from) })
	for _, c := range calls {
		if c.from.Before(from) {
			c.from = from
		}
		if c.to.After(to) {
			c.to = to
		}
		if c.to.After(c.from) {
			sum += c.to.Sub(c.from)
			from = c.to
		}
	}
	return sum
}

func (w *wire) endAfter(t time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.ends {
		if at.After(t) {
			return at, true
		}
	}
	return time.Time{}, false
}

// newCloudSite is a site whose environment is in an AWS account on this host, reached by the real cloud/aws.
func newCloudSite(b *testing.B) (*site, *wire) {
	b.Helper()
	os.Unsetenv("AWS_CA_BUNDLE") // the SDK would put it into a client that is its own, which the wire is not
	moto := awstest.Moto(b)
	proxy, name, w := awstest.NewProxy(b, moto), "bench-"+platform.NewID(), &wire{to: awshttp.NewBuildableClient()}
	key, _ := moto.User(b, name, policies.Credentials()...)
	profile := moto.Profile(b, "machines-"+name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	creds := platform.Credentials{Name: "ours", Mode: platform.CredentialsKeys, AccessKey: key.ID, SecretKey: platform.NewSecret(key.Secret)}
	s := newSite(b, aws.New(aws.Config{PortalID: name, LaunchesPerSecond: 1000,
		Credentials: func(context.Context, string) (platform.Credentials, error) { return creds, nil },
		AgentDigest: func(string) (string, bool) { return strings.Repeat("ab", 32), true },
		Load:        []func(*config.LoadOptions) error{config.WithBaseEndpoint(proxy.URL), config.WithEC2IMDSClientEnableState(2), config.WithHTTPClient(w)}}))
	creds.WorkspaceID = s.member.Workspace.ID
	must(b, s.db.AddCredentials(b.Context(), &creds))
	s.env = platform.ComputeEnv{WorkspaceID: creds.WorkspaceID, Name: "cloudy", Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work",
		CredentialsID: creds.ID, Status: platform.ComputeEnvAvailable}
	s.env.Config.InstanceProfileARN, s.env.Config.ImageID = profile, "ami-03cf127a"
	must(b, s.db.AddComputeEnv(b.Context(), &s.env))
	return s, w
}

// click launches a run as the form does.
func (s *site) click(b *testing.B) (runID string) {
	resp, err := s.browser.PostForm(s.URL+ws+"/launch", url.Values{"csrf": {s.csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID},
		"runName": {"r" + platform.NewID()}, "workDir": {s.env.WorkDir}})
	must(b, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		page, _ := io.ReadAll(resp.Body)
		b.Fatalf("the launch was answered with %s: %s", resp.Status, page)
	}
	return filepath.Base(resp.Header.Get("Location"))
}

// until waits for something in the database.
func until(b *testing.B, what string, so func() bool) time.Time {
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("not within a minute: %s", what)
		}
	}
	return time.Now()
}

// BenchmarkRunOnEC2 is from the click on Launch to RUNNING, with an agent that is there as soon as EC2 has accepted its instance,
// and from that agent's last word to the request that ends the instance.
func BenchmarkRunOnEC2(b *testing.B) {
	s, w := newCloudSite(b)
	var whole, own, ends []time.Duration
	for range 40 {
		clicked := time.Now()
		run, err := s.db.AnyRun(b.Context(), s.click(b))
		must(b, err)
		var m platform.Machine
		until(b, "the instance", func() bool {
			m, err = s.db.MachineOfRun(b.Context(), run.ID)
			must(b, err)
			return m.InstanceID != ""
		})
		m, err = s.db.Claim(b.Context(), m.ID, m.InstanceID, "key of "+m.InstanceID)
		must(b, err)
		must(b, s.db.TraceCalled(b.Context(), run, "begin", platform.TraceCall{SessionID: "s"}))
		running := until(b, "RUNNING", func() bool {
			run, err = s.db.AnyRun(b.Context(), run.ID)
			must(b, err)
			return run.State == platform.RunRunning
		})
		whole, own = append(whole, running.Sub(clicked)), append(own, running.Sub(clicked)-w.busy(clicked, running))
		code, told := 0, time.Now()
		must(b, s.db.AddEndReport(b.Context(), m, platform.EndReport{ExitCode: &code, At: told}))
		until(b, "TerminateInstances", func() bool {
			_, asked := w.endAfter(told)
			return asked
		})
		asked, _ := w.endAfter(told)
		ends = append(ends, asked.Sub(told))
	}
	table(b, "click to RUNNING, agent at once, with moto's time", whole)
	table(b, "the same while no call to AWS is under way", own)
	table(b, "agent's end report to TerminateInstances asked", ends)
}

// BenchmarkPagesWhile200Launch is how long pages take while two hundred launches are under way.
func BenchmarkPagesWhile200Launch(b *testing.B) {
	s, _ := newCloudSite(b)
	var runID string
	for range 200 {
		r, _ := s.addRun(b)
		runID = r.ID
	}
	times := map[string][]time.Duration{}
	for launching := true; launching; {
		for name, path := range map[string]string{"runs": "/runs", "machines": "/machines", "run": "/runs/" + runID} {
			began := time.Now()
			resp, err := s.browser.Get(s.URL + ws + path)
			must(b, err)
			_, err = io.Copy(io.Discard, resp.Body)
			must(b, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Fatalf("%s: %s", path, resp.Status)
			}
			times[name] = append(times[name], time.Since(began))
		}
		machines, err := s.db.LivingMachines(b.Context())
		must(b, err)
		launching = slices.ContainsFunc(machines, func(m platform.Machine) bool { return m.State == platform.MachineWanted })
	}
	for _, name := range []string{"runs", "machines", "run"} {
		table(b, fmt.Sprintf("page %q while 200 launches are under way", name), times[name])
	}
}
