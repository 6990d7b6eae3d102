package web

import (
	"database/sql"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

// exec writes into the database what nothing in the portal writes without its loops.
func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	raw, err := sql.Open("sqlite", filepath.Join(s.data, "wherry.db")+"?_pragma=busy_timeout(10000)")
	must(s.t, err)
	defer raw.Close()
	_, err = raw.ExecContext(s.t.Context(), query, args...)
	must(s.t, err)
}

// as gives the owner another role.
func (s *site) as(role platform.Role) {
	s.t.Helper()
	s.exec(`UPDATE organization_members SET role = 'member'`) // an owner of the organization is owner of all its workspaces
	s.exec(`UPDATE participants SET role = ?`, role)
}

// cloudEnv adds an environment on AWS that takes runs.
func (s *site) cloudEnv(name string, config platform.AWSCloud) platform.ComputeEnv {
	s.t.Helper()
	e := platform.ComputeEnv{WorkspaceID: s.member.Workspace.ID, Name: name, Platform: platform.PlatformAWSCloud, Region: "eu-west-1", WorkDir: "s3://rivers/work",
		Status: platform.ComputeEnvAvailable, Config: platform.ComputeEnvConfig{AWSCloud: config}}
	must(s.t, s.db.AddComputeEnv(s.t.Context(), &e))
	return e
}

// warm adds a machine that waits for a run.
func (s *site) warm(e platform.ComputeEnv) platform.Machine {
	s.t.Helper()
	must(s.t, s.db.AddWarmMachine(s.t.Context(), e, 1))
	list, err := s.db.WarmMachines(s.t.Context(), e.ID)
	must(s.t, err)
	return list[0]
}

func wants(t *testing.T, what, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("%s does not have %q:\n%s", what, text, page)
		}
	}
}

func TestMachinesShowWhoseTheyAreAndWhatTheyCost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	_, page := s.get(b, ws+"/machines")
	wants(t, "the empty page", page, "No machine is running", "no instance was left behind", "To the Launchpad")

	e := s.cloudEnv("cloudy", platform.AWSCloud{})
	_, m := s.addRun("dear")
	now := time.Now()
	s.exec(`UPDATE machines SET compute_env_id = ?, instance_id = 'i-0dear', admitted_at = 1, launched_at = ?, hardware = ? WHERE id = ?`, e.ID, now.Add(-30*time.Minute).UnixMilli(),
		`{"instanceType":"m5d.large","zone":"eu-west-1b","hourMicroUsd":1000000}`, m.ID)
	_, m = s.addRun("priceless")
	s.exec(`UPDATE machines SET instance_id = 'i-0priceless', admitted_at = 1, launched_at = ?, hardware = '{"instanceType":"x9.huge","region":"eu-west-1","spot":true}' WHERE id = ?`, now.UnixMilli(), m.ID)
	s.exec(`UPDATE machines SET state = 'wanted', waiting = 'Place 1 in the queue: the workspace has 2 of at most 2 machines.' WHERE run_id = (SELECT id FROM runs WHERE name = 'priceless')`)
	s.warm(e)
	must(t, s.db.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{Instances: 2, MonthMicroUSD: 400_000}))
	must(t, s.db.AddSweep(t.Context(), platform.Sweep{WorkspaceID: e.WorkspaceID, ComputeEnvID: e.ID, InstanceID: "i-0orphan", Why: "No machine stands for it."}))
	_, page = s.get(b, ws+"/machines")
	wants(t, "the page", page, ">dear</a>", "i-0dear", "m5d.large in eu-west-1b, On-Demand", ">$0.5", "i-0priceless", "x9.huge in eu-west-1, Spot", "price unknown", "so far",
		"without 1 machine whose price is unknown", "Warm, waiting", "Place 1 in the queue", "of at most 2", "1 waits to be started", "nothing more starts in this month", "i-0orphan", "No machine stands for it.",
		"3 Machines · Wherry", ">ada</td>")
	_, page = s.get(b, ws+"/machines?part=list&env="+e.ID)
	wants(t, "the part of one environment", page, "<title>2 Machines", "i-0dear", "Only those of cloudy", "(1 more)")
	if strings.Contains(page, "i-0priceless") || strings.Contains(page, "<html") {
		t.Errorf("the part of one environment is not one: %s", page)
	}
	s.as(platform.RoleView)
	_, page = s.get(b, ws+"/machines")
	if strings.Contains(page, "End…") || strings.Contains(page, "/limits") || !strings.Contains(page, "i-0dear") {
		t.Errorf("who may only look has more, or less:\n%s", page)
	}
}

