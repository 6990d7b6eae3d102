package awstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// allow is a policy that allows actions on everything.
func allow(actions ...string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["%s"],"Resource":"*"}]}`, strings.Join(actions, `","`))
}

// trusting is a trust policy for one principal, with an External ID or, when it is empty, without.
func trusting(principal, externalID string) string {
	condition := ""
	if externalID != "" {
		condition = fmt.Sprintf(`,"Condition":{"StringEquals":{"sts:ExternalId":%q}}`, externalID)
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":%q},"Action":"sts:AssumeRole"%s}]}`, principal, condition)
}

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// once makes calls that the SDK does not repeat.
func once(config aws.Config) aws.Config {
	config.RetryMaxAttempts = 1
	return config
}

// code is AWS's error code. A failure without one is told as such.
func code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return "no answer: " + err.Error()
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	if got := code(err); got != want {
		t.Errorf("the error code is %q, want %q (%v)", got, want, err)
	}
}

func TestAUserMayDoWhatThePoliciesSayAndNothingElse(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	key, arn := s.User(t, "policies", allow("ec2:DescribeVpcs"))
	if arn != "arn:aws:iam::"+s.Account+":user/policies" {
		t.Errorf("the user's ARN is %s", arn)
	}
	client := ec2.NewFromConfig(once(key.Config("eu-west-1", s.URL)))
	vpcs := func() error {
		_, err := client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
		return err
	}
	subnets := func() error {
		_, err := client.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
		return err
	}
	wantCode(t, vpcs(), "")
	wantCode(t, subnets(), "AccessDenied")
	s.SetPolicies(t, "policies", allow("ec2:DescribeSubnets"), allow("ec2:DescribeVpcs"))
	wantCode(t, vpcs(), "")
	wantCode(t, subnets(), "")
	s.SetPolicies(t, "policies", allow("ec2:DescribeSubnets"))
	wantCode(t, vpcs(), "AccessDenied")
	wantCode(t, subnets(), "")
	s.SetPolicies(t, "policies")
	wantCode(t, subnets(), "AccessDenied")
}

func TestWrongKeysAreRefused(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	key, arn := s.User(t, "keys")
	for name, c := range map[string]struct {
		key  Key
		want string
	}{
		"right":        {key, ""},
		"wrong secret": {Key{ID: key.ID, Secret: strings.Repeat("x", 40)}, "SignatureDoesNotMatch"},
		"wrong id":     {Key{ID: "AKIAQQQQQQQQQQQQQQQQ", Secret: key.Secret}, "InvalidClientTokenId"},
	} {
		for _, url := range []string{s.URL, p.URL} {
			who, err := sts.NewFromConfig(once(c.key.Config("us-east-1", url))).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			if got := code(err); got != c.want {
				t.Errorf("%s: the error code is %q, want %q", name, got, c.want)
			}
			if err == nil && aws.ToString(who.Arn) != arn {
				t.Errorf("%s: the caller is %s", name, aws.ToString(who.Arn))
			}
		}
	}
}

