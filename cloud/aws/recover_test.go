package aws

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/logevent"
	"wherry/platform"
)

// storeWorld is a world with a bucket for work directories and with log groups.
type storeWorld struct {
	*world
	bucket string
	runID  string
}

func newStoreWorld(t *testing.T, more ...func(*Config)) *storeWorld {
	t.Helper()
	w := &storeWorld{world: newWorld(t), runID: platform.NewID()}
	w.aws = w.portal(nil, more...)
	w.bucket = w.makeBucket(region)
	w.env.WorkDir = "s3://" + w.bucket + "/work/"
	return w
}

func (w *storeWorld) makeBucket(region string) string {
	w.t.Helper()
	bucket := "wherry-" + strings.ToLower(platform.NewID()+platform.NewID())
	_, err := w.s3(region).CreateBucket(w.t.Context(), &s3.CreateBucketInput{Bucket: &bucket,
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(region)}})
	must(w.t, err)
	return bucket
}

func (w *storeWorld) s3(region string) *s3.Client {
	return s3.NewFromConfig(w.moto.Admin(w.t, region), func(o *s3.Options) { o.UsePathStyle = true })
}

func (w *storeWorld) put(name, text string) {
	w.t.Helper()
	_, err := w.s3(region).PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: awssdk.String("work/" + name), Body: strings.NewReader(text)})
	must(w.t, err)
}

func (w *storeWorld) keep(name, text string) { w.put(platform.KeptFolder(w.runID)+"/"+name, text) }

// stream writes pieces of a log as an agent does, in a given order.
func (w *storeWorld) stream(stream platform.LogStream, messages ...string) {
	w.t.Helper()
	client := cloudwatchlogs.NewFromConfig(w.moto.Admin(w.t, region))
	group, name := awssdk.String(w.env.LogGroup()), awssdk.String(w.runID+"/"+string(stream))
	_, _ = client.CreateLogGroup(w.t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
	_, err := client.CreateLogStream(w.t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: name})
	must(w.t, err)
	var events []logtypes.InputLogEvent
	for i, m := range messages {
		events = append(events, logtypes.InputLogEvent{Message: awssdk.String(m), Timestamp: awssdk.Int64(time.Now().Add(-time.Hour).UnixMilli() + int64(i))})
	}
	_, err = client.PutLogEvents(w.t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: name, LogEvents: events})
	must(w.t, err)
}

func (w *storeWorld) recover(ended bool, stdout, nextflow int64) (cloud.Recovered, error) {
	return w.aws.Recover(w.t.Context(), w.env, cloud.RecoverRequest{WorkID: w.runID, Folder: platform.KeptFolder(w.runID), WorkDir: w.env.WorkDir, Ended: ended,
		Offsets: map[platform.LogStream]int64{platform.LogOutput: stdout, platform.LogNextflow: nextflow}})
}

func TestWhatAnAgentKeptIsReadBack(t *testing.T) {
	t.Parallel()
	w := newStoreWorld(t)
	w.keep(platform.KeptOutput, "one\ntwo\n")
	w.keep(platform.KeptNextflow, "DEBUG\n")
	w.keep(platform.KeptTrace, `{"name":"create","body":{"a":1}}`+"\n"+`{"name":"complete","body":{}}`+"\n")
	end, err := json.Marshal(platform.KeptEndFile{Report: platform.EndReport{Reason: "it failed"}})
	must(t, err)
	w.keep(platform.KeptEnd, string(end))
	got, err := w.recover(true, 4, 6)
	must(t, err)
	if text := string(got.Logs[platform.LogOutput]); text != "two\n" || len(got.Logs[platform.LogNextflow]) != 0 || got.More {
		t.Errorf("%q, %v", got.Logs, got.More)
	}
	if len(got.Trace) != 2 || got.Trace[0].Name != "create" || got.End == nil || got.End.Report.Reason != "it failed" {
		t.Errorf("%+v", got)
	}
	for _, c := range w.proxy.Calls() {
		if c.Operation != "GetObject" {
			t.Errorf("%s was called", c.Operation)
		}
	}
}

