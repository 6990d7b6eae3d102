package sandbox_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"wherry/cloud/aws/awstest"
	"wherry/cloud/aws/sandbox"
)

const (
	region = "eu-west-1"
	image  = "ami-12c6146b"
)

// lab is an account with a proxy and, where a test wants it, a hypervisor.
type lab struct {
	*testing.T
	id         string // id is in the names that must be a test's own, also when it is repeated
	server     *awstest.Server
	proxy      *awstest.Proxy
	hypervisor *sandbox.Hypervisor
	ec2        *ec2.Client
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, id: strings.ToLower(rand.Text()[:8]), server: awstest.Moto(t)}
	l.proxy = awstest.NewProxy(t, l.server)
	config := l.server.AdminKey.Config(region, l.proxy.URL)
	config.RetryMaxAttempts = 1
	l.ec2 = ec2.NewFromConfig(config)
	return l
}

func newLabWithMachines(t *testing.T, o sandbox.Options) *lab {
	t.Helper()
	l := newLab(t)
	o.Dir, o.Log = t.TempDir(), t.Output()
	l.hypervisor = awstest.NewHypervisor(t, l.proxy, o)
	return l
}

// launch asks for an instance with a script as its user data.
func (l *lab) launch(script string, change ...func(*ec2.RunInstancesInput)) (*types.Instance, error) {
	in := &ec2.RunInstancesInput{ImageId: aws.String(image), InstanceType: types.InstanceTypeM5Large, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	if script != "" {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(script)))
	}
	for _, c := range change {
		c(in)
	}
	out, err := l.ec2.RunInstances(l.Context(), in)
	if err != nil {
		return nil, err
	}
	return &out.Instances[0], nil
}

// boot launches a script that must be launched, and returns the instance's id.
func (l *lab) boot(script string, change ...func(*ec2.RunInstancesInput)) string {
	l.Helper()
	i, err := l.launch("#!/bin/bash\n"+script, change...)
	l.must(err)
	return aws.ToString(i.InstanceId)
}

func terminateOnShutdown(in *ec2.RunInstancesInput) {
	in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
}

// describe is an instance as DescribeInstances shows it.
func (l *lab) describe(id string) types.Instance {
	l.Helper()
	out, err := l.ec2.DescribeInstances(context.WithoutCancel(l.Context()), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	l.must(err)
	return out.Reservations[0].Instances[0]
}

func (l *lab) state(id string) string {
	l.Helper()
	return string(l.describe(id).State.Name)
}

// until waits for a condition.
func (l *lab) until(what string, holds func() bool) {
	l.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("after half a minute it is not so that %s", what)
		}
	}
}

// says waits until the console has a text.
func (l *lab) says(id, text string) {
	l.Helper()
	var console string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var err error
		console, err = l.hypervisor.Console(id)
		l.must(err)
		if strings.Contains(console, text) {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("the console does not say %q but:\n%s", text, console)
		}
	}
}

// has waits until a machine has a file, and returns what is in it.
func (l *lab) has(id, name string) string {
	l.Helper()
	root, err := l.hypervisor.Root(id)
	l.must(err)
	var text []byte
	l.until("the machine has "+name, func() bool {
		text, err = os.ReadFile(filepath.Join(root, name))
		return err == nil
	})
	return strings.TrimSpace(string(text))
}

func (l *lab) wait(id string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 30*time.Second)
	defer cancel()
	l.must(l.hypervisor.Wait(ctx, id))
}

// profile makes a role that EC2 may assume, and an instance profile of the same name with it.
func (l *lab) profile(name string, documents ...string) string {
	l.Helper()
	l.server.Role(l, name, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}}`, documents...)
	return l.emptyProfile(name, name)
}

// emptyProfile makes an instance profile with these roles.
func (l *lab) emptyProfile(name string, roles ...string) string {
	l.Helper()
	client := iam.NewFromConfig(l.server.Admin(l, "us-east-1"))
	made, err := client.CreateInstanceProfile(l.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
	l.must(err)
	for _, role := range roles {
		_, err = client.AddRoleToInstanceProfile(l.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &role})
		l.must(err)
	}
	l.Cleanup(func() {
		for _, role := range roles {
			_, err := client.RemoveRoleFromInstanceProfile(context.Background(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &role})
			l.must(err)
		}
		_, err := client.DeleteInstanceProfile(context.Background(), &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
		l.must(err)
	})
	return aws.ToString(made.InstanceProfile.Arn)
}

func withProfile(arn string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: &arn}
	}
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// refused wants an error of AWS with a code, and a message that holds a text.
func (l *lab) refused(err error, code, text string) {
	l.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		l.Errorf("it is answered with %v, want %s: %s", err, code, text)
	}
}
