package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// instanceProfile is an instance profile as IAM has it; role is the ARN of its role and empty where it has none.
type instanceProfile struct{ arn, id, role string }

// profile finds the instance profile that a launch names. It is empty where the launch names none, or IAM does not know it.
func (s *Server) profile(ctx context.Context, launch url.Values) (instanceProfile, error) {
	name := launch.Get("IamInstanceProfile.Name")
	if name == "" {
		name = afterSlash(launch.Get("IamInstanceProfile.Arn"))
	}
	if name == "" {
		return instanceProfile{}, nil
	}
	a, err := s.ask(ctx, "iam", "us-east-1", url.Values{"Action": {"GetInstanceProfile"}, "Version": {"2010-05-08"}, "InstanceProfileName": {name}})
	if err != nil || errorCode(a) == "NoSuchEntity" {
		return instanceProfile{}, err
	}
	root, err := parseElement(a.body)
	if err != nil || a.status != http.StatusOK {
		return instanceProfile{}, errors.Join(err, fmt.Errorf("reading the instance profile %s: %s", name, a.body))
	}
	found := root.child("GetInstanceProfileResult", "InstanceProfile")
	p := instanceProfile{arn: found.text("Arn"), id: found.text("InstanceProfileId")}
	if roles := found.items("Roles"); len(roles) > 0 {
		p.role = roles[0].text("Arn")
	}
	return p, nil
}

// roleCredentials are temporary credentials of a role.
type roleCredentials struct {
	KeyID, Secret, Token string
	Updated, Expiration  time.Time
}

// assume gives credentials of a role as EC2 gets them for an instance. moto lets nobody assume a role that trusts only EC2,
// and does not look at the trust where a web identity assumes it.
func (s *Server) assume(ctx context.Context, roleARN, session string) (roleCredentials, error) {
	a, err := s.ask(ctx, "sts", "us-east-1", url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn": {roleARN}, "RoleSessionName": {session}, "WebIdentityToken": {"none"}, "DurationSeconds": {"21600"}})
	if err != nil {
		return roleCredentials{}, err
	}
	root, err := parseElement(a.body)
	if err != nil || a.status != http.StatusOK {
		return roleCredentials{}, errors.Join(err, fmt.Errorf("assuming %s: %s", roleARN, a.body))
	}
	result := root.child("AssumeRoleWithWebIdentityResult")
	found := result.child("Credentials")
	c := roleCredentials{KeyID: found.text("AccessKeyId"), Secret: found.text("SecretAccessKey"), Token: found.text("SessionToken"), Updated: time.Now()}
	if c.Expiration, err = time.Parse(time.RFC3339, found.text("Expiration")); err != nil {
		return roleCredentials{}, err
	}
	s.own(c.KeyID, result.text("AssumedRoleUser", "Arn"))
	return c, nil
}