func TestWhereNothingWasKeptTheStreamsAreRead(t *testing.T) {
	t.Parallel()
	for _, ended := range []bool{false, true} {
		w := newStoreWorld(t)
		got, err := w.recover(ended, 0, 0)
		must(t, err)
		if len(got.Logs) != 0 || got.End != nil || got.More {
			t.Errorf("from nothing came %+v", got)
		}
		w.env.Config.LogGroup = "ours-" + w.env.ID
		w.stream(platform.LogOutput, event(0, "one\n"), event(4, "tw"), event(6, "o\xff\n"))
		w.keep(platform.KeptOutput, "one\n") // the agent was cut off
		got, err = w.recover(ended, 2, 0)
		must(t, err)
		if text := string(got.Logs[platform.LogOutput]); text != "e\ntwo\xff\n" {
			t.Errorf("ended %v: %q", ended, text)
		}
	}
}

func TestALongStreamIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := newStoreWorld(t)
	var messages []string
	var want strings.Builder
	for i := range 9000 { // moto answers at most 10,000 events, and 1 MB as EC2
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 50))
		messages = append(messages, event(int64(want.Len()), line))
		want.WriteString(line)
	}
	w.stream(platform.LogNextflow, messages...)
	got, err := w.recover(false, 0, 100)
	must(t, err)
	if text := string(got.Logs[platform.LogNextflow]); text != want.String()[100:] || got.More {
		t.Errorf("%d of %d bytes, more %v", len(text), want.Len()-100, got.More)
	}
}

// TestAnyOrderOfPiecesMakesTheLog shuffles, repeats and overlaps pieces.
func TestAnyOrderOfPiecesMakesTheLog(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		log := make([]byte, 1+random.IntN(300))
		for i := range log {
			log[i] = byte(random.Uint32())
		}
		var events []logtypes.OutputLogEvent
		add := func(from, to int) {
			events = append(events, logtypes.OutputLogEvent{Message: awssdk.String(event(int64(from), string(log[from:to])))})
		}
		for from := 0; from < len(log); {
			to := min(len(log), from+1+random.IntN(40))
			add(from, to)
			from = to
		}
		for range random.IntN(10) {
			from := random.IntN(len(log))
			add(from, from+random.IntN(len(log)-from+1))
		}
		events = append(events, logtypes.OutputLogEvent{Message: awssdk.String("somebody else's")})
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		from := random.IntN(len(log) + 1)
		a := assembly{next: int64(from), early: map[int64][]byte{}}
		for len(events) > 0 { // in pages
			n := 1 + random.IntN(len(events))
			a.addAll(events[:n])
			events = events[n:]
		}
		if !bytes.Equal(a.text, log[from:]) || len(a.early) != 0 {
			t.Fatalf("seed %d: %d of %d bytes, %d pieces left", seed, len(a.text), len(log)-from, len(a.early))
		}
	}
}

func TestAGapInAStreamIsNotJumped(t *testing.T) {
	t.Parallel()
	w := newStoreWorld(t)
	w.stream(platform.LogOutput, event(0, "one\n"), event(8, "three\n"))
	got, err := w.recover(false, 0, 0)
	must(t, err)
	if text := string(got.Logs[platform.LogOutput]); text != "one\n" {
		t.Errorf("%q", text)
	}
}

func TestAFaultWhileReadingBackIsTold(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"GetObject", "GetLogEvents"} {
		for name, fault := range map[string]awstest.Fault{"throttled": awstest.Throttle(), "error": {When: awstest.Before, Code: "InternalError", Status: 500}, "lost": awstest.Lost()} {
			t.Run(name+" "+operation, func(t *testing.T) {
				t.Parallel()
				w := newStoreWorld(t)
				w.keep(platform.KeptOutput, "one\n")
				w.proxy.Fail(func(c awstest.Call) awstest.Fault {
					if c.Operation == operation {
						return fault
					}
					return awstest.Fault{}
				})
				_, err := w.recover(true, 0, 0)
				if k := cloud.KindOf(err); err == nil || (k != cloud.KindTransient && k != cloud.KindThrottled) {
					t.Errorf("%v is %s", err, k)
				}
				w.proxy.Fail(nil)
				got, err := w.recover(true, 0, 0)
				must(t, err)
				if string(got.Logs[platform.LogOutput]) != "one\n" {
					t.Errorf("%+v", got)
				}
			})
		}
	}
	w := newStoreWorld(t)
	w.proxy.Withhold("logs:GetLogEvents")
	_, err := w.recover(false, 0, 0)
	if e := kind(t, err, cloud.KindDenied); e.Permission != "logs:GetLogEvents" {
		t.Errorf("%+v", e)
	}
}

