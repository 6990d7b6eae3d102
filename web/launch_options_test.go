package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

func TestOptionsOfALaunchAreKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	spot := s.cloudEnv("cloudy", platform.AWSCloud{Spot: true})
	form := url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "runName": {"brisk_thames"}, "timeLimit": {"1 h 30 min"}, "relaunchInterrupted": {"true"}}
	for field, value := range map[string]string{"timeLimit": "an hour", "nextflowVersion": "latest"} {
		bad := url.Values{}
		for name, v := range form {
			bad[name] = v
		}
		bad.Set(field, value)
		status, page := s.post(b, ws+"/launch", bad)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", field, status)
		}
		wants(t, field, page, `id="`+field+`-error"`, `value="`+value+`"`)
	}
	if status, _ := s.post(b, ws+"/launch", form); status != http.StatusSeeOther {
		t.Fatalf("%d", status)
	}
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 1})
	must(t, err)
	if l := runs[0].Launch; l.TimeLimit != 90 || l.RelaunchInterrupted {
		t.Errorf("on this host: %+v", l)
	}
	_, page := s.get(b, ws+"/runs/"+runs[0].ID)
	wants(t, "the run", page, "1 h 30 min")
	_, page = s.get(b, ws+"/launch?relaunch="+runs[0].ID)
	wants(t, "its relaunch", page, `value="1 h 30 min"`, `data-show-if="computeEnvId=none|`+spot.ID+`"`)

	p := platform.Pipeline{WorkspaceID: s.member.Workspace.ID, Name: "saved", Launch: platform.Launch{ComputeEnvID: spot.ID, Pipeline: "nextflow-io/hello",
		TimeLimit: 45, NextflowVersion: "24.10.0", RelaunchInterrupted: true}}
	must(t, s.db.AddPipeline(t.Context(), &p))
	_, page = s.get(b, ws+"/launch?pipeline=1")
	wants(t, "the launch of a saved pipeline", page, `value="45 min"`, `value="24.10.0"`)
	if !strings.Contains(page, `name="relaunchInterrupted" value="true" checked`) {
		t.Error("the saved pipeline's relaunch is forgotten")
	}
}

func TestALaunchWhoseMachineCouldNotReachThePortalIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	b, csrf := s.signedIn()
	e := s.cloudEnv("cloudy", platform.AWSCloud{})
	launch := func() (int, string) {
		t.Helper()
		return s.post(b, ws+"/launch", url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {e.ID}, "runName": {"brisk_thames"}})
	}
	status, page := launch()
	if status != http.StatusUnprocessableEntity {
		t.Errorf("%d", status)
	}
	wants(t, "the form", page, `id="computeEnvId-error"`, "WHERRY_AGENT_PORTAL")
	_, page = s.get(b, ws+"/compute-envs/"+e.ID)
	wants(t, "the environment's page", page, "Its machines could not reach this portal", "WHERRY_AGENT_PORTAL")
	s.server.Pages.AgentURLReachable = true
	s.server.Pages.Clouds[platform.PlatformAWSCloud] = s.server.Pages.Clouds[platform.PlatformLocal]
	if status, page := launch(); status != http.StatusSeeOther {
		t.Errorf("with an address: %d\n%s", status, page)
	}
	if _, page = s.get(b, ws+"/compute-envs/"+e.ID); strings.Contains(page, "WHERRY_AGENT_PORTAL") || !strings.Contains(page, "/machines?env="+e.ID) || !strings.Contains(page, ">1 machine</a>") {
		t.Errorf("the environment's page with an address: %s", page)
	}
}

func TestARunSaysWhatHoldsItAndWhatItCosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, _ := s.signedIn()
	r, m := s.addRun("a")
	s.exec(`UPDATE machines SET waiting = 'EC2 has no capacity for m5d.large in eu-west-1b now.' || char(10) || 'InsufficientInstanceCapacity, request 1' WHERE id = ?`, m.ID)
	_, page := s.get(b, ws+"/runs/"+r.ID)
	wants(t, "a run that waits", page, "It has not started yet", "EC2 has no capacity", "<code>InsufficientInstanceCapacity, request 1</code>")
	s.exec(`UPDATE machines SET launched_at = ?, hardware = '{"instanceType":"m5d.large","zone":"eu-west-1b","hourMicroUsd":500000,"spot":true,"estimate":true}', boot_failure = 'The disk is full.' WHERE id = ?`,
		time.Now().Add(-time.Hour).UnixMilli(), m.ID)
	must(t, s.db.AddSteps(t.Context(), m, []platform.StepReport{{Name: platform.StepImagePulled, At: time.Now(), Note: "24.10.0, 310 MiB"}, {Name: platform.StepInterrupted, At: time.Now()}}))
	must(t, s.db.MoveRun(t.Context(), r.ID, platform.RunSubmitted, platform.RunEnd{State: platform.RunRunning}))
	_, page = s.get(b, ws+"/runs/"+r.ID)
	wants(t, "a run that goes on", page, "m5d.large in eu-west-1b, Spot", "about $0.50 (estimate) so far", "24.10.0, 310 MiB", "last words: The disk is full.")
	if strings.Contains(page, "It has not started yet") || strings.Contains(page, "The machine was taken away") {
		t.Error("a run that goes on waits, or has lost its machine")
	}

	again := platform.Run{WorkspaceID: r.WorkspaceID, UserID: r.UserID, ComputeEnvID: r.ComputeEnvID, Name: "a_r1", WorkDir: r.WorkDir, RelaunchOf: r.ID, Relaunches: 1}
	must(t, s.db.MoveRun(t.Context(), r.ID, platform.RunRunning, platform.RunEnd{State: platform.RunFailed, ErrorMessage: "EC2 took the Spot instance back."}))
	_, page = s.get(b, ws+"/runs/"+r.ID)
	wants(t, "a run whose machine was taken away", page, "The machine was taken away", "EC2 took the Spot instance back.", "It was a Spot instance", ">Launch again</a>")
	_, err := s.db.AddRun(t.Context(), &again)
	must(t, err)
	_, page = s.get(b, ws+"/runs/"+r.ID)
	wants(t, "the one before", page, "Launched again as", ">a_r1</a>")
	_, page = s.get(b, ws+"/runs/"+again.ID)
	wants(t, "the one after", page, "takes the place of", ">a</a>")
}

