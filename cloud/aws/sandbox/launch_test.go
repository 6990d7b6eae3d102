package sandbox_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/sandbox"
)

func (l *lab) withToken(name string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(name + l.id) }
}

// withTag lets a test find what it launched.
func (l *lab) withTag(value string) func(*ec2.RunInstancesInput) {
	value += l.id
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("test"), Value: &value}}}}
	}
}

// tagged counts the instances with a tag, past the proxy.
func (l *lab) tagged(value string) int {
	l.Helper()
	out, err := ec2.NewFromConfig(l.server.Admin(l, region)).DescribeInstances(l.Context(), &ec2.DescribeInstancesInput{Filters: []types.Filter{where("tag:test", value+l.id)}})
	l.must(err)
	return len(out.Reservations)
}

// subnets are one of each Availability Zone.
func (l *lab) subnets() (ids []string) {
	l.Helper()
	out, err := l.ec2.DescribeSubnets(l.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("default-for-az"), Values: []string{"true"}}}})
	l.must(err)
	for _, s := range out.Subnets {
		ids = append(ids, aws.ToString(s.SubnetId))
	}
	if len(ids) < 2 {
		l.Fatalf("there are the subnets %v", ids)
	}
	return ids
}

func in(subnet string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.SubnetId = &subnet }
}

func TestAClientTokenLaunchesOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if c.Params.Get("ClientToken") == "token-lost"+l.id && len(l.proxy.Calls()) == 1 {
			return awstest.Lost()
		}
		return awstest.Fault{}
	})
	if _, err := l.launch("#!", l.withToken("token-lost"), l.withTag("lost")); err == nil {
		t.Fatal("the answer is not lost")
	}
	again, err := l.launch("#!", l.withToken("token-lost"), l.withTag("lost"))
	l.must(err)
	second := newLab(t) // another proxy of the same account
	second.id = l.id
	other, err := second.launch("#!", l.withToken("token-lost"), l.withTag("lost"))
	l.must(err)
	if *again.InstanceId != *other.InstanceId || l.tagged("lost") != 1 || aws.ToString(again.ClientToken) != "token-lost"+l.id {
		t.Errorf("%s and %s, of %d", *again.InstanceId, *other.InstanceId, l.tagged("lost"))
	}
	_, err = l.launch("#!", l.withToken("token-lost"), l.withTag("other"))
	l.refused(err, "IdempotentParameterMismatch", "inconsistent")
	_, err = l.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{*again.InstanceId}})
	l.must(err)
	_, err = l.launch("#!", l.withToken("token-lost"), l.withTag("lost"))
	l.refused(err, "IdempotentInstanceTerminated", "terminated")
	if l.tagged("lost") != 1 || l.tagged("other") != 0 {
		t.Errorf("%d and %d instances", l.tagged("lost"), l.tagged("other"))
	}
}

func TestOneClientTokenAtTheSameTimeLaunchesOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ids := make([]string, 8)
	var group sync.WaitGroup
	for n := range ids {
		group.Go(func() {
			i, err := l.launch("#!", l.withToken("token-together"), l.withTag("together"))
			if err != nil {
				t.Error(err)
				return
			}
			ids[n] = *i.InstanceId
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("they got %v", ids)
		}
	}
	if n := l.tagged("together"); n != 1 {
		t.Errorf("%d instances", n)
	}
}

// EC2 keeps the promise of a token in one Availability Zone, where the launch names one.
func TestAClientTokenHoldsInItsZone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	subnets := l.subnets()
	first, err := l.launch("#!", l.withToken("token-zone"), l.withTag("zone"), in(subnets[0]))
	l.must(err)
	again, err := l.launch("#!", l.withToken("token-zone"), l.withTag("zone"), in(subnets[0]))
	l.must(err)
	elsewhere, err := l.launch("#!", l.withToken("token-zone"), l.withTag("zone"), in(subnets[1]))
	l.must(err)
	if *first.InstanceId != *again.InstanceId || *first.InstanceId == *elsewhere.InstanceId || l.tagged("zone") != 2 {
		t.Errorf("%s, %s, %s", *first.InstanceId, *again.InstanceId, *elsewhere.InstanceId)
	}
}

func TestALaunchThatFailedHasNotUsedItsToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, err := l.launch("#!", l.withToken("token-failed"), func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-0123456789abcdef0") })
	l.refused(err, "InvalidAMIID.NotFound", "The image id '[ami-0123456789abcdef0]' does not exist")
	_, err = l.launch("#!", l.withToken("token-failed"))
	l.must(err)
}

