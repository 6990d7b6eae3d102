package aws

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"wherry/cloud"
)

// verdict is what EC2's answer to a request for an instance means for the next step.
type verdict int

const (
	verdictUnclear verdict = iota // the instance may have come to be: only the same request may be made again
	verdictKnown                  // EC2 knows the request already
	verdictThrottled
	verdictNoRoom    // not in this zone: another may have room
	verdictNoAddress // not in this subnet
	verdictNoQuota   // not in this account, wherever
	verdictRefused   // not at all as it is
)

// verdicts sorts the codes that RunInstances answers (EC2 API reference, error codes) by what they mean for the next step.
var verdicts = map[string]verdict{
	"IdempotentParameterMismatch": verdictKnown, "IdempotentInstanceTerminated": verdictKnown,

	"InsufficientInstanceCapacity": verdictNoRoom, "InsufficientHostCapacity": verdictNoRoom, "InsufficientCapacity": verdictNoRoom,
	"InsufficientCapacityOnHost": verdictNoRoom, "InsufficientReservedInstanceCapacity": verdictNoRoom,
	"UnfulfillableCapacity": verdictNoRoom, "SpotMaxPriceTooLow": verdictNoRoom,

	"InsufficientFreeAddressesInSubnet": verdictNoAddress,

	"VcpuLimitExceeded": verdictNoQuota, "InstanceLimitExceeded": verdictNoQuota, "MaxSpotInstanceCountExceeded": verdictNoQuota,
	"VolumeLimitExceeded": verdictNoQuota, "NetworkInterfaceLimitExceeded": verdictNoQuota, "InsufficientAddressCapacity": verdictNoQuota,
}

// judge tells what an error of RunInstances means for the next step.
func judge(err error) verdict {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return verdictUnclear
	}
	code := api.ErrorCode()
	if v, known := verdicts[code]; known {
		return v
	}
	switch {
	case code == "Unsupported" && strings.Contains(api.ErrorMessage(), "Availability Zone"):
		return verdictNoRoom // the zone does not have the type
	case codes[code] == cloud.KindThrottled:
		return verdictThrottled
	case codes[code] == cloud.KindTransient, statusOf(err) >= 500:
		return verdictUnclear
	}
	return verdictRefused
}

// launchError says why a request for an instance failed.
func launchError(p placement, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return translate(err)
	}
	message := api.ErrorMessage()
	switch {
	case profileUnseen(api.ErrorCode(), message):
		return &cloud.Error{Kind: cloud.KindTransient, Details: details(err), Message: fmt.Sprintf(
			"EC2 does not see the instance profile %s yet: what was just made in IAM shows up after up to a minute. Wherry tries again. If it goes on, the profile was deleted, or has no role.", p.ProfileARN)}
	case codes[api.ErrorCode()] == cloud.KindDenied:
		return deniedLaunch(p, err)
	}
	return translate(err)
}

// profileUnseen tells whether EC2 does not see an instance profile, or its role, which IAM has.
func profileUnseen(code, message string) bool {
	return strings.HasPrefix(code, "InvalidParameterValue") && (strings.Contains(message, "iamInstanceProfile") || strings.Contains(message, "IAM Instance Profile")) ||
		code == "InvalidIamInstanceProfileArn.NotFound"
}

// deniedLaunch names the permission that a launch needs and the credentials do not have. It needs more than one, and EC2
// does not always say which is missing.
func deniedLaunch(p placement, err error) error {
	var out *cloud.Error
	if !errors.As(translate(err), &out) {
		return err
	}
	switch {
	case !deniedAction.MatchString(err.Error()):
		out.Message = "The credentials may not start instances: one of the permissions ec2:RunInstances, ec2:CreateTags and iam:PassRole is missing in their policy, or a policy of the organization forbids it. Add what is missing, and launch again."
	case out.Permission == "iam:PassRole":
		out.Message = fmt.Sprintf("The credentials do not have the permission iam:PassRole for the role of the instance profile %s. Add it to their policy, and launch again.", p.ProfileARN)
	case out.Permission == "kms:CreateGrant" || strings.HasPrefix(out.Permission, "kms:"):
		out.Message = fmt.Sprintf("The credentials may not use the key of the boot disk (%s): %s is missing in their policy or in the key's. Add it, and launch again.", cmp.Or(p.KMSKeyID, "the account's default"), out.Permission)
	}
	return out
}