func TestARoleIsAssumedOnlyWithTheExternalIDThatItDemands(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	key, user := s.User(t, "assumer", allow("sts:AssumeRole"))
	role := s.Role(t, "assumed", trusting(user, "right"), allow("ec2:DescribeVpcs"))
	others := s.Role(t, "assumed-by-others", trusting("arn:aws:iam::123456789012:user/somebody", ""))
	client := sts.NewFromConfig(once(key.Config("us-east-1", p.URL)))
	assume := func(role string, externalID *string) (*sts.AssumeRoleOutput, error) {
		return client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("test"), ExternalId: externalID})
	}
	for name, c := range map[string]struct {
		role       string
		externalID *string
	}{
		"wrong External ID": {role, aws.String("wrong")},
		"no External ID":    {role, nil},
		"no trust":          {others, nil},
		"no such role":      {role + "-missing", nil},
	} {
		_, err := assume(c.role, c.externalID)
		want := "User: " + user + " is not authorized to perform: sts:AssumeRole on resource: " + c.role
		if code(err) != "AccessDenied" || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	out, err := assume(role, aws.String("right"))
	must(t, err)
	session := aws.Config{Region: "eu-west-1", BaseEndpoint: &p.URL, Credentials: credentials.NewStaticCredentialsProvider(
		aws.ToString(out.Credentials.AccessKeyId), aws.ToString(out.Credentials.SecretAccessKey), aws.ToString(out.Credentials.SessionToken))}
	_, err = ec2.NewFromConfig(session).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	wantCode(t, err, "")
	_, err = ec2.NewFromConfig(session).DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	wantCode(t, err, "UnauthorizedOperation")
	if err != nil && !strings.Contains(err.Error(), "User: arn:aws:sts::123456789012:assumed-role/assumed/test is not") {
		t.Errorf("the refusal does not name the session: %v", err)
	}
	s.SetRolePolicies(t, "assumed", allow("ec2:DescribeSubnets"))
	_, err = ec2.NewFromConfig(session).DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	wantCode(t, err, "")
}

func TestARefusalOfMotoIsToldAsAWSTellsIt(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	key, arn := s.User(t, "nothing")
	config := once(key.Config("eu-west-1", p.URL))
	_, err := ec2.NewFromConfig(config).DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	wantCode(t, err, "UnauthorizedOperation")
	if want := "You are not authorized to perform this operation. User: " + arn + " is not authorized to perform: ec2:DescribeSubnets because no identity-based policy allows the ec2:DescribeSubnets action"; !strings.HasSuffix(err.Error(), want) {
		t.Error(err)
	}
	_, err = iam.NewFromConfig(config).GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("some")})
	wantCode(t, err, "AccessDenied")
	_, err = s3.NewFromConfig(config).ListBuckets(t.Context(), &s3.ListBucketsInput{})
	wantCode(t, err, "AccessDenied")
	_, err = cloudwatchlogs.NewFromConfig(config).GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")})
	wantCode(t, err, "AccessDeniedException")
}

func TestEveryCallIsRecordedWithItsParameters(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	config := s.AdminKey.Config("eu-west-1", p.URL)
	objects, logs := s3.NewFromConfig(config), cloudwatchlogs.NewFromConfig(config)
	do := func(_ any, err error) {
		t.Helper()
		must(t, err)
	}
	do(ec2.NewFromConfig(config).DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{MaxResults: aws.Int32(7)}))
	do(iam.NewFromConfig(config).ListUsers(t.Context(), &iam.ListUsersInput{PathPrefix: aws.String("/a b/")}))
	do(logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("recorded")}))
	do(logs.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String("recorded"), LogStreamName: aws.String("one")}))
	do(logs.GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("recorded"), LogStreamName: aws.String("one"), StartTime: aws.Int64(1795555797137), StartFromHead: aws.Bool(true)}))
	bucket, key := aws.String("recorded"), aws.String("a/b c.txt")
	do(objects.ListBuckets(t.Context(), &s3.ListBucketsInput{}))
	do(objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}))
	t.Cleanup(func() { removeBucket(t, s, bucket, key) })
	t.Cleanup(func() { removeGroup(t, s, "recorded") })
	do(objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("text")}))
	do(objects.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key}))
	do(objects.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("a/")}))
	got, err := objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key})
	must(t, err)
	if text, err := io.ReadAll(got.Body); string(text) != "text" {
		t.Errorf("through the proxy the object is %q (%v)", text, err)
	}
	_, err = objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("none")})
	wantCode(t, err, "NoSuchKey")

	want := []struct{ service, operation, param, value, failure string }{
		{"ec2", "DescribeSubnets", "MaxResults", "7", ""},
		{"iam", "ListUsers", "PathPrefix", "/a b/", ""},
		{"logs", "CreateLogGroup", "logGroupName", "recorded", ""},
		{"logs", "CreateLogStream", "logStreamName", "one", ""},
		{"logs", "GetLogEvents", "startTime", "1795555797137", ""},
		{"s3", "ListBuckets", "Bucket", "", ""},
		{"s3", "CreateBucket", "Bucket", "recorded", ""},
		{"s3", "PutObject", "Key", "a/b c.txt", ""},
		{"s3", "HeadObject", "Key", "a/b c.txt", ""},
		{"s3", "ListObjectsV2", "prefix", "a/", ""},
		{"s3", "GetObject", "Bucket", "recorded", ""},
		{"s3", "GetObject", "Key", "none", "NoSuchKey"},
	}
	calls := p.Calls()
	if len(calls) != len(want) {
		t.Fatalf("%d calls are recorded, want %d: %v", len(calls), len(want), calls)
	}
	for i, w := range want {
		c := calls[i]
		if c.Service != w.service || c.Operation != w.operation || c.Params.Get(w.param) != w.value || c.ErrorCode != w.failure {
			t.Errorf("call %d is %+v, want %+v", i, c, w)
		}
		if c.Region != "eu-west-1" || c.KeyID != s.AdminKey.ID || (c.Status < 300) != (w.failure == "") || c.Status == 0 {
			t.Errorf("call %d is %+v", i, c)
		}
	}
	p.Forget()
	if calls := p.Calls(); len(calls) != 0 {
		t.Errorf("after Forget there are %d calls", len(calls))
	}
}

