package aws

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// wanted are the parameters that every launch has.
func (w *machineWorld) wanted(id string) url.Values {
	return url.Values{"Action": {"RunInstances"}, "Version": {"2016-11-15"}, "MinCount": {"1"}, "MaxCount": {"1"}, "ClientToken": {id + "-1"},
		"InstanceType": {"m5d.large"}, "IamInstanceProfile.Arn": {w.env.Config.InstanceProfileARN}, "InstanceInitiatedShutdownBehavior": {"terminate"},
		"MetadataOptions.HttpEndpoint": {"enabled"}, "MetadataOptions.HttpTokens": {"required"}, "MetadataOptions.HttpPutResponseHopLimit": {"2"},
		"MetadataOptions.InstanceMetadataTags": {"disabled"}, "BlockDeviceMapping.1.Ebs.VolumeType": {"gp3"},
		"BlockDeviceMapping.1.Ebs.VolumeSize": {"50"}, "BlockDeviceMapping.1.Ebs.DeleteOnTermination": {"true"}}
}

func setTags(v url.Values, tags ...platform.Label) {
	for n, resource := range []string{"instance", "volume"} {
		spec := fmt.Sprintf("TagSpecification.%d.", n+1)
		v.Set(spec+"ResourceType", resource)
		for i, t := range tags {
			v.Set(fmt.Sprintf("%sTag.%d.Key", spec, i+1), t.Name)
			v.Set(fmt.Sprintf("%sTag.%d.Value", spec, i+1), t.Value)
		}
	}
}

func (w *machineWorld) ownTags(id string) []platform.Label {
	return []platform.Label{{Name: "Name", Value: "wherry happy_curie"}, {Name: "wherry:portal", Value: w.portalID}, {Name: "wherry:workspace", Value: "7"},
		{Name: "wherry:environment", Value: w.env.ID}, {Name: "wherry:machine", Value: id}, {Name: "wherry:run", Value: "0RunRunRunRunR"},
		{Name: "wherry:user", Value: "ann@example.org"}}
}

// sameRequest compares a recorded launch with what it should be. What depends on the account is only looked at for its form.
func sameRequest(t *testing.T, got, want url.Values) {
	t.Helper()
	for name := range got {
		if !want.Has(name) && !slices.Contains([]string{"UserData", "ImageId", "SubnetId", "BlockDeviceMapping.1.DeviceName"}, name) {
			t.Errorf("the launch has %s=%s", name, got.Get(name))
		}
	}
	for name := range want {
		if got.Get(name) != want.Get(name) {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want.Get(name))
		}
	}
	if !strings.HasPrefix(got.Get("ImageId"), "ami-") || !strings.HasPrefix(got.Get("SubnetId"), "subnet-") || !strings.HasPrefix(got.Get("BlockDeviceMapping.1.DeviceName"), "/dev/") {
		t.Errorf("image %q, subnet %q, device %q", got.Get("ImageId"), got.Get("SubnetId"), got.Get("BlockDeviceMapping.1.DeviceName"))
	}
}

func TestALaunchIsWhatTheEnvironmentSays(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t, func(c *Config) {
		c.Price = func(region, instanceType string, spot bool) (int64, bool) {
			if region != "eu-west-1" || instanceType != "m5d.large" || spot {
				t.Errorf("the price of %s in %s (Spot: %v) was asked for", instanceType, region, spot)
			}
			return 126_000, true
		}
	})
	w.env.Config.ImageID = "" // the newest that fits
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	launches := w.launches()
	if len(launches) != 1 {
		t.Fatalf("%d launches", len(launches))
	}
	want := w.wanted(id)
	setTags(want, w.ownTags(id)...)
	sameRequest(t, launches[0].Params, want)
	h := started.Hardware
	if h.InstanceType != "m5d.large" || h.Region != region || h.Spot || h.HourMicroUSD != 126_000 || !h.Estimate || !strings.HasPrefix(h.Zone, region) {
		t.Errorf("the hardware is %+v", h)
	}
	if made := w.instancesIn(id); len(made) != 1 || awssdk.ToString(made[0].InstanceId) != started.InstanceID {
		t.Errorf("%s was started, and there are %v", started.InstanceID, made)
	}
}

