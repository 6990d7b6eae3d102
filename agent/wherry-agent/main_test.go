package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/logevent"
	"wherry/platform"
)

// asAgent makes the test binary the agent, so that the agent is a process of its own, as on an instance.
const asAgent = "WHERRY_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Unsetenv(asAgent)
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	region = "us-east-1"
	bucket = "agent-whole-way"
	group  = "/wherry/agent-whole-way"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// metadata answers as an instance's metadata service, with a key for its role.
func metadata(t *testing.T, key awstest.Key) string {
	answers := map[string]string{"instance-id": "i-0123456789abcdef0", "iam/security-credentials/": "role",
		"iam/security-credentials/role": fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":"","Expiration":%q}`,
			key.ID, key.Secret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := answers[strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")]
		switch {
		case r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
			w.WriteHeader(http.StatusUnauthorized)
		case !known:
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, text)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// portal takes all that an agent says, and remembers it.
type portal struct {
	*httptest.Server
	mu    sync.Mutex
	claim platform.ClaimRequest
	said  map[string][]byte // the last body by path
	all   []string
	stop  bool // the work shall stop
}

func newPortal(t *testing.T, spec platform.Spec) *portal {
	p := &portal{said: map[string][]byte{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.said[r.URL.Path] = body
		p.all = append(p.all, string(body))
		switch {
		case r.URL.Path == "/agent/claim":
			_ = json.Unmarshal(body, &p.claim)
			_ = json.NewEncoder(w).Encode(spec)
		case strings.HasPrefix(r.URL.Path, "/agent/logs/"):
			var offset int64
			_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
			_ = json.NewEncoder(w).Encode(platform.LogAck{Next: offset + int64(len(body))})
		case r.URL.Path == "/agent/sync":
			p.mu.Unlock()
			time.Sleep(100 * time.Millisecond) // a short long poll
			p.mu.Lock()
			_ = json.NewEncoder(w).Encode(platform.SyncResponse{Cancel: p.stop})
		default:
			fmt.Fprint(w, "{}")
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// commands makes the instance's own commands: Nextflow, a docker that has nothing to do, and a shutdown that notes its calls.
func commands(t *testing.T, root string) (path string) {
	t.Helper()
	nextflow := os.Getenv("WHERRY_TEST_NEXTFLOW")
	if nextflow == "" {
		if testing.Short() {
			t.Skip("without Nextflow")
		}
		t.Fatal("WHERRY_TEST_NEXTFLOW does not name Nextflow: run the tests with `make test`")
	}
	path = filepath.Join(root, "usr/local/bin")
	must(t, os.MkdirAll(path, 0o755))
	for name, script := range map[string]string{"nextflow": `exec "` + nextflow + `" "$@"`, "docker": "exit 0", "shutdown": `echo "$*" >>"` + root + `/shutdowns"`} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte("#!/bin/bash\n"+script+"\n"), 0o755))
	}
	return path
}

// agentOn is the agent on an instance whose root folder is root, as its boot script starts it.
func agentOn(t *testing.T, root, path, aws, metadata string, p *portal) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	agent := exec.CommandContext(t.Context(), self)
	agent.Env = []string{asAgent + "=1", "PATH=" + path + ":/usr/bin:/bin", "HOME=" + root, "WHERRY_ROOT=" + root,
		"AWS_ENDPOINT_URL=" + aws, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + metadata,
		"WHERRY_AGENT_PORTAL_URL=" + p.URL, "WHERRY_AGENT_MACHINE=machine1", "WHERRY_AGENT_CLAIM_TOKEN=claim", "WHERRY_AGENT_LIFETIME=30m",
		"WHERRY_AGENT_DIR=" + filepath.Join(root, "var/lib/wherry"), "WHERRY_AGENT_BOOTED=" + time.Now().UTC().Format(time.RFC3339)}
	must(t, os.MkdirAll(filepath.Join(root, "var/lib/wherry"), 0o755))
	return agent
}

const pipeline = `
process HELLO { publishDir 'results'; output: path 'hello.txt'; script: "echo hello from a task | tee hello.txt" }
workflow { HELLO() }
`

func TestTheWholeWayOfARunOnAnInstance(t *testing.T) {
	t.Parallel()
	server := awstest.Moto(t)
	key, _ := server.User(t, "agent-whole-way",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["logs:PutLogEvents","logs:DescribeLogStreams","logs:DescribeLogGroups","logs:CreateLogStream","logs:CreateLogGroup"],"Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"},{"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::`+bucket+`/*"}]}`)
	admin := server.Admin(t, region)
	files := s3.NewFromConfig(admin, func(o *s3.Options) { o.UsePathStyle = true })
	_, err := files.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: awssdk.String(bucket)})
	must(t, err)
	proxy, root := awstest.NewProxy(t, server), t.TempDir()
	script := filepath.Join(t.TempDir(), "main.nf")
	must(t, os.WriteFile(script, []byte(pipeline), 0o600))
	p := newPortal(t, platform.Spec{RunID: "run1", Launch: platform.Launch{Pipeline: script, RunName: "brisk_thames", WorkDir: "s3://" + bucket + "/work"},
		Secrets: map[string]string{"DB_PASSWORD": "hush-hush"}, Cloud: platform.CloudSpec{Region: region, LogGroup: group, KeepForResume: true}})

	said, err := agentOn(t, root, commands(t, root), proxy.URL, metadata(t, key), p).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}

	var end platform.EndReport
	must(t, json.Unmarshal(p.said["/agent/end"], &end))
	if end.ExitCode == nil || *end.ExitCode != 0 || p.claim.InstanceID != "i-0123456789abcdef0" {
		t.Fatalf("%+v of %+v\n%s", end, p.claim, said)
	}
	listed, err := files.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: awssdk.String(bucket)})
	must(t, err)
	var keys []string
	for _, o := range listed.Contents {
		keys = append(keys, *o.Key)
	}
	for _, part := range []string{"work/.wherry/runs/run1/end.json", "run1/stdout.log", "run1/nextflow.log", "run1/trace.jsonl", "run1/outputs/results/hello.txt",
		"run1/reports/report.html", "/.command.out", "/.exitcode", "/cache.tar"} {
		if !slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(key, part) }) {
			t.Errorf("%s is not in S3: %q", part, keys)
		}
	}
	events, err := cloudwatchlogs.NewFromConfig(admin).GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: awssdk.String(group),
		LogStreamName: awssdk.String(logevent.Stream("run1", platform.LogOutput)), StartFromHead: awssdk.Bool(true)})
	must(t, err)
	var text []byte
	for _, e := range events.Events {
		event, err := logevent.Decode(*e.Message)
		must(t, err)
		text = append(text, event.Text...)
	}
	if !bytes.Contains(text, []byte("HELLO")) {
		t.Errorf("CloudWatch has %q", text)
	}
	if shutdowns, err := os.ReadFile(filepath.Join(root, "shutdowns")); err != nil || !strings.HasPrefix(string(shutdowns), "-h +30\n") {
		t.Errorf("the instance's timer: %q, %v", shutdowns, err)
	}
	for _, c := range proxy.Calls() {
		if !slices.Contains([]string{"PutObject", "GetObject", "ListObjectsV2", "CreateLogGroup", "CreateLogStream", "PutLogEvents"}, c.Operation) {
			t.Errorf("%s was asked for", c.Operation)
		}
		if c.ErrorCode != "" && c.ErrorCode != "ResourceNotFoundException" && c.ErrorCode != "ResourceAlreadyExistsException" {
			t.Errorf("%s was refused: %s", c.Operation, c.ErrorCode)
		}
	}
	if bytes.Contains(said, []byte("hush-hush")) || strings.Contains(strings.Join(p.all[1:], ""), "hush-hush") {
		t.Error("a secret was said")
	}
	for _, e := range p.all {
		if strings.Contains(e, `"workdir":"`+root) {
			t.Errorf("the portal is told a folder of the instance: %s", e)
		}
	}
}
