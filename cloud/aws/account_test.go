package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

const region = "eu-west-1"

// published reads the actions of a published policy.
func published(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile("policies/" + name + ".json")
	must(t, err)
	var doc struct{ Statement []struct{ Action []string } }
	must(t, json.Unmarshal(text, &doc))
	return doc.Statement[0].Action
}

var publishedNames = []string{"create", "validate", "launch", "delete", "read-optional"}

// allPublished is every published policy, as documents.
func allPublished(t testing.TB) (documents []string) {
	t.Helper()
	for _, name := range publishedNames {
		text, err := os.ReadFile("policies/" + name + ".json")
		must(t, err)
		documents = append(documents, string(text))
	}
	return documents
}

// without is every published policy but for one action.
func without(t testing.TB, action string) (documents []string) {
	t.Helper()
	for _, text := range allPublished(t) {
		var doc map[string]any
		must(t, json.Unmarshal([]byte(text), &doc))
		s := doc["Statement"].([]any)[0].(map[string]any)
		s["Action"] = slices.DeleteFunc(s["Action"].([]any), func(a any) bool { return a == action })
		out, err := json.Marshal(doc)
		must(t, err)
		documents = append(documents, string(out))
	}
	return documents
}

// world is an account with one user, whom Wherry is through a proxy.
type world struct {
	t     *testing.T
	moto  *awstest.Server
	proxy *awstest.Proxy
	user  string
	arn   string
	aws   *AWS
	mu    sync.Mutex
	creds platform.Credentials
	env   platform.ComputeEnv
	book  []platform.Resource // what the ledger holds
}

// newWorld makes a user with the published policies and no others.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{moto: awstest.Moto(t), user: "wherry-" + platform.NewID()}
	var key awstest.Key
	key, w.arn = w.moto.User(t, w.user, allPublished(t)...)
	w.creds = platform.Credentials{ID: platform.NewID(), WorkspaceID: 7, Mode: platform.CredentialsKeys, AccessKey: key.ID, SecretKey: platform.NewSecret(key.Secret)}
	return w.another(t)
}

// another is an environment of its own, behind a proxy of its own, of the same user.
func (of *world) another(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, moto: of.moto, user: of.user, arn: of.arn, creds: of.creds, proxy: awstest.NewProxy(t, of.moto)}
	w.env = platform.ComputeEnv{ID: platform.NewID(), WorkspaceID: 7, Name: "rivers", Platform: platform.PlatformAWSCloud, Region: region, WorkDir: "s3://rivers/work", CredentialsID: w.creds.ID}
	w.aws = w.portal(nil)
	t.Cleanup(w.cleanUp)
	return w
}

// portal is a Wherry whose own identity is a key, or nobody.
func (w *world) portal(own *awstest.Key, more ...func(*Config)) *AWS {
	c := Config{PortalID: "portal-1", Visible: time.Nanosecond, Credentials: func(_ context.Context, id string) (platform.Credentials, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if id != w.creds.ID {
			return platform.Credentials{}, fmt.Errorf("no credentials %s", id)
		}
		return w.creds, nil
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(w.proxy.URL), config.WithEC2IMDSClientEnableState(2)}}
	if own != nil {
		c.Load = append(c.Load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(own.ID, own.Secret, "")))
	}
	for _, f := range more {
		f(&c)
	}
	return New(c)
}

// ledger is kept as the database keeps it.
func (w *world) ledger() cloud.Ledger {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cloud.Ledger{Known: slices.Clone(w.book), Save: func(ctx context.Context, r platform.Resource) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Updated = time.Now().Add(-time.Second)
		if i := slices.IndexFunc(w.book, func(k platform.Resource) bool { return k.Kind == r.Kind && k.Name == r.Name }); i >= 0 {
			w.book[i] = r
		} else {
			w.book = append(w.book, r)
		}
		return nil
	}}
}

func (w *world) make() error   { return w.aws.Make(w.t.Context(), w.env, w.ledger()) }
func (w *world) remove() error { return w.aws.Remove(w.t.Context(), w.env, w.ledger()) }

// admin is the account as its owner sees it, past the proxy.
func (w *world) admin() *iam.Client { return iam.NewFromConfig(w.moto.Admin(w.t, "us-east-1")) }

// left lists what is in the account of the environment.
func (w *world) left() (list []string) {
	w.t.Helper()
	name := ForgeName(w.env.ID)
	if _, err := w.admin().GetRole(w.t.Context(), &iam.GetRoleInput{RoleName: &name}); err == nil {
		list = append(list, "role")
	}
	if _, err := w.admin().GetInstanceProfile(w.t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &name}); err == nil {
		list = append(list, "instance profile")
	}
	return list
}

// complete fails the test unless everything is there, once.
func (w *world) complete() {
	w.t.Helper()
	name, ctx := ForgeName(w.env.ID), w.t.Context()
	profile, err := w.admin().GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	must(w.t, err)
	if roles := profile.InstanceProfile.Roles; len(roles) != 1 || awssdk.ToString(roles[0].RoleName) != name {
		w.t.Errorf("the profile has the roles %v", roles)
	}
	attached, err := w.admin().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	must(w.t, err)
	inline, err := w.admin().ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name})
	must(w.t, err)
	if len(attached.AttachedPolicies) != len(managedPolicies) || len(inline.PolicyNames) != 3 {
		w.t.Errorf("the role has %d managed and %d inline policies", len(attached.AttachedPolicies), len(inline.PolicyNames))
	}
}

func (w *world) cleanUp() {
	w.proxy.Fail(nil)
	w.proxy.Withhold()
	a := New(Config{Visible: time.Nanosecond, Credentials: func(context.Context, string) (platform.Credentials, error) {
		admin, err := w.moto.Admin(w.t, region).Credentials.Retrieve(context.Background())
		return platform.Credentials{Mode: platform.CredentialsKeys, AccessKey: admin.AccessKeyID, SecretKey: platform.NewSecret(admin.SecretAccessKey)}, err
	}, Load: []func(*config.LoadOptions) error{config.WithBaseEndpoint(w.moto.URL)}})
	if err := a.Remove(context.Background(), w.env, w.ledger()); err != nil {
		w.t.Logf("cleaning up: %v", err)
	}
}

// kind fails the test unless err is of a kind, and returns it.
func kind(t *testing.T, err error, want cloud.Kind) *cloud.Error {
	t.Helper()
	if err == nil || cloud.KindOf(err) != want {
		t.Fatalf("%v is %s; want %s", err, cloud.KindOf(err), want)
	}
	var e *cloud.Error
	asError(t, err, &e)
	return e
}

func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}
