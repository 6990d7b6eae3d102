package awstest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// User makes an IAM user who may do what the policy documents say and nothing else, and returns an access key of theirs. The
// user is gone when the test ends.
func (s *Server) User(t testing.TB, name string, documents ...string) (Key, string) {
	t.Helper()
	ctx, client := s.client(t)
	user, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: &name})
	must(t, err)
	t.Cleanup(func() { s.removeUser(t, name) })
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	must(t, err)
	s.SetPolicies(t, name, documents...)
	key := Key{aws.ToString(made.AccessKey.AccessKeyId), aws.ToString(made.AccessKey.SecretAccessKey)}
	arn := aws.ToString(user.User.Arn)
	s.own(key.ID, arn)
	return key, arn
}

// SetPolicies makes these the only inline policies of a user.
func (s *Server) SetPolicies(t testing.TB, user string, documents ...string) {
	t.Helper()
	ctx, client := s.client(t)
	for i, document := range documents {
		_, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &user, PolicyName: policyName(i), PolicyDocument: &document})
		must(t, err)
	}
	list, err := client.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &user})
	must(t, err)
	for _, name := range surplus(list.PolicyNames, len(documents)) {
		_, err := client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &user, PolicyName: &name})
		must(t, err)
	}
}

// Role makes an IAM role with a trust policy and inline policies, and returns its ARN. The role is gone when the test ends.
func (s *Server) Role(t testing.TB, name, trustDocument string, documents ...string) string {
	t.Helper()
	ctx, client := s.client(t)
	made, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trustDocument})
	must(t, err)
	t.Cleanup(func() { s.removeRole(t, name) })
	arn := aws.ToString(made.Role.Arn)
	s.mu.Lock()
	s.trusts[arn] = trustDocument
	s.mu.Unlock()
	s.SetRolePolicies(t, name, documents...)
	return arn
}

// SetRolePolicies makes these the only inline policies of a role.
func (s *Server) SetRolePolicies(t testing.TB, role string, documents ...string) {
	t.Helper()
	ctx, client := s.client(t)
	for i, document := range documents {
		_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: policyName(i), PolicyDocument: &document})
		must(t, err)
	}
	list, err := client.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	must(t, err)
	for _, name := range surplus(list.PolicyNames, len(documents)) {
		_, err := client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &name})
		must(t, err)
	}
}

// removeUser takes away what User made, so that a repeated test can use the name again.
func (s *Server) removeUser(t testing.TB, name string) {
	ctx, client := s.client(t)
	keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
	if gone(err) {
		return
	}
	must(t, err)
	for _, key := range keys.AccessKeyMetadata {
		_, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: key.AccessKeyId})
		must(t, err)
	}
	s.SetPolicies(t, name)
	_, err = client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
	must(t, err)
}

// removeRole takes away what Role made.
func (s *Server) removeRole(t testing.TB, name string) {
	s.mu.Lock()
	delete(s.trusts, "arn:aws:iam::"+account+":role/"+name)
	s.mu.Unlock()
	ctx, client := s.client(t)
	if _, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); gone(err) {
		return
	}
	s.SetRolePolicies(t, name)
	_, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	must(t, err)
}

// client is IAM for the administrator. Its calls may be made while a test is being cleaned up, when the test's own context
// has ended.
func (s *Server) client(t testing.TB) (context.Context, *iam.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	t.Cleanup(cancel)
	return ctx, iam.NewFromConfig(s.Admin(t, "us-east-1"))
}

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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