func TestAMachineIsEndedByItsButton(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	r, m := s.addRun("a")
	warm := s.warm(s.cloudEnv("cloudy", platform.AWSCloud{}))
	end := func(id, run string) (int, string) {
		t.Helper()
		return s.post(b, ws+"/machines/"+id+"/end", url.Values{"csrf": {csrf}, "run": {run}})
	}
	s.as(platform.RoleConnect)
	if status, _ := end(m.ID, r.ID); status != http.StatusForbidden {
		t.Errorf("by someone who may not: %d", status)
	}
	s.as(platform.RoleLaunch)
	if status, page := end(m.ID, ""); status != http.StatusConflict || !strings.Contains(page, "has been given the run a meanwhile") {
		t.Errorf("as a warm machine that it was before: %d", status)
	}
	for _, id := range []string{platform.NewID(), "x"} {
		if status, _ := end(id, ""); status != http.StatusNotFound {
			t.Errorf("one that is not there: %d", status)
		}
	}
	s.exec(`UPDATE machines SET workspace_id = ? WHERE id = ?`, s.otherWorkspace(), warm.ID)
	if status, _ := end(warm.ID, ""); status != http.StatusNotFound {
		t.Errorf("one of another workspace: %d", status)
	}
	s.exec(`UPDATE machines SET workspace_id = ? WHERE id = ?`, s.member.Workspace.ID, warm.ID)
	if got, err := s.db.AnyRun(t.Context(), r.ID); err != nil || !got.CancelAsked.IsZero() {
		t.Fatalf("the run is cancelled already: %+v, %v", got, err)
	}
	for _, c := range []struct{ id, run string }{{m.ID, r.ID}, {warm.ID, ""}} {
		if status, _ := end(c.id, c.run); status != http.StatusSeeOther {
			t.Errorf("%+v: %d", c, status)
		}
	}
	got, err := s.db.AnyRun(t.Context(), r.ID)
	must(t, err)
	ended, err := s.db.Machine(t.Context(), warm.ID)
	must(t, err)
	if got.CancelledBy != "ada" || ended.EndAskedBy != "ada" || ended.EndAsked.IsZero() {
		t.Errorf("the run: %+v; the warm machine: %+v", got, ended)
	}
	_, page := s.get(b, ws+"/machines")
	wants(t, "the page after", page, "ending…", "Its run is being cancelled.", "Its end was asked for by ada.")
	if strings.Contains(page, "End…") {
		t.Error("a machine that is ending can be ended")
	}
}

func TestLimitsAreCheckedSavedAndShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	save := func(instances, usd string) (int, string) {
		t.Helper()
		return s.post(b, ws+"/limits", url.Values{"csrf": {csrf}, "instances": {instances}, "monthUsd": {usd}})
	}
	for field, values := range map[string][]string{"studios": {"x", "0", "10001"}, "lifespanHours": {"x", "0", "121"}} {
		for _, value := range values {
			status, page := s.post(b, ws+"/limits", url.Values{"csrf": {csrf}, "instances": {"7"}, field: {value}})
			if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+field+`-error"`) || !strings.Contains(page, `value="`+value+`"`) || !strings.Contains(page, `value="7"`) {
				t.Errorf("%s = %q: %d\n%s", field, value, status, page)
			}
		}
	}
	for field, values := range map[string][]string{"instances": {"x", "0", "-1", "10001", "1.5", "99999999999999999999"}, "monthUsd": {"x", "0", "-1", "NaN", "Inf", "1e3", "0x10", "1.234", "10000001", "$", "0.00"}} {
		for _, value := range values {
			typed := map[string]string{"instances": "7", "monthUsd": "77"}
			typed[field] = value
			status, page := save(typed["instances"], typed["monthUsd"])
			if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+field+`-error"`) || !strings.Contains(page, `value="`+value+`"`) || !strings.Contains(page, `value="7`) {
				t.Errorf("%s = %q: %d\n%s", field, value, status, page)
			}
		}
	}
	want := func(l platform.Limits) {
		t.Helper()
		if got, err := s.db.Limits(t.Context(), s.member.Workspace.ID); err != nil || got != l {
			t.Errorf("%+v, %v, want %+v", got, err, l)
		}
	}
	want(platform.Limits{})
	if status, _ := save(" 10 ", "$1,250.50"); status != http.StatusSeeOther {
		t.Errorf("good limits: %d", status)
	}
	want(platform.Limits{Instances: 10, MonthMicroUSD: 1_250_500_000})
	_, page := s.get(b, ws+"/limits")
	wants(t, "the form", page, `value="10"`, `value="1250.5"`, "0 machines, of at most 10", "of $1,250.50")
	if status, _ := s.post(b, ws+"/limits", url.Values{"csrf": {csrf}, "studios": {"3"}, "lifespanHours": {"12"}}); status != http.StatusSeeOther {
		t.Errorf("limits of Studios: %d", status)
	}
	want(platform.Limits{Studios: 3, LifespanHours: 12})
	_, page = s.get(b, ws+"/limits")
	wants(t, "the form", page, `value="3"`, `value="12"`)
	if status, _ := save("", ""); status != http.StatusSeeOther {
		t.Errorf("no limits: %d", status)
	}
	want(platform.Limits{})
	s.as(platform.RoleMaintain)
	if status, _ := s.get(b, ws+"/limits"); status != http.StatusForbidden {
		t.Errorf("the form for a maintainer: %d", status)
	}
	if status, _ := save("1", ""); status != http.StatusForbidden {
		t.Errorf("limits of a maintainer: %d", status)
	}
	want(platform.Limits{})
}

func TestALaunchIsRefusedWhenTheMonthsMoneyIsSpent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	_, m := s.addRun("dear")
	s.exec(`UPDATE machines SET launched_at = ?, hardware = '{"instanceType":"m5d.large","hourMicroUsd":3600000000}' WHERE id = ?`, time.Now().UnixMilli(), m.ID)
	must(t, s.db.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{MonthMicroUSD: 1_000_000}))
	status, page := s.post(b, ws+"/launch", url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "runName": {"one_more"}})
	if status != http.StatusUnprocessableEntity {
		t.Errorf("%d", status)
	}
	wants(t, "the form", page, `id="computeEnvId-error"`, "and its limit is $1.00", `value="one_more"`)
	if runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 9}); err != nil || len(runs) != 1 {
		t.Errorf("%v, %v", runs, err)
	}
}
