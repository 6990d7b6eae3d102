package aws

import (
	"errors"
	"slices"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

func TestWhatIsWrongStandsAtItsField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	vpc, err := w.ec2().CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: awssdk.String("10.8.0.0/16")})
	must(t, err)
	own := awssdk.ToString(vpc.Vpc.VpcId)
	made, err := w.ec2().CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &own, CidrBlock: awssdk.String("10.8.1.0/24")})
	must(t, err)
	subnet := awssdk.ToString(made.Subnet.SubnetId)
	byDefault, err := w.ec2().DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []types.Filter{filter("default-for-az", "true")}})
	must(t, err)
	elsewhere := awssdk.ToString(byDefault.Subnets[0].SubnetId)
	groups, err := w.ec2().DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter("vpc-id", own)}})
	must(t, err)
	group := awssdk.ToString(groups.SecurityGroups[0].GroupId)
	arm, err := w.aws.Lookup(ctx, cloud.LookupRequest{CredentialsID: w.creds.ID, Region: region, Field: "imageId", ARM64: true})
	must(t, err)
	if len(arm.Items) == 0 {
		t.Fatal("there is no image for Graviton to try")
	}
	for name, c := range map[string]struct {
		change func(*platform.ComputeEnv)
		field  string
		says   string
	}{
		"nothing":                {func(*platform.ComputeEnv) {}, "", ""},
		"a VPC of one's own":     {func(e *platform.ComputeEnv) { e.Config.VPCID = own; e.Config.SecurityGroups = []string{group} }, "", ""},
		"Graviton":               {func(e *platform.ComputeEnv) { e.Config.ARM64Enabled = true }, "", ""},
		"an unknown region":      {func(e *platform.ComputeEnv) { e.Region = "xx-north-1" }, "region", "does not know"},
		"an unknown type":        {func(e *platform.ComputeEnv) { e.Config.InstanceType = "m99.tiny" }, "instanceType", "not offered in " + region},
		"a type of another arch": {func(e *platform.ComputeEnv) { e.Config.InstanceType = "m6g.large" }, "instanceType", "switch Graviton on"},
		"Graviton and Intel":     {func(e *platform.ComputeEnv) { e.Config.ARM64Enabled = true; e.Config.InstanceType = "m5.large" }, "instanceType", "switch Graviton off"},
		"a GPU without one": {func(e *platform.ComputeEnv) {
			e.Config.GPUEnabled = true
			e.Config.InstanceType = "m5.large"
			e.Config.ImageID = "ami-03cf127a"
		}, "instanceType", "no GPU"},
		"an unknown image":         {func(e *platform.ComputeEnv) { e.Config.ImageID = "ami-0123456789abcdef0" }, "imageId", "There is no image"},
		"an image of another arch": {func(e *platform.ComputeEnv) { e.Config.ImageID = arm.Items[0].Value }, "imageId", "arm64"},
		"an unknown VPC":           {func(e *platform.ComputeEnv) { e.Config.VPCID = "vpc-0123456789abcdef0" }, "vpcId", "There is no VPC"},
		"an unknown subnet":        {func(e *platform.ComputeEnv) { e.Config.SubnetIDs = []string{"subnet-0123456789abcdef0"} }, "subnetIds", "There is no subnet"},
		"a subnet elsewhere":       {func(e *platform.ComputeEnv) { e.Config.VPCID = own; e.Config.SubnetIDs = []string{elsewhere} }, "subnetIds", "and not in " + own},
		"subnets of two VPCs":      {func(e *platform.ComputeEnv) { e.Config.SubnetIDs = []string{subnet, elsewhere} }, "subnetIds", "different VPCs"},
		"an unknown group":         {func(e *platform.ComputeEnv) { e.Config.SecurityGroups = []string{"sg-0123456789abcdef0"} }, "securityGroups", "There is no security group"},
		"a group elsewhere":        {func(e *platform.ComputeEnv) { e.Config.SecurityGroups = []string{group} }, "securityGroups", "is in the VPC " + own},
		"an unknown key pair":      {func(e *platform.ComputeEnv) { e.Config.EC2KeyPair = "no-such-key" }, "ec2KeyPair", "no key pair"},
		"too many buckets": {func(e *platform.ComputeEnv) {
			for i := range 60 {
				e.Config.AllowBuckets = append(e.Config.AllowBuckets, "a-bucket-with-a-rather-long-name-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
			}
		}, "allowBuckets", "do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := w.env
			c.change(&env)
			err := w.aws.Validate(t.Context(), env)
			if c.field == "" {
				must(t, err)
				return
			}
			var fields platform.FieldErrors
			if !errors.As(err, &fields) {
				t.Fatalf("%v", err)
			}
			says(t, fields[c.field], c.says)
		})
	}
}

func TestAMissingPermissionToValidateIsNamed(t *testing.T) {
	t.Parallel()
	for _, action := range published(t, "validate") {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.Config.SecurityGroups = []string{"sg-0123456789abcdef0"}
			w.moto.SetPolicies(t, w.user, without(t, action)...)
			err := w.aws.Validate(t.Context(), w.env)
			var fields platform.FieldErrors
			if !errors.As(err, &fields) {
				t.Fatalf("%v", err)
			}
			says(t, fields["credentialsId"], action)
			w.moto.SetPolicies(t, w.user, allPublished(t)...)
			w.env.Config.SecurityGroups = nil
			must(t, w.aws.Validate(t.Context(), w.env))
		})
	}
}

func TestAKeyPairIsNotCheckedWithoutTheOptionalPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Config.EC2KeyPair = "may-be-there"
	w.moto.SetPolicies(t, w.user, without(t, "ec2:DescribeKeyPairs")...)
	must(t, w.aws.Validate(t.Context(), w.env))
}

func TestARegionThatIsNotEnabledIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if c.Service == "ec2" {
			return awstest.Fault{When: awstest.Before, Kind: awstest.ErrorAnswer, Code: "AuthFailure", Status: 401, Message: "AWS was not able to validate the provided access credentials"}
		}
		return awstest.Fault{}
	})
	err := w.aws.Validate(t.Context(), w.env)
	var fields platform.FieldErrors
	if !errors.As(err, &fields) {
		t.Fatalf("%v", err)
	}
	says(t, fields["region"], "not enabled")
}

func TestTheNewestImageIsTheDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg, err := w.aws.session(t.Context(), w.creds.ID, region)
	must(t, err)
	for _, arm64 := range []bool{false, true} {
		images, err := ecsImages(t.Context(), cfg, arm64, false)
		must(t, err)
		if len(images) < 1 || string(images[0].Architecture) != architecture(arm64) {
			t.Fatalf("%d images of %s", len(images), architecture(arm64))
		}
		if !slices.IsSortedFunc(images, func(a, b types.Image) int {
			return -1 * compareDates(a, b)
		}) {
			t.Error("they are not sorted by date")
		}
	}
}

func compareDates(a, b types.Image) int {
	switch x, y := awssdk.ToString(a.CreationDate), awssdk.ToString(b.CreationDate); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
