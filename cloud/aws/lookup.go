package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"wherry/cloud"
)

const (
	// lookupAge is how long choices are shown from the cache.
	lookupAge = 5 * time.Minute
	// lookupLimit is how long a lookup may take, all its pages together.
	lookupLimit = 30 * time.Second
	// maxLookups bounds the cache; the oldest goes first.
	maxLookups = 200
)

// lookupKey is what decides the choices.
type lookupKey struct {
	cloud.LookupRequest
	updated int64 // of the credentials: changed ones may see something else
}

// lookupEntry is one answer, or one that is under way: ready is closed when it is there.
type lookupEntry struct {
	ready   chan struct{}
	choices cloud.Choices
	err     error
	since   time.Time
}

// lookupCache keeps answers, and lets one question be under way for all who ask it.
type lookupCache struct {
	mu      sync.Mutex
	entries map[lookupKey]*lookupEntry
}

// get answers from the cache, or asks once for everyone who waits. An error is told to those who waited, and not kept.
func (l *lookupCache) get(ctx context.Context, key lookupKey, refresh bool, ask func(context.Context) ([]cloud.Choice, error)) (cloud.Choices, error) {
	l.mu.Lock()
	e := l.entries[key]
	if e == nil || time.Since(e.since) > lookupAge || (refresh && e.done()) {
		e = &lookupEntry{ready: make(chan struct{}), since: time.Now()}
		l.makeRoom()
		l.entries[key] = e
		go l.fill(context.WithoutCancel(ctx), key, e, ask)
	}
	l.mu.Unlock()
	select {
	case <-e.ready:
		return e.choices, e.err
	case <-ctx.Done():
		return cloud.Choices{}, translate(ctx.Err())
	}
}

func (e *lookupEntry) done() bool {
	select {
	case <-e.ready:
		return true
	default:
		return false
	}
}

// fill asks. Whoever asked first may go away: others may be waiting.
func (l *lookupCache) fill(ctx context.Context, key lookupKey, e *lookupEntry, ask func(context.Context) ([]cloud.Choice, error)) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	items, err := ask(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	e.choices, e.err = cloud.Choices{Items: items, At: time.Now()}, translate(err)
	if err != nil && l.entries[key] == e {
		delete(l.entries, key)
	}
	close(e.ready)
}

func (l *lookupCache) makeRoom() {
	if len(l.entries) < maxLookups {
		return
	}
	var oldest lookupKey
	for key, e := range l.entries {
		if oldest.Field == "" || e.since.Before(l.entries[oldest].since) {
			oldest = key
		}
	}
	delete(l.entries, oldest)
}

// lookups maps the fields of the form to what answers them.
var lookups = map[string]func(ctx context.Context, cfg awssdk.Config, r cloud.LookupRequest) ([]cloud.Choice, error){
	"instanceType":   instanceTypes,
	"imageId":        images,
	"ec2KeyPair":     keyPairs,
	"vpcId":          vpcs,
	"subnetIds":      subnets,
	"securityGroups": securityGroups,
	"allowBuckets":   buckets,
	"workDir":        buckets,
}

// Lookup returns what can be chosen for a field, from the cache where it is not older than some minutes.
func (a *AWS) Lookup(ctx context.Context, r cloud.LookupRequest) (cloud.Choices, error) {
	ask, ok := lookups[r.Field]
	if !ok {
		return cloud.Choices{}, cloud.Errorf(cloud.KindInvalid, nil, "There is nothing to choose for %q.", r.Field)
	}
	c, err := a.Credentials(ctx, r.CredentialsID)
	if err != nil {
		return cloud.Choices{}, err
	}
	refresh := r.Refresh
	r.Refresh = false
	return a.lookups.get(ctx, lookupKey{r, c.Updated.UnixMilli()}, refresh, func(ctx context.Context) ([]cloud.Choice, error) {
		cfg, err := a.sessionOf(ctx, c, r.Region)
		if err != nil {
			return nil, err
		}
		return ask(ctx, cfg, r)
	})
}

// pager is a paginator of the SDK.
type pager[Out any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*ec2.Options)) (Out, error)
}

// everyPage reads all pages of results.
func everyPage[Out, Item any](ctx context.Context, p pager[Out], items func(Out) []Item) (list []Item, err error) {
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, items(page)...)
	}
	return list, nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

func architecture(arm64 bool) string {
	if arm64 {
		return "arm64"
	}
	return "x86_64"
}

// instanceTypes lists the region's types of an architecture, the smallest first.
func instanceTypes(ctx context.Context, cfg awssdk.Config, r cloud.LookupRequest) ([]cloud.Choice, error) {
	found, err := describeTypes(ctx, cfg, filter("processor-info.supported-architecture", architecture(r.ARM64)))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b types.InstanceTypeInfo) int {
		return cmp.Or(cmp.Compare(vCPUs(a), vCPUs(b)), cmp.Compare(memory(a), memory(b)), cmp.Compare(a.InstanceType, b.InstanceType))
	})
	var choices []cloud.Choice
	for _, t := range found {
		if (t.GpuInfo != nil) == r.GPU {
			choices = append(choices, cloud.Choice{Value: string(t.InstanceType), Label: typeLabel(t)})
		}
	}
	return choices, nil
}

