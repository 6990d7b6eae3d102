package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/cloud/local"
	"wherry/platform"
)

// withCloud lets Studios be started on AWS, of which nothing is asked here.
func (s *site) withCloud() platform.ComputeEnv {
	s.t.Helper()
	s.server.Pages.Clouds[platform.PlatformAWSCloud] = cloud.Cloud(local.New(local.Config{Dir: s.t.TempDir(), Nextflow: "true"}))
	s.server.Pages.AgentURLReachable = true
	return s.cloudEnv("cloudy", platform.AWSCloud{AllowBuckets: []string{"reads"}})
}

// goodStudio is a form that is taken.
func goodStudio(csrf, envID string) url.Values {
	return url.Values{"csrf": {csrf}, "template": {"jupyter"}, "computeEnvId": {envID}, "market": {"spot"}, "name": {"rivers"}, "description": {"where they flow"}, "lifespan": {"hours"},
		"lifespanHours": {"12"}, "idleMinutes": {"45"}, "private": {"true"}, "condaPackages": {"samtools=1.21"}, "mounts": {"reads=s3://reads/2026"}, "environment": {"RIVER=thames"}}
}

// with is a form with one other value.
func with(form url.Values, field string, values ...string) url.Values {
	form = maps.Clone(form)
	form[field] = values
	return form
}

func (s *site) studioNamed(name string) platform.Studio {
	s.t.Helper()
	list, err := s.db.Studios(s.t.Context(), s.member.Workspace.ID, "")
	must(s.t, err)
	i := slices.IndexFunc(list, func(studio platform.Studio) bool { return studio.Name == name })
	if i < 0 {
		s.t.Fatalf("there is no Studio %s among %+v", name, list)
	}
	return list[i]
}

func TestAStudioIsAddedAsItWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	_, page := s.get(b, ws+"/studios/new")
	wants(t, "the form on this host alone", page, "JupyterLab", "RStudio", "Custom image", "Needs a container", `value="8"`, "WHERRY_STUDIO_PORT", "This workspace has no limits for Studios.", "Add and start")
	if disabled := strings.Count(page, " disabled"); disabled != 3 {
		t.Errorf("%d tools cannot be chosen, where no environment has containers", disabled)
	}
	e := s.withCloud()
	must(t, s.db.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{Studios: 4, LifespanHours: 24}))
	_, page = s.get(b, ws+"/studios/new")
	wants(t, "the form", page, "cloudy (aws-cloud)", "In cloudy these buckets can be written: rivers, reads.", "at most 4 Studios on at once (0 now)", "stopped after at most 24 hours")
	if strings.Contains(page, " disabled") {
		t.Error("tools cannot be chosen before an environment is")
	}

	if status, page := s.post(b, ws+"/studios", goodStudio(csrf, e.ID)); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	got := s.studioNamed("rivers")
	want := platform.StudioConfig{Template: "jupyter", Spot: true, LifespanHours: 12, IdleMinutes: 45, CondaPackages: "samtools=1.21",
		Environment: []platform.Env{{Name: "RIVER", Value: "thames"}}, Mounts: []platform.StudioMount{{Name: "reads", URI: "s3://reads/2026"}}}
	if !got.Private || got.Description != "where they flow" || got.UserName != "ada" || got.ComputeEnvID != e.ID || got.Session != nil ||
		got.Config.Template != want.Template || !got.Config.Spot || got.Config.LifespanHours != 12 || got.Config.IdleMinutes != 45 || got.Config.CondaPackages != want.CondaPackages ||
		!slices.Equal(got.Config.Environment, want.Environment) || !slices.Equal(got.Config.Mounts, want.Mounts) {
		t.Errorf("%+v", got)
	}

	custom := with(with(with(goodStudio(csrf, e.ID), "template", "custom"), "image", "docker.io/library/name:1"), "port", "80")
	custom = with(with(with(custom, "name", "own"), "lifespan", "endless"), "private")
	if status, page := s.post(b, ws+"/studios", custom); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	if got := s.studioNamed("own"); got.Config.Template != "" || got.Config.Image != "docker.io/library/name:1" || got.Config.Port != 80 || got.Config.LifespanHours != 0 || got.Private {
		t.Errorf("%+v", got)
	}
}

func TestBadStudiosAreNotAddedAndKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	e := s.withCloud()
	s.addStudio("taken", false)
	for field, values := range map[string][]string{
		"template": {"", "none"}, "name": {"", strings.Repeat("n", 81), "TAKEN"}, "description": {strings.Repeat("d", 2049)}, "computeEnvId": {"", platform.NewID()},
		"lifespanHours": {"", "0", "121", "x"}, "idleMinutes": {"1", "9999", "x"}, "condaPackages": {"--yes"}, "mounts": {"x=gs://a"}, "environment": {"no equals sign", "JUPYTER_TOKEN=mine"},
	} {
		for _, value := range values {
			status, page := s.post(b, ws+"/studios", with(goodStudio(csrf, e.ID), field, value))
			if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+field+`-error"`) || !strings.Contains(page, `aria-invalid="true"`) {
				t.Errorf("%s = %q: %d\n%s", field, value, status, page)
			}
			for other, kept := range map[string]string{"environment": "RIVER=thames", "mounts": "reads=s3://reads/2026", "condaPackages": "samtools=1.21", "description": "where they flow"} {
				if other != field && !strings.Contains(page, kept) {
					t.Errorf("%s = %q: %s is gone", field, value, kept)
				}
			}
			if value != "" && field != "template" && field != "computeEnvId" && !strings.Contains(page, value) {
				t.Errorf("%s = %q is gone", field, value)
			}
		}
	}
	for field, form := range map[string]url.Values{
		"image":    with(goodStudio(csrf, e.ID), "template", "custom"),
		"port":     with(with(with(goodStudio(csrf, e.ID), "template", "custom"), "image", "a"), "port", "99999"),
		"template": with(with(goodStudio(csrf, s.env.ID), "template", "rstudio"), "mounts", ""),
		"mounts":   goodStudio(csrf, s.env.ID),
		"restore":  with(goodStudio(csrf, e.ID), "restore", platform.NewID()),
	} {
		if status, page := s.post(b, ws+"/studios", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="`+field+`-error"`) {
			t.Errorf("%s: %d\n%s", field, status, page)
		}
	}
	s.server.Pages.AgentURLReachable = false
	if status, page := s.post(b, ws+"/studios", goodStudio(csrf, e.ID)); status != http.StatusUnprocessableEntity || !strings.Contains(page, "could not reach this portal") {
		t.Errorf("where machines cannot reach the portal: %d", status)
	}
	if list, err := s.db.Studios(t.Context(), s.member.Workspace.ID, ""); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAStudioIsAddedAndStartedAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	must(t, s.db.SetLimits(t.Context(), s.member.Workspace.ID, platform.Limits{Studios: 1}))
	form := with(with(goodStudio(csrf, s.env.ID), "mounts", ""), "start", "true")
	if status, page := s.post(b, ws+"/studios", form); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	got := s.studioNamed("rivers")
	if got.Session == nil || got.State() != platform.StudioStarting || got.Config.Spot {
		t.Fatalf("%+v", got)
	}
	// Another is over the limit: it is added, and its page says why it was not started.
	status, page := s.post(b, ws+"/studios", with(form, "name", "lakes"))
	other := s.studioNamed("lakes")
	if status != http.StatusUnprocessableEntity || other.Session != nil {
		t.Errorf("%d: %+v", status, other)
	}
	wants(t, "its page", page, "It was not started", "of its Studios on at once, and has ", ">lakes</h1>")
	if status, page = s.post(b, ws+"/studios/"+other.ID+"/start", url.Values{"csrf": {csrf}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, "of its Studios on at once") {
		t.Errorf("started later: %d", status)
	}
	if status, _ := s.post(b, ws+"/studios/"+got.ID+"/start", url.Values{"csrf": {csrf}}); status != http.StatusConflict {
		t.Errorf("started twice: %d", status)
	}
	s.post(b, ws+"/compute-envs/"+s.env.ID+"/disable", url.Values{"csrf": {csrf}})
	if status, page = s.post(b, ws+"/studios/"+other.ID+"/start", url.Values{"csrf": {csrf}}); status != http.StatusUnprocessableEntity || !strings.Contains(page, "is DISABLED and takes no work") {
		t.Errorf("started where nothing starts: %d", status)
	}
	if _, page = s.get(b, ws+"/studios/new"); !strings.Contains(page, "No compute environment takes Studios now") {
		t.Error("the form does not say why it is none")
	}
}

func TestAStudioIsEditedByTheVersionThatWasSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	bob, bobs := s.signedInAs("bob", platform.RoleMaintain)
	studio := s.addStudio("rivers", false)
	session, _ := s.runStudio(studio)
	_, page := s.get(b, ws+"/studios/"+studio.ID+"/edit")
	wants(t, "the form", page, "Edit rivers", "counts from its next start", `value="rivers"`, "RIVER=thames", `name="version" value="0"`)
	form := with(with(with(goodStudio(csrf, s.env.ID), "mounts", ""), "name", "lakes"), "version", "0")
	if status, page := s.post(bob, ws+"/studios/"+studio.ID, with(form, "csrf", bobs)); status != http.StatusUnprocessableEntity || !strings.Contains(page, "Only ada, who added the Studio") || !strings.Contains(page, `id="private-error"`) {
		t.Errorf("made private by somebody else: %d", status)
	}
	if status, page := s.post(b, ws+"/studios/"+studio.ID, form); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	got := s.studioNamed("lakes")
	if !got.Private || got.Config.IdleMinutes != 45 || got.Session.Config.IdleMinutes != 0 || got.Session.ID != session.ID || got.UserName != "ada" {
		t.Errorf("%+v with the session %+v", got, got.Session)
	}
	if status, page := s.post(b, ws+"/studios/"+studio.ID, form); status != http.StatusConflict || !strings.Contains(page, "changed after this page was loaded") {
		t.Errorf("the version before: %d", status)
	}
}

func TestAStudioBeginsAsACopyOrWithKeptWork(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	shared, private := s.addStudio("rivers", false), s.addStudio("secrets", true)
	kept := map[string]string{}
	for _, studio := range []platform.Studio{shared, private} {
		_, m := s.runStudio(studio)
		kept[studio.ID] = platform.NewID()
		must(t, s.db.AddCheckpoints(t.Context(), m, []platform.CheckpointReport{{ID: kept[studio.ID], Saved: time.Now(), Files: 7}}))
	}
	_, page := s.get(b, ws+"/studios/new?from="+shared.ID)
	wants(t, "the copy", page, "Add a Studio", "RIVER=thames", `id="template-jupyter" name="template" value="jupyter" checked`, `id="name" name="name" required`, "The settings are copied, and no files.")
	if strings.Contains(page, kept[shared.ID]) || strings.Contains(page, `value="rivers"`) {
		t.Error("the copy has the other's name, or work")
	}
	_, page = s.get(b, ws+"/studios/new?checkpoint="+kept[shared.ID])
	wants(t, "the form with kept work", page, "Add a Studio from a checkpoint", "It begins with the files of rivers", "7 files", `name="restore" value="`+kept[shared.ID]+`"`, "RIVER=thames")
	form := with(with(goodStudio(csrf, s.env.ID), "mounts", ""), "name", "lakes")
	if status, page := s.post(b, ws+"/studios", with(form, "restore", kept[shared.ID])); status != http.StatusSeeOther {
		t.Fatalf("%d\n%s", status, page)
	}
	if got := s.studioNamed("lakes"); got.Config.Restore != kept[shared.ID] {
		t.Errorf("%+v", got)
	}

	bob, bobs := s.signedInAs("bob", platform.RoleAdmin)
	form = with(with(form, "csrf", bobs), "name", "stolen")
	if status, page := s.post(bob, ws+"/studios", with(form, "restore", kept[private.ID])); status != http.StatusForbidden || !strings.Contains(page, "is private") {
		t.Errorf("somebody else's private work: %d", status)
	}
	for _, path := range []string{"?from=" + platform.NewID(), "?checkpoint=" + platform.NewID(), "?checkpoint=x"} {
		if status, _ := s.get(b, ws+"/studios/new"+path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}
