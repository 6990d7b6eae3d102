package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"wherry/cloud"
	"wherry/platform"
)

// Kinds of resources, in the ledger and for people.
const (
	kindRole       = "role"
	kindAttachment = "attached policy"
	kindInline     = "inline policy"
	kindProfile    = "instance profile"
	kindMembership = "role in instance profile"
)

// part is one thing that an environment needs: the call that makes it, and what that call is allowed by.
type part struct {
	kind, name  string
	action      string
	permissions []string
	input       any // of the SDK; the preview shows this very value
	call        func(context.Context, *iam.Client) error
	there       []string // error codes that say that it is there already
}

func (p part) resource() string { return p.kind + " " + p.name }

func (p part) digest() string {
	text, err := json.Marshal(p.input)
	if err != nil {
		panic(fmt.Sprintf("an SDK input always marshals: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// ForgeName is the name of the role and of the instance profile of an environment.
func ForgeName(envID string) string { return forge + envID }

// parts lists what an environment needs, in the order in which it is made. An environment with an instance profile of its
// own needs nothing.
func (a *AWS) parts(env platform.ComputeEnv) ([]part, error) {
	if env.Config.InstanceProfileARN != "" {
		return nil, nil
	}
	policies, err := inlinePolicies(env)
	if err != nil {
		return nil, err
	}
	name, tags := awssdk.String(ForgeName(env.ID)), a.tags(env)
	list := []part{create(env, name, tags)}
	for _, arn := range managedPolicies {
		list = append(list, attach(name, arn))
	}
	for _, p := range policies {
		list = append(list, put(name, p))
	}
	return append(list, createProfile(name, tags), addRole(name)), nil
}

func create(env platform.ComputeEnv, name *string, tags []types.Tag) part {
	in := &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: awssdk.String(compact(policyFile("instance-trust"))), Tags: tags,
		Description: awssdk.String("Made by Wherry for the machines of a compute environment. Delete it there.")}
	return part{kindRole, *name, "iam:CreateRole", []string{"iam:CreateRole", "iam:TagRole"}, in,
		func(ctx context.Context, c *iam.Client) error { _, err := c.CreateRole(ctx, in); return err }, []string{"EntityAlreadyExists"}}
}

func attach(name *string, arn string) part {
	in := &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: awssdk.String(arn)}
	return part{kindAttachment, arn, "iam:AttachRolePolicy", []string{"iam:AttachRolePolicy"}, in,
		func(ctx context.Context, c *iam.Client) error { _, err := c.AttachRolePolicy(ctx, in); return err }, nil}
}

func put(name *string, p inlinePolicy) part {
	in := &iam.PutRolePolicyInput{RoleName: name, PolicyName: awssdk.String(p.name), PolicyDocument: awssdk.String(p.document)}
	return part{kindInline, p.name, "iam:PutRolePolicy", []string{"iam:PutRolePolicy"}, in,
		func(ctx context.Context, c *iam.Client) error { _, err := c.PutRolePolicy(ctx, in); return err }, nil}
}

func createProfile(name *string, tags []types.Tag) part {
	in := &iam.CreateInstanceProfileInput{InstanceProfileName: name, Tags: tags}
	return part{kindProfile, *name, "iam:CreateInstanceProfile", []string{"iam:CreateInstanceProfile", "iam:TagInstanceProfile"}, in,
		func(ctx context.Context, c *iam.Client) error { _, err := c.CreateInstanceProfile(ctx, in); return err }, []string{"EntityAlreadyExists"}}
}

// addRole puts the role into the profile. A profile takes one role: when it has one (LimitExceeded), it has this one, because
// the name of the profile is this environment's alone.
func addRole(name *string) part {
	in := &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}
	return part{kindMembership, *name, "iam:AddRoleToInstanceProfile", []string{"iam:AddRoleToInstanceProfile", "iam:PassRole"}, in,
		func(ctx context.Context, c *iam.Client) error {
			_, err := c.AddRoleToInstanceProfile(ctx, in)
			return err
		},
		[]string{"LimitExceeded", "EntityAlreadyExists"}}
}

// Tags by which what Wherry made is known again.
const (
	tagPortal      = "wherry:portal"
	tagWorkspace   = "wherry:workspace"
	tagEnvironment = "wherry:environment"
	tagMachine     = "wherry:machine"
	tagRun         = "wherry:run"
	tagStudio      = "wherry:studio"
	tagUser        = "wherry:user"
)

// tags are those of an environment: Wherry's own, then the resource labels.
func (a *AWS) tags(env platform.ComputeEnv) []types.Tag {
	labels := []platform.Label{{Name: tagPortal, Value: a.PortalID}, {Name: tagWorkspace, Value: fmt.Sprint(env.WorkspaceID)}, {Name: tagEnvironment, Value: env.ID}}
	var tags []types.Tag
	for _, l := range append(labels, env.Config.ResourceLabels...) {
		tags = append(tags, types.Tag{Key: &l.Name, Value: &l.Value})
	}
	return tags
}

// Plan lists the calls that Make will make.
func (a *AWS) Plan(env platform.ComputeEnv) ([]cloud.Call, error) {
	list, err := a.parts(env)
	if err != nil {
		return nil, err
	}
	var calls []cloud.Call
	for _, p := range list {
		calls = append(calls, cloud.Call{Action: p.action, Permissions: p.permissions, Makes: p.resource(), Parameters: parameters(p.input)})
	}
	return calls, nil
}

// parameters writes an SDK input as names and values, documents with line ends.
func parameters(input any) (list []cloud.Parameter) {
	text, err := json.Marshal(input)
	if err != nil {
		panic(fmt.Sprintf("an SDK input always marshals: %v", err))
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		panic(err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch v := fields[name].(type) {
		case nil:
		case string:
			list = append(list, cloud.Parameter{Name: name, Value: indent(v)})
		case []any:
			var lines []string
			for _, tag := range v {
				t, _ := tag.(map[string]any)
				lines = append(lines, fmt.Sprintf("%v = %v", t["Key"], t["Value"]))
			}
			if len(lines) > 0 {
				list = append(list, cloud.Parameter{Name: name, Value: strings.Join(lines, "\n")})
			}
		default:
			list = append(list, cloud.Parameter{Name: name, Value: fmt.Sprint(v)})
		}
	}
	return list
}

// indent lays out a JSON document; any other text stays as it is.
func indent(text string) string {
	var v any
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return text
	}
	return string(out)
}

// Make makes what is not there yet. Each part is in the ledger before it is asked for, so that a crash in between leaves
// nothing that Remove would not find; asking twice makes nothing twice, because names are the environment's own.
func (a *AWS) Make(ctx context.Context, env platform.ComputeEnv, l cloud.Ledger) error {
	list, err := a.parts(env)
	if err != nil || len(list) == 0 {
		return err
	}
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return err
	}
	client := iam.NewFromConfig(cfg)
	for _, p := range list {
		known, ok := l.Find(p.kind, p.name)
		// What was made with other parameters is made anew only where that changes it: policies are put over what is there, and
		// a role keeps the tags that it was made with.
		if ok && known.State == platform.ResourceMade && (known.Digest == p.digest() || len(p.there) > 0) {
			continue
		}
		if err := makePart(ctx, client, p, l, !ok); err != nil {
			return err
		}
	}
	return nil
}

