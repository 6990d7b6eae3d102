package aws

import (
	"cmp"
	"context"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/platform"
)

const (
	// instancesAge is how old a list of instances may be. EC2 itself shows changes some moments late.
	instancesAge = time.Second
	// shownAfter is how long EC2 may take to show an instance that it was asked for. (Its reference says "a short delay" of
	// what is eventually consistent; half a minute was seen.)
	shownAfter = 2 * time.Minute
	// instancesPage is how many instances one answer may have.
	instancesPage = 1000
)

// instancesKey is what decides a list of instances.
type instancesKey struct{ credentialsID, region string }

// allInstances reads all instances of this portal in an environment's account and region, those that ended within the hour
// too. All who ask at the same time share one question, so that hundreds of machines are watched with a call a second.
func (a *AWS) allInstances(ctx context.Context, env platform.ComputeEnv) ([]types.Instance, error) {
	return a.instances.get(ctx, instancesKey{env.CredentialsID, env.Region}, func(ctx context.Context) ([]types.Instance, error) {
		cfg, err := a.session(ctx, env.CredentialsID, env.Region)
		if err != nil {
			return nil, err
		}
		list, err := describeInstances(ctx, cfg, &ec2.DescribeInstancesInput{MaxResults: awssdk.Int32(instancesPage),
			Filters: []types.Filter{filter("tag:"+tagPortal, a.PortalID)}})
		return list, translate(err)
	})
}

func describeInstances(ctx context.Context, cfg awssdk.Config, in *ec2.DescribeInstancesInput) (list []types.Instance, err error) {
	reservations, err := everyPage(ctx, ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(cfg), in),
		func(o *ec2.DescribeInstancesOutput) []types.Reservation { return o.Reservations })
	for _, r := range reservations {
		list = append(list, r.Instances...)
	}
	return list, err
}

// instancesOf lists the instances of one machine, the one that it is known by first, and one that lives before one that ended.
// There is never more than one, unless somebody copied it. Without a machine's id, as the sweep has it of an instance that lost
// its tag, only the instance itself is meant.
func (a *AWS) instancesOf(ctx context.Context, env platform.ComputeEnv, m platform.Machine) ([]types.Instance, error) {
	all, err := a.allInstances(ctx, env)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(all), func(i types.Instance) bool {
		return (m.ID == "" || tag(i, tagMachine) != m.ID) && !isID(i, m.InstanceID)
	})
	slices.SortStableFunc(own, func(x, y types.Instance) int {
		return cmp.Or(compareBool(isID(x, m.InstanceID), isID(y, m.InstanceID)), compareBool(!hasEnded(x), !hasEnded(y)))
	})
	return own, nil
}

func isID(i types.Instance, id string) bool { return id != "" && awssdk.ToString(i.InstanceId) == id }

func hasEnded(i types.Instance) bool { return statusOfInstance(i) == cloud.StatusGone }

// compareBool puts true first.
func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

func tag(i types.Instance, key string) string {
	for _, t := range i.Tags {
		if awssdk.ToString(t.Key) == key {
			return awssdk.ToString(t.Value)
		}
	}
	return ""
}

// Describe tells how the machine's instance is. EC2 shows what it was asked for some moments late, so one that is not there
// and was asked for just now is pending.
func (a *AWS) Describe(ctx context.Context, env platform.ComputeEnv, m platform.Machine) (cloud.Instance, error) {
	kept, err := readPlacement(m.Placement)
	if err != nil {
		return cloud.Instance{}, err
	}
	found, err := a.instancesOf(ctx, env, m)
	if err == nil && len(found) == 0 && m.InstanceID != "" {
		found, err = a.byID(ctx, env, m.InstanceID)
	}
	if err != nil {
		return cloud.Instance{}, err
	}
	if len(found) > 0 {
		seen := a.instance(found[0], env.Region)
		seen.MachineID = m.ID
		return seen, nil
	}
	seen := cloud.Instance{MachineID: m.ID, InstanceID: m.InstanceID, Status: cloud.StatusGone}
	switch {
	case kept != nil && kept.mayExist(time.Now()):
		seen.Status = cloud.StatusPending
	case kept != nil && !kept.Refused:
		seen.Reason = "EC2 does not know its instance"
	}
	return seen, nil
}

// byID looks for an instance that the list does not have, for instance because somebody took its tags away.
func (a *AWS) byID(ctx context.Context, env platform.ComputeEnv, id string) ([]types.Instance, error) {
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return nil, err
	}
	found, err := describeInstances(ctx, cfg, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if isUnknownInstance(err) {
		return nil, nil
	}
	return found, translate(err)
}

