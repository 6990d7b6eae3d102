package aws

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

func (w *world) lookup(field string, change ...func(*cloud.LookupRequest)) (cloud.Choices, error) {
	r := cloud.LookupRequest{CredentialsID: w.creds.ID, Region: region, Field: field}
	for _, f := range change {
		f(&r)
	}
	return w.aws.Lookup(w.t.Context(), r)
}

func (w *world) ec2() *ec2.Client { return ec2.NewFromConfig(w.moto.Admin(w.t, region)) }

// choice finds a choice by its value.
func choice(t *testing.T, c cloud.Choices, value string) cloud.Choice {
	t.Helper()
	i := slices.IndexFunc(c.Items, func(c cloud.Choice) bool { return c.Value == value })
	if i < 0 {
		t.Fatalf("%s is not among %d choices", value, len(c.Items))
	}
	return c.Items[i]
}

func TestChoicesSayWhatAPersonNeedsToKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	vpc, err := w.ec2().CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: awssdk.String("10.9.0.0/16")})
	must(t, err)
	id := awssdk.ToString(vpc.Vpc.VpcId)
	subnet, err := w.ec2().CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &id, CidrBlock: awssdk.String("10.9.1.0/24")})
	must(t, err)
	group, err := w.ec2().CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &id, GroupName: awssdk.String("boats"), Description: awssdk.String("for boats")})
	must(t, err)
	name := "key-" + platform.NewID()
	_, err = w.ec2().CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: &name})
	must(t, err)
	bucket := "bucket-" + strings.ToLower(platform.NewID())
	_, err = s3.NewFromConfig(w.moto.Admin(t, "us-east-1")).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	must(t, err)

	types, err := w.lookup("instanceType")
	must(t, err)
	says(t, choice(t, types, "m5d.large").Label, "2 vCPU, 8 GiB", "75 GB local disk")
	gpus, err := w.lookup("instanceType", func(r *cloud.LookupRequest) { r.GPU = true })
	must(t, err)
	says(t, choice(t, gpus, "g4dn.xlarge").Label, "4 vCPU, 16 GiB", "1× NVIDIA T4")
	arm, err := w.lookup("instanceType", func(r *cloud.LookupRequest) { r.ARM64 = true })
	must(t, err)
	choice(t, arm, "m6gd.large")
	if slices.ContainsFunc(arm.Items, func(c cloud.Choice) bool { return c.Value == "m5d.large" }) {
		t.Error("an Intel type among Graviton's")
	}

	images, err := w.lookup("imageId")
	must(t, err)
	if len(images.Items) == 0 || !strings.HasPrefix(images.Items[0].Label, "al2023-ami-ecs-hvm-") {
		t.Errorf("images: %v", images.Items)
	}
	vpcs, err := w.lookup("vpcId")
	must(t, err)
	says(t, choice(t, vpcs, id).Label, "10.9.0.0/16")
	if !slices.ContainsFunc(vpcs.Items, func(c cloud.Choice) bool { return strings.Contains(c.Label, "default VPC") }) {
		t.Error("the default VPC is not marked")
	}
	inVPC := func(r *cloud.LookupRequest) { r.VPCID = id }
	subnets, err := w.lookup("subnetIds", inVPC)
	must(t, err)
	if len(subnets.Items) != 1 {
		t.Errorf("subnets of the VPC: %v", subnets.Items)
	}
	says(t, choice(t, subnets, awssdk.ToString(subnet.Subnet.SubnetId)).Label, region, "10.9.1.0/24", "addresses free")
	groups, err := w.lookup("securityGroups", inVPC)
	must(t, err)
	says(t, choice(t, groups, awssdk.ToString(group.GroupId)).Label, "boats: for boats")
	keys, err := w.lookup("ec2KeyPair")
	must(t, err)
	choice(t, keys, name)
	buckets, err := w.lookup("allowBuckets")
	must(t, err)
	choice(t, buckets, bucket)
}

