package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/playwright-community/playwright-go"

	"wherry/cloud/aws/awstest"
	"wherry/platform"
)

// account is an AWS account, and a user there with exactly the published policies.
type account struct {
	t     *testing.T
	moto  *awstest.Server
	proxy *awstest.Proxy
	name  string
	key   awstest.Key
	arn   string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{t: t, moto: awstest.Moto(t), name: "wherry-" + platform.NewID()}
	a.proxy = awstest.NewProxy(t, a.moto)
	a.key, a.arn = a.moto.User(t, a.name, a.policies("")...)
	return a
}

// policies are the published ones, without one action.
func (a *account) policies(without string) (documents []string) {
	a.t.Helper()
	for _, name := range []string{"create", "validate", "launch", "delete", "read-optional"} {
		text, err := os.ReadFile("../cloud/aws/policies/" + name + ".json")
		must(a.t, err)
		var doc struct {
			Version   string
			Statement []struct {
				Sid, Effect string
				Action      []string
				Resource    string
			}
		}
		must(a.t, json.Unmarshal(text, &doc))
		doc.Statement[0].Action = slices.DeleteFunc(doc.Statement[0].Action, func(action string) bool { return action == without })
		out, err := json.Marshal(doc)
		must(a.t, err)
		documents = append(documents, string(out))
	}
	return documents
}