func isUnknownInstance(err error) bool {
	return hasCode(err, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
}

// List finds the portal's instances that have not ended: those of the environment, and those that no environment of the
// portal has, so that nothing is left to nobody.
func (a *AWS) List(ctx context.Context, env platform.ComputeEnv) ([]cloud.Instance, error) {
	all, err := a.allInstances(ctx, env)
	if err != nil {
		return nil, err
	}
	var list []cloud.Instance
	for _, i := range all {
		if of := tag(i, tagEnvironment); !hasEnded(i) && (of == env.ID || !a.knowsEnv(ctx, of)) {
			list = append(list, a.instance(i, env.Region))
		}
	}
	return list, nil
}

func (a *AWS) knowsEnv(ctx context.Context, id string) bool {
	return id != "" && a.KnownEnv != nil && a.KnownEnv(ctx, id)
}

// Terminate asks EC2 to terminate every instance of the machine, one by one: in one call, one that EC2 does not know would
// keep the others.
func (a *AWS) Terminate(ctx context.Context, env platform.ComputeEnv, m platform.Machine) error {
	found, err := a.instancesOf(ctx, env, m)
	if err != nil && m.InstanceID == "" {
		return err // and when its id is known, it is ended without having been seen
	}
	var ids []string
	if m.InstanceID != "" && !slices.ContainsFunc(found, func(i types.Instance) bool { return isID(i, m.InstanceID) }) {
		ids = append(ids, m.InstanceID)
	}
	for _, i := range found {
		if !isEnding(i) {
			ids = append(ids, awssdk.ToString(i.InstanceId))
		}
	}
	for _, id := range ids {
		if err := a.End(ctx, env, id); err != nil {
			return err
		}
	}
	return nil
}

func isEnding(i types.Instance) bool {
	return i.State != nil && (i.State.Name == types.InstanceStateNameTerminated || i.State.Name == types.InstanceStateNameShuttingDown)
}

// End asks EC2 to terminate one instance. One that EC2 does not know is gone.
func (a *AWS) End(ctx context.Context, env platform.ComputeEnv, id string) error {
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return err
	}
	_, err = ec2.NewFromConfig(cfg).TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	switch {
	case isUnknownInstance(err):
		return nil
	case hasCode(err, "OperationNotPermitted"):
		return &cloud.Error{Kind: cloud.KindTransient, Details: details(err), Message: "EC2 does not let the instance " + id +
			" be terminated: somebody protected it. Switch its termination protection off in AWS; Wherry tries again."}
	case err == nil:
		a.instances.forget(instancesKey{env.CredentialsID, env.Region})
	}
	return translate(err)
}

// instance is what the port tells of an instance.
func (a *AWS) instance(i types.Instance, region string) cloud.Instance {
	seen := cloud.Instance{MachineID: tag(i, tagMachine), InstanceID: awssdk.ToString(i.InstanceId), Status: statusOfInstance(i),
		Started: awssdk.ToTime(i.LaunchTime), Hardware: a.hardware(i, region)}
	if seen.Status == cloud.StatusStopping || seen.Status == cloud.StatusGone {
		seen.Reason, seen.Interrupted = endReason(i)
	}
	return seen
}

// statusOfInstance is an instance's state in the port's words. One that somebody stopped does no work, costs disks, and is
// wanted by nobody: it is on its way out.
func statusOfInstance(i types.Instance) cloud.Status {
	if i.State == nil {
		return cloud.StatusPending
	}
	switch i.State.Name {
	case types.InstanceStateNameRunning:
		return cloud.StatusRunning
	case types.InstanceStateNameShuttingDown, types.InstanceStateNameStopping, types.InstanceStateNameStopped:
		return cloud.StatusStopping
	case types.InstanceStateNameTerminated:
		return cloud.StatusGone
	}
	return cloud.StatusPending
}

// hardware is what an instance runs on, and its price where that is known.
func (a *AWS) hardware(i types.Instance, region string) platform.Hardware {
	h := platform.Hardware{InstanceType: string(i.InstanceType), Region: region, Spot: i.InstanceLifecycle == types.InstanceLifecycleTypeSpot}
	if i.Placement != nil {
		h.Zone = awssdk.ToString(i.Placement.AvailabilityZone)
	}
	if a.Price != nil {
		h.HourMicroUSD, h.Estimate = a.Price(h.Region, h.InstanceType, h.Spot)
	}
	return h
}
