package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// User makes an IAM user who may do what the policy documents say and nothing else, and returns an access key and the ARN.
func (s *Server) User(ctx context.Context, name string, documents ...string) (Key, string, error) {
	client := s.iam()
	user, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
	if err != nil {
		return Key{}, "", err
	}
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		return Key{}, "", err
	}
	if err := s.SetPolicies(ctx, name, documents...); err != nil {
		return Key{}, "", err
	}
	key := Key{aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)}
	arn := aws.ToString(user.User.Arn)
	s.own(key.ID, arn)
	return key, arn, nil
}

// SetPolicies makes these the only inline policies of a user.
func (s *Server) SetPolicies(ctx context.Context, user string, documents ...string) error {
	client := s.iam()
	for i, document := range documents {
		_, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &user, PolicyName: policyName(i), PolicyDocument: &document})
		if err != nil {
			return err
		}
	}
	list, err := client.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &user})
	if err != nil {
		return err
	}
	for _, name := range surplus(list.PolicyNames, len(documents)) {
		if _, err := client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &user, PolicyName: &name}); err != nil {
			return err
		}
	}
	return nil
}

// Role makes an IAM role with a trust policy and inline policies, and returns its ARN.
func (s *Server) Role(ctx context.Context, name, trustDocument string, documents ...string) (string, error) {
	made, err := s.iam().CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trustDocument})
	if err != nil {
		return "", err
	}
	arn := aws.ToString(made.Role.Arn)
	s.mu.Lock()
	s.trusts[arn] = trustDocument
	s.mu.Unlock()
	return arn, s.SetRolePolicies(ctx, name, documents...)
}

// SetRolePolicies makes these the only inline policies of a role.
func (s *Server) SetRolePolicies(ctx context.Context, role string, documents ...string) error {
	client := s.iam()
	for i, document := range documents {
		_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: policyName(i), PolicyDocument: &document})
		if err != nil {
			return err
		}
	}
	list, err := client.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	if err != nil {
		return err
	}
	for _, name := range surplus(list.PolicyNames, len(documents)) {
		if _, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &name}); err != nil {
			return err
		}
	}
	return nil
}

// RemoveUser takes away what User made. A user who is not there is none to remove.
func (s *Server) RemoveUser(ctx context.Context, name string) error {
	client := s.iam()
	keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, key := range keys.AccessKeyMetadata {
		if _, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: key.AccessKeyId}); err != nil {
			return err
		}
	}
	if err := s.SetPolicies(ctx, name); err != nil {
		return err
	}
	_, err = client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
	return err
}

// RemoveRole takes away what Role made. A role that is not there is none to remove.
func (s *Server) RemoveRole(ctx context.Context, name string) error {
	s.mu.Lock()
	delete(s.trusts, "arn:aws:iam::"+account+":role/"+name)
	s.mu.Unlock()
	client := s.iam()
	if _, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); gone(err) {
		return nil
	}
	if err := s.SetRolePolicies(ctx, name); err != nil {
		return err
	}
	_, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	return err
}

// iam is IAM for the administrator.
func (s *Server) iam() *iam.Client { return iam.NewFromConfig(s.Admin("us-east-1")) }

// policyName is the same for the same place in the list, so that a policy is replaced without a moment in which it is missing.
func policyName(i int) *string { return aws.String(fmt.Sprintf("policy-%03d", i)) }

// surplus is the names that policyName gave at or past an index.
func surplus(names []string, count int) (list []string) {
	for _, name := range names {
		if name >= *policyName(count) {
			list = append(list, name)
		}
	}
	return list
}

func gone(err error) bool {
	var missing *types.NoSuchEntityException
	return errors.As(err, &missing)
}