// TestEveryPageOfChoicesIsRead uses answers of our own: moto gives everything on one page.
func TestEveryPageOfChoicesIsRead(t *testing.T) {
	t.Parallel()
	const pages = 3
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(cmp.Or(r.FormValue("NextToken"), r.FormValue("continuation-token"), "1"))
		next := ""
		if page < pages {
			next = strconv.Itoa(page + 1)
		}
		switch r.FormValue("Action") {
		case "DescribeVpcs":
			fmt.Fprintf(w, `<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-%d</vpcId></item></vpcSet><nextToken>%s</nextToken></DescribeVpcsResponse>`, page, next)
		case "DescribeSubnets":
			fmt.Fprintf(w, `<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-%d</subnetId></item></subnetSet><nextToken>%s</nextToken></DescribeSubnetsResponse>`, page, next)
		case "DescribeSecurityGroups":
			fmt.Fprintf(w, `<DescribeSecurityGroupsResponse><securityGroupInfo><item><groupId>sg-%d</groupId></item></securityGroupInfo><nextToken>%s</nextToken></DescribeSecurityGroupsResponse>`, page, next)
		case "DescribeInstanceTypes":
			fmt.Fprintf(w, `<DescribeInstanceTypesResponse><instanceTypeSet><item><instanceType>m%d.large</instanceType></item></instanceTypeSet><nextToken>%s</nextToken></DescribeInstanceTypesResponse>`, page, next)
		case "DescribeImages":
			fmt.Fprintf(w, `<DescribeImagesResponse><imagesSet><item><imageId>ami-%s%d</imageId></item></imagesSet><nextToken>%s</nextToken></DescribeImagesResponse>`, r.FormValue("Owner.1"), page, next)
		default:
			if next != "" {
				next = "<ContinuationToken>" + next + "</ContinuationToken>"
			}
			fmt.Fprintf(w, `<ListAllMyBucketsResult><Buckets><Bucket><Name>bucket-%d</Name></Bucket></Buckets>%s</ListAllMyBucketsResult>`, page, next)
		}
	}))
	defer front.Close()
	a := New(Config{Credentials: func(context.Context, string) (platform.Credentials, error) {
		return platform.Credentials{Mode: platform.CredentialsKeys, AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: platform.NewSecret("secret")}, nil
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(front.URL)}})
	for field, want := range map[string]int{"vpcId": pages, "subnetIds": pages, "securityGroups": pages, "instanceType": pages, "imageId": 2 * pages, "allowBuckets": pages} {
		choices, err := a.Lookup(t.Context(), cloud.LookupRequest{CredentialsID: "x", Region: region, Field: field, VPCID: "vpc-0"})
		must(t, err)
		values := map[string]bool{}
		for _, c := range choices.Items {
			values[c.Value] = true
		}
		if len(values) != want {
			t.Errorf("%s: %d of %d choices", field, len(values), want)
		}
	}
}

// TestEachMissingPermissionIsNamed takes each optional permission away in turn: its own fields alone have no choices then.
func TestEachMissingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	needs := map[string]string{"instanceType": "ec2:DescribeInstanceTypes", "imageId": "ec2:DescribeImages", "ec2KeyPair": "ec2:DescribeKeyPairs", "vpcId": "ec2:DescribeVpcs",
		"subnetIds": "ec2:DescribeSubnets", "securityGroups": "ec2:DescribeSecurityGroups", "allowBuckets": "s3:ListAllMyBuckets", "workDir": "s3:ListAllMyBuckets"}
	for _, action := range published(t, "read-optional") {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.moto.SetPolicies(t, w.user, without(t, action)...)
			for field, needed := range needs {
				if slow := field == "instanceType" || field == "imageId"; slow && needed != action && action != "ec2:DescribeKeyPairs" {
					continue // moto takes seconds for these: one of the others will do
				}
				choices, err := w.lookup(field)
				if field == "securityGroups" && action == "ec2:DescribeSubnets" && len(choices.Items) == 0 {
					t.Error("no groups where the default VPC is not known")
				}
				if needed != action {
					must(t, err)
					continue
				}
				if e := kind(t, err, cloud.KindDenied); e.Permission != action {
					t.Errorf("%s: the missing permission is said to be %s", field, e.Permission)
				}
			}
			w.moto.SetPolicies(t, w.user, allPublished(t)...)
			for field, needed := range needs {
				if _, err := w.lookup(field); needed == action && err != nil {
					t.Errorf("%s after the permission is back: %v", field, err)
				}
			}
		})
	}
}

func TestChoicesAreKeptForMinutesAndRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.lookup("vpcId"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(w.proxy.Calls()); n != 1 {
		t.Errorf("%d questions for one answer", n)
	}
	_, err := w.lookup("vpcId", func(r *cloud.LookupRequest) { r.Refresh = true })
	must(t, err)
	if n := len(w.proxy.Calls()); n != 2 {
		t.Errorf("%d questions after a refresh", n)
	}
	w.creds.Updated = w.creds.Updated.AddDate(1, 0, 0)
	_, err = w.lookup("vpcId")
	must(t, err)
	if n := len(w.proxy.Calls()); n != 3 {
		t.Errorf("changed credentials were answered from the cache: %d questions", n)
	}
}

func TestAnErrorIsNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy.Fail(func(awstest.Call) awstest.Fault { return awstest.Throttle() })
	_, err := w.lookup("vpcId")
	kind(t, err, cloud.KindThrottled)
	w.proxy.Fail(nil)
	_, err = w.lookup("vpcId")
	must(t, err)
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range maxLookups + 10 {
		l := cloud.LookupRequest{Field: "vpcId", VPCID: fmt.Sprint(i)}
		w.aws.lookups.mu.Lock()
		w.aws.lookups.makeRoom()
		w.aws.lookups.entries[lookupKey{LookupRequest: l}] = &lookupEntry{ready: make(chan struct{})}
		w.aws.lookups.mu.Unlock()
	}
	if n := len(w.aws.lookups.entries); n > maxLookups {
		t.Errorf("%d entries", n)
	}
}