func describeTypes(ctx context.Context, cfg awssdk.Config, filters ...types.Filter) ([]types.InstanceTypeInfo, error) {
	p := ec2.NewDescribeInstanceTypesPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeInstanceTypesInput{Filters: filters})
	return everyPage(ctx, p, func(o *ec2.DescribeInstanceTypesOutput) []types.InstanceTypeInfo { return o.InstanceTypes })
}

func vCPUs(t types.InstanceTypeInfo) int32 {
	if t.VCpuInfo == nil {
		return 0
	}
	return awssdk.ToInt32(t.VCpuInfo.DefaultVCpus)
}

// memory is in MiB.
func memory(t types.InstanceTypeInfo) int64 {
	if t.MemoryInfo == nil {
		return 0
	}
	return awssdk.ToInt64(t.MemoryInfo.SizeInMiB)
}

// typeLabel is what a person needs to choose a type: vCPU, memory, GPU, local disk.
func typeLabel(t types.InstanceTypeInfo) string {
	label := fmt.Sprintf("%d vCPU, %s GiB", vCPUs(t), strings.TrimSuffix(fmt.Sprintf("%.1f", float64(memory(t))/1024), ".0"))
	if t.GpuInfo != nil {
		for _, g := range t.GpuInfo.Gpus {
			label += fmt.Sprintf(", %d× %s %s", awssdk.ToInt32(g.Count), awssdk.ToString(g.Manufacturer), awssdk.ToString(g.Name))
		}
	}
	if t.InstanceStorageInfo != nil && t.InstanceStorageInfo.TotalSizeInGB != nil {
		label += fmt.Sprintf(", %d GB local disk", *t.InstanceStorageInfo.TotalSizeInGB)
	}
	return label
}

// images lists the images that fit: the newest of the ECS-optimised ones, and the account's own.
func images(ctx context.Context, cfg awssdk.Config, r cloud.LookupRequest) ([]cloud.Choice, error) {
	const newest = 10
	amazon, err := ecsImages(ctx, cfg, r.ARM64, r.GPU)
	if err != nil {
		return nil, err
	}
	own, err := describeImages(ctx, cfg, &ec2.DescribeImagesInput{Owners: []string{"self"},
		Filters: []types.Filter{filter("architecture", architecture(r.ARM64)), filter("state", "available")}})
	if err != nil {
		return nil, err
	}
	var choices []cloud.Choice
	for _, image := range append(own, amazon[:min(len(amazon), newest)]...) {
		label := awssdk.ToString(image.Name)
		if day, _, ok := strings.Cut(awssdk.ToString(image.CreationDate), "T"); ok {
			label += ", " + day
		}
		choices = append(choices, cloud.Choice{Value: awssdk.ToString(image.ImageId), Label: label})
	}
	return choices, nil
}

func describeImages(ctx context.Context, cfg awssdk.Config, in *ec2.DescribeImagesInput) ([]types.Image, error) {
	list, err := everyPage(ctx, ec2.NewDescribeImagesPaginator(ec2.NewFromConfig(cfg), in), func(o *ec2.DescribeImagesOutput) []types.Image { return o.Images })
	slices.SortFunc(list, func(a, b types.Image) int {
		return cmp.Compare(awssdk.ToString(b.CreationDate), awssdk.ToString(a.CreationDate))
	})
	return list, err
}

// ecsImages lists the ECS-optimised images of Amazon Linux 2023, the newest first. Their names are in the ECS developer
// guide, under "Amazon ECS-optimized Linux AMIs".
func ecsImages(ctx context.Context, cfg awssdk.Config, arm64, gpu bool) ([]types.Image, error) {
	name := "al2023-ami-ecs-hvm-*"
	if gpu {
		name = "al2023-ami-ecs-gpu-hvm-*"
	}
	return describeImages(ctx, cfg, &ec2.DescribeImagesInput{Owners: []string{"amazon"},
		Filters: []types.Filter{filter("name", name), filter("architecture", architecture(arm64)), filter("state", "available")}})
}

func keyPairs(ctx context.Context, cfg awssdk.Config, _ cloud.LookupRequest) ([]cloud.Choice, error) {
	out, err := ec2.NewFromConfig(cfg).DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{}) // it has no pages
	if err != nil {
		return nil, err
	}
	var choices []cloud.Choice
	for _, k := range out.KeyPairs {
		choices = append(choices, cloud.Choice{Value: awssdk.ToString(k.KeyName), Label: string(k.KeyType)})
	}
	return sorted(choices), nil
}