// removeBucket and removeGroup let the test be repeated.
func removeBucket(t *testing.T, s *Server, bucket, key *string) {
	client := s3.NewFromConfig(s.Admin(t, "eu-west-1"))
	_, err := client.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: bucket, Key: key})
	must(t, err)
	_, err = client.DeleteBucket(context.Background(), &s3.DeleteBucketInput{Bucket: bucket})
	must(t, err)
}

func removeGroup(t *testing.T, s *Server, name string) {
	_, err := cloudwatchlogs.NewFromConfig(s.Admin(t, "eu-west-1")).DeleteLogGroup(context.Background(), &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &name})
	must(t, err)
}

// callers make a call of each service that reads nothing that exists.
func callers(t *testing.T, config aws.Config) map[string]func(context.Context) error {
	t.Helper()
	return map[string]func(context.Context) error{
		"ec2": func(ctx context.Context) error {
			_, err := ec2.NewFromConfig(config).DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
			return err
		},
		"iam": func(ctx context.Context) error {
			_, err := iam.NewFromConfig(config).ListUsers(ctx, &iam.ListUsersInput{})
			return err
		},
		"sts": func(ctx context.Context) error {
			_, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		},
		"s3": func(ctx context.Context) error {
			_, err := s3.NewFromConfig(config).ListBuckets(ctx, &s3.ListBucketsInput{})
			return err
		},
		"logs": func(ctx context.Context) error {
			_, err := cloudwatchlogs.NewFromConfig(config).DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
			return err
		},
	}
}

func TestAnErrorComesAsTheServiceWritesIt(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	for _, c := range []struct {
		name    string
		fault   Fault
		codes   map[string]string
		message string
	}{
		{"throttled", Throttle(), map[string]string{"ec2": "RequestLimitExceeded", "iam": "Throttling", "sts": "Throttling", "s3": "SlowDown", "logs": "ThrottlingException"}, "Rate exceeded"},
		{"denied", Denied("iam:PassRole", "arn:aws:iam::1:role/r"),
			map[string]string{"ec2": "UnauthorizedOperation", "iam": "AccessDenied", "sts": "AccessDenied", "s3": "AccessDenied", "logs": "AccessDeniedException"},
			"User: arn:aws:iam::123456789012:user/sandbox-administrator is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/r because no identity-based policy allows the iam:PassRole action"},
		{"own", Fault{When: Before, Code: "Odd", Status: 409, Message: "<a> & b"}, map[string]string{"ec2": "Odd", "iam": "Odd", "sts": "Odd", "s3": "Odd", "logs": "Odd"}, "<a> & b"},
	} {
		p := NewProxy(t, s)
		p.Fail(func(Call) Fault { return c.fault })
		for service, call := range callers(t, once(s.AdminKey.Config("us-east-1", p.URL))) {
			err := call(t.Context())
			if code(err) != c.codes[service] || !strings.Contains(fmt.Sprint(err), c.message) {
				t.Errorf("%s, %s: %v", c.name, service, err)
			}
			if last := p.Calls()[len(p.Calls())-1]; last.Service != service || last.ErrorCode != c.codes[service] || last.Status < 400 {
				t.Errorf("%s, %s: recorded is %+v", c.name, service, last)
			}
		}
	}
}