// noRoom says that no zone has room, and what to do.
func noRoom(instanceType string, spot bool, tried []place, details string) error {
	var zones []string
	for _, p := range tried {
		if !slices.Contains(zones, p.Zone) {
			zones = append(zones, p.Zone)
		}
	}
	slices.Sort(zones)
	kind, advice := "", "choose another instance type or subnets in other zones in the compute environment"
	if spot {
		kind, advice = "Spot ", advice+", or On-Demand instances"
	}
	return &cloud.Error{Kind: cloud.KindCapacity, Details: details, Message: fmt.Sprintf(
		"AWS has no room for a %s%s just now in %s. Wherry tries again every few minutes. If it goes on, %s.", kind, instanceType, strings.Join(zones, ", "), advice)}
}

// noAddress says that the subnets are full.
func noAddress(tried []place, details string) error {
	var subnets []string
	for _, p := range tried {
		subnets = append(subnets, p.Subnet)
	}
	return &cloud.Error{Kind: cloud.KindCapacity, Details: details, Message: fmt.Sprintf(
		"No address is free in the subnets %s. Wherry tries again when machines have ended. If it goes on, choose larger subnets in the compute environment.", strings.Join(subnets, ", "))}
}

// noQuota says that the account has reached a quota, which one, and what to do.
func noQuota(p placement, err error) error {
	quota := quotaName(p.InstanceType, p.Spot)
	switch {
	case hasCode(err, "VolumeLimitExceeded"):
		quota = "Storage for General Purpose SSD (gp3) volumes, in TiB"
	case hasCode(err, "NetworkInterfaceLimitExceeded"):
		quota = "Network interfaces per Region"
	case hasCode(err, "InsufficientAddressCapacity"):
		quota = "EC2-VPC Elastic IPs"
	}
	return &cloud.Error{Kind: cloud.KindCapacity, Details: details(err), Message: fmt.Sprintf(
		"The account has reached its quota “%s” in %s. Wherry tries again when other instances have ended. For more at once, ask AWS to increase the quota (Service Quotas).", quota, p.Region)}
}

// families maps how the names of instance types begin to the groups of the quotas, the longest first
// (https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).
var families = []struct{ prefix, onDemand, spot string }{
	{"inf", "Running On-Demand Inf instances", "All Inf Spot Instance Requests"},
	{"trn", "Running On-Demand Trn instances", "All Trn Spot Instance Requests"},
	{"mac", "Running Dedicated mac Hosts", "Running Dedicated mac Hosts"},
	{"hpc", "Running On-Demand HPC instances", "Running On-Demand HPC instances"},
	{"dl", "Running On-Demand DL instances", "All DL Spot Instance Requests"},
	{"vt", "Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"},
	{"u-", "Running On-Demand High Memory instances", "Running On-Demand High Memory instances"},
	{"p5", "Running On-Demand P instances", "All P5 Spot Instance Requests"},
	{"p", "Running On-Demand P instances", "All P4, P3 and P2 Spot Instance Requests"},
	{"g", "Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"},
	{"f", "Running On-Demand F instances", "All F Spot Instance Requests"},
	{"x", "Running On-Demand X instances", "All X Spot Instance Requests"},
}

// quotaName is the quota, as AWS names it, that bounds how many instances of a type there may be.
func quotaName(instanceType string, spot bool) string {
	for _, f := range families {
		if strings.HasPrefix(instanceType, f.prefix) {
			if spot {
				return f.spot
			}
			return f.onDemand
		}
	}
	if spot {
		return "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"
	}
	return "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
}