func TestTheFormOfAnAWSEnvironmentKeepsWhatItsMachinesAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.withAccounts()
	s.server.Pages.Price = func(e platform.ComputeEnv) platform.Price {
		return platform.Price{Hour: map[string]platform.Money{"m5d.large": 126_000}[e.Config.InstanceType], Estimate: e.Config.Spot}
	}
	b, csrf := s.signedIn()
	const token = "eyJ0aWQiOjF9.nobody-s"
	form := url.Values{"csrf": {csrf}, "platform": {"aws-cloud"}, "name": {"cloudy"}, "region": {"eu-west-1"}, "workDir": {"s3://rivers/work"}, "instanceType": {"m5d.large"},
		"credentialsId": {s.addCredentials(s.member.Workspace.ID, "ours").ID}, "spot": {"true"}, "keepForResume": {"true"}, "nextflowVersion": {"24.10.0"},
		"warmInstances": {"many"}, "warmMinutes": {"45"}, "accessToken": {token}}
	status, page := s.post(b, ws+"/compute-envs", form)
	if status != http.StatusUnprocessableEntity || strings.Contains(page, "nobody-s") {
		t.Errorf("a number that is none: %d", status)
	}
	wants(t, "the form", page, `id="warmInstances-error"`, `value="many"`, `value="45"`, `id="keepForResume" name="keepForResume"`)
	form.Set("warmInstances", "2")
	form.Set("accessToken", "two words")
	if status, page = s.post(b, ws+"/compute-envs", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="accessToken-error"`) || strings.Contains(page, "two words") {
		t.Errorf("a token that is none: %d", status)
	}
	form.Set("accessToken", token)
	if status, page = s.post(b, ws+"/compute-envs", form); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	envs, err := s.db.ComputeEnvs(t.Context(), s.member.Workspace.ID)
	must(t, err)
	e := envs[1]
	if a := e.Config.AWSCloud; !a.Spot || !a.KeepForResume || a.NextflowVersion != "24.10.0" || a.WarmInstances != 2 || a.WarmMinutes != 45 || !e.HasAccessToken {
		t.Errorf("%+v", e)
	}
	s.exec(`UPDATE compute_envs SET status = 'AVAILABLE' WHERE id = ?`, e.ID)
	_, page = s.get(b, ws+"/compute-envs/"+e.ID)
	wants(t, "its page", page, "<dd>Spot</dd>", "2, for 45 minutes after a launch", "<dd>saved</dd>", "about $0.126 an hour")
	_, page = s.get(b, ws+"/compute-envs/"+e.ID+"/edit")
	wants(t, "the form again", page, "One is saved.", `name="removeAccessToken"`, "2 that wait: about $0.252 an hour", "about $0.19 (estimate)")
	if strings.Contains(page, "nobody-s") {
		t.Error("the token is shown")
	}
	_, page = s.get(b, ws+"/compute-envs/new?from="+e.ID)
	if strings.Contains(page, "One is saved.") {
		t.Error("a copy seems to have the token")
	}

	for _, c := range []struct{ typed, remove, want string }{{"", "", token}, {"another", "", "another"}, {"", "true", ""}} {
		form.Set("accessToken", c.typed)
		form.Set("removeAccessToken", c.remove)
		if status, page := s.post(b, ws+"/compute-envs/"+e.ID, form); status != http.StatusSeeOther {
			t.Fatalf("%+v: %d\n%s", c, status, page)
		}
		if got, err := s.db.OpenComputeEnv(t.Context(), e.ID); err != nil || got.AccessToken.Reveal() != c.want {
			t.Errorf("%+v: the token is %q, %v", c, got.AccessToken.Reveal(), err)
		}
	}
	for query, want := range map[string]string{"instanceType=m5d.large&warmInstances=3&spot=true": "3 that wait: about $0.378 an hour", "instanceType=": "not known here",
		"instanceType=m5d.large&warmInstances=-1": "A machine: $0.126 an hour"} {
		_, page := s.get(b, ws+"/compute-envs/price?"+query)
		wants(t, query, page, want)
	}
	s.as(platform.RoleMaintain)
	if status, _ := s.get(b, ws+"/compute-envs/price"); status != http.StatusForbidden {
		t.Errorf("the price for a maintainer: %d", status)
	}
}
