package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"wherry/cloud"
	"wherry/platform"
)

// Assign gives the instance of a warm machine the tags of the run that took it. Its disk keeps those that it was made with: to
// find it would take a permission that is not published.
func (a *AWS) Assign(ctx context.Context, env platform.ComputeEnv, m platform.Machine, req cloud.StartRequest) error {
	cfg, err := a.session(ctx, env.CredentialsID, env.Region)
	if err != nil {
		return err
	}
	in := &ec2.CreateTagsInput{Resources: []string{m.InstanceID}}
	for _, t := range a.machineTags(&launching{env: env, req: req}) {
		in.Tags = append(in.Tags, types.Tag{Key: awssdk.String(t.Name), Value: awssdk.String(t.Value)})
	}
	_, err = ec2.NewFromConfig(cfg).CreateTags(ctx, in)
	return translate(err)
}