func TestTheSDKRepeatsAThrottledCall(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	for service, call := range callers(t, s.AdminKey.Config("us-east-1", p.URL)) {
		var left atomic.Int32
		left.Store(1)
		p.Forget()
		p.Fail(func(Call) Fault {
			if left.Add(-1) >= 0 {
				return Throttle()
			}
			return Fault{}
		})
		wantCode(t, call(t.Context()), "")
		if calls := p.Calls(); len(calls) != 2 || calls[0].Status < 400 || calls[1].Status != 200 {
			t.Errorf("%s: %+v", service, calls)
		}
	}
}

// makeRole makes a role through a proxy and tells what came of the call, and whether the role is there.
func makeRole(ctx context.Context, t *testing.T, s *Server, p *Proxy, name string) (exists bool, err error) {
	t.Helper()
	_, err = iam.NewFromConfig(once(s.AdminKey.Config("us-east-1", p.URL))).CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(trustEC2)})
	past := iam.NewFromConfig(s.Admin(t, "us-east-1"))
	_, missing := past.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
	if missing == nil {
		t.Cleanup(func() { s.removeRole(t, name) })
	}
	return missing == nil, err
}

func TestAFaultBeforeTheCallLeavesNoEffectAndOneAfterItLeavesTheEffect(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	for name, c := range map[string]struct {
		fault  Fault
		want   string
		exists bool
	}{
		"dropped-before":  {Fault{When: Before, Kind: Drop}, "no answer", false},
		"dropped-after":   {Lost(), "no answer", true},
		"hanging-before":  {Fault{When: Before, Kind: Hang}, "no answer", false},
		"hanging-after":   {Fault{When: After, Kind: Hang}, "no answer", true},
		"answered-before": {Throttle(), "Throttling", false},
		"answered-after":  {Fault{When: After, Code: "ServiceFailure", Status: 500}, "ServiceFailure", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewProxy(t, s)
			p.Fail(func(Call) Fault { return c.fault })
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			exists, err := makeRole(ctx, t, s, p, name)
			if !strings.HasPrefix(code(err), c.want) || err == nil {
				t.Errorf("the call ends with %v, want %s", err, c.want)
			}
			if exists != c.exists {
				t.Errorf("that the role exists is %v", exists)
			}
			if calls := p.Calls(); len(calls) != 1 || c.want == "no answer" && calls[0].Status != 0 {
				t.Errorf("recorded is %+v", calls)
			}
		})
	}
}

func TestACallThatHangsEndsWithTheTest(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	ended := make(chan error, 1)
	t.Run("inner", func(t *testing.T) {
		p := NewProxy(t, s)
		asked := make(chan struct{})
		p.Fail(func(Call) Fault {
			close(asked)
			return Fault{When: Before, Kind: Hang}
		})
		call := callers(t, once(s.AdminKey.Config("us-east-1", p.URL)))["iam"]
		go func() { ended <- call(context.Background()) }()
		<-asked
	})
	select {
	case err := <-ended:
		if !strings.HasPrefix(code(err), "no answer") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it hangs on")
	}
}