func TestWhatEC2DoesNotLaunch(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	without := l.emptyProfile("launch-without-role")
	missing := "arn:aws:iam::123456789012:instance-profile/launch-missing"
	byName := func(in *ec2.RunInstancesInput) {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("launch-missing")}
	}
	for _, c := range []struct {
		name       string
		script     string
		change     func(*ec2.RunInstancesInput)
		code, text string
	}{
		{"unknown profile", "", withProfile(missing), "InvalidParameterValue", "Value (" + missing + ") for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN"},
		{"unknown name", "", byName, "InvalidParameterValue", "Value (launch-missing) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"},
		{"profile without role", "", withProfile(without), "InvalidParameterValue", `IAM Instance Profile "` + without + `" has no associated IAM Roles`},
		{"much user data", strings.Repeat("x", 16385), func(*ec2.RunInstancesInput) {}, "InvalidParameterValue", "User data is limited to 16384 bytes"},
		{"broken user data", "", func(in *ec2.RunInstancesInput) { in.UserData = aws.String("?") }, "InvalidUserData.Malformed", "BASE64"},
		{"unknown subnet", "", in("subnet-0123456789abcdef0"), "InvalidSubnetID.NotFound", "subnet-0123456789abcdef0"},
		{"unknown group", "", func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-0123456789abcdef0"} }, "InvalidGroup.NotFound", "sg-0123456789abcdef0"},
	} {
		_, err := l.launch(c.script, c.change, l.withTag("refused"))
		if err == nil {
			t.Errorf("%s: it is launched", c.name)
			continue
		}
		l.refused(err, c.code, c.text)
	}
	if n := l.tagged("refused"); n != 0 {
		t.Errorf("%d instances", n)
	}
	_, err := l.launch(strings.Repeat("x", 16384))
	l.must(err)
	_, err = l.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	l.refused(err, "InvalidInstanceID.NotFound", "i-0123456789abcdef0")
}

func TestALaunchNeedsPassRoleAndCreateTags(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	arn := l.profile("launch-needs")
	for _, action := range []string{"iam:PassRole", "ec2:CreateTags", "ec2:RunInstances"} {
		l.proxy.Withhold(action)
		_, err := l.launch("", withProfile(arn), l.withTag("needs"))
		l.refused(err, "UnauthorizedOperation", "is not authorized to perform: "+action)
	}
	if n := l.tagged("needs"); n != 0 {
		t.Errorf("%d instances", n)
	}
	l.proxy.Withhold()
	_, err := l.launch("", withProfile(arn), l.withTag("needs"))
	l.must(err)
}

func TestAFullSubnetIsFullAndAnotherIsNot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	subnets := l.subnets()
	for code, fault := range map[string]awstest.Fault{
		"InsufficientInstanceCapacity": sandbox.NoCapacity("m5.large", "eu-west-1a"), "InstanceLimitExceeded": sandbox.TooManyInstances(),
		"VcpuLimitExceeded": sandbox.TooManyCPUs(), "MaxSpotInstanceCountExceeded": sandbox.TooManySpot(),
	} {
		l.proxy.Fail(sandbox.Full(fault, subnets[0], "m5.xlarge"))
		_, err := l.launch("", in(subnets[0]))
		l.refused(err, code, fault.Message)
		_, err = l.launch("", in(subnets[1]))
		l.must(err)
		_, err = l.launch("", in(subnets[1]), func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeM5Xlarge })
		l.refused(err, code, fault.Message)
	}
}

func TestADoomedInstanceTellsWhyItEnded(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{})
	l.proxy.Doom(func(awstest.Call) sandbox.StateReason { return sandbox.ReasonLaunchKey })
	i, err := l.launch("#!/bin/sh\n")
	l.must(err)
	if i.State.Name != types.InstanceStateNamePending {
		t.Errorf("the launch is answered with %s", i.State.Name)
	}
	d := l.describe(*i.InstanceId)
	if d.State.Name != types.InstanceStateNameTerminated || aws.ToString(d.StateReason.Code) != "Client.InternalError" || aws.ToString(d.StateReason.Message) != "Client.InternalError: Client error on launch" {
		t.Errorf("%s, %+v", d.State.Name, d.StateReason)
	}
	if running := l.hypervisor.Running(); len(running) > 0 {
		t.Errorf("%v runs", running)
	}
}