func TestALaunchHasEveryOptionOfTheEnvironment(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	subnet := slices.Sorted(keysOf(w.zones()))[1]
	c := &w.env.Config
	c.Spot, c.ARM64Enabled, c.InstanceType, c.EC2KeyPair, c.SubnetIDs = true, true, "m6gd.xlarge", "ours", []string{subnet}
	c.EBSBootSize, c.EBSEncrypted, c.EBSKMSKeyID = 120, true, "alias/disks"
	c.SecurityGroups = []string{"sg-0123456789abcdef0", "sg-0123456789abcdef1"}
	c.ResourceLabels = []platform.Label{{Name: "cost centre", Value: "42"}}
	w.failWith("RunInstances", refusal("InvalidParameter", "moto does not know the groups and the key"))
	id := platform.NewID()
	r := w.request(id)
	r.RunID, r.Name, r.UserName = "", "", `Zoë <O'Hara> "x"; rm`+strings.Repeat("é", 300) // a warm machine, and a name that EC2 would not take
	_, err := w.aws.Start(t.Context(), w.env, r)
	kind(t, err, cloud.KindInvalid)
	launches := w.launches()
	if len(launches) != 1 {
		t.Fatalf("%d launches", len(launches))
	}
	want := w.wanted(id)
	tags := w.ownTags(id)
	tags[0].Value = "wherry warm " + id
	tags[5] = platform.Label{Name: "wherry:user", Value: "Zoë _O_Hara_ _x__ rm" + strings.Repeat("é", 236)}
	setTags(want, append(tags[:6], c.ResourceLabels...)...)
	for name, value := range map[string]string{"InstanceType": "m6gd.xlarge", "KeyName": "ours", "SubnetId": subnet,
		"SecurityGroupId.1": "sg-0123456789abcdef0", "SecurityGroupId.2": "sg-0123456789abcdef1", "BlockDeviceMapping.1.Ebs.VolumeSize": "120",
		"BlockDeviceMapping.1.Ebs.Encrypted": "true", "BlockDeviceMapping.1.Ebs.KmsKeyId": "alias/disks", "InstanceMarketOptions.MarketType": "spot",
		"InstanceMarketOptions.SpotOptions.SpotInstanceType":             "one-time",
		"InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior": "terminate"} {
		want.Set(name, value)
	}
	sameRequest(t, launches[0].Params, want)
	says(t, w.userData(0), "ARCH='arm64'", "DIGEST='"+digests["arm64"]+"'")
}

func TestAStudioIsOnSpotOrNotAsItselfSays(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.env.Config.Spot = true
	w.failWith("RunInstances", refusal("InvalidParameter", "only the request is looked at"))
	for i, spot := range []bool{false, true} {
		id := platform.NewID()
		r := w.request(id)
		r.RunID, r.StudioID, r.Name, r.Spot = "", "0StudioStudioS", "notes", &spot
		_, err := w.aws.Start(t.Context(), w.env, r)
		kind(t, err, cloud.KindInvalid)
		launches := w.launches()
		if len(launches) != i+1 {
			t.Fatalf("%d launches", len(launches))
		}
		got := launches[i].Params
		if market := got.Get("InstanceMarketOptions.MarketType"); (market == "spot") != spot {
			t.Errorf("Spot is %t, and the market %q", spot, market)
		}
		text := got.Encode()
		says(t, text, "wherry+notes", "wherry%3Astudio", "0StudioStudioS")
		if strings.Contains(text, "wherry%3Arun") {
			t.Errorf("a Studio has the tag of a run: %s", text)
		}
	}
}

