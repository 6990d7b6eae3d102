package instance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/logevent"
	"wherry/platform"
)

const region = "us-east-1"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// metadataService is an instance's metadata service, version 2 only.
type metadataService struct {
	*httptest.Server
	mu     sync.Mutex
	answer map[string]string // by path below /latest/meta-data/
	asked  []string
}

func newMetadata(t *testing.T, key awstest.Key) *metadataService {
	m := &metadataService{answer: map[string]string{"instance-id": "i-0123456789abcdef0", "placement/region": region,
		"iam/security-credentials/": "TowerForge-test",
		"iam/security-credentials/TowerForge-test": fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":"","Expiration":%q}`,
			key.ID, key.Secret, time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "token")
			return
		}
		if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")
		m.asked = append(m.asked, path)
		if text, ok := m.answer[path]; ok {
			fmt.Fprint(w, text)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *metadataService) set(path, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer[path] = text
}

// rolePolicies are what the role of an instance may do: CloudWatchAgentServerPolicy and AmazonS3ReadOnlyAccess as far as
// they are of use here, and the inline policy for the bucket, as it is published.
func rolePolicies(bucket string) []string {
	return []string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:PutLogEvents","logs:PutRetentionPolicy","logs:DescribeLogStreams","logs:DescribeLogGroups","logs:CreateLogStream","logs:CreateLogGroup"],"Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*"],"Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":"arn:aws:s3:::` + bucket + `"},{"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::` + bucket + `/*"}]}`,
	}
}

// machine is an instance in an account, with a work directory and a log group's name of its own.
type machine struct {
	*Instance
	proxy    *awstest.Proxy
	admin    awssdk.Config
	metadata *metadataService
	spec     platform.Spec
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	server := awstest.Moto(t)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	name = "i-" + name[max(0, len(name)-50):]
	key, _ := server.User(t, name, rolePolicies(name)...)
	proxy, metadata := awstest.NewProxy(t, server), newMetadata(t, key)
	client := imds.New(imds.Options{Endpoint: metadata.URL})
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
	i := &Instance{root: t.TempDir(), endpoint: proxy.URL, metadata: client, creds: awssdk.NewCredentialsCache(role),
		log: slog.New(slog.DiscardHandler), look: 10 * time.Millisecond, run: runCommand}
	m := &machine{Instance: i, proxy: proxy, admin: server.Admin(t, region), metadata: metadata}
	m.spec = platform.Spec{RunID: "run1", Launch: platform.Launch{WorkDir: "s3://" + name + "/some/work"}, Cloud: platform.CloudSpec{Region: region, LogGroup: "/wherry/" + name}}
	_, err := s3.NewFromConfig(m.admin, func(o *s3.Options) { o.UsePathStyle = true }).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	must(t, err)
	return m
}

// operations lists what AWS was asked, each once.
func (m *machine) operations() (list []string) {
	for _, c := range m.proxy.Calls() {
		if !slices.Contains(list, c.Operation) {
			list = append(list, c.Operation)
		}
	}
	return list
}

func TestFilesAreKeptInS3(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	store, err := m.Store(t.Context(), m.spec)
	must(t, err)
	large := make([]byte, 2*smallPart+5)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	for key, text := range map[string][]byte{"a/small": []byte("hello"), "a/none": nil, "b/one-part": large[:smallPart], "b/large": large} {
		must(t, store.Put(t.Context(), key, bytes.NewReader(text)))
		body, err := store.Get(t.Context(), key)
		must(t, err)
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s came back with %d bytes, want %d, %v", key, len(got), len(text), err)
		}
	}
	keys, err := store.List(t.Context(), "a/")
	if err != nil || !slices.Equal(keys, []string{"a/none", "a/small"}) {
		t.Errorf("%q, %v", keys, err)
	}
	if _, err := store.Get(t.Context(), "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for range 2 { // to remove what is not there is as good
		must(t, store.Delete(t.Context(), "a/none"))
	}
	if keys, err := store.List(t.Context(), "a/"); err != nil || !slices.Equal(keys, []string{"a/small"}) {
		t.Errorf("after one was removed: %q, %v", keys, err)
	}
	bucket := strings.Split(m.spec.Launch.WorkDir, "/")[2]
	out, err := s3.NewFromConfig(m.admin, func(o *s3.Options) { o.UsePathStyle = true }).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: awssdk.String("some/work/a/small")})
	if err != nil || len(out.Contents) != 1 {
		t.Errorf("the object is not below the work directory: %v", err)
	}
	t.Logf("asked: %v", m.operations())
}

func TestAPartThatFailsIsSentAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	store, err := m.Store(t.Context(), m.spec)
	must(t, err)
	var mu sync.Mutex
	failed := map[string]bool{}
	m.proxy.Fail(func(c awstest.Call) awstest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if failed[c.Operation] {
			return awstest.Fault{}
		}
		failed[c.Operation] = true
		return awstest.Throttle()
	})
	text := bytes.Repeat([]byte("0123456789abcdef"), smallPart/16+1)
	must(t, store.Put(t.Context(), "k", bytes.NewReader(text)))
	body, err := store.Get(t.Context(), "k")
	must(t, err)
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(text), err)
	}
}

func TestAWorkDirectoryOutsideS3IsRefused(t *testing.T) {
	t.Parallel()
	i := New("", slog.New(slog.DiscardHandler))
	for _, dir := range []string{"/work", "gs://bucket/work", "s3://", "s3:///work", ""} {
		if _, err := i.Store(t.Context(), platform.Spec{Launch: platform.Launch{WorkDir: dir}, Cloud: platform.CloudSpec{Region: region}}); err == nil {
			t.Errorf("%q is taken", dir)
		}
	}
}

// streamed reads a log back as the portal does.
func (m *machine) streamed(t *testing.T, stream platform.LogStream) []byte {
	t.Helper()
	client := cloudwatchlogs.NewFromConfig(m.admin)
	name, group := logevent.Stream(m.spec.RunID, stream), m.spec.Cloud.LogGroup
	var text []byte
	for token := (*string)(nil); ; {
		out, err := client.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: &group, LogStreamName: &name, StartFromHead: awssdk.Bool(true), NextToken: token})
		must(t, err)
		for _, e := range out.Events {
			event, err := logevent.Decode(*e.Message)
			must(t, err)
			if end := int(event.Offset) + len(event.Text); end > len(text) {
				text = append(text, make([]byte, end-len(text))...)
			}
			copy(text[event.Offset:], event.Text)
		}
		if token != nil && *token == *out.NextForwardToken {
			return text
		}
		token = out.NextForwardToken
	}
}

func TestALogReachesCloudWatchWhole(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(n int, c awstest.Call) awstest.Fault{
		"": func(int, awstest.Call) awstest.Fault { return awstest.Fault{} },
		"throttled": func(n int, c awstest.Call) awstest.Fault {
			if n%3 == 0 {
				return awstest.Throttle()
			}
			return awstest.Fault{}
		},
	} {
		t.Run("faults "+name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			var mu sync.Mutex
			n := 0
			m.proxy.Fail(func(c awstest.Call) awstest.Fault {
				mu.Lock()
				defer mu.Unlock()
				n++
				return fault(n, c)
			})
			path, ended := filepath.Join(t.TempDir(), "log"), make(chan struct{})
			done := make(chan error, 1)
			go func() { done <- m.StreamLog(t.Context(), m.spec, platform.LogOutput, path, ended) }()
			var want bytes.Buffer
			for i := range 12_000 {
				fmt.Fprintf(&want, "line %d\n", i)
			}
			want.WriteString("no UTF-8: \xff\xfe\n" + strings.Repeat("long", 100_000) + "\nunfinished")
			must(t, os.WriteFile(path, want.Bytes(), 0o600))
			close(ended)
			must(t, <-done)
			if got := m.streamed(t, platform.LogOutput); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%d bytes, want %d", len(got), want.Len())
			}
			for _, o := range m.operations() {
				if !slices.Contains([]string{"CreateLogStream", "CreateLogGroup", "PutLogEvents"}, o) {
					t.Errorf("%s was asked for", o)
				}
			}
		})
	}
}

func TestALogThatCloudWatchRefusesHoldsNothingUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.proxy.Withhold("logs:CreateLogStream")
	path, ended := filepath.Join(t.TempDir(), "log"), make(chan struct{})
	must(t, os.WriteFile(path, []byte("line\n"), 0o600))
	if err := m.StreamLog(t.Context(), m.spec, platform.LogOutput, path, ended); err == nil || !strings.Contains(err.Error(), "from byte 0 on") {
		t.Errorf("%v", err)
	}
	m.spec.Cloud.LogGroup = ""
	must(t, m.StreamLog(t.Context(), m.spec, platform.LogOutput, path, ended))
}

func TestTheSpotNoticeIsSeen(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	at := time.Now().Add(2 * time.Minute).UTC().Truncate(time.Second)
	m.metadata.set("events/recommendations/rebalance", `{"noticeTime":"2020-10-27T08:22:00Z"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := m.Interruption(ctx); err == nil {
		t.Fatalf("an interruption at %s that nobody announced", got)
	}
	m.metadata.set("spot/instance-action", fmt.Sprintf(`{"action":"terminate","time":%q}`, at.Format(time.RFC3339)))
	if got, err := m.Interruption(t.Context()); err != nil || !got.Equal(at) {
		t.Errorf("%s, want %s, %v", got, at, err)
	}
	if id, err := m.ID(t.Context()); err != nil || id != "i-0123456789abcdef0" {
		t.Errorf("%q, %v", id, err)
	}
}

// commands plays the machine's commands: what was run, and how those named end.
type commands struct {
	ran  []string
	exit map[string]int // by the beginning of the command line
	miss []string       // commands that the machine does not have
}

func (c *commands) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	c.ran = append(c.ran, line)
	if slices.Contains(c.miss, name) {
		return nil, &exec.Error{Name: name, Err: exec.ErrNotFound}
	}
	for begin, status := range c.exit {
		if strings.HasPrefix(line, begin) {
			err := exec.CommandContext(ctx, "sh", "-c", fmt.Sprint("exit ", status)).Run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil, nil
}

// addDisk gives a machine a disk, under two names as udev does.
func addDisk(t *testing.T, root, kernel string, sectors int64, partitions ...string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(root, "dev/disk/by-id"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "dev", kernel), nil, 0o600))
	for _, suffix := range []string{"", "_1"} {
		must(t, os.Symlink("../../"+kernel, filepath.Join(root, "dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS-"+kernel+suffix)))
	}
	must(t, os.MkdirAll(filepath.Join(root, "sys/block", kernel), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "sys/block", kernel, "size"), fmt.Appendf(nil, "%d\n", sectors), 0o600))
	for _, p := range partitions {
		must(t, os.MkdirAll(filepath.Join(root, "sys/block", kernel, p), 0o755))
	}
}

func TestWorkIsDoneOnTheLargestUnusedDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	addDisk(t, root, "nvme1n1", 1<<30)
	addDisk(t, root, "nvme2n1", 4<<30)              // has a filesystem
	addDisk(t, root, "nvme3n1", 8<<30, "nvme3n1p1") // has a partition
	addDisk(t, root, "nvme4n1", 2<<30)              // the largest that is unused
	dev := func(name string) string { return filepath.Join(root, "dev", name) }
	c := &commands{exit: map[string]int{"blkid -p " + dev("nvme1n1"): 2, "blkid -p " + dev("nvme4n1"): 2}, miss: []string{"mkfs.xfs"}}
	i := &Instance{root: root, run: c.run, log: slog.New(slog.DiscardHandler)}
	dir := filepath.Join(root, "var/lib/wherry/work")
	what, err := i.FastDisk(t.Context(), dir)
	must(t, err)
	if !strings.HasPrefix(what, "nvme4n1 of the instance store, 1099 GB") {
		t.Errorf("it is done on %s", what)
	}
	want := []string{"blkid -p " + dev("nvme2n1"), "blkid -p " + dev("nvme4n1"), "mkfs.xfs -K " + dev("nvme4n1"),
		"mkfs.ext4 -q -E nodiscard " + dev("nvme4n1"), "mount -o noatime " + dev("nvme4n1") + " " + dir}
	if !slices.Equal(c.ran, want) {
		t.Errorf("ran %q, want %q", c.ran, want)
	}
}

func TestWithoutAnUnusedDiskWorkIsDoneOnTheBootDisk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*commands{
		"none":                 {},
		"a filesystem":         {exit: map[string]int{"blkid": 0}},
		"it cannot be read":    {exit: map[string]int{"blkid": 4}},
		"it cannot be mounted": {exit: map[string]int{"blkid": 2, "mount": 32}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if name != "none" {
				addDisk(t, root, "nvme1n1", 1<<30)
			}
			i := &Instance{root: root, run: c.run, log: slog.New(slog.DiscardHandler)}
			what, err := i.FastDisk(t.Context(), filepath.Join(root, "work"))
			if !strings.HasPrefix(what, "the boot disk") || (err == nil) != (name == "none" || name == "a filesystem") {
				t.Errorf("%q, %v", what, err)
			}
			if _, err := os.Stat(filepath.Join(root, "work")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheInstancesTimerIsPutOffInWholeMinutes(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{30 * time.Minute: "shutdown -h +30", 61 * time.Second: "shutdown -h +2", time.Second: "shutdown -h +1"} {
		c := &commands{}
		i := &Instance{run: c.run}
		must(t, i.StayAlive(t.Context(), d))
		if !slices.Equal(c.ran, []string{want}) {
			t.Errorf("%s: %q", d, c.ran)
		}
	}
}

func TestTheMounterIsInstalledWhereItIsMissing(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf(mounterPackage, architectures[runtime.GOARCH])
	for name, c := range map[string]struct {
		miss []string
		want []string
	}{
		"it is there":          {nil, []string{"mount-s3 --version"}},
		"it is missing":        {[]string{"mount-s3"}, []string{"mount-s3 --version", "dnf install --assumeyes " + address}},
		"an older Linux is so": {[]string{"mount-s3", "dnf"}, []string{"mount-s3 --version", "dnf install --assumeyes " + address, "yum install --assumeyes " + address}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine := &commands{miss: c.miss}
			must(t, (&Instance{run: machine.run}).InstallMounter(t.Context()))
			if !slices.Equal(machine.ran, c.want) {
				t.Errorf("ran %q, want %q", machine.ran, c.want)
			}
		})
	}
}
