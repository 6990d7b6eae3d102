package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/platform"
)

// placementVersion is that of the form in which placements are kept.
const placementVersion = 1

// placement is everything that goes into one request for an instance, and what became of the requests before it. It is
// decided once and kept before EC2 is asked, so that a repeated request is the very same: EC2 knows a request again by its
// client token, and refuses one that has another content. It holds no secret.
type placement struct {
	Version int       `json:"version"`
	Attempt int       `json:"attempt"`           // part of the client token; a request with another content is another attempt
	Asked   time.Time `json:"asked"`             // when EC2 was asked last, on the portal's clock
	Refused bool      `json:"refused,omitempty"` // EC2 said no to this attempt, and there is no instance
	Tried   []place   `json:"tried,omitempty"`   // where EC2 had no room, before this attempt

	Place          place            `json:"place"`
	Region         string           `json:"region"`
	InstanceType   string           `json:"instanceType"`
	Spot           bool             `json:"spot,omitempty"`
	ImageID        string           `json:"imageId"`
	RootDevice     string           `json:"rootDevice"`
	DiskGiB        int32            `json:"diskGiB"`
	Encrypted      bool             `json:"encrypted,omitempty"`
	KMSKeyID       string           `json:"kmsKeyId,omitempty"`
	KeyPair        string           `json:"keyPair,omitempty"`
	SecurityGroups []string         `json:"securityGroups,omitempty"`
	ProfileARN     string           `json:"profileArn"`
	Tags           []platform.Label `json:"tags"`
	Boot           boot             `json:"boot"`
}

// place is where an instance may be.
type place struct {
	Subnet string `json:"subnet"`
	Zone   string `json:"zone"`
}

// readPlacement reads what an earlier Start kept; nil where it kept nothing.
func readPlacement(text string) (*placement, error) {
	if text == "" {
		return nil, nil
	}
	var p placement
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Version != placementVersion || p.Attempt < 1 {
		return nil, cloud.Errorf(cloud.KindInvalid, err, "What was kept about the request for this machine cannot be read. Launch it again.")
	}
	return &p, nil
}

func (p placement) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("a placement always marshals: %v", err))
	}
	return string(text)
}

// clientToken is what EC2 knows an attempt by. It takes 64 characters.
func (p placement) clientToken(machineID string) string {
	return fmt.Sprintf("%s-%d", machineID, p.Attempt)
}

// next is the same request for another place.
func (p placement) next(to place) placement {
	p.Tried = append(slices.Clone(p.Tried), p.Place)
	p.Place, p.Refused = to, false
	p.Attempt++
	return p
}

// mayExist tells whether EC2 may have an instance that it does not show yet, which it does some moments late.
func (p placement) mayExist(now time.Time) bool {
	return !p.Refused && now.Sub(p.Asked).Abs() < shownAfter
}

// decide fills in all that a request needs. attempt is the first that was not used yet.
func (a *AWS) decide(ctx context.Context, l *launching, attempt int) (placement, []place, error) {
	env := l.env
	digest, ok := a.agentDigest(agentArch(env.Config.ARM64Enabled))
	if !ok {
		return placement{}, nil, cloud.Errorf(cloud.KindInvalid, nil,
			"This build of Wherry has no agent for %s. Whoever operates the portal installs a release, which has both.", agentArch(env.Config.ARM64Enabled))
	}
	places, err := a.places(ctx, l)
	if err != nil {
		return placement{}, nil, err
	}
	image, err := a.image(ctx, l)
	if err != nil {
		return placement{}, nil, err
	}
	profile := env.Config.InstanceProfileARN
	if profile == "" {
		profile = "arn:aws:iam::" + l.account + ":instance-profile/" + ForgeName(env.ID)
	}
	return placement{Version: placementVersion, Attempt: attempt, Place: places[0], Region: env.Region, InstanceType: InstanceType(env),
		Spot: env.Config.Spot, ImageID: awssdk.ToString(image.ImageId), RootDevice: awssdk.ToString(image.RootDeviceName),
		DiskGiB: int32(bootSize(env)), Encrypted: env.Config.EBSEncrypted, KMSKeyID: env.Config.EBSKMSKeyID,
		KeyPair: env.Config.EC2KeyPair, SecurityGroups: env.Config.SecurityGroups, ProfileARN: profile, Tags: a.machineTags(l),
		Boot: boot{PortalURL: strings.TrimRight(l.req.PortalURL, "/"), Arch: agentArch(env.Config.ARM64Enabled), AgentDigest: digest,
			Minutes: max(1, int(math.Ceil(l.req.Lifetime.Minutes()))), Lifetime: l.req.Lifetime.String()},
	}, places, nil
}

func (a *AWS) agentDigest(arch string) (string, bool) {
	if a.AgentDigest == nil {
		return "", false
	}
	return a.AgentDigest(arch)
}

// agentArch names an architecture as Go and the portal's downloads do.
func agentArch(arm64 bool) string {
	if arm64 {
		return "arm64"
	}
	return "amd64"
}