func keysOf[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// userData is that of the n-th launch.
func (w *machineWorld) userData(n int) string {
	w.t.Helper()
	text, err := base64.StdEncoding.DecodeString(w.launches()[n].Params.Get("UserData"))
	must(w.t, err)
	return string(text)
}

func TestTheDefaultProfileIsTheEnvironmentsOwn(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.env.Config.InstanceProfileARN = ""
	must(t, w.make())
	_, err := w.start(platform.NewID())
	must(t, err)
	if got, want := w.launches()[0].Params.Get("IamInstanceProfile.Arn"), "arn:aws:iam::123456789012:instance-profile/TowerForge-"+w.env.ID; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatIsKeptHoldsNoSecretAndComesBeforeTheRequest(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	r := w.request(id)
	keep, before := r.Keep, -1
	r.Keep = func(ctx context.Context, placement string) error {
		before = len(w.launches())
		if strings.Contains(placement, r.ClaimToken) || strings.Contains(placement, w.creds.SecretKey.Reveal()) {
			t.Errorf("it holds a secret: %s", placement)
		}
		return keep(ctx, placement)
	}
	_, err := w.aws.Start(t.Context(), w.env, r)
	must(t, err)
	if before != 0 {
		t.Errorf("%d launches were made before it was kept", before)
	}
	conflict := platform.Errorf(platform.CodeConflict, "the machine has moved on")
	r = w.request(platform.NewID())
	r.Keep = func(context.Context, string) error { return conflict }
	if _, err := w.aws.Start(t.Context(), w.env, r); !errors.Is(err, conflict) || len(w.launches()) != 1 {
		t.Errorf("what cannot be kept was asked for (%v)", err)
	}
}

// launchFaults are what can happen to a call on the way of a launch.
var launchFaults = map[string]awstest.Fault{
	"throttled":        awstest.Throttle(),
	"error before":     {When: awstest.Before, Code: "InternalError", Status: 500},
	"error after":      {When: awstest.After, Code: "Unavailable", Status: 503},
	"lost request":     {When: awstest.Before, Kind: awstest.Drop},
	"lost answer":      awstest.Lost(),
	"hangs before":     {When: awstest.Before, Kind: awstest.Hang},
	"hangs after":      {When: awstest.After, Kind: awstest.Hang},
	"an unclear error": {When: awstest.After, Code: "SomethingNew", Status: 500},
}

// TestAnyFaultOfALaunchMakesOneInstance fails each call of a launch, then ends the portal and lets another go on, and has each
// call of that fail too.
func TestAnyFaultOfALaunchMakesOneInstance(t *testing.T) {
	t.Parallel()
	all, tried := newMachineWorld(t), 0
	for name, fault := range launchFaults {
		for _, operation := range []string{"GetCallerIdentity", "DescribeSubnets", "DescribeImages", "RunInstances", "DescribeInstances"} {
			tried++
			t.Run(name+" at "+operation, func(t *testing.T) {
				t.Parallel()
				w := &machineWorld{world: all.another(t), portalID: all.portalID, kept: map[string]string{}}
				w.env.Config = all.env.Config
				w.again()
				id := platform.NewID()
				try := func() (cloud.Started, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					if fault.Kind == awstest.Hang {
						ctx, cancel = context.WithTimeout(ctx, 400*time.Millisecond)
						defer cancel()
					}
					return w.aws.Start(ctx, w.env, w.request(id))
				}
				w.failWith(operation, fault)
				_, err := try()
				if operation != "DescribeInstances" { // a first launch looks at nothing
					if k := cloud.KindOf(err); err == nil || (k != cloud.KindTransient && k != cloud.KindThrottled) {
						t.Fatalf("%v is %s", err, k)
					}
				}
				w.again()
				_, _ = try() // still with the fault
				w.again()
				w.proxy.Fail(nil)
				started, err := w.start(id)
				must(t, err)
				made := w.instancesIn(id)
				if len(made) != 1 || awssdk.ToString(made[0].InstanceId) != started.InstanceID {
					t.Errorf("%d instances, and %s was told", len(made), started.InstanceID)
				}
			})
		}
	}
	t.Logf("%d faults tried", tried)
}

// blinded shows nobody an instance, as EC2 may for some moments after a launch.
func blinded(c *Config) {
	blind := middleware.InitializeMiddlewareFunc("blind", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		if _, ok := in.Parameters.(*ec2.DescribeInstancesInput); ok {
			return middleware.InitializeOutput{Result: &ec2.DescribeInstancesOutput{}}, middleware.Metadata{}, nil
		}
		return next.HandleInitialize(ctx, in)
	})
	c.Load = append(c.Load, config.WithAPIOptions([]func(*middleware.Stack) error{func(s *middleware.Stack) error {
		return s.Initialize.Add(blind, middleware.After)
	}}))
}

// TestARepeatedRequestIsTheVerySame is what at most one instance rests on while EC2 does not show the instance: EC2 knows a
// request again by its token and its content.
func TestARepeatedRequestIsTheVerySame(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t, blinded)
	id := platform.NewID()
	w.failWith("RunInstances", awstest.Fault{When: awstest.Before, Kind: awstest.Drop})
	_, err := w.start(id)
	kind(t, err, cloud.KindTransient)
	// Everything changes that can.
	w.env.Config.InstanceType, w.env.Config.EBSBootSize, w.env.Config.Spot, w.env.Config.ImageID = "m5d.xlarge", 500, true, "ami-12c6146b"
	w.env.Config.SubnetIDs = slices.Sorted(keysOf(w.zones()))[:1]
	w.env.Config.SecurityGroups, w.env.Config.ResourceLabels = []string{"sg-0123456789abcdef0"}, []platform.Label{{Name: "a", Value: "b"}}
	w.env.Config.InstanceProfileARN, w.env.Config.EC2KeyPair = "arn:aws:iam::123456789012:instance-profile/other", "other"
	w.again(blinded, func(c *Config) {
		c.AgentDigest = func(string) (string, bool) { return strings.Repeat("00", 32), true }
	})
	r := w.request(id)
	r.PortalURL, r.Lifetime, r.Name, r.UserName = "https://elsewhere.example.org", time.Hour, "other_name", "bob"
	_, err = w.aws.Start(t.Context(), w.env, r)
	kind(t, err, cloud.KindTransient)
	w.proxy.Fail(nil)
	_, err = w.aws.Start(t.Context(), w.env, w.request(id))
	must(t, err)
	launches := w.launches()
	if len(launches) != 3 {
		t.Fatalf("%d launches", len(launches))
	}
	for n, l := range launches {
		if l.Params.Encode() != launches[0].Params.Encode() {
			t.Errorf("launch %d is not the first one again:\n%v\n%v", n, l.Params, launches[0].Params)
		}
	}
}

