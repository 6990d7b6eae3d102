package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

const secretPipeline = `
process ASK {
    secret 'TEAM_KEY'
    secret 'BOTH'
    output: stdout
    script: '''
    [ ${#TEAM_KEY} = 17 ] && [ ${#BOTH} = 15 ] && echo "the task has them"
    echo "they are $TEAM_KEY and $BOTH"
    '''
}
workflow { println "in the script: ${secrets.TEAM_KEY.size()}"; ASK | view }
`

// Secrets of the test: of the workspace, and of the user in place of one of the workspace's.
const teamKey, ofTheTeam, ofAda = "canary-3b6f-of-us", "canary-77aa-not-used", "canary-51c0-ada"

// TestARunGetsTheSecretsAndLabelsThatWereChosen from the first secret in the browser to a task that has it, by a real Nextflow.
func TestARunGetsTheSecretsAndLabelsThatWereChosen(t *testing.T) {
	t.Parallel()
	p, page := newPortal(t, plugins != ""), newPage(t)
	m := p.member()
	p.computeEnv(m)
	dir := filepath.Join(p.data, "asking")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "main.nf"), []byte(secretPipeline), 0o644))
	p.signIn(page)
	at := p.url + "/orgs/lab/workspaces/rivers"
	open := func(url string) {
		t.Helper()
		_, err := page.Goto(url)
		must(t, err)
	}

	for _, s := range []struct{ path, name, value string }{{at + "/secrets", "TEAM_KEY", teamKey}, {at + "/secrets", "BOTH", ofTheTeam}, {p.url + "/account/secrets", "BOTH", ofAda}} {
		open(s.path)
		if s.name == "TEAM_KEY" {
			inspect(t, page, "secrets-empty")
		}
		open(s.path + "/new")
		fill(t, page, "Name", "no name")
		fill(t, page, "Value", s.value)
		click(t, page, "button", "Save")
		shows(t, page, "#name-error", "letters, digits and underscores")
		must(t, expectations.Locator(page.Locator("#value")).ToHaveValue(""))
		if s.name == "TEAM_KEY" {
			inspect(t, page, "secret-error")
		}
		fill(t, page, "Name", s.name)
		fill(t, page, "Value", s.value)
		click(t, page, "button", "Save")
		shows(t, page, ".notice", "The secret was saved.")
	}
	inspect(t, page, "secrets-own")
	open(at + "/secrets")
	inspect(t, page, "secrets")
	click(t, page, "link", "Edit TEAM_KEY")
	shows(t, page, "h1", "TEAM_KEY")
	inspect(t, page, "secret")

	open(at + "/labels")
	click(t, page, "link", "Add the first")
	shows(t, page, "h1", "Add a label")
	inspect(t, page, "label")
	must(t, page.Locator("#kind-resource").Check())
	fill(t, page, "Name", "cost-centre")
	fill(t, page, "Value", "rivers")
	click(t, page, "button", "Save")
	shows(t, page, "main", "cost-centre=rivers")
	inspect(t, page, "labels")

	open(at + "/launch")
	fill(t, page, "Pipeline", dir)
	fill(t, page, "Run name", "asking")
	must(t, page.GetByLabel("cost-centre=rivers").Check())
	must(t, page.GetByText("Configuration, scripts, variables and secrets").Click())
	for _, id := range []string{"workspaceSecrets-0", "workspaceSecrets-1", "userSecrets-0"} {
		must(t, page.Locator("#"+id).Check())
	}
	inspect(t, page, "launch-with-secrets")
	click(t, page, "button", "Launch")
	shows(t, page, "#run-head .badge", "SUCCEEDED")
	shows(t, page, "#run-head", "cost-centre=rivers")
	inspect(t, page, "run-with-labels")
	shows(t, page, "log-view", "the task has them")
	click(t, page, "link", "ASK")
	shows(t, page, "main", "they are **** and ****")
	open(at + "/runs")
	must(t, page.Locator("#runs th .badge").First().Click())
	shows(t, page, "#runs", "asking")
	must(t, expectations.Locator(page.Locator("#label option:checked")).ToHaveText("cost-centre=rivers"))
	inspect(t, page, "runs-with-labels")

	runs, err := p.db.Runs(t.Context(), m.Workspace.ID, db.RunFilter{Limit: 1})
	must(t, err)
	if r := p.wait(runs[0].ID, time.Minute); r.State != platform.RunSucceeded {
		t.Fatalf("the run is %s: %s", r.State, r.ErrorMessage)
	}
	out := p.output(runs[0].ID, platform.LogOutput)
	for _, want := range []string{"in the script: 17", "the task has them", "they are **** and ****"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not have %q:\n%s", want, out)
		}
	}
	p.nothingLeft()
	p.hides(t, teamKey, ofTheTeam, ofAda)
}

// hides wants secrets in no file of the portal's and in none of its logs, but in the work directory, where tasks write what they like.
func (p *portal) hides(t *testing.T, secrets ...string) {
	t.Helper()
	must(t, filepath.WalkDir(p.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(p.data, "work")) {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s tells %q", path, secret)
			}
		}
		return err
	}))
	for _, secret := range secrets {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the portal's log tells %q", secret)
		}
	}
}