func TestAFileOfAWorkDirectoryIsReadAndSearched(t *testing.T) {
	t.Parallel()
	w := newStoreWorld(t)
	text := strings.Repeat("0123456789", 20_000)
	w.put("ab/cdef/.command.out", text)
	w.put("empty", "")
	file, err := w.aws.Open(t.Context(), w.env, w.env.WorkDir, "ab/cdef/.command.out")
	must(t, err)
	defer file.Close()
	info, err := file.Stat()
	must(t, err)
	if info.Size() != int64(len(text)) || info.Name() != ".command.out" || info.IsDir() || time.Since(info.ModTime()) > time.Hour || !info.Mode().IsRegular() || info.Sys() != nil {
		t.Errorf("%+v", info)
	}
	seeker := file.(io.Seeker)
	for _, c := range []struct {
		offset int64
		whence int
		want   string
	}{{0, io.SeekStart, text}, {-64, io.SeekEnd, text[len(text)-64:]}, {-10, io.SeekCurrent, text[len(text)-10:]}, {5, io.SeekStart, text[5:]}, {int64(len(text)), io.SeekStart, ""}, {10, io.SeekEnd, ""}} {
		_, err := seeker.Seek(c.offset, c.whence)
		must(t, err)
		got, err := io.ReadAll(file)
		if err != nil || string(got) != c.want {
			t.Errorf("after %d from %d there are %d bytes, want %d (%v)", c.offset, c.whence, len(got), len(c.want), err)
		}
	}
	if _, err := seeker.Seek(-1, io.SeekStart); err == nil {
		t.Error("it was moved before its beginning")
	}
	empty, err := w.aws.Open(t.Context(), w.env, w.env.WorkDir, "empty")
	must(t, err)
	if got, err := io.ReadAll(empty); err != nil || len(got) != 0 {
		t.Errorf("%q (%v)", got, err)
	}
}

func TestAFileThatIsNotThereOrNotInsideIsRefused(t *testing.T) {
	t.Parallel()
	w := newStoreWorld(t)
	w.put("there", "x")
	for _, name := range []string{"../secret", "a/../../b", "/etc/passwd", "", ".", "a//b", "a/./b"} {
		_, err := w.aws.Open(t.Context(), w.env, w.env.WorkDir, name)
		kind(t, err, cloud.KindInvalid)
	}
	_, err := w.aws.Open(t.Context(), w.env, "/a/folder", "there")
	kind(t, err, cloud.KindInvalid)
	if n := len(w.proxy.Calls()); n > 0 {
		t.Errorf("AWS was asked %d times", n)
	}
	if _, err := w.aws.Open(t.Context(), w.env, w.env.WorkDir, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	w.proxy.Withhold("s3:GetObject") // S3 says the same of what is missing to who may not list
	_, err = w.aws.Open(t.Context(), w.env, w.env.WorkDir, "there")
	e := kind(t, err, cloud.KindDenied)
	says(t, e.Message, "is not there, or", "s3:GetObject")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not count as missing", err)
	}
	_, err = w.aws.Open(t.Context(), w.env, "s3://no-such-bucket-"+strings.ToLower(w.runID)+"/work", "there")
	if err == nil {
		t.Error("a bucket that there is not was read")
	}
}

func TestABucketInAnotherRegionIsReadThere(t *testing.T) {
	t.Parallel()
	// S3 redirects who asks in the wrong region and names the right one in a header; moto does not.
	s3 := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "/us-west-2/s3/") {
			io.WriteString(out, "text")
			return
		}
		out.Header().Set("X-Amz-Bucket-Region", "us-west-2")
		out.WriteHeader(http.StatusMovedPermanently)
		io.WriteString(out, `<Error><Code>PermanentRedirect</Code><Message>Use the specified endpoint.</Message></Error>`)
	}))
	t.Cleanup(s3.Close)
	a := New(Config{Credentials: func(context.Context, string) (platform.Credentials, error) {
		return platform.Credentials{Mode: platform.CredentialsKeys, AccessKey: "AKIA", SecretKey: platform.NewSecret("s")}, nil
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(s3.URL)}})
	file, err := a.Open(t.Context(), platform.ComputeEnv{Region: region}, "s3://rivers/work", "there")
	must(t, err)
	if text, err := io.ReadAll(file); string(text) != "text" {
		t.Errorf("%q (%v)", text, err)
	}
}

