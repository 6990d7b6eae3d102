// Package awstest gives tests the AWS account of the package sandbox: one server for all tests of a binary, and everything
// that a test makes there goes with the test.
package awstest

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"wherry/cloud/aws/sandbox"
)

// callLimit ends what a test asks of the server, so that a stuck one fails one test and not the whole run.
const callLimit = 30 * time.Second

// What tests say of calls and faults.
type (
	Key       = sandbox.Key
	Proxy     = sandbox.Proxy
	Call      = sandbox.Call
	Fault     = sandbox.Fault
	FaultKind = sandbox.FaultKind
	When      = sandbox.When
)

// The moments and kinds of faults.
const (
	None        = sandbox.None
	Before      = sandbox.Before
	After       = sandbox.After
	ErrorAnswer = sandbox.ErrorAnswer
	Hang        = sandbox.Hang
	Drop        = sandbox.Drop
)

// Throttle is the answer to too many calls.
func Throttle() Fault { return sandbox.Throttle() }

// Denied is the answer to a call for which an action is missing in the caller's policies.
func Denied(action, resource string) Fault { return sandbox.Denied(action, resource) }

// Lost is a call that has its effect, of which the client hears nothing.
func Lost() Fault { return sandbox.Lost() }

// Server is a moto server. All tests of a binary share one, so what they make there needs names of its own.
type Server struct{ *sandbox.Server }

var shared = sync.OnceValues(func() (*Server, error) {
	s, err := sandbox.Start(context.Background(), os.Getenv("MOTO_SERVER"))
	return &Server{s}, err
})

// Moto returns the server of this test binary and starts it first where that is not done yet. A short test is skipped where
// there is no moto, any other fails.
func Moto(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath(os.Getenv("MOTO_SERVER")); err != nil {
		if testing.Short() {
			t.Skip("without moto")
		}
		t.Fatalf("MOTO_SERVER does not name moto's server (%v): run the tests with `make test`", err)
	}
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// NewProxy starts a proxy before a server. It ends with the test.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	p, err := sandbox.NewProxy(s.Server)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// NewHypervisor boots what is launched through a proxy from now on. It ends with the test, and all its machines with it.
func NewHypervisor(t testing.TB, p *Proxy, o sandbox.Options) *sandbox.Hypervisor {
	t.Helper()
	h, err := sandbox.NewHypervisor(p, o)
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	return h
}

// Admin is the SDK's configuration for a client that may do everything, past the proxy.
func (s *Server) Admin(t testing.TB, region string) aws.Config {
	t.Helper()
	return s.Server.Admin(region)
}

// User makes an IAM user who may do what the policy documents say and nothing else, and returns an access key of theirs and
// the ARN. The user is gone when the test ends.
func (s *Server) User(t testing.TB, name string, documents ...string) (Key, string) {
	t.Helper()
	t.Cleanup(func() { s.removeUser(t, name) })
	key, arn, err := s.Server.User(limited(t), name, documents...)
	must(t, err)
	return key, arn
}

// SetPolicies makes these the only inline policies of a user.
func (s *Server) SetPolicies(t testing.TB, user string, documents ...string) {
	t.Helper()
	must(t, s.Server.SetPolicies(limited(t), user, documents...))
}

// Role makes an IAM role with a trust policy and inline policies, and returns its ARN. The role is gone when the test ends.
func (s *Server) Role(t testing.TB, name, trustDocument string, documents ...string) string {
	t.Helper()
	t.Cleanup(func() { s.removeRole(t, name) })
	arn, err := s.Server.Role(limited(t), name, trustDocument, documents...)
	must(t, err)
	return arn
}

// SetRolePolicies makes these the only inline policies of a role.
func (s *Server) SetRolePolicies(t testing.TB, role string, documents ...string) {
	t.Helper()
	must(t, s.Server.SetRolePolicies(limited(t), role, documents...))
}

// Profile makes a role and an instance profile of that name with the role in it, as a team has that makes its own, and returns
// the profile's ARN. Both are gone when the test ends.
func (s *Server) Profile(t testing.TB, name, trustDocument string, documents ...string) string {
	t.Helper()
	s.Role(t, name, trustDocument, documents...)
	client := iam.NewFromConfig(s.Admin(t, "us-east-1"))
	made, err := client.CreateInstanceProfile(limited(t), &iam.CreateInstanceProfileInput{InstanceProfileName: &name})
	must(t, err)
	t.Cleanup(func() {
		_, err := client.RemoveRoleFromInstanceProfile(limited(t), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
		must(t, err)
		_, err = client.DeleteInstanceProfile(limited(t), &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})
		must(t, err)
	})
	_, err = client.AddRoleToInstanceProfile(limited(t), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	must(t, err)
	return aws.ToString(made.InstanceProfile.Arn)
}

func (s *Server) removeUser(t testing.TB, name string) {
	must(t, s.Server.RemoveUser(limited(t), name))
}

func (s *Server) removeRole(t testing.TB, name string) {
	must(t, s.Server.RemoveRole(limited(t), name))
}

// limited is a context for calls that may also be made while a test is being cleaned up, when the test's own context has
// ended.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