func TestACapacityErrorGoesToTheNextSubnetAndIsRemembered(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	zones := w.zones()
	subnets := slices.Sorted(keysOf(zones))
	w.env.Config.SubnetIDs = []string{subnets[2], subnets[0], subnets[1]} // the order is the team's
	w.full(subnets[2], subnets[0])
	id := platform.NewID()
	started, err := w.start(id)
	must(t, err)
	if started.Hardware.Zone != zones[subnets[1]] {
		t.Errorf("it is in %s", started.Hardware.Zone)
	}
	asked := func() (list []string) {
		for _, l := range w.launches() {
			list = append(list, l.Params.Get("SubnetId")+" "+strings.TrimPrefix(l.Params.Get("ClientToken"), id))
		}
		w.proxy.Forget()
		return list
	}
	if got, want := asked(), []string{subnets[2] + " -1", subnets[0] + " -2", subnets[1] + " -3"}; !slices.Equal(got, want) {
		t.Errorf("asked were %v, want %v", got, want)
	}
	id = platform.NewID()
	_, err = w.start(id)
	must(t, err)
	if got, want := asked(), []string{subnets[1] + " -1"}; !slices.Equal(got, want) {
		t.Errorf("the next machine asked for %v, want %v", got, want)
	}
	id, w.env.Config.InstanceType = platform.NewID(), "m5d.xlarge" // of another type there may be room
	_, err = w.start(id)
	must(t, err)
	if got := asked(); len(got) != 3 {
		t.Errorf("a machine of another type asked for %v", got)
	}
}

func TestNoRoomAnywhereSaysWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	for spot, advice := range map[bool]string{false: "choose another instance type or subnets in other zones", true: "or On-Demand instances"} {
		w := newMachineWorld(t)
		w.env.Config.Spot = spot
		w.full()
		id := platform.NewID()
		for range 2 { // the second time nobody is asked
			_, err := w.start(id)
			e := kind(t, err, cloud.KindCapacity)
			says(t, e.Message, "no room for a", "m5d.large", "eu-west-1a, eu-west-1b, eu-west-1c", "tries again", advice)
			if spot {
				says(t, e.Message, "Spot m5d.large")
			}
			if n := len(w.launches()); n != 3 {
				t.Errorf("%d launches, want one for each subnet", n)
			}
		}
		w.proxy.Fail(nil)
		w.again() // what was refused is forgotten
		_, err := w.start(id)
		must(t, err)
		launches := w.launches()
		if got := launches[len(launches)-1].Params.Get("ClientToken"); got != id+"-4" || len(w.instancesIn(id)) != 1 {
			t.Errorf("the token of the new request is %s", got)
		}
	}
}