func TestTheConsoleIsReadOnlyWhereItIsWanted(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{false, true} {
		w := newMachineWorld(t, func(c *Config) { c.ConsoleOutput = wanted })
		m := platform.Machine{ID: platform.NewID(), InstanceID: "i-0123456789abcdef0"}
		if got := w.aws.LastWords(t.Context(), w.env, m); got != "" {
			t.Errorf("%q", got)
		}
		if n := len(w.proxy.Calls()); (n > 0) != wanted {
			t.Errorf("wanted %v: %d calls", wanted, n)
		}
		for _, p := range w.aws.Permissions("") {
			if strings.Contains(p.Document, "ec2:GetConsoleOutput") != (wanted && (p.Purpose == "all" || p.Purpose == "console")) {
				t.Errorf("wanted %v: %s has %s", wanted, p.Purpose, p.Document)
			}
			if p.Purpose == "console" && !p.Optional {
				t.Error("it is not optional")
			}
		}
	}
	text := "\x1b[0mbooting\r\n\r\n" + strings.Repeat("noise\n", 50) + "wherry: the portal at https://p cannot be reached\r\n\xff\n"
	got := lastLines(text)
	if lines := strings.Split(got, "\n"); len(lines) != maxLastWords || !strings.HasSuffix(got, "noise\nwherry: the portal at https://p cannot be reached\n�") || strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("%q", got)
	}
}

func TestTheConsoleIsShownWhereItMayBe(t *testing.T) {
	t.Parallel()
	output := base64.StdEncoding.EncodeToString([]byte("booting\r\nwherry: the portal cannot be reached\r\n"))
	ec2 := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "GetConsoleOutput" || r.FormValue("InstanceId") != "i-0123456789abcdef0" {
			t.Errorf("asked was %v", r.Form)
		}
		fmt.Fprintf(out, `<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instanceId>i-0123456789abcdef0</instanceId><output>%s</output></GetConsoleOutputResponse>`, output)
	}))
	t.Cleanup(ec2.Close)
	a := New(Config{ConsoleOutput: true, Credentials: func(context.Context, string) (platform.Credentials, error) {
		return platform.Credentials{Mode: platform.CredentialsKeys, AccessKey: "AKIA", SecretKey: platform.NewSecret("s")}, nil
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(ec2.URL)}})
	m := platform.Machine{ID: platform.NewID(), InstanceID: "i-0123456789abcdef0"}
	if got := a.LastWords(t.Context(), platform.ComputeEnv{Region: region}, m); got != "booting\nwherry: the portal cannot be reached" {
		t.Errorf("%q", got)
	}
	output = "not base64!"
	if got := a.LastWords(t.Context(), platform.ComputeEnv{Region: region}, m); got != "" {
		t.Errorf("%q", got)
	}
}

func TestAPipelineInAFolderNeedsAMachineThatHasIt(t *testing.T) {
	t.Parallel()
	a := New(Config{})
	env := platform.ComputeEnv{Platform: platform.PlatformAWSCloud}
	var fields platform.FieldErrors
	if err := a.CheckLaunch(t.Context(), env, platform.Launch{Pipeline: "/data/pipeline"}); !errors.As(err, &fields) || fields["pipeline"] == "" {
		t.Errorf("%v", err)
	}
	must(t, a.CheckLaunch(t.Context(), env, platform.Launch{Pipeline: "nextflow-io/hello"}))
	must(t, a.CheckLaunch(t.Context(), env, platform.Launch{Pipeline: "/tmp/cloned", PreRunScript: "git clone …"}))
	env.Config.PreRunScript = "aws s3 sync …"
	must(t, a.CheckLaunch(t.Context(), env, platform.Launch{Pipeline: "/tmp/synced"}))
	env.Config.PreRunScript, env.Config.ImageID = "", "ami-0123456789abcdef0"
	must(t, a.CheckLaunch(t.Context(), env, platform.Launch{Pipeline: "/opt/pipeline"}))
	must(t, a.Check(t.Context(), env))
}

// event is a piece of a log as an agent sends it to CloudWatch.
func event(offset int64, text string) string {
	return logevent.Encode(logevent.Event{Offset: offset, Text: []byte(text)})
}
