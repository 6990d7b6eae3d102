package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"wherry/cloud"
	"wherry/platform"
)

// defaultTypes are what an environment without an instance type gets: small, with a local disk where there is one, and
// offered in every region of the reference.
var defaultTypes = map[[2]bool]string{
	{false, false}: "m5d.large", {true, false}: "m6gd.large",
	{false, true}: "g4dn.xlarge", {true, true}: "g5g.xlarge",
}

// InstanceType is the type of an environment's machines: the one that it names, or the default for its architecture.
func InstanceType(env platform.ComputeEnv) string {
	if env.Config.InstanceType != "" {
		return env.Config.InstanceType
	}
	return defaultTypes[[2]bool{env.Config.ARM64Enabled, env.Config.GPUEnabled}]
}

// validation gathers what is found out about an environment.
type validation struct {
	cfg    awssdk.Config
	env    platform.ComputeEnv
	errors platform.FieldErrors
	kind   *types.InstanceTypeInfo
	image  *types.Image
	vpc    string // of the subnets that machines will be in
}

// Validate checks an environment with the four Describe permissions for it, all at once, and then what must fit together.
func (a *AWS) Validate(ctx context.Context, env platform.ComputeEnv) error {
	if !slices.ContainsFunc(regions, func(r cloud.Region) bool { return r.Name == env.Region }) {
		return platform.FieldErrors{"region": "Wherry does not know this region. Choose one from the list."}
	}
	if _, err := inlinePolicies(env); err != nil {
		return err
	}
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return atCredentials(err)
	}
	v := &validation{cfg: cfg, env: env, errors: platform.FieldErrors{}}
	var groups []types.SecurityGroup
	var found []types.Subnet
	var keyError error
	g, groupCtx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { v.kind, err = findType(groupCtx, cfg, InstanceType(env)); return err })
	g.Go(func() (err error) { v.image, err = findImage(groupCtx, cfg, env); return err })
	g.Go(func() (err error) { found, err = networkOf(groupCtx, cfg, env); return err })
	g.Go(func() (err error) { groups, err = findGroups(groupCtx, cfg, env.Config.SecurityGroups); return err })
	g.Go(func() error { keyError = findKeyPair(groupCtx, cfg, env.Config.EC2KeyPair); return nil })
	if err := g.Wait(); err != nil {
		return a.validationError(ctx, env, err)
	}
	v.checkType()
	v.checkImage()
	v.checkNetwork(found)
	v.checkGroups(groups)
	if keyError != nil {
		v.errors.Add("ec2KeyPair", "%s", keyError.Error())
	}
	return v.errors.OrNil()
}

// validationError turns an answer of AWS into an error at the field where it can be mended.
func (a *AWS) validationError(ctx context.Context, env platform.ComputeEnv, err error) error {
	if !hasCode(err, "AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired") {
		return atCredentials(translate(err))
	}
	// EC2 says the same of a wrong key and of a region that the account has not enabled; STS at home knows the key.
	home, homeErr := a.session(ctx, env.CredentialsID, homeRegion)
	if homeErr == nil {
		_, homeErr = identityOf(ctx, home)
	}
	if homeErr == nil {
		return platform.FieldErrors{"region": "The account has not enabled this region. Enable it in the account's settings, or choose another."}
	}
	return atCredentials(translate(err))
}

// atCredentials puts what the credentials cannot do beside their field. What may pass is no error of a field.
func atCredentials(err error) error {
	switch cloud.KindOf(err) {
	case cloud.KindDenied, cloud.KindIdentity:
		return platform.FieldErrors{"credentialsId": err.Error()}
	}
	return err
}

func findType(ctx context.Context, cfg awssdk.Config, name string) (*types.InstanceTypeInfo, error) {
	out, err := ec2.NewFromConfig(cfg).DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(name)}})
	if hasCode(err, "InvalidInstanceType") || (err == nil && len(out.InstanceTypes) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &out.InstanceTypes[0], nil
}

// findImage reads the environment's image, or the one that it gets by default.
func findImage(ctx context.Context, cfg awssdk.Config, env platform.ComputeEnv) (*types.Image, error) {
	var found []types.Image
	var err error
	if env.Config.ImageID == "" {
		found, err = ecsImages(ctx, cfg, env.Config.ARM64Enabled, env.Config.GPUEnabled)
	} else {
		out, askErr := ec2.NewFromConfig(cfg).DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{env.Config.ImageID}})
		if hasCode(askErr, "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable") {
			return nil, nil
		}
		if err = askErr; err == nil {
			found = out.Images
		}
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// networkOf reads the subnets that machines of an environment will be in: those that were chosen, all of the VPC, or the
// region's default ones.
func networkOf(ctx context.Context, cfg awssdk.Config, env platform.ComputeEnv) ([]types.Subnet, error) {
	if len(env.Config.SubnetIDs) > 0 {
		return describeSubnets(ctx, cfg, filter("subnet-id", env.Config.SubnetIDs...))
	}
	return describeSubnets(ctx, cfg, inVPC(env.Config.VPCID))
}

func findGroups(ctx context.Context, cfg awssdk.Config, ids []string) ([]types.SecurityGroup, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return describeGroups(ctx, cfg, filter("group-id", ids...))
}