func vpcs(ctx context.Context, cfg awssdk.Config, _ cloud.LookupRequest) ([]cloud.Choice, error) {
	found, err := everyPage(ctx, ec2.NewDescribeVpcsPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeVpcsInput{}),
		func(o *ec2.DescribeVpcsOutput) []types.Vpc { return o.Vpcs })
	if err != nil {
		return nil, err
	}
	var choices []cloud.Choice
	for _, v := range found {
		label := named(v.Tags, awssdk.ToString(v.CidrBlock))
		if awssdk.ToBool(v.IsDefault) {
			label += ", the default VPC"
		}
		choices = append(choices, cloud.Choice{Value: awssdk.ToString(v.VpcId), Label: label})
	}
	return sorted(choices), nil
}

// subnets lists those of the VPC, or of the default VPC where none is chosen.
func subnets(ctx context.Context, cfg awssdk.Config, r cloud.LookupRequest) ([]cloud.Choice, error) {
	found, err := describeSubnets(ctx, cfg, inVPC(r.VPCID))
	if err != nil {
		return nil, err
	}
	var choices []cloud.Choice
	for _, s := range found {
		label := named(s.Tags, fmt.Sprintf("%s, %s, %d addresses free", awssdk.ToString(s.AvailabilityZone), awssdk.ToString(s.CidrBlock), awssdk.ToInt32(s.AvailableIpAddressCount)))
		choices = append(choices, cloud.Choice{Value: awssdk.ToString(s.SubnetId), Label: label})
	}
	return sorted(choices), nil
}

// inVPC narrows subnets to a VPC, or to those that the region has by default.
func inVPC(id string) types.Filter {
	if id == "" {
		return filter("default-for-az", "true")
	}
	return filter("vpc-id", id)
}

func describeSubnets(ctx context.Context, cfg awssdk.Config, filters ...types.Filter) ([]types.Subnet, error) {
	return everyPage(ctx, ec2.NewDescribeSubnetsPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeSubnetsInput{Filters: filters}),
		func(o *ec2.DescribeSubnetsOutput) []types.Subnet { return o.Subnets })
}

func describeGroups(ctx context.Context, cfg awssdk.Config, filters ...types.Filter) ([]types.SecurityGroup, error) {
	return everyPage(ctx, ec2.NewDescribeSecurityGroupsPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeSecurityGroupsInput{Filters: filters}),
		func(o *ec2.DescribeSecurityGroupsOutput) []types.SecurityGroup { return o.SecurityGroups })
}

// securityGroups lists those of the VPC; the default VPC is the one that has the region's default subnets. Where subnets may
// not be read, the groups of all VPCs are listed, and which VPC each is of.
func securityGroups(ctx context.Context, cfg awssdk.Config, r cloud.LookupRequest) ([]cloud.Choice, error) {
	vpc := r.VPCID
	if vpc == "" {
		byDefault, err := describeSubnets(ctx, cfg, inVPC(""))
		switch {
		case cloud.KindOf(translate(err)) == cloud.KindDenied:
		case err != nil || len(byDefault) == 0:
			return nil, err
		default:
			vpc = awssdk.ToString(byDefault[0].VpcId)
		}
	}
	var filters []types.Filter
	if vpc != "" {
		filters = append(filters, inVPC(vpc))
	}
	found, err := describeGroups(ctx, cfg, filters...)
	if err != nil {
		return nil, err
	}
	var choices []cloud.Choice
	for _, g := range found {
		label := awssdk.ToString(g.GroupName) + ": " + awssdk.ToString(g.Description)
		if vpc == "" {
			label = awssdk.ToString(g.VpcId) + ", " + label
		}
		choices = append(choices, cloud.Choice{Value: awssdk.ToString(g.GroupId), Label: label})
	}
	return sorted(choices), nil
}

func buckets(ctx context.Context, cfg awssdk.Config, _ cloud.LookupRequest) ([]cloud.Choice, error) {
	var choices []cloud.Choice
	p := s3.NewListBucketsPaginator(s3.NewFromConfig(cfg), &s3.ListBucketsInput{})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range page.Buckets {
			choices = append(choices, cloud.Choice{Value: awssdk.ToString(b.Name), Label: awssdk.ToString(b.BucketRegion)})
		}
	}
	return sorted(choices), nil
}

// named puts the name tag before what else is to be known.
func named(tags []types.Tag, rest string) string {
	for _, t := range tags {
		if awssdk.ToString(t.Key) == "Name" && awssdk.ToString(t.Value) != "" {
			return *t.Value + ", " + rest
		}
	}
	return rest
}

func sorted(choices []cloud.Choice) []cloud.Choice {
	slices.SortFunc(choices, func(a, b cloud.Choice) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.Value, b.Value))
	})
	return choices
}