// TestAKillDuringTheWalkGoesOnWhereItWas ends the portal before and after each thing that it keeps.
func TestAKillDuringTheWalkGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 6; at++ {
		w := newMachineWorld(t)
		subnets := slices.Sorted(keysOf(w.zones()))
		w.env.Config.SubnetIDs = subnets
		w.full(subnets[0], subnets[1])
		id, n := platform.NewID(), 0
		ctx, kill := context.WithCancel(t.Context())
		r := w.request(id)
		keep := r.Keep
		r.Keep = func(ctx context.Context, placement string) error {
			if n++; n*2-1 == at {
				kill()
			}
			err := keep(ctx, placement)
			if n*2 == at {
				kill()
			}
			return err
		}
		if _, err := w.aws.Start(ctx, w.env, r); err == nil {
			t.Errorf("kill %d: it was not killed", at)
		}
		w.again()
		started, err := w.start(id)
		must(t, err)
		if made := w.instancesIn(id); len(made) != 1 || awssdk.ToString(made[0].SubnetId) != subnets[2] || awssdk.ToString(made[0].InstanceId) != started.InstanceID {
			t.Errorf("kill %d: %d instances", at, len(made))
		}
		kill()
	}
}

func TestAFullSubnetIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.env.Config.SubnetIDs = slices.Sorted(keysOf(w.zones()))[:2]
	first := w.env.Config.SubnetIDs[0]
	full := refusal("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet.")
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if c.Operation == "RunInstances" && c.Params.Get("SubnetId") == first {
			return full
		}
		return awstest.Fault{}
	})
	_, err := w.start(platform.NewID())
	must(t, err)
	w.failWith("RunInstances", full)
	_, err = w.start(platform.NewID())
	e := kind(t, err, cloud.KindCapacity)
	says(t, e.Message, "No address is free", w.env.Config.SubnetIDs[1], "larger subnets")
	n := len(w.launches())
	_, err = w.start(platform.NewID())
	says(t, kind(t, err, cloud.KindCapacity).Message, "No address is free", w.env.Config.SubnetIDs[0], w.env.Config.SubnetIDs[1])
	if len(w.launches()) != n {
		t.Error("full subnets were asked for again at once")
	}
}

func TestAQuotaOfTheAccountIsNamedAndNotWalkedAround(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, instanceType string
		spot               bool
		quota              string
	}{
		{"VcpuLimitExceeded", "m5d.large", false, "“Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances”"},
		{"VcpuLimitExceeded", "g4dn.xlarge", false, "“Running On-Demand G and VT instances”"},
		{"InstanceLimitExceeded", "p4d.24xlarge", false, "“Running On-Demand P instances”"},
		{"MaxSpotInstanceCountExceeded", "c6a.large", true, "“All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests”"},
		{"VolumeLimitExceeded", "m5d.large", false, "“Storage for General Purpose SSD (gp3) volumes, in TiB”"},
	} {
		w := newMachineWorld(t)
		w.env.Config.InstanceType, w.env.Config.Spot = c.instanceType, c.spot
		w.failWith("RunInstances", refusal(c.code, "You have requested more than your current limit allows."))
		id := platform.NewID()
		_, err := w.start(id)
		e := kind(t, err, cloud.KindCapacity)
		says(t, e.Message, c.quota, region, "tries again", "Service Quotas")
		says(t, e.Details, c.code)
		if n := len(w.launches()); n != 1 {
			t.Errorf("%s: %d launches", c.code, n)
		}
		w.proxy.Fail(nil)
		_, err = w.start(id)
		must(t, err)
	}
}

func TestATypeThatAZoneDoesNotHaveGoesToTheNext(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.env.Config.SubnetIDs = slices.Sorted(keysOf(w.zones()))
	unsupported := func(message string) func(awstest.Call) awstest.Fault {
		return func(c awstest.Call) awstest.Fault {
			if c.Operation == "RunInstances" && c.Params.Get("SubnetId") == w.env.Config.SubnetIDs[0] {
				return refusal("Unsupported", message)
			}
			return awstest.Fault{}
		}
	}
	w.proxy.Fail(unsupported("The requested configuration is currently not supported. Please check the documentation for supported configurations."))
	_, err := w.start(platform.NewID())
	kind(t, err, cloud.KindInvalid)
	w.proxy.Fail(unsupported("Your requested instance type (m5d.large) is not supported in your requested Availability Zone (eu-west-1a)."))
	_, err = w.start(platform.NewID())
	must(t, err)
}