// portal is a portal whose AWS is this account.
func (a *account) portal(env ...string) *portal {
	a.t.Helper()
	return newPortalWith(a.t, false, append([]string{"AWS_ENDPOINT_URL=" + a.proxy.URL, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"}, env...)...)
}

// forged lists what is in the account of environments.
func (a *account) forged(envID string) (list []string) {
	a.t.Helper()
	client, name := iam.NewFromConfig(a.moto.Admin(a.t, "us-east-1")), "TowerForge-"+envID
	var missing *types.NoSuchEntityException
	if _, err := client.GetRole(context.Background(), &iam.GetRoleInput{RoleName: &name}); err == nil {
		list = append(list, "role")
	} else if !errors.As(err, &missing) {
		must(a.t, err)
	}
	if _, err := client.GetInstanceProfile(context.Background(), &iam.GetInstanceProfileInput{InstanceProfileName: &name}); err == nil {
		list = append(list, "instance profile")
	} else if !errors.As(err, &missing) {
		must(a.t, err)
	}
	return list
}

// credentials saves the user's key as the form does.
func (p *portal) credentials(m platform.Member, a *account) platform.Credentials {
	p.t.Helper()
	c := platform.Credentials{WorkspaceID: m.Workspace.ID, Name: "rivers-account", Mode: platform.CredentialsKeys, AccessKey: a.key.ID, SecretKey: platform.NewSecret(a.key.Secret)}
	must(p.t, c.Clean(false))
	must(p.t, p.db.AddCredentials(p.t.Context(), &c))
	return c
}

// awsEnv saves an environment as the form does, without asking AWS first.
func (p *portal) awsEnv(c platform.Credentials, name string) platform.ComputeEnv {
	p.t.Helper()
	e := platform.ComputeEnv{WorkspaceID: c.WorkspaceID, Name: name, Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work", CredentialsID: c.ID, Status: platform.ComputeEnvCreating}
	must(p.t, e.Clean())
	must(p.t, p.db.AddComputeEnv(p.t.Context(), &e))
	return e
}

func (p *portal) envIs(id string, status platform.ComputeEnvStatus) bool {
	e, err := p.db.AnyComputeEnv(p.t.Context(), id)
	must(p.t, err)
	return e.Status == status
}

// TestAnAccountIsConnectedAndAnEnvironmentMadeAndDeleted is what a team admin does, in the browser, from the first key to
// an account that is as it was.
func TestAnAccountIsConnectedAndAnEnvironmentMadeAndDeleted(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p, page := a.portal(), newPage(t, "status of 409")
	m := p.member()
	p.signIn(page)

	click(t, page, "link", "Compute environments")
	click(t, page, "link", "Add one on AWS")
	shows(t, page, "main", "There are no credentials yet")
	inspect(t, page, "compute-environment-without-credentials")
	click(t, page, "link", "Add credentials")
	fill(t, page, "Name", "rivers account")
	must(t, page.GetByLabel("An access key").Check())
	fill(t, page, "Access key", "short")
	click(t, page, "button", "Save")
	shows(t, page, "#name-error", "letters, digits")
	shows(t, page, "#accessKey-error", "16 to 128")
	shows(t, page, "#secretKey-error", "Enter the secret key")
	must(t, expectations.Locator(page.GetByLabel("Access key", exactly)).ToHaveValue("short"))
	inspect(t, page, "credentials-error")
	fill(t, page, "Name", "rivers-account")
	fill(t, page, "Access key", a.key.ID)
	fill(t, page, "Secret key", a.key.Secret)
	click(t, page, "button", "Save")
	shows(t, page, ".notice", "The credentials were saved.")
	click(t, page, "button", "Test")
	shows(t, page, "#test-result", a.arn)
	fill(t, page, "Narrow to TowerForge-* and this bucket", "rivers")
	click(t, page, "button", "Narrow")
	must(t, page.Locator("#policies summary").First().Click())
	shows(t, page, "#policies", "arn:aws:iam::*:role/TowerForge-*")
	inspect(t, page, "credentials")
	click(t, page, "link", "Credentials")
	shows(t, page, "#credentials-list", "…"+a.key.ID[len(a.key.ID)-4:])
	inspect(t, page, "credentials-list")

	click(t, page, "link", "Compute environments")
	click(t, page, "link", "Add one on AWS")
	fill(t, page, "Name", "cloudy")
	choose(t, page, "#region", "eu-west-1")
	must(t, page.GetByText("Advanced", playwright.PageGetByTextOptions{Exact: playwright.Bool(true)}).Click())
	shows(t, page, "#vpcId-lookup", "choice")
	shows(t, page, "#instanceType-lookup", "choices")
	shows(t, page, "#subnetIds-lookup .tick-list", "addresses free")
	shows(t, page, "#imageId-lookup", "choices")
	shows(t, page, "#securityGroups-lookup", "choice")
	shows(t, page, "#ec2KeyPair-lookup", "choice")
	shows(t, page, "#allowBuckets-lookup", "choice")
	must(t, page.Locator("#subnetIds-lookup input[type=checkbox]").First().Check())
	must(t, expectations.Locator(page.Locator("#subnetIds")).ToHaveValue(subnetID))
	fill(t, page, "Work directory", "/not/s3")
	click(t, page, "button", "Save")
	shows(t, page, "#workDir-error", "s3://bucket/work")
	must(t, expectations.Locator(page.Locator("#subnetIds")).ToHaveValue(subnetID))
	fill(t, page, "Work directory", "s3://rivers/work")
	fill(t, page, "Instance type", "m99.tiny")
	click(t, page, "button", "Save")
	shows(t, page, "#instanceType-error", "not offered in eu-west-1")
	must(t, expectations.Locator(page.GetByLabel("Name", exactly)).ToHaveValue("cloudy"))
	inspect(t, page, "compute-environment-aws-error")
	fill(t, page, "Instance type", "m5.xlarge")
	fill(t, page, "Warm instances", "2")
	shows(t, page, "#warm-price", "A machine: $0.214 an hour") // as the shipped table has it
	shows(t, page, "#warm-price", "2 that wait: $0.428 an hour")
	fill(t, page, "Warm instances", "")
	fill(t, page, "Resource labels", "cost-centre=rivers")
	click(t, page, "button", "Show every call to AWS")
	shows(t, page, "#preview", "iam:AddRoleToInstanceProfile")
	must(t, page.Locator("#preview summary").First().Click())
	shows(t, page, "#preview", "cost-centre = rivers")
	inspect(t, page, "compute-environment-aws")
	click(t, page, "button", "Save")
	shows(t, page, "h1", "cloudy")
	shows(t, page, "#compute-env .badge", "AVAILABLE")
	shows(t, page, "#compute-env", "AmazonEC2ContainerRegistryPullOnly")
	inspect(t, page, "compute-environment-detail")
	envs, err := p.db.ComputeEnvs(t.Context(), m.Workspace.ID)
	must(t, err)
	env := envs[0]
	if got := a.forged(env.ID); len(got) != 2 {
		t.Errorf("there is %v in the account", got)
	}

	click(t, page, "link", "Edit")
	fill(t, page, "Name", "cloudier")
	fill(t, page, "Allow buckets", "lakes")
	click(t, page, "button", "Save")
	shows(t, page, "h1", "cloudier")
	shows(t, page, "#compute-env .badge", "AVAILABLE")
	shows(t, page, "#compute-env", "lakes")
	click(t, page, "button", "Disable")
	shows(t, page, "#compute-env .badge", "DISABLED")
	click(t, page, "button", "Enable")
	shows(t, page, "#compute-env .badge", "AVAILABLE")
	click(t, page, "button", "Check")
	shows(t, page, "#compute-env .badge", "AVAILABLE")
	click(t, page, "link", "Clone")
	must(t, expectations.Locator(page.GetByLabel("Name", exactly)).ToHaveValue("cloudier-copy"))
	must(t, expectations.Locator(page.Locator("#instanceType")).ToHaveValue("m5.xlarge"))

	click(t, page, "link", "Credentials")
	click(t, page, "link", "Open rivers-account")
	must(t, page.Locator("main .menu > summary").First().Click())
	click(t, page, "button", "Delete")
	shows(t, page, "main", "cloudier")
	must(t, expectations.Locator(page.Locator("main")).ToContainText("need the credentials"))

	_, err = page.Goto(p.url + "/orgs/lab/workspaces/rivers/compute-envs/" + env.ID)
	must(t, err)
	must(t, page.Locator("main .menu > summary").First().Click())
	click(t, page, "button", "Delete")
	shows(t, page, "#compute-envs", "There is no compute environment yet")
	if left := a.forged(env.ID); len(left) > 0 {
		t.Errorf("left in the account: %v", left)
	}
	a.onlyPublished()
	p.hidesSecret(a.key.Secret, page)
}

// subnetID is what a chosen subnet looks like.
var subnetID = regexp.MustCompile(`^subnet-[0-9a-f]+$`)

var exactly = playwright.PageGetByLabelOptions{Exact: playwright.Bool(true)}

// onlyPublished fails the test for a call of the portal's that no published policy has. The calls of machines are signed by
// their role's sessions, which moto lets do what the role may.
func (a *account) onlyPublished() {
	a.t.Helper()
	allowed := strings.Join(a.policies(""), " ")
	for _, c := range a.proxy.Calls() {
		if c.KeyID != a.key.ID {
			continue
		}
		for _, permission := range c.Needs() {
			if !strings.Contains(allowed, `"`+permission+`"`) {
				a.t.Errorf("%s needs %s, which is not published", c.Operation, permission)
			}
		}
	}
}

// hidesSecret looks for a secret in everything that the portal wrote.
func (p *portal) hidesSecret(secret string, page playwright.Page) {
	p.t.Helper()
	must(p.t, filepath.WalkDir(p.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(secret)) {
			p.t.Errorf("%s holds the secret", path)
		}
		return err
	}))
	if strings.Contains(p.log.String(), secret) {
		p.t.Error("the log holds the secret")
	}
	credentials, err := p.db.CredentialsList(p.t.Context(), 1)
	must(p.t, err)
	for _, c := range credentials {
		_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/credentials/" + c.ID)
		must(p.t, err)
		html, err := page.Content()
		must(p.t, err)
		if strings.Contains(html, secret) {
			p.t.Error("the page holds the secret")
		}
	}
}

func choose(t *testing.T, page playwright.Page, selector, value string) {
	t.Helper()
	_, err := page.Locator(selector).SelectOption(playwright.SelectOptionValues{Values: &[]string{value}})
	must(t, err)
}

// TestARoleIsTrustedByTheTrustPolicyOnThePage makes a role with exactly what the page shows.
func TestARoleIsTrustedByTheTrustPolicyOnThePage(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const mayAssume = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}]}`
	own, ownARN := a.moto.User(t, "portal-"+platform.NewID(), mayAssume)
	p, page := a.portal("AWS_ACCESS_KEY_ID="+own.ID, "AWS_SECRET_ACCESS_KEY="+own.Secret), newPage(t)
	p.member()
	p.signIn(page)
	role := "customer-" + platform.NewID()
	_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/credentials/new")
	must(t, err)
	inspect(t, page, "credentials-new")
	fill(t, page, "Name", "by-role")
	fill(t, page, "Assume role", "arn:aws:iam::123456789012:role/"+role)
	click(t, page, "button", "Save")
	shows(t, page, "#trust-document", ownARN)
	inspect(t, page, "credentials-role")
	click(t, page, "button", "Test")
	shows(t, page, "#test-result", "may not assume the role")
	shows(t, page, "#test-result", "External ID")
	document, err := page.Locator("#trust-policy").TextContent()
	must(t, err)
	a.moto.Role(t, role, document, a.policies("")...)
	click(t, page, "button", "Test")
	shows(t, page, "#test-result", "assumed-role/"+role+"/")
	shows(t, page, "#credentials-state .badge", "AVAILABLE")
}

// TestWhatAWSDoesHoldsNoFormUp lets AWS hang, then answer again.
func TestWhatAWSDoesHoldsNoFormUp(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p, page := a.portal(), newPage(t)
	m := p.member()
	p.credentials(m, a)
	p.signIn(page)
	a.proxy.Fail(func(awstest.Call) awstest.Fault { return awstest.Fault{When: awstest.Before, Kind: awstest.Hang} })
	_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/compute-envs/new?platform=aws-cloud")
	must(t, err)
	fill(t, page, "Name", "cloudy")
	fill(t, page, "Work directory", "s3://rivers/work")
	choose(t, page, "#region", "eu-west-1")
	shows(t, page, "#workDir-lookup", "Asking AWS what there is")
	click(t, page, "button", "Save")
	shows(t, page, "#checking", "AWS is being asked")
	inspect(t, page, "compute-environment-checking")
	a.proxy.Fail(func(awstest.Call) awstest.Fault { return awstest.Throttle() })
	shows(t, page, ".alert", "AWS") // the calls that hang end with the SDK's patience
	must(t, expectations.Locator(page.GetByLabel("Name", exactly)).ToHaveValue("cloudy"))
	a.proxy.Fail(nil)
	click(t, page, "button", "Save")
	shows(t, page, "#compute-env .badge", "AVAILABLE")
}

// TestAChangeWhileAnAnswerComesIsNotMissed chooses a region in the very moment in which the page puts in what it was answered
// before.
func TestAChangeWhileAnAnswerComesIsNotMissed(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p, page := a.portal(), newPage(t)
	p.credentials(p.member(), a)
	p.signIn(page)
	_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/compute-envs/new?platform=aws-cloud")
	must(t, err)
	shows(t, page, "#securityGroups-lookup", "Choose credentials and a region")
	_, err = page.Evaluate(`() => {
		const region = document.getElementById("region")
		document.body.addEventListener("htmx:afterSwap", () => {
			region.value = "eu-west-1"
			region.dispatchEvent(new Event("change", {bubbles: true}))
		}, {once: true})
		document.getElementById("credentialsId").dispatchEvent(new Event("change", {bubbles: true}))
	}`)
	must(t, err)
	for _, field := range []string{"workDir", "allowBuckets", "instanceType", "imageId", "ec2KeyPair", "vpcId", "subnetIds", "securityGroups"} {
		shows(t, page, "#"+field+"-lookup", "choice")
	}
}

// TestAMissingPermissionIsTextEntryOrANamedError and a retry goes on once it is back.
func TestAMissingPermissionIsTextEntryOrANamedError(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p, page := a.portal(), newPage(t)
	m := p.member()
	p.credentials(m, a)
	p.signIn(page)
	a.moto.SetPolicies(t, a.name, a.policies("ec2:DescribeVpcs")...)
	_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/compute-envs/new?platform=aws-cloud")
	must(t, err)
	fill(t, page, "Name", "cloudy")
	fill(t, page, "Work directory", "s3://rivers/work")
	choose(t, page, "#region", "eu-west-1")
	must(t, page.GetByText("Advanced", playwright.PageGetByTextOptions{Exact: playwright.Bool(true)}).Click())
	shows(t, page, "#vpcId-lookup", "ec2:DescribeVpcs")
	shows(t, page, "#subnetIds-lookup", "addresses free")
	inspect(t, page, "compute-environment-without-a-permission")
	a.moto.SetPolicies(t, a.name, a.policies("iam:PutRolePolicy")...)
	click(t, page, "button", "Save")
	shows(t, page, "#compute-env .badge", "ERRORED")
	shows(t, page, ".alert", "iam:PutRolePolicy")
	inspect(t, page, "compute-environment-errored")
	a.moto.SetPolicies(t, a.name, a.policies("")...)
	click(t, page, "button", "Try again")
	shows(t, page, "#compute-env .badge", "AVAILABLE")

	a.moto.SetPolicies(t, a.name, a.policies("iam:DeleteRole")...)
	must(t, page.Locator("main .menu > summary").First().Click())
	click(t, page, "button", "Delete")
	click(t, page, "link", "cloudy")
	shows(t, page, ".alert", "iam:DeleteRole")
	inspect(t, page, "compute-environment-deleting")
	must(t, page.Locator("main .menu > summary").First().Click())
	shows(t, page, "main .menu-body", "TowerForge-")
	click(t, page, "button", "Try again now") // and it is tried in vain
	shows(t, page, ".alert", "iam:DeleteRole")
	a.moto.SetPolicies(t, a.name, a.policies("")...) // the loop tries again by itself
	envs, err := p.db.ComputeEnvs(t.Context(), m.Workspace.ID)
	must(t, err)
	for _, e := range envs {
		eventually(t, 30*time.Second, "it is deleted", func() bool { return p.envIs(e.ID, platform.ComputeEnvDeleted) })
		if left := a.forged(e.ID); len(left) > 0 {
			t.Errorf("left in the account: %v", left)
		}
	}
}

// TestAPortalThatIsKilledBetweenTwoCallsLeavesNothing kills the portal while it makes or removes what an environment needs, at
// several calls, before and after they had their effect.
func TestAPortalThatIsKilledBetweenTwoCallsLeavesNothing(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p := a.portal()
	c := p.credentials(p.member(), a)
	// deadly answers the n-th change in IAM with a dead portal.
	deadly := func(n int32, when awstest.When) (dead chan struct{}) {
		var count atomic.Int32
		dead = make(chan struct{})
		a.proxy.Fail(func(call awstest.Call) awstest.Fault {
			if call.Service != "iam" || strings.HasPrefix(call.Operation, "Get") || strings.HasPrefix(call.Operation, "List") {
				return awstest.Fault{}
			}
			if count.Add(1) == n {
				p.kill()
				defer close(dead)
				return awstest.Fault{When: when, Kind: awstest.Drop}
			}
			return awstest.Fault{}
		})
		return dead
	}
	revive := func(dead chan struct{}) {
		select {
		case <-dead:
		case <-time.After(20 * time.Second):
			t.Fatal("the call never came")
		}
		time.Sleep(100 * time.Millisecond) // the call that outlives the portal has its effect
		a.proxy.Fail(nil)
		p.start()
	}
	for _, deaths := range []struct {
		making, removing int32 // the changes in IAM at which the portal dies
		when             awstest.When
	}{{1, 1, awstest.Before}, {5, 5, awstest.Before}, {9, 9, awstest.After}} {
		dead := deadly(deaths.making, deaths.when)
		e := p.awsEnv(c, fmt.Sprintf("made-%d", deaths.making))
		revive(dead)
		eventually(t, 30*time.Second, "it is made", func() bool { return p.envIs(e.ID, platform.ComputeEnvAvailable) })
		if got := a.forged(e.ID); len(got) != 2 {
			t.Errorf("killed at call %d: there is %v", deaths.making, got)
		}
		dead = deadly(deaths.removing, deaths.when)
		must(t, p.db.DeleteComputeEnv(t.Context(), e.WorkspaceID, e.ID))
		revive(dead)
		// What was made less than a minute ago may hide: Wherry looks until it is sure.
		eventually(t, 2*time.Minute, "it is deleted", func() bool { return p.envIs(e.ID, platform.ComputeEnvDeleted) })
		if left := a.forged(e.ID); len(left) > 0 {
			t.Errorf("killed at call %d of the removal: left %v", deaths.removing, left)
		}
	}
}

// TestWhatIsRefusedIsSaid tries credentials that somebody deleted while the page was open.
func TestWhatIsRefusedIsSaid(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	p, page := a.portal(), newPage(t, "status of 404", "htmx:responseError", "Response Status Error Code")
	c := p.credentials(p.member(), a)
	p.signIn(page)
	_, err := page.Goto(p.url + "/orgs/lab/workspaces/rivers/credentials/" + c.ID)
	must(t, err)
	must(t, p.db.DeleteCredentials(t.Context(), c.WorkspaceID, c.ID))
	click(t, page, "button", "Test")
	shows(t, page, "#trouble", "This workspace has no such credentials.")
	inspect(t, page, "refused")
}
