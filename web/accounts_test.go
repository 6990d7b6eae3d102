package web

import (
	"context"
	"database/sql"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/handlers"
	"wherry/platform"
)

// account is an account that likes every environment. It counts how often it is asked, and says who its credentials are.
type account struct {
	cloud.Account
	asked atomic.Int32
}

func (a *account) Regions() []cloud.Region {
	return []cloud.Region{{Name: "eu-west-1", Place: "Ireland", Published: true}}
}

func (a *account) Validate(context.Context, platform.ComputeEnv) error {
	a.asked.Add(1)
	return nil
}

func (a *account) Lookup(context.Context, cloud.LookupRequest) (cloud.Choices, error) {
	a.asked.Add(1)
	return cloud.Choices{At: time.Now()}, nil
}

func (a *account) Identify(context.Context, platform.Credentials) (cloud.Identity, error) {
	return cloud.Identity{ARN: "arn:aws:iam::123456789012:user/ada"}, nil
}

func (a *account) Permissions(bucket string) []cloud.Permissions {
	return []cloud.Permissions{{Purpose: "all", Title: "Everything", Document: "files of " + bucket}}
}

// withAccounts gives the site's pages the account.
func (s *site) withAccounts() *account {
	a := &account{}
	s.server.Pages.Accounts = map[platform.PlatformName]cloud.Account{platform.PlatformAWSCloud: a}
	s.server.Pages.Pending = handlers.NewPending()
	return a
}

func (s *site) addCredentials(workspaceID int64, name string) platform.Credentials {
	s.t.Helper()
	c := platform.Credentials{WorkspaceID: workspaceID, Name: name, Mode: platform.CredentialsKeys, AccessKey: "AKIAIOSFODNN7EXAMPLE",
		SecretKey: platform.NewSecret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")}
	must(s.t, s.db.AddCredentials(s.t.Context(), &c))
	return c
}

// otherWorkspace makes another workspace in the same organization, of which nobody is a member. Nothing in the portal makes a
// second one yet.
func (s *site) otherWorkspace() (id int64) {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, "wherry.db"))
	must(s.t, err)
	defer raw.Close()
	must(s.t, raw.QueryRowContext(s.t.Context(), `INSERT INTO workspaces (organization_id, name, full_name, created_at) VALUES (?, 'lakes', 'lakes', 0) RETURNING id`,
		s.member.Workspace.Organization.ID).Scan(&id))
	return id
}

func TestCredentialsOfAnotherWorkspaceAreNotUsed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	a := s.withAccounts()
	b, csrf := s.signedIn()
	theirs := s.addCredentials(s.otherWorkspace(), "theirs")
	ours := s.addCredentials(s.member.Workspace.ID, "ours")
	form := url.Values{"csrf": {csrf}, "platform": {"aws-cloud"}, "name": {"cloudy"}, "region": {"eu-west-1"}, "workDir": {"s3://rivers/work"}, "credentialsId": {theirs.ID}}
	if status, page := s.post(b, ws+"/compute-envs", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, "These credentials are not there any more") {
		t.Errorf("an environment with their credentials: %d", status)
	}
	for _, path := range []string{"/credentials/" + theirs.ID, "/compute-envs/lookup/vpcId?region=eu-west-1&credentialsId=" + theirs.ID, "/credentials/" + theirs.ID + "/trust"} {
		if status, _ := s.get(b, ws+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"", "/test", "/delete"} {
		if status, _ := s.post(b, ws+"/credentials/"+theirs.ID+path, url.Values{"csrf": {csrf}}); status != http.StatusNotFound {
			t.Errorf("POST to their credentials' %q: %d", path, status)
		}
	}
	if n := a.asked.Load(); n != 0 {
		t.Errorf("their account was asked %d times", n)
	}
	form.Set("credentialsId", ours.ID)
	if status, _ := s.post(b, ws+"/compute-envs", form); status != http.StatusSeeOther || a.asked.Load() != 1 {
		t.Errorf("an environment with our credentials: %d, asked %d times", status, a.asked.Load())
	}
}