func TestAProfileThatEC2DoesNotSeeYetIsWaitedOut(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	arn := w.env.Config.InstanceProfileARN
	id := platform.NewID()
	for _, message := range []string{"Value (" + arn + ") for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN",
		`IAM Instance Profile "` + arn + `" has no associated IAM Roles`} {
		w.failWith("RunInstances", refusal("InvalidParameterValue", message))
		_, err := w.start(id)
		e := kind(t, err, cloud.KindTransient)
		says(t, e.Message, arn, "does not see", "tries again")
	}
	w.failWith("RunInstances", refusal("InvalidParameterValue", "Value () for parameter groupId is invalid. The value cannot be empty"))
	_, err := w.start(id)
	kind(t, err, cloud.KindInvalid)
	w.proxy.Fail(nil)
	_, err = w.start(id)
	must(t, err)
	if n := len(w.instancesIn(id)); n != 1 {
		t.Errorf("%d instances", n)
	}
}

// TestARequestThatEC2KnowsWithAnotherContentIsFound is what an upgrade of the portal with another boot script in the middle of
// a launch comes to.
func TestARequestThatEC2KnowsWithAnotherContentIsFound(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t, blinded)
	id := platform.NewID()
	w.failWith("RunInstances", awstest.Lost())
	_, err := w.start(id)
	kind(t, err, cloud.KindTransient)

	w.failWith("RunInstances", refusal("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent."))
	_, err = w.start(id)
	says(t, kind(t, err, cloud.KindTransient).Message, "does not show it yet")
	w.failWith("RunInstances", refusal("IdempotentInstanceTerminated", "The instance of this token was terminated."))
	_, err = w.start(id)
	says(t, kind(t, err, cloud.KindInvalid).Message, "ended already")
	w.again()
	started, err := w.start(id)
	must(t, err)
	if made := w.instancesIn(id); len(made) != 1 || awssdk.ToString(made[0].InstanceId) != started.InstanceID {
		t.Errorf("%d instances, and %s was told", len(made), started.InstanceID)
	}
}

func TestAMismatchFindsTheInstanceOnceItIsShown(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	id := platform.NewID()
	first, err := w.start(id)
	must(t, err)
	p, err := readPlacement(w.kept[id])
	must(t, err)
	p.Refused = true // a portal that was restored from an old copy knows less than EC2
	p.Attempt = 0
	w.kept[id] = strings.Replace(p.String(), `"attempt":0`, `"attempt":1`, 1)
	w.failWith("RunInstances", refusal("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent."))
	again, err := w.start(id)
	must(t, err)
	if again.InstanceID != first.InstanceID {
		t.Errorf("%s and %s", first.InstanceID, again.InstanceID)
	}
}

func TestAMissingPermissionToLaunchIsNamed(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ec2:DescribeImages", "ec2:DescribeSubnets", "ec2:DescribeInstances", "ec2:TerminateInstances"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newMachineWorld(t)
			id := platform.NewID()
			live := func() error {
				started, err := w.start(id)
				if err == nil {
					_, err = w.aws.Describe(t.Context(), w.env, w.machine(id, started.InstanceID))
				}
				if err == nil {
					err = w.aws.Terminate(t.Context(), w.env, w.machine(id, started.InstanceID))
				}
				return err
			}
			w.proxy.Withhold(action)
			e := kind(t, live(), cloud.KindDenied)
			says(t, e.Message, action)
			if e.Permission != action {
				t.Errorf("the missing permission is said to be %s", e.Permission)
			}
			w.proxy.Withhold()
			must(t, live())
			if n := len(w.instancesIn(id)); n != 1 {
				t.Errorf("%d instances", n)
			}
		})
	}
}

func TestARefusalThatNamesNothingNamesWhatALaunchNeeds(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.failWith("RunInstances", refusal("UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: nQ0Lx-8Uk_"))
	_, err := w.start(platform.NewID())
	says(t, kind(t, err, cloud.KindDenied).Message, "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole")
	w.env.Config.EBSEncrypted, w.env.Config.EBSKMSKeyID = true, "alias/disks"
	w.failWith("RunInstances", refusal("UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not authorized to perform: kms:CreateGrant on resource: k"))
	_, err = w.start(platform.NewID())
	says(t, kind(t, err, cloud.KindDenied).Message, "kms:CreateGrant", "alias/disks")
}