func TestWithheldActionsAreRefusedAndRestored(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	key, arn := s.User(t, "withheld", allow("*"))
	config := once(key.Config("eu-west-1", p.URL))
	access, machines := iam.NewFromConfig(config), ec2.NewFromConfig(config)
	name, tags := aws.String("withheld"), []iamtypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
	run := func(in ec2.RunInstancesInput) error {
		in.ImageId, in.MinCount, in.MaxCount = aws.String("ami-12c6146b"), aws.Int32(1), aws.Int32(1)
		_, err := machines.RunInstances(t.Context(), &in)
		return err
	}
	refused := func(err error, code, action, resource string) {
		t.Helper()
		wantCode(t, err, code)
		want := "User: " + arn + " is not authorized to perform: " + action + " on resource: " + resource + " because no identity-based policy allows the " + action + " action"
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v does not say: %s", err, want)
		}
	}
	createRole := func(tags []iamtypes.Tag) error {
		_, err := access.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustEC2), Tags: tags})
		return err
	}
	createProfile := func(tags []iamtypes.Tag) error {
		_, err := access.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: name, Tags: tags})
		return err
	}
	addRole := func() error {
		_, err := access.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
		return err
	}
	t.Cleanup(func() { s.removeRole(t, *name) })
	t.Cleanup(func() { removeProfile(t, s, *name) })

	p.Withhold("iam:TagRole", "iam:TagInstanceProfile", "iam:PassRole", "ec2:CreateTags")
	refused(createRole(tags), "AccessDenied", "iam:TagRole", "arn:aws:iam::123456789012:role/withheld")
	refused(createProfile(tags), "AccessDenied", "iam:TagInstanceProfile", "arn:aws:iam::123456789012:instance-profile/withheld")
	must(t, createRole(nil))
	must(t, createProfile(nil))
	refused(addRole(), "AccessDenied", "iam:PassRole", "arn:aws:iam::123456789012:role/withheld")
	refused(run(ec2.RunInstancesInput{IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: name}}), "UnauthorizedOperation", "iam:PassRole", "arn:aws:iam::123456789012:role/withheld")
	tagged := []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}}
	refused(run(ec2.RunInstancesInput{TagSpecifications: tagged}), "UnauthorizedOperation", "ec2:CreateTags", "arn:aws:ec2:eu-west-1:123456789012:instance/*")
	must(t, run(ec2.RunInstancesInput{}))

	p.Withhold()
	must(t, addRole())
	must(t, run(ec2.RunInstancesInput{TagSpecifications: tagged, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: name}}))
}

func removeProfile(t *testing.T, s *Server, name string) {
	ctx, client := limited(t), iam.NewFromConfig(s.Admin(t, "us-east-1"))
	_, err := client.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	must(t, err)
	_, err = client.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
	must(t, err)
}

func TestACallNeedsWhatAWSAsksFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		service, operation, params string
		want                       []string
	}{
		{"ec2", "DescribeVpcs", "", []string{"ec2:DescribeVpcs"}},
		{"iam", "CreateRole", "RoleName=r", []string{"iam:CreateRole"}},
		{"iam", "CreateRole", "RoleName=r&Tags.member.1.Key=k", []string{"iam:CreateRole", "iam:TagRole"}},
		{"iam", "CreateInstanceProfile", "Tags.member.1.Key=k", []string{"iam:CreateInstanceProfile", "iam:TagInstanceProfile"}},
		{"iam", "AddRoleToInstanceProfile", "RoleName=r", []string{"iam:AddRoleToInstanceProfile", "iam:PassRole"}},
		{"ec2", "RunInstances", "ImageId=ami-1", []string{"ec2:RunInstances"}},
		{"ec2", "RunInstances", "TagSpecification.1.Tag.1.Key=k&IamInstanceProfile.Name=p", []string{"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"}},
		{"s3", "ListBuckets", "", []string{"s3:ListAllMyBuckets"}},
		{"s3", "HeadObject", "", []string{"s3:GetObject"}},
		{"logs", "GetLogEvents", "", []string{"logs:GetLogEvents"}},
		{"sts", "GetCallerIdentity", "", nil},
		{"sts", "AssumeRole", "RoleArn=a", []string{"sts:AssumeRole"}},
		{"sts", "AssumeRole", "RoleArn=a&Tags.member.1.Key=k", []string{"sts:AssumeRole", "sts:TagSession"}},
	} {
		params, err := url.ParseQuery(c.params)
		must(t, err)
		if got := (Call{Service: c.service, Operation: c.operation, Params: params}).Needs(); !slices.Equal(got, c.want) {
			t.Errorf("%s:%s with %q needs %v, want %v", c.service, c.operation, c.params, got, c.want)
		}
	}
}

func TestSessionTagsNeedAnActionOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	key, user := s.User(t, "tagger", allow("sts:AssumeRole"))
	role := s.Role(t, "tagged-session", trusting(user, ""))
	p.Withhold("sts:TagSession")
	client := sts.NewFromConfig(once(key.Config("us-east-1", p.URL)))
	in := sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("test")}
	_, err := client.AssumeRole(t.Context(), &in)
	wantCode(t, err, "")
	in.Tags = []ststypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}
	_, err = client.AssumeRole(t.Context(), &in)
	wantCode(t, err, "AccessDenied")
}

func TestParallelCallsEachGetTheirOwnAnswer(t *testing.T) {
	t.Parallel()
	s := Moto(t)
	p := NewProxy(t, s)
	client := iam.NewFromConfig(once(s.AdminKey.Config("us-east-1", p.URL)))
	const count = 24
	for i := range count {
		s.Role(t, fmt.Sprintf("parallel-%d", i), trustEC2)
	}
	p.Fail(func(c Call) Fault {
		if strings.HasSuffix(c.Params.Get("RoleName"), "7") {
			return Throttle()
		}
		return Fault{}
	})
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			name := fmt.Sprintf("parallel-%d", i)
			out, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
			if strings.HasSuffix(name, "7") {
				wantCode(t, err, "Throttling")
			} else if err != nil || aws.ToString(out.Role.RoleName) != name {
				t.Errorf("%s: %v, %v", name, out, err)
			}
			p.Calls()
		})
	}
	group.Wait()
	if calls := p.Calls(); len(calls) != count {
		t.Errorf("%d calls are recorded, want %d", len(calls), count)
	}
}

// The test binary plays a test that has started moto and is killed.
func TestMotoDiesWithTheTestBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv("AWSTEST_PRINT_URL") != "" {
		fmt.Println("at " + Moto(t).URL + "/moto-api/data.json")
		time.Sleep(time.Minute)
	}
	Moto(t) // skips or fails where there is none
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "AWSTEST_PRINT_URL=1")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	var url string
	if _, err := fmt.Fscanf(out, "at %s\n", &url); err != nil {
		t.Fatal(err)
	}
	answers := func() bool {
		answer, err := http.Get(url)
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	}
	if !answers() {
		t.Fatal("it does not answer")
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); answers(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it answers on")
		}
	}
}

// The test binary plays a run without moto.
func TestWithoutMotoAShortTestIsSkippedAndAnotherFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ moto, short, want string }{
		{"", "false", "run the tests with `make test`"},
		{"/nonexistent/moto_server", "false", "run the tests with `make test`"},
		{"", "true", "SKIP: TestWrongKeysAreRefused"},
		{"/nonexistent/moto_server", "true", "SKIP: TestWrongKeysAreRefused"},
		{"/bin/false", "false", "it ended and said"},
	} {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.short="+c.short, "-test.run", "^TestWrongKeysAreRefused$")
		cmd.Env = append(os.Environ(), "MOTO_SERVER="+c.moto)
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), c.want) || (err == nil) != strings.HasPrefix(c.want, "SKIP") {
			t.Errorf("%+v: %v\n%s", c, err, out)
		}
	}
}