// findKeyPair looks for a key pair with a permission that is optional: without it nothing is said.
func findKeyPair(ctx context.Context, cfg awssdk.Config, name string) error {
	if name == "" {
		return nil
	}
	_, err := ec2.NewFromConfig(cfg).DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	if hasCode(err, "InvalidKeyPair.NotFound") {
		return fmt.Errorf("There is no key pair of this name in %s.", cfg.Region) //nolint:staticcheck // a sentence for people
	}
	return nil
}

func (v *validation) checkType() {
	name := InstanceType(v.env)
	if v.kind == nil {
		v.errors.Add("instanceType", "%s is not offered in %s. Choose another type.", name, v.env.Region)
		return
	}
	arch := architecture(v.env.Config.ARM64Enabled)
	if v.kind.ProcessorInfo != nil && !slices.Contains(v.kind.ProcessorInfo.SupportedArchitectures, types.ArchitectureType(arch)) {
		v.errors.Add("instanceType", "%s is not of the architecture %s. %s", name, arch, gravitonHint(v.env.Config.ARM64Enabled))
	}
	if v.env.Config.GPUEnabled && v.kind.GpuInfo == nil {
		v.errors.Add("instanceType", "%s has no GPU. Choose a type that has one, or switch GPU off.", name)
	}
}

func gravitonHint(arm64 bool) string {
	if arm64 {
		return "Choose a Graviton type, or switch Graviton off."
	}
	return "For a Graviton type, switch Graviton on."
}

func (v *validation) checkImage() {
	id, arch := v.env.Config.ImageID, architecture(v.env.Config.ARM64Enabled)
	switch {
	case v.image == nil && id == "":
		v.errors.Add("imageId", "No ECS-optimised Amazon Linux 2023 image for %s was found in %s. Give the id of an image of your own.", arch, v.env.Region)
		return
	case v.image == nil:
		v.errors.Add("imageId", "There is no image %s in %s that this account can use. Ids differ from region to region.", id, v.env.Region)
		return
	case v.image.State != types.ImageStateAvailable && v.image.State != "":
		v.errors.Add("imageId", "This image is %s, and not available.", v.image.State)
	case string(v.image.Architecture) != arch:
		v.errors.Add("imageId", "This image is for %s, and the environment for %s. %s", v.image.Architecture, arch, gravitonHint(v.env.Config.ARM64Enabled))
	case strings.EqualFold(string(v.image.Platform), "windows"):
		v.errors.Add("imageId", "This is an image of Windows. Machines need Linux.")
	}
	if least := rootDisk(*v.image); int(least) > bootSize(v.env) {
		v.errors.Add("ebsBootSize", "The image needs a boot disk of %d GiB at least.", least)
	}
}

// rootDisk is the size of an image's root disk in GiB; 0: not known.
func rootDisk(image types.Image) int32 {
	for _, d := range image.BlockDeviceMappings {
		if d.Ebs != nil && awssdk.ToString(d.DeviceName) == awssdk.ToString(image.RootDeviceName) {
			return awssdk.ToInt32(d.Ebs.VolumeSize)
		}
	}
	return 0
}

func bootSize(env platform.ComputeEnv) int {
	if env.Config.EBSBootSize == 0 {
		return platform.DefaultBootSize
	}
	return env.Config.EBSBootSize
}

func (v *validation) checkNetwork(found []types.Subnet) {
	vpc, chosen := v.env.Config.VPCID, v.env.Config.SubnetIDs
	if len(found) == 0 && len(chosen) == 0 {
		if vpc == "" {
			v.errors.Add("vpcId", "The account has no default VPC with subnets in %s. Choose a VPC.", v.env.Region)
		} else {
			v.errors.Add("vpcId", "There is no VPC %s with subnets in %s.", vpc, v.env.Region)
		}
		return
	}
	for _, id := range chosen {
		if !slices.ContainsFunc(found, func(s types.Subnet) bool { return awssdk.ToString(s.SubnetId) == id }) {
			v.errors.Add("subnetIds", "There is no subnet %s in %s.", id, v.env.Region)
		}
	}
	for _, s := range found {
		switch in := awssdk.ToString(s.VpcId); {
		case vpc != "" && in != vpc:
			v.errors.Add("subnetIds", "The subnet %s is in the VPC %s, and not in %s.", awssdk.ToString(s.SubnetId), in, vpc)
		case v.vpc != "" && in != v.vpc:
			v.errors.Add("subnetIds", "The subnets are in different VPCs (%s and %s).", v.vpc, in)
		default:
			v.vpc = in
		}
	}
}

func (v *validation) checkGroups(found []types.SecurityGroup) {
	for _, id := range v.env.Config.SecurityGroups {
		i := slices.IndexFunc(found, func(g types.SecurityGroup) bool { return awssdk.ToString(g.GroupId) == id })
		switch {
		case i < 0:
			v.errors.Add("securityGroups", "There is no security group %s in %s.", id, v.env.Region)
		case v.vpc != "" && awssdk.ToString(found[i].VpcId) != v.vpc:
			v.errors.Add("securityGroups", "The security group %s is in the VPC %s, and the subnets are in %s.", id, awssdk.ToString(found[i].VpcId), v.vpc)
		}
	}
}