func TestAnArchitectureWithoutAnAgentIsNotLaunched(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t, func(c *Config) { c.AgentDigest = func(arch string) (string, bool) { return "", false } })
	w.env.Config.ARM64Enabled = true
	_, err := w.start(platform.NewID())
	says(t, kind(t, err, cloud.KindInvalid).Message, "no agent for arm64")
	w.aws.AgentDigest = nil
	_, err = w.start(platform.NewID())
	kind(t, err, cloud.KindInvalid)
	if n := len(w.proxy.Calls()); n > 1 {
		t.Errorf("%d calls", n)
	}
}

func TestWhatCannotBeReadIsNotLaunchedAgain(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	for _, placement := range []string{"{", "[]", `{"version":99,"attempt":1}`, `{"version":1}`} {
		id := platform.NewID()
		w.kept[id] = placement
		_, err := w.start(id)
		kind(t, err, cloud.KindInvalid)
	}
	r := w.request("not an id")
	_, err := w.aws.Start(t.Context(), w.env, r)
	kind(t, err, cloud.KindInvalid)
	if n := len(w.launches()); n != 0 {
		t.Errorf("%d launches", n)
	}
}

func TestManyLaunchesAtOnceAskAWSForLittleBesides(t *testing.T) {
	t.Parallel()
	const n = 40
	w := newMachineWorld(t)
	ids := make([]string, n)
	started := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range ids {
		ids[i] = platform.NewID()
		all.Go(func() {
			s, err := w.start(ids[i])
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			started[ids[i]] = s.InstanceID
		})
	}
	all.Wait()
	if made := w.instancesIn(""); len(made) != n {
		t.Errorf("%d instances", len(made))
	}
	for _, id := range ids {
		all.Go(func() {
			i, err := w.aws.Describe(t.Context(), w.env, w.machine(id, started[id]))
			if err != nil || i.InstanceID != started[id] || i.Status != cloud.StatusRunning {
				t.Errorf("%+v (%v)", i, err)
			}
		})
	}
	all.Wait()
	counts := map[string]int{}
	for _, c := range w.proxy.Calls() {
		counts[c.Operation]++
	}
	if counts["RunInstances"] != n || counts["DescribeImages"] != 1 || counts["DescribeSubnets"] != 1 || counts["GetCallerIdentity"] != 1 || counts["DescribeInstances"] > 3 {
		t.Errorf("calls: %v", counts)
	}
}

func TestAThrottledLaunchSlowsTheNextOnesDown(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.failWith("RunInstances", awstest.Throttle())
	_, err := w.start(platform.NewID())
	kind(t, err, cloud.KindThrottled)
	if got := w.aws.pacerOf("123456789012", region).rateNow(); got != "5e+02" {
		t.Errorf("the rate is %s", got)
	}
	if n := len(w.launches()); n != 1 {
		t.Errorf("%d launches: the SDK repeated one past the pacer", n)
	}
}

// TestTheLabelsOfAMachinesWorkAreTagsOfItsInstanceAndItsDisk shows them as the account's owner sees them.
func TestTheLabelsOfAMachinesWorkAreTagsOfItsInstanceAndItsDisk(t *testing.T) {
	t.Parallel()
	w := newMachineWorld(t)
	w.env.Config.ResourceLabels = []platform.Label{{Name: "cost-centre", Value: "rivers"}, {Name: "team", Value: "hydro"}}
	id := platform.NewID()
	r := w.request(id)
	r.Tags = []platform.Label{{Name: "Cost-Centre", Value: "lakes"}, {Name: "project", Value: "dams"}}
	_, err := w.aws.Start(t.Context(), w.env, r)
	must(t, err)
	made := w.instancesIn(id)
	if len(made) != 1 || len(made[0].BlockDeviceMappings) == 0 {
		t.Fatalf("%v", made)
	}
	volumes, err := w.ec2().DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{awssdk.ToString(made[0].BlockDeviceMappings[0].Ebs.VolumeId)}})
	must(t, err)
	for what, tags := range map[string][]types.Tag{"the instance": made[0].Tags, "its disk": volumes.Volumes[0].Tags} {
		got := map[string]string{}
		for _, tag := range tags {
			got[awssdk.ToString(tag.Key)] = awssdk.ToString(tag.Value)
		}
		for name, value := range map[string]string{"Cost-Centre": "lakes", "team": "hydro", "project": "dams", tagRun: r.RunID} {
			if got[name] != value {
				t.Errorf("%s has no tag %s=%s: %v", what, name, value, got)
			}
		}
		if _, there := got["cost-centre"]; there || len(got) != 10 {
			t.Errorf("%s has %d tags: %v", what, len(got), got)
		}
	}
}