// listed are the instances that DescribeInstances lists for a filter.
func (l *lab) listed(filters ...types.Filter) (ids []string) {
	l.Helper()
	out, err := l.ec2.DescribeInstances(l.Context(), &ec2.DescribeInstancesInput{Filters: filters})
	l.must(err)
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			ids = append(ids, aws.ToString(i.InstanceId))
		}
	}
	return ids
}

func where(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

func TestFiltersGoByTheStatesThatAreShown(t *testing.T) {
	t.Parallel()
	l := newLabWithMachines(t, sandbox.Options{Pending: time.Hour})
	mine := where("tag:test", "filtered"+l.id)
	i, err := l.launch("", l.withTag("filtered"), l.withToken("token-filtered"))
	l.must(err)
	want := func(holds bool, filters ...types.Filter) {
		t.Helper()
		if got := l.listed(append(filters, mine)...); (len(got) == 1 && got[0] == *i.InstanceId) != holds || len(got) > 1 {
			t.Errorf("%v lists %v", *filters[0].Name, got)
		}
	}
	want(true, where("instance-state-name", "pending", "running"))
	want(false, where("instance-state-name", "running"))
	want(true, where("client-token", "token-filtered"+l.id))
	want(false, where("client-token", "token-other"))
	_, err = l.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}})
	l.must(err)
	l.wait(*i.InstanceId)
	want(false, where("instance-state-name", "pending", "running"))
	want(true, where("instance-state-name", "terminated"))
	want(true, where("state-reason-code", "Client.UserInitiatedShutdown"))
}

func TestDescribeCanBeStaleAndBlind(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i, err := l.launch("", l.withTag("stale"))
	l.must(err)
	id, mine := *i.InstanceId, where("tag:test", "stale"+l.id)
	l.proxy.Stale(time.Hour)
	if got := l.listed(mine); len(got) > 0 {
		t.Errorf("an hour ago there was %v", got)
	}
	_, err = l.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	l.refused(err, "InvalidInstanceID.NotFound", id)
	l.proxy.Stale(0)
	l.proxy.Hide(id)
	if got := l.listed(mine); len(got) > 0 {
		t.Errorf("%v is not hidden", got)
	}
	l.proxy.Hide()
	before := time.Now()
	_, err = l.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	l.must(err)
	if s := l.state(id); s != "terminated" {
		t.Errorf("it is %s", s)
	}
	l.proxy.AsOf(before)
	if s := l.state(id); s != "running" {
		t.Errorf("before its end it was %s", s)
	}
}

func TestAnInstanceEndedPastTheProxyIsSeenToHaveEnded(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	i, err := l.launch("")
	l.must(err)
	_, err = ec2.NewFromConfig(l.server.Admin(t, region)).StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{*i.InstanceId}})
	l.must(err)
	if d := l.describe(*i.InstanceId); d.State.Name != types.InstanceStateNameStopped || aws.ToString(d.StateReason.Code) != "Client.UserInitiatedShutdown" {
		t.Errorf("%s, %+v", d.State.Name, d.StateReason)
	}
	l.must(deleteAll(l, *i.InstanceId))
	if s := l.state(*i.InstanceId); s != "terminated" {
		t.Errorf("it is %s", s)
	}
}

func deleteAll(l *lab, ids ...string) error {
	_, err := l.ec2.TerminateInstances(l.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	return err
}

func TestAUserWithoutTheRightLaunchesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	key, _ := l.server.User(t, "launch-nobody", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:DescribeInstances","Resource":"*"}]}`)
	config := key.Config(region, l.proxy.URL)
	l.ec2 = ec2.NewFromConfig(config)
	_, err := l.launch("", l.withTag("nobody"))
	l.refused(err, "UnauthorizedOperation", "ec2:RunInstances")
	if n := l.tagged("nobody"); n != 0 {
		t.Errorf("%d instances", n)
	}
	_, err = l.ec2.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: aws.String("i-0123456789abcdef0")})
	l.refused(err, "UnauthorizedOperation", "ec2:GetConsoleOutput")
	_, err = iam.NewFromConfig(config).ListUsers(t.Context(), &iam.ListUsersInput{})
	l.refused(err, "AccessDenied", "iam:ListUsers")
}
