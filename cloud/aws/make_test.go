package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"wherry/cloud"
	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// TestEveryCallIsInThePublishedPolicies records the whole life of an environment, with everything that is asked on its way.
func TestEveryCallIsInThePublishedPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Config.AllowBuckets = []string{"lakes"}
	w.env.Config.ResourceLabels = []platform.Label{{Name: "cost-centre", Value: "rivers"}}
	_, err := w.aws.Identify(t.Context(), w.creds)
	must(t, err)
	for field := range lookups {
		_, err := w.aws.Lookup(t.Context(), cloud.LookupRequest{CredentialsID: w.creds.ID, Region: region, Field: field})
		must(t, err)
	}
	must(t, w.aws.Validate(t.Context(), w.env))
	must(t, w.make())
	w.complete()
	must(t, w.remove())
	allowed := map[string]bool{}
	for _, name := range publishedNames {
		for _, a := range published(t, name) {
			allowed[a] = true
		}
	}
	used := map[string]bool{}
	for _, c := range w.proxy.Calls() {
		for _, permission := range c.Needs() {
			used[permission] = true
			if !allowed[permission] {
				t.Errorf("%s needs %s, which is not published", c.Operation, permission)
			}
		}
		if c.Status >= 400 {
			t.Errorf("%s was answered with %d %s", c.Operation, c.Status, c.ErrorCode)
		}
	}
	for _, name := range []string{"create", "validate", "delete", "read-optional"} {
		for _, a := range published(t, name) {
			if !used[a] {
				t.Errorf("%s is asked for, and never used", a)
			}
		}
	}
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheRoleIsWhatTheReferenceSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Config.AllowBuckets = []string{"lakes", "rivers"}
	w.env.Config.ResourceLabels = []platform.Label{{Name: "cost-centre", Value: "rivers"}}
	must(t, w.make())
	name := ForgeName(w.env.ID)
	role, err := w.admin().GetRole(t.Context(), &iam.GetRoleInput{RoleName: &name})
	must(t, err)
	trust, err := url.QueryUnescape(awssdk.ToString(role.Role.AssumeRolePolicyDocument))
	must(t, err)
	sameJSON(t, trust, policyFile("instance-trust"))
	tags := map[string]string{}
	for _, tag := range role.Role.Tags {
		tags[awssdk.ToString(tag.Key)] = awssdk.ToString(tag.Value)
	}
	for key, value := range map[string]string{tagPortal: "portal-1", tagWorkspace: "7", tagEnvironment: w.env.ID, "cost-centre": "rivers"} {
		if tags[key] != value {
			t.Errorf("the tag %s is %q; want %q", key, tags[key], value)
		}
	}
	profile, err := w.admin().GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	must(t, err)
	if len(profile.InstanceProfile.Tags) != 4 {
		t.Errorf("the profile's tags: %v", profile.InstanceProfile.Tags)
	}
	s3 := parsePolicy(t, w.inline("s3"))
	if len(s3.Statement) != 6 { // two buckets, one of them named twice
		t.Errorf("the policy for S3 has %d statements", len(s3.Statement))
	}
	sids := map[string]bool{}
	for _, s := range s3.Statement {
		sids[s.Sid] = true
	}
	if len(sids) != 6 {
		t.Errorf("statements share ids: %v", sids)
	}
	says(t, w.inline("secrets-manager"), "arn:aws:secretsmanager:"+region+":*:secret:tower-*")
	sameJSON(t, w.inline("kms"), policyFile("instance-kms"))
}

// inline reads an inline policy of the environment's role.
func (w *world) inline(policy string) string {
	w.t.Helper()
	out, err := w.admin().GetRolePolicy(w.t.Context(), &iam.GetRolePolicyInput{RoleName: awssdk.String(ForgeName(w.env.ID)), PolicyName: &policy})
	must(w.t, err)
	text, err := url.QueryUnescape(awssdk.ToString(out.PolicyDocument))
	must(w.t, err)
	return text
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	must(t, json.Unmarshal([]byte(got), &g))
	must(t, json.Unmarshal([]byte(want), &w))
	if fmt.Sprint(g) != fmt.Sprint(w) {
		t.Errorf("got  %v\nwant %v", g, w)
	}
}

func TestThePlanIsWhatIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan, err := w.aws.Plan(w.env)
	must(t, err)
	must(t, w.make())
	var made []awstest.Call
	for _, c := range w.proxy.Calls() {
		if c.Service == "iam" {
			made = append(made, c)
		}
	}
	if len(plan) != len(made) {
		t.Fatalf("%d calls planned, %d made", len(plan), len(made))
	}
	for i, p := range plan {
		if p.Action != "iam:"+made[i].Operation || !slices.Equal(p.Permissions, made[i].Needs()) {
			t.Errorf("planned %s needing %v, made %s needing %v", p.Action, p.Permissions, made[i].Operation, made[i].Needs())
		}
		for _, parameter := range p.Parameters {
			if parameter.Name == "Tags" {
				continue
			}
			if got := made[i].Params.Get(parameter.Name); indent(got) != parameter.Value {
				t.Errorf("%s: %s was planned to be %q and was %q", p.Action, parameter.Name, parameter.Value, got)
			}
		}
	}
	before := len(w.proxy.Calls())
	must(t, w.make())
	if after := w.proxy.Calls()[before:]; len(after) > 0 {
		t.Errorf("made again: %v", after)
	}
}

func TestABucketMoreChangesTheOnePolicyThatNamesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.make())
	w.proxy.Forget()
	w.env.Config.AllowBuckets = []string{"lakes"}
	must(t, w.make())
	if calls := w.proxy.Calls(); len(calls) != 1 || calls[0].Operation != "PutRolePolicy" {
		t.Errorf("calls: %v", calls)
	}
	says(t, w.inline("s3"), "arn:aws:s3:::lakes/*")
	w.complete()
}

func TestAnOwnInstanceProfileMakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Config.InstanceProfileARN = "arn:aws:iam::123456789012:instance-profile/ours"
	must(t, w.make())
	must(t, w.remove())
	if calls := w.proxy.Calls(); len(calls) > 0 {
		t.Errorf("calls: %v", calls)
	}
}