// machineTags are on the instance and its disk. A tag's value takes 256 characters.
func (a *AWS) machineTags(l *launching) []platform.Label {
	name := "wherry " + cmp.Or(l.req.Name, l.req.RunID, l.req.StudioID, "warm "+l.req.MachineID)
	tags := []platform.Label{{Name: "Name", Value: name}, {Name: tagPortal, Value: a.PortalID},
		{Name: tagWorkspace, Value: fmt.Sprint(l.env.WorkspaceID)}, {Name: tagEnvironment, Value: l.env.ID}, {Name: tagMachine, Value: l.req.MachineID}}
	for _, t := range []platform.Label{{Name: tagRun, Value: l.req.RunID}, {Name: tagStudio, Value: l.req.StudioID}, {Name: tagUser, Value: l.req.UserName}} {
		if t.Value != "" {
			tags = append(tags, t)
		}
	}
	for i := range tags {
		tags[i].Value = tagValue(tags[i].Value)
	}
	return append(tags, platform.MachineTags(l.env.Config.ResourceLabels, l.req.Tags)...)
}

// tagValue keeps to the characters that EC2 takes in every case
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions).
func tagValue(text string) string {
	var kept []rune
	for _, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != ' ' && !strings.ContainsRune("_.:/=+-@", r) {
			r = '_'
		}
		kept = append(kept, r)
	}
	return string(kept[:min(len(kept), 256)])
}

// image is the environment's image, or the newest that fits, as it was some minutes ago.
func (a *AWS) image(ctx context.Context, l *launching) (*types.Image, error) {
	key := imageKey{l.sessionKey, l.env.Region, l.env.Config.ImageID, l.env.Config.ARM64Enabled, l.env.Config.GPUEnabled}
	found, err := a.foundImages.get(ctx, key, func(ctx context.Context) (*types.Image, error) {
		image, err := findImage(ctx, l.cfg, l.env)
		return image, translate(err)
	})
	switch {
	case err != nil:
		return nil, err
	case found == nil || found.ImageId == nil || found.RootDeviceName == nil:
		a.foundImages.forget(key)
		return nil, cloud.Errorf(cloud.KindInvalid, nil, "The image %s is not there any more in %s. Choose another in the compute environment.",
			cmp.Or(l.env.Config.ImageID, "(ECS-optimised Amazon Linux 2023)"), l.env.Region)
	}
	return found, nil
}

// imageKey is what decides an image.
type imageKey struct {
	session, region, id string
	arm64, gpu          bool
}

// places lists where the machine may be, the best first, without those that had no room a moment ago.
func (a *AWS) places(ctx context.Context, l *launching) ([]place, error) {
	all, err := a.allPlaces(ctx, l)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, cloud.Errorf(cloud.KindInvalid, nil, "There is no subnet in %s for the machine any more. Choose subnets in the compute environment.", l.env.Region)
	}
	free := slices.DeleteFunc(slices.Clone(all), func(p place) bool { return a.isRefused(l, p) })
	switch {
	case len(free) > 0:
		return free, nil
	case !slices.ContainsFunc(all, func(p place) bool { return a.refused.has(l.inZone(p)) }):
		return nil, noAddress(all, "")
	}
	return nil, noRoom(InstanceType(l.env), l.env.Config.Spot, all, "")
}

func (a *AWS) isRefused(l *launching, p place) bool {
	return a.refused.has(l.inZone(p)) || a.refused.has(l.inSubnet(p))
}

// inZone and inSubnet are what a place offers to the launch.
func (l *launching) inZone(p place) offering {
	return offering{l.account, l.env.Region, InstanceType(l.env), p.Zone, l.env.Config.Spot}
}

func (l *launching) inSubnet(p place) offering {
	return offering{account: l.account, region: l.env.Region, place: p.Subnet}
}

// allPlaces reads the subnets that the environment names, in their order. Where it names none, those come first in which
// instances get a public address, because they reach the portal in any case; machines take turns among them.
func (a *AWS) allPlaces(ctx context.Context, l *launching) ([]place, error) {
	chosen := l.env.Config.SubnetIDs
	key := subnetsKey{l.sessionKey, l.env.Region, l.env.Config.VPCID, strings.Join(chosen, " ")}
	found, err := a.foundSubnets.get(ctx, key, func(ctx context.Context) ([]types.Subnet, error) {
		subnets, err := networkOf(ctx, l.cfg, l.env)
		return subnets, translate(err)
	})
	if err != nil {
		return nil, err
	}
	found = slices.Clone(found)
	slices.SortFunc(found, func(x, y types.Subnet) int {
		id := func(s types.Subnet) string { return awssdk.ToString(s.SubnetId) }
		if len(chosen) > 0 {
			return cmp.Compare(slices.Index(chosen, id(x)), slices.Index(chosen, id(y)))
		}
		if public := awssdk.ToBool(x.MapPublicIpOnLaunch); public != awssdk.ToBool(y.MapPublicIpOnLaunch) {
			return map[bool]int{true: -1, false: 1}[public]
		}
		return cmp.Compare(id(x), id(y))
	})
	if len(chosen) == 0 {
		rotate(found, l.req.MachineID)
	}
	var places []place
	for _, s := range found {
		places = append(places, place{awssdk.ToString(s.SubnetId), awssdk.ToString(s.AvailabilityZone)})
	}
	return places, nil
}

// rotate lets each machine begin with another of the subnets that are as good as the first.
func rotate(subnets []types.Subnet, machineID string) {
	best := 0
	for best < len(subnets) && awssdk.ToBool(subnets[best].MapPublicIpOnLaunch) == awssdk.ToBool(subnets[0].MapPublicIpOnLaunch) {
		best++
	}
	if best < 2 {
		return
	}
	h := fnv.New32a()
	h.Write([]byte(machineID))
	by := int(h.Sum32() % uint32(best))
	copy(subnets, slices.Concat(subnets[by:best], subnets[:by]))
}

// subnetsKey is what decides the subnets.
type subnetsKey struct{ session, region, vpc, chosen string }