// makePart makes one part. A refusal of what was never asked for before leaves nothing that would have to be removed.
func makePart(ctx context.Context, client *iam.Client, p part, l cloud.Ledger, first bool) error {
	r := platform.Resource{Kind: p.kind, Name: p.name, Digest: p.digest(), State: platform.ResourceWanted}
	if err := l.Save(ctx, r); err != nil {
		return err
	}
	err := p.call(ctx, client)
	if err == nil || hasCode(err, p.there...) {
		r.State = platform.ResourceMade
		return l.Save(ctx, r)
	}
	err = translate(err)
	if kind := cloud.KindOf(err); first && (kind == cloud.KindDenied || kind == cloud.KindIdentity || kind == cloud.KindInvalid) {
		r.State = platform.ResourceGone
		return errors.Join(err, l.Save(ctx, r))
	}
	return err
}

// Remove removes what the ledger has, in the opposite order. The role is looked at first: one that does not carry this
// environment's tag was not made by Wherry, and one to which somebody added policies is left alone until these are gone.
func (a *AWS) Remove(ctx context.Context, env platform.ComputeEnv, l cloud.Ledger) error {
	var left []platform.Resource
	for _, r := range l.Known {
		if r.State != platform.ResourceGone {
			left = append(left, r)
		}
	}
	if len(left) == 0 {
		return nil
	}
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return err
	}
	client, name := iam.NewFromConfig(cfg), ForgeName(env.ID)
	if slices.ContainsFunc(left, func(r platform.Resource) bool { return r.Kind == kindRole }) {
		if err := a.checkOurs(ctx, client, env, name, l); err != nil {
			return err
		}
	}
	for _, r := range slices.Backward(left) {
		err := removePart(ctx, client, name, r)
		if hasCode(err, "NoSuchEntity") {
			err = a.tooNew(r)
		}
		if err != nil {
			return translate(err)
		}
		r.State = platform.ResourceGone
		if err := l.Save(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func removePart(ctx context.Context, c *iam.Client, name string, r platform.Resource) (err error) {
	switch r.Kind {
	case kindMembership:
		_, err = c.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	case kindProfile:
		_, err = c.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
	case kindInline:
		_, err = c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &r.Name})
	case kindAttachment:
		_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: &r.Name})
	case kindRole:
		_, err = c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	default:
		err = fmt.Errorf("the ledger has a %q, which this version does not know", r.Kind)
	}
	return err
}

