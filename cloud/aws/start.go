package aws

import (
	"context"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/platform"
)

// launching is one Start under way.
type launching struct {
	env        platform.ComputeEnv
	req        cloud.StartRequest
	cfg        awssdk.Config
	sessionKey string
	account    string
}

// Start asks EC2 for the machine's instance. The whole request is kept before it is made, under a client token of the
// machine's id and a count, so that whatever happens to it or to the portal, the very same can be made again and makes
// nothing twice. Only where EC2 says that there is no room is another request made, for the next subnet.
func (a *AWS) Start(ctx context.Context, env platform.ComputeEnv, req cloud.StartRequest) (cloud.Started, error) {
	if !platform.ValidID(req.MachineID) {
		return cloud.Started{}, cloud.Errorf(cloud.KindInvalid, nil, "%q is not a machine's id.", req.MachineID)
	}
	before, err := readPlacement(req.Placement)
	if err != nil {
		return cloud.Started{}, err
	}
	l, err := a.launching(ctx, env, req)
	if err != nil {
		return cloud.Started{}, err
	}
	if before != nil && !before.Refused {
		return a.startAgain(ctx, l, *before)
	}
	attempt := 1
	if before != nil {
		attempt = before.Attempt + 1
	}
	p, _, err := a.decide(ctx, l, attempt)
	if err != nil {
		return cloud.Started{}, err
	}
	return a.run(ctx, l, p)
}

// launching gathers what a launch needs to know of its account.
func (a *AWS) launching(ctx context.Context, env platform.ComputeEnv, req cloud.StartRequest) (*launching, error) {
	c, err := a.Credentials(ctx, env.CredentialsID)
	if err != nil {
		return nil, err
	}
	cfg, err := a.sessionOf(ctx, c, env.Region)
	if err != nil {
		return nil, err
	}
	if req.Spot != nil {
		env.Config.Spot = *req.Spot
	}
	l := &launching{env: env, req: req, cfg: cfg, sessionKey: sessionKey(c)}
	l.account, err = a.accounts.get(ctx, l.sessionKey, func(ctx context.Context) (string, error) { return account(ctx, cfg) })
	return l, err
}

// startAgain goes on with a request of which it is not known what came of it. An instance that EC2 shows already is taken; for
// all others the client token stands.
func (a *AWS) startAgain(ctx context.Context, l *launching, p placement) (cloud.Started, error) {
	found, err := a.instancesOf(ctx, l.env, platform.Machine{ID: l.req.MachineID})
	if err != nil {
		return cloud.Started{}, err
	}
	if len(found) > 0 {
		return a.started(l, found[0]), nil
	}
	return a.run(ctx, l, p)
}

// run makes requests until EC2 has an instance for the machine, or until there is nowhere left to ask.
func (a *AWS) run(ctx context.Context, l *launching, p placement) (cloud.Started, error) {
	for {
		in, err := a.prepare(ctx, l, &p)
		if err != nil {
			return cloud.Started{}, err
		}
		instance, refusal := a.ask(ctx, l, in)
		if refusal == nil {
			return a.started(l, instance), nil
		}
		further, err := (*place)(nil), launchError(p, refusal)
		tried := append(slices.Clone(p.Tried), p.Place)
		switch judge(refusal) {
		case verdictKnown:
			return a.startKnown(ctx, l, refusal)
		case verdictUnclear, verdictThrottled:
			return cloud.Started{}, err
		case verdictNoRoom:
			a.refused.add(offering{l.account, p.Region, p.InstanceType, p.Place.Zone, p.Spot})
			further, err = a.further(ctx, l, p, noRoom(p.InstanceType, p.Spot, tried, details(refusal)))
		case verdictNoAddress:
			a.refused.add(l.inSubnet(p.Place))
			further, err = a.further(ctx, l, p, noAddress(tried, details(refusal)))
		case verdictNoQuota:
			err = noQuota(p, refusal)
		}
		if further == nil {
			return cloud.Started{}, giveUp(ctx, l, p, err)
		}
		p = p.next(*further)
	}
}

// prepare writes the request, waits for the machine's turn and keeps the placement.
func (a *AWS) prepare(ctx context.Context, l *launching, p *placement) (*ec2.RunInstancesInput, error) {
	in, err := p.request(l.req.MachineID, l.req.ClaimToken)
	if err != nil {
		return nil, err
	}
	if err := a.pacerOf(l.account, p.Region).wait(ctx, l.req.MachineID); err != nil {
		return nil, err
	}
	p.Asked = time.Now().UTC()
	return in, l.req.Keep(ctx, p.String())
}

// ask asks EC2 once. The SDK does not repeat it: each repetition is paced, and EC2 is looked at before.
func (a *AWS) ask(ctx context.Context, l *launching, in *ec2.RunInstancesInput) (types.Instance, error) {
	out, err := ec2.NewFromConfig(l.cfg, once).RunInstances(ctx, in)
	pace := a.pacerOf(l.account, l.env.Region)
	switch {
	case err == nil && len(out.Instances) == 1:
		pace.faster()
		return out.Instances[0], nil
	case err == nil:
		err = cloud.Errorf(cloud.KindTransient, nil, "AWS answered the launch with %d instances instead of one. Wherry looks again.", len(out.Instances))
	case judge(err) == verdictThrottled:
		pace.slower()
	}
	return types.Instance{}, err
}

func once(o *ec2.Options) { o.Retryer = retry.AddWithMaxAttempts(retry.NewStandard(), 1) }

// further is the next place to ask for, where there is one that was not tried; otherwise the error.
func (a *AWS) further(ctx context.Context, l *launching, p placement, none error) (*place, error) {
	free, err := a.places(ctx, l)
	if cloud.KindOf(err) == cloud.KindCapacity {
		return nil, none // every place was refused a moment ago
	}
	if err != nil {
		return nil, err
	}
	for _, to := range free {
		if to != p.Place && !slices.Contains(p.Tried, to) {
			return &to, nil
		}
	}
	return nil, none
}

// giveUp keeps that EC2 said no and that there is no instance, so that the next Start may ask for something else.
func giveUp(ctx context.Context, l *launching, p placement, why error) error {
	p.Refused, p.Tried = true, nil
	if err := l.req.Keep(ctx, p.String()); err != nil {
		return err
	}
	return why
}

// startKnown takes the instance that an earlier request of the machine made, though its content was another: the portal may
// have been replaced by a newer one in between.
func (a *AWS) startKnown(ctx context.Context, l *launching, why error) (cloud.Started, error) {
	found, err := a.instancesOf(ctx, l.env, platform.Machine{ID: l.req.MachineID})
	switch {
	case err != nil:
		return cloud.Started{}, err
	case len(found) > 0:
		return a.started(l, found[0]), nil
	case hasCode(why, "IdempotentInstanceTerminated"):
		return cloud.Started{}, &cloud.Error{Kind: cloud.KindInvalid, Details: details(why), Message: "The instance of this machine was started and has ended already. Launch it again."}
	}
	return cloud.Started{}, &cloud.Error{Kind: cloud.KindTransient, Details: details(why), Message: "EC2 has started the instance of this machine, and does not show it yet. Wherry looks again."}
}

func (a *AWS) started(l *launching, i types.Instance) cloud.Started {
	return cloud.Started{InstanceID: awssdk.ToString(i.InstanceId), Hardware: a.hardware(i, l.env.Region)}
}