// TestAMissingPermissionIsNamedAndARetryGoesOn takes each permission away in turn.
func TestAMissingPermissionIsNamedAndARetryGoesOn(t *testing.T) {
	t.Parallel()
	unchecked := []string{"iam:PassRole", "iam:TagRole", "iam:TagInstanceProfile"} // by moto; the proxy checks them
	for _, action := range slices.Concat(published(t, "create"), published(t, "delete")) {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			take := func() {
				if slices.Contains(unchecked, action) {
					w.proxy.Withhold(action)
				} else {
					w.moto.SetPolicies(t, w.user, without(t, action)...)
				}
			}
			restore := func() {
				w.proxy.Withhold()
				w.moto.SetPolicies(t, w.user, allPublished(t)...)
			}
			step := w.make
			if slices.Contains(published(t, "delete"), action) {
				must(t, w.make())
				step = w.remove
			}
			take()
			e := kind(t, step(), cloud.KindDenied)
			if e.Permission != action {
				t.Errorf("the missing permission is said to be %s: %v", e.Permission, e)
			}
			says(t, e.Message, action)
			restore()
			must(t, step())
			if slices.Contains(published(t, "create"), action) {
				w.complete()
				must(t, w.remove())
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// faults are what can happen to a call. Each lasts for as many attempts as the SDK makes.
var faults = map[string]func() awstest.Fault{
	"throttled":   awstest.Throttle,
	"lost answer": awstest.Lost,
	"server error": func() awstest.Fault {
		return awstest.Fault{When: awstest.Before, Kind: awstest.ErrorAnswer, Code: "ServiceFailure", Status: 500}
	},
	"lost, then error": func() awstest.Fault {
		return awstest.Fault{When: awstest.After, Kind: awstest.ErrorAnswer, Code: "ServiceFailure", Status: 500}
	},
}

// TestAFaultAtAnyCallLeavesNothingAfterTheRetry fails each call of create and of delete in turn, before or after its effect.
func TestAFaultAtAnyCallLeavesNothingAfterTheRetry(t *testing.T) {
	t.Parallel()
	plan, err := New(Config{}).Plan(platform.ComputeEnv{ID: "x", WorkDir: "s3://rivers/work", Region: region})
	must(t, err)
	tried, all := 0, newWorld(t)
	for name, fault := range faults {
		for _, deleting := range []bool{false, true} {
			for n := 1; n <= len(plan)+3; n++ { // to delete takes three questions more
				if !deleting && n > len(plan) {
					break
				}
				tried++
				t.Run(fmt.Sprintf("%s at call %d, deleting %v", name, n, deleting), func(t *testing.T) {
					t.Parallel()
					w := all.another(t)
					step := w.make
					if deleting {
						must(t, w.make())
						step = w.remove
					}
					w.failAt(n, fault())
					if err := step(); err == nil {
						t.Fatal("the fault was not noticed")
					} else if k := cloud.KindOf(err); k != cloud.KindTransient && k != cloud.KindThrottled {
						t.Errorf("%v is %s", err, k)
					}
					w.proxy.Fail(nil)
					must(t, step())
					if !deleting {
						w.complete()
						must(t, w.remove())
					}
					if left := w.left(); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
				})
			}
		}
	}
	t.Logf("%d faults tried", tried)
}

// failAt makes the n-th different call from now on suffer a fault, each time that it is made.
func (w *world) failAt(n int, f awstest.Fault) {
	var seen []string
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		w.mu.Lock()
		defer w.mu.Unlock()
		key := c.Operation + c.Params.Encode()
		if !slices.Contains(seen, key) {
			seen = append(seen, key)
		}
		if slices.Index(seen, key) == n-1 {
			return f
		}
		return awstest.Fault{}
	})
}

// TestAKillBetweenAnyTwoStepsLeavesNothing ends the process before and after every write of the ledger, by a context that is
// done, and lets another delete what there is.
func TestAKillBetweenAnyTwoStepsLeavesNothing(t *testing.T) {
	t.Parallel()
	all := newWorld(t)
	for at := 1; at <= 20; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after %v", at, after), func(t *testing.T) {
				t.Parallel()
				w := all.another(t)
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				l, n := w.ledger(), 0
				save := l.Save
				l.Save = func(ctx context.Context, r platform.Resource) error {
					n++
					if n == at && !after {
						kill()
					}
					err := save(ctx, r)
					if n == at {
						kill()
					}
					return err
				}
				if err := w.aws.Make(ctx, w.env, l); err == nil && at < 18 {
					t.Fatal("it was not killed")
				}
				must(t, w.remove())
				if left := w.left(); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

func TestAHangEndsWithTheCallersPatience(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy.Fail(func(awstest.Call) awstest.Fault { return awstest.Fault{When: awstest.Before, Kind: awstest.Hang} })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := w.aws.Make(ctx, w.env, w.ledger())
	e := kind(t, err, cloud.KindTransient)
	says(t, e.Message, "did not answer in time")
	w.proxy.Fail(nil)
	must(t, w.make())
	must(t, w.remove())
}

func TestWhatSomebodyElseMadeIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.make())
	name := ForgeName(w.env.ID)
	_, err := w.admin().PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: awssdk.String("by-hand"),
		PolicyDocument: awssdk.String(compact(policyFile("instance-kms")))})
	must(t, err)
	e := kind(t, w.remove(), cloud.KindInvalid)
	says(t, e.Message, "by-hand", name)
	w.complete4(t)
	_, err = w.admin().DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: awssdk.String("by-hand")})
	must(t, err)

	_, err = w.admin().UntagRole(t.Context(), &iam.UntagRoleInput{RoleName: &name, TagKeys: []string{tagEnvironment}})
	must(t, err)
	e = kind(t, w.remove(), cloud.KindInvalid)
	says(t, e.Message, "does not carry")
	_, err = w.admin().TagRole(t.Context(), &iam.TagRoleInput{RoleName: &name, Tags: []types.Tag{{Key: awssdk.String(tagEnvironment), Value: &w.env.ID}}})
	must(t, err)
	must(t, w.remove())
}

// complete4 checks that nothing was removed although a fourth inline policy is there.
func (w *world) complete4(t *testing.T) {
	t.Helper()
	if left := strings.Join(w.left(), ", "); left != "role, instance profile" {
		t.Errorf("there is left: %s", left)
	}
}

func TestWhatWasMadeAMomentAgoIsNotTakenForGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.make())
	w.aws.Visible = time.Hour
	w.proxy.Fail(func(c awstest.Call) awstest.Fault {
		if c.Operation == "GetRole" {
			return awstest.Fault{When: awstest.Before, Kind: awstest.ErrorAnswer, Code: "NoSuchEntity", Status: 404, Message: "The role cannot be found."}
		}
		return awstest.Fault{}
	})
	e := kind(t, w.remove(), cloud.KindTransient)
	says(t, e.Message, "a moment ago")
	w.proxy.Fail(nil)
	must(t, w.remove())
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