// defaultVisible is how long IAM may take to show what was made a moment ago.
const defaultVisible = time.Minute

// tooNew is an error for something that may be there although IAM says that it is not: it was asked for a moment ago.
func (a *AWS) tooNew(r platform.Resource) error {
	if time.Since(r.Updated) > cmp.Or(a.Visible, defaultVisible) {
		return nil
	}
	return cloud.Errorf(cloud.KindTransient, nil, "The %s %s was asked for a moment ago, and IAM may not show it yet. Wherry looks again until it is sure.", r.Kind, r.Name)
}

// checkOurs makes sure that the role is the one that Wherry made, and that nothing hangs on it that somebody else put there.
func (a *AWS) checkOurs(ctx context.Context, c *iam.Client, env platform.ComputeEnv, name string, l cloud.Ledger) error {
	out, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if hasCode(err, "NoSuchEntity") {
		r, _ := l.Find(kindRole, name)
		return a.tooNew(r)
	}
	if err != nil {
		return translate(err)
	}
	for _, tag := range out.Role.Tags {
		if awssdk.ToString(tag.Key) == tagEnvironment && awssdk.ToString(tag.Value) == env.ID {
			return checkForeignPolicies(ctx, c, name, l)
		}
	}
	return cloud.Errorf(cloud.KindInvalid, nil, "The role %s does not carry this compute environment's tag (%s = %s), so Wherry did not make it and does not remove it. Put the tag back, or remove the role by hand.", name, tagEnvironment, env.ID)
}

func checkForeignPolicies(ctx context.Context, c *iam.Client, name string, l cloud.Ledger) error {
	var foreign []string
	inline := iam.NewListRolePoliciesPaginator(c, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return translate(err)
		}
		for _, p := range page.PolicyNames {
			if _, ok := l.Find(kindInline, p); !ok {
				foreign = append(foreign, p)
			}
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return translate(err)
		}
		for _, p := range page.AttachedPolicies {
			if _, ok := l.Find(kindAttachment, awssdk.ToString(p.PolicyArn)); !ok {
				foreign = append(foreign, awssdk.ToString(p.PolicyArn))
			}
		}
	}
	if len(foreign) > 0 {
		return cloud.Errorf(cloud.KindInvalid, nil, "Somebody else gave the role %s these policies: %s. Wherry removes only what it made: take them off the role first.", name, strings.Join(foreign, ", "))
	}
	return nil
}
