package sandbox_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"wherry/cloud/aws/sandbox"
)

// up boots a machine and returns the address of its metadata service.
func (l *lab) up(change ...func(*ec2.RunInstancesInput)) (id, metadata string) {
	l.Helper()
	id = l.boot("touch $WHERRY_ROOT/up; sleep 1000", change...)
	l.has(id, "up")
	metadata, err := l.hypervisor.Metadata(id)
	l.must(err)
	return id, metadata
}

// require2 is version 2 of the metadata service alone.
func require2(in *ec2.RunInstancesInput) {
	in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2)}
}

func TestTheMetadataServiceWantsAToken(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	id, address := l.up(require2)
	ask := func(method, path string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, address+path, nil)
		l.must(err)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultClient.Do(r)
		l.must(err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		l.must(err)
		return answer.StatusCode, string(text)
	}
	const age, token = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
	for _, c := range []struct {
		name, method, path string
		header             []string
		status             int
	}{
		{"no token", "GET", "/latest/meta-data/instance-id", nil, 401},
		{"a wrong token", "GET", "/latest/meta-data/instance-id", []string{token, "x"}, 401},
		{"no age", "PUT", "/latest/api/token", nil, 400},
		{"too old an age", "PUT", "/latest/api/token", []string{age, "21601"}, 400},
		{"over a proxy", "PUT", "/latest/api/token", []string{age, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
	} {
		if status, _ := ask(c.method, c.path, c.header...); status != c.status {
			t.Errorf("%s: %d", c.name, status)
		}
	}
	status, good := ask("PUT", "/latest/api/token", age, "60")
	if status != 200 || good == "" {
		t.Fatalf("%d %q", status, good)
	}
	if status, text := ask("GET", "/latest/meta-data/instance-id", token, good); status != 200 || text != id {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask("GET", "/latest/meta-data/", token, good); status != 200 || !strings.Contains(text, "placement/\n") || strings.Contains(text, "iam/") {
		t.Errorf("%d %s", status, text)
	}
	for _, path := range []string{"spot/instance-action", "iam/info", "iam/security-credentials/", "nothing"} {
		if status, _ := ask("GET", "/latest/meta-data/"+path, token, good); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
	_, address = l.up() // without require2, as EC2 launches by default
	if status, _ := ask("GET", "/latest/meta-data/instance-id"); status != 200 {
		t.Errorf("version 1: %d", status)
	}
}

func TestTheSDKReadsTheMetadata(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	arn := l.profile("metadata-sdk")
	id, address := l.up(require2, withProfile(arn))
	client := imds.New(imds.Options{Endpoint: address, EnableFallback: aws.FalseTernary})
	document, err := client.GetInstanceIdentityDocument(t.Context(), nil)
	l.must(err)
	if document.InstanceID != id || document.Region != region || document.AccountID != l.server.Account || document.InstanceType != "m5.large" || document.AvailabilityZone == "" || document.PendingTime.IsZero() {
		t.Errorf("%+v", document)
	}
	where, err := client.GetRegion(t.Context(), nil)
	l.must(err)
	info, err := client.GetIAMInfo(t.Context(), nil)
	l.must(err)
	if where.Region != region || info.InstanceProfileArn != arn || info.InstanceProfileID == "" {
		t.Errorf("%s, %+v", where.Region, info.IAMInfo)
	}
	data, err := client.GetUserData(t.Context(), nil)
	l.must(err)
	if text, _ := io.ReadAll(data.Content); !strings.HasPrefix(string(text), "#!/bin/bash\ntouch") {
		t.Errorf("the user data is %s", text)
	}
}

// bucket makes a bucket that goes with the test.
func (l *lab) bucket(name string) {
	l.Helper()
	client := s3.NewFromConfig(l.server.Admin(l, region))
	_, err := client.CreateBucket(l.Context(), &s3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region}})
	l.must(err)
	l.Cleanup(func() {
		list, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &name})
		l.must(err)
		for _, o := range list.Contents {
			_, err := client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &name, Key: o.Key})
			l.must(err)
		}
		_, err = client.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: &name})
		l.must(err)
	})
}

func TestCredentialsOfAMachineDoWhatItsRoleMayAndNothingElse(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	policy, err := os.ReadFile("../policies/instance-s3.json")
	l.must(err)
	l.bucket("sandbox-own")
	l.bucket("sandbox-foreign")
	arn := l.profile("metadata-role", strings.ReplaceAll(string(policy), "<BUCKET_NAME>", "sandbox-own"))
	access := iam.NewFromConfig(l.server.Admin(t, "us-east-1"))
	logPolicy := aws.String("arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy")
	_, err = access.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("metadata-role"), PolicyArn: logPolicy})
	l.must(err)
	t.Cleanup(func() {
		access.DetachRolePolicy(context.Background(), &iam.DetachRolePolicyInput{RoleName: aws.String("metadata-role"), PolicyArn: logPolicy})
	})
	id, address := l.up(require2, withProfile(arn))
	config := aws.Config{Region: region, BaseEndpoint: &l.proxy.URL, RetryMaxAttempts: 1,
		Credentials: aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.New(imds.Options{Endpoint: address}) }))}
	who, err := sts.NewFromConfig(config).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	l.must(err)
	if want := "arn:aws:sts::" + l.server.Account + ":assumed-role/metadata-role/" + id; aws.ToString(who.Arn) != want {
		t.Errorf("the machine is %s, want %s", aws.ToString(who.Arn), want)
	}
	objects := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	put := func(bucket string) error {
		_, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("work/a"), Body: strings.NewReader("text")})
		return err
	}
	l.must(put("sandbox-own"))
	l.refused(put("sandbox-foreign"), "AccessDenied", "s3:PutObject")
	logs := cloudwatchlogs.NewFromConfig(config)
	group, stream := aws.String("metadata-logs"), &id
	_, err = cloudwatchlogs.NewFromConfig(l.server.Admin(t, region)).CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
	l.must(err)
	t.Cleanup(func() {
		cloudwatchlogs.NewFromConfig(l.server.Admin(t, region)).DeleteLogGroup(context.Background(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: group})
	})
	_, err = logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream})
	l.must(err)
	_, err = logs.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream,
		LogEvents: []logtypes.InputLogEvent{{Message: aws.String("a line"), Timestamp: aws.Int64(time.Now().UnixMilli())}}})
	l.must(err)
	_, err = logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream})
	l.refused(err, "AccessDeniedException", "logs:GetLogEvents")
	_, err = ec2.NewFromConfig(config).TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	l.refused(err, "UnauthorizedOperation", "ec2:TerminateInstances")
}

func TestCredentialsOfARoleAreTheSameUntilTheyAge(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	_, address := l.up(withProfile(l.profile("metadata-same")))
	read := func() (c struct{ AccessKeyId, Code, Token string }) {
		answer, err := http.Get(address + "/latest/meta-data/iam/security-credentials/metadata-same")
		l.must(err)
		defer answer.Body.Close()
		l.must(json.NewDecoder(answer.Body).Decode(&c))
		return c
	}
	first, second := read(), read()
	if first != second || first.Code != "Success" || first.AccessKeyId == "" || first.Token == "" {
		t.Errorf("%+v, %+v", first, second)
	}
}
