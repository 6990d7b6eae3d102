package aws

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// digests are those of the agents that the portal under test has.
var digests = map[string]string{"amd64": strings.Repeat("ab", 32), "arm64": strings.Repeat("cd", 32)}

// quickly makes a portal that has agents and does not wait between launches.
func quickly(c *Config) {
	c.PortalID = "portal-" + platform.NewID()
	c.LaunchesPerSecond = 1000
	c.AgentDigest = func(arch string) (string, bool) { d, ok := digests[arch]; return d, ok }
}

// machineWorld is a world with an environment that is ready for machines.
type machineWorld struct {
	*world
	portalID string
	mu       sync.Mutex
	kept     map[string]string // placements by machine id, as the database has them
}

func newMachineWorld(t *testing.T, more ...func(*Config)) *machineWorld {
	t.Helper()
	w := &machineWorld{world: newWorld(t), kept: map[string]string{}}
	w.aws = w.portal(nil, append([]func(*Config){quickly, func(c *Config) { w.portalID = c.PortalID }}, more...)...)
	w.env.Config.InstanceProfileARN = w.profile()
	w.env.Config.ImageID = "ami-03cf127a" // moto takes long to look for the newest
	t.Cleanup(w.endAll)
	return w
}

// profile makes an instance profile, as a team that has its own.
func (w *machineWorld) profile() string {
	w.t.Helper()
	name := "ours-" + w.env.ID
	made, err := w.admin().CreateInstanceProfile(w.t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
	must(w.t, err)
	w.moto.Role(w.t, name, policyFile("instance-trust"))
	_, err = w.admin().AddRoleToInstanceProfile(w.t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	must(w.t, err)
	w.t.Cleanup(func() {
		_, err := w.admin().RemoveRoleFromInstanceProfile(context.Background(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
		if err == nil {
			_, err = w.admin().DeleteInstanceProfile(context.Background(), &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
		}
		if err != nil {
			w.t.Logf("cleaning up: %v", err)
		}
	})
	return awssdk.ToString(made.InstanceProfile.Arn)
}

// again is the portal after a crash and a restart: it remembers what was kept, and nothing else.
func (w *machineWorld) again(more ...func(*Config)) {
	w.aws = w.portal(nil, append([]func(*Config){quickly, func(c *Config) { c.PortalID = w.portalID }}, more...)...)
}

func (w *machineWorld) request(id string) cloud.StartRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cloud.StartRequest{MachineID: id, RunID: "0RunRunRunRunR", Name: "happy_curie", UserName: "ann@example.org", PortalURL: "https://portal.example.org/",
		ClaimToken: "the-claim-token-of-" + id, Lifetime: 30 * time.Minute, Placement: w.kept[id], Keep: func(ctx context.Context, placement string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.kept[id] = placement
			return nil
		}}
}

func (w *machineWorld) start(id string) (cloud.Started, error) {
	return w.aws.Start(w.t.Context(), w.env, w.request(id))
}

// machine is the row of a machine, as the loops have it.
func (w *machineWorld) machine(id, instanceID string) platform.Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return platform.Machine{ID: id, InstanceID: instanceID, Placement: w.kept[id], ComputeEnvID: w.env.ID}
}

// instancesIn lists the portal's instances as the account's owner sees them; terminated ones too.
func (w *machineWorld) instancesIn(machineID string) (list []types.Instance) {
	w.t.Helper()
	filters := []types.Filter{filter("tag:"+tagPortal, w.portalID)}
	if machineID != "" {
		filters = append(filters, filter("tag:"+tagMachine, machineID))
	}
	out, err := w.ec2().DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: filters})
	must(w.t, err)
	for _, r := range out.Reservations {
		list = append(list, r.Instances...)
	}
	return list
}

func (w *machineWorld) endAll() {
	for _, i := range w.instancesIn("") {
		if _, err := w.ec2().TerminateInstances(context.Background(), &ec2.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}}); err != nil {
			w.t.Logf("cleaning up: %v", err)
		}
	}
}

// launches are the requests for instances that came to AWS, in order.
func (w *machineWorld) launches() (list []awstest.Call) {
	for _, c := range w.proxy.Calls() {
		if c.Operation == "RunInstances" {
			list = append(list, c)
		}
	}
	return list
}

// failWith makes one operation suffer a fault from now on.
func (w *machineWorld) failWith(operation string, f awstest.Fault) {
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if c.Operation == operation {
			return f
		}
		return awstest.Fault{}
	})
}

// refusal is what EC2 answers before it has done anything.
func refusal(code, message string) awstest.Fault {
	return awstest.Fault{When: awstest.Before, Code: code, Status: 400, Message: message}
}

func noCapacity(zone string) awstest.Fault {
	f := refusal("InsufficientInstanceCapacity", "We currently do not have sufficient m5d.large capacity in the Availability Zone you requested ("+zone+").")
	f.Status = 500
	return f
}

// subnetsOf are the default subnets, by zone.
func (w *machineWorld) zones() map[string]string {
	w.t.Helper()
	out, err := w.ec2().DescribeSubnets(w.t.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{filter("default-for-az", "true")}})
	must(w.t, err)
	zones := map[string]string{}
	for _, s := range out.Subnets {
		zones[awssdk.ToString(s.SubnetId)] = awssdk.ToString(s.AvailabilityZone)
	}
	if len(zones) != 3 {
		w.t.Fatalf("moto has %d default subnets", len(zones))
	}
	return zones
}

// full makes EC2 refuse launches in some subnets, or in all.
func (w *machineWorld) full(subnets ...string) {
	zones := w.zones()
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if subnet := c.Params.Get("SubnetId"); c.Operation == "RunInstances" && (len(subnets) == 0 || slices.Contains(subnets, subnet)) {
			return noCapacity(zones[subnet])
		}
		return awstest.Fault{}
	})
}