func TestAnotherAccessKeyNeedsItsSecret(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, csrf := s.signedIn()
	c := s.addCredentials(s.member.Workspace.ID, "ours")
	save := func(key, secret string) (int, string) {
		return s.post(b, ws+"/credentials/"+c.ID, url.Values{"csrf": {csrf}, "name": {"ours"}, "mode": {"keys"}, "accessKey": {key}, "secretKey": {secret}})
	}
	if status, page := save("AKIAIOSFODNN7ANOTHER", ""); status != http.StatusUnprocessableEntity || !strings.Contains(page, "Enter the secret key that belongs to the access key.") {
		t.Errorf("another key with the old secret: %d", status)
	}
	if status, _ := save(" AKIAIOSFODNN7EXAMPLE ", ""); status != http.StatusSeeOther {
		t.Errorf("the same key with its secret: %d", status)
	}
	if status, _ := save("AKIAIOSFODNN7ANOTHER", "another/secret+of+forty+characters+here12"); status != http.StatusSeeOther {
		t.Errorf("another key with its secret: %d", status)
	}
}

func TestATestOfCredentialsShowsHowTheyAreSince(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, csrf := s.signedIn()
	c := s.addCredentials(s.member.Workspace.ID, "ours")
	status, page := s.post(b, ws+"/credentials/"+c.ID+"/test", url.Values{"csrf": {csrf}})
	for _, want := range []string{"user/ada", `hx-swap-oob="true"`, "AVAILABLE", "just now"} {
		if status != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%d, without %q:\n%s", status, want, page)
		}
	}
}

func TestPoliciesAreAPageOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, _ := s.signedIn()
	for query, want := range map[string]string{"": "files of ", "?bucket=rivers": "files of rivers", "?bucket=a+b": "This is not the name of a bucket"} {
		if status, page := s.get(b, ws+"/credentials/policies"+query); status != http.StatusOK || !strings.Contains(page, want) || !strings.Contains(page, "<h1>Permission policies</h1>") {
			t.Errorf("%q: %d, want a page with %q", query, status, want)
		}
	}
}

// fieldError is what a page says beside a field.
var fieldError = regexp.MustCompile(`<p class="error"[^>]*>[^<]*`)

// TestANameThatIsTakenIsSaidBesideItAndTheFormStaysNew saves once more under another name.
func TestANameThatIsTakenIsSaidBesideItAndTheFormStaysNew(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, csrf := s.signedIn()
	c := s.addCredentials(s.member.Workspace.ID, "ours")
	for what, form := range map[string]struct {
		path   string
		fields url.Values
	}{
		"credentials":                 {"/credentials", url.Values{"mode": {"role"}, "assumeRoleArn": {"arn:aws:iam::123456789012:role/Wherry"}}},
		"an environment on this host": {"/compute-envs", url.Values{"platform": {"local"}, "workDir": {s.env.WorkDir}}},
		"an environment in AWS":       {"/compute-envs", url.Values{"platform": {"aws-cloud"}, "region": {"eu-west-1"}, "workDir": {"s3://rivers/work"}, "credentialsId": {c.ID}}},
		"a pipeline":                  {"/pipelines", url.Values{"pipeline": {"https://example.org/boats"}, "computeEnvId": {s.env.ID}}},
	} {
		name := strings.ReplaceAll(what, " ", "-")
		form.fields.Set("csrf", csrf)
		form.fields.Set("name", name)
		if status, page := s.post(b, ws+form.path, form.fields); status != http.StatusSeeOther {
			t.Errorf("%s: %d: %v", what, status, fieldError.FindAllString(page, -1))
		}
		status, page := s.post(b, ws+form.path, form.fields)
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="name-error"`) || !strings.Contains(page, `action="`+ws+form.path+`"`) {
			t.Errorf("%s, twice: %d: %v", what, status, fieldError.FindAllString(page, -1))
		}
		form.fields.Set("name", name+"-2")
		if status, page := s.post(b, ws+form.path, form.fields); status != http.StatusSeeOther {
			t.Errorf("%s, with another name: %d: %v", what, status, fieldError.FindAllString(page, -1))
		}
	}
}

func TestASecondClickOnDisableDoesNoHarm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	for range 2 {
		if status, _ := s.post(b, ws+"/compute-envs/"+s.env.ID+"/disable", url.Values{"csrf": {csrf}}); status != http.StatusSeeOther {
			t.Errorf("disable: %d", status)
		}
	}
}
