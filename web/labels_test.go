package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"wherry/db"
	"wherry/platform"
)

func (s *site) addLabel(l platform.WorkspaceLabel) platform.WorkspaceLabel {
	s.t.Helper()
	l.WorkspaceID = s.member.Workspace.ID
	must(s.t, s.db.AddLabel(s.t.Context(), &l))
	return l
}

// lacks is the opposite of wants.
func lacks(t *testing.T, what, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("%s has %q", what, text)
		}
	}
}

func TestALabelIsAddedRenamedAndDeleted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	_, page := s.get(b, ws+"/labels")
	wants(t, "the empty list", page, "There are no labels yet")
	for name, form := range map[string]url.Values{
		"without a name": {"name": {""}}, "with a reserved name": {"name": {"Wherry:run"}, "kind": {"resource"}}, "of AWS": {"name": {"aws:x"}},
		"with a name that AWS does not take": {"name": {"a<b"}}, "with a long name": {"name": {strings.Repeat("a", 129)}},
	} {
		form.Set("csrf", csrf)
		status, page := s.post(b, ws+"/labels", form)
		if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="name-error"`) {
			t.Errorf("a label %s: %d", name, status)
		}
	}
	status, page := s.post(b, ws+"/labels", url.Values{"csrf": {csrf}, "kind": {"resource"}, "name": {"a"}, "value": {strings.Repeat("b", 257)}})
	if status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="value-error"`) {
		t.Errorf("a long value: %d", status)
	}
	form := url.Values{"csrf": {csrf}, "kind": {"resource"}, "name": {"cost-centre"}, "value": {"rivers"}, "default": {"true"}}
	if status, _ := s.post(b, ws+"/labels", form); status != http.StatusSeeOther {
		t.Fatalf("%d", status)
	}
	if status, page = s.post(b, ws+"/labels", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, "There is a label cost-centre=rivers already") {
		t.Errorf("twice: %d", status)
	}
	labels, err := s.db.Labels(t.Context(), s.member.Workspace.ID)
	must(t, err)
	one := fmt.Sprintf("%s/labels/%d", ws, labels[0].ID)
	if status, _ := s.post(b, one, url.Values{"csrf": {csrf}, "name": {"cost-centre"}, "value": {"lakes"}}); status != http.StatusSeeOther {
		t.Errorf("%d", status)
	}
	run, _ := s.addRun("a")
	must(t, s.db.SetLabels(t.Context(), s.member.Workspace.ID, platform.LabelsRun, run.ID, []int64{labels[0].ID}))
	_, page = s.get(b, ws+"/labels")
	wants(t, "the list", page, "cost-centre=lakes", "1 run", fmt.Sprintf(`%s/runs?label=%d`, ws, labels[0].ID))
	_, page = s.get(b, one+"/edit")
	wants(t, "the label", page, "It is taken off 1 run.")
	if status, _ := s.post(b, one+"/delete", url.Values{"csrf": {csrf}}); status != http.StatusSeeOther {
		t.Errorf("%d", status)
	}
	if on, err := s.db.LabelsOn(t.Context(), platform.LabelsRun, run.ID); err != nil || len(on) != 0 {
		t.Errorf("the run has %v %v", on, err)
	}
	want := []string{`label.create cost-centre=rivers  {"isDefault":true,"name":"cost-centre","resource":true,"value":"rivers"}`,
		`label.update cost-centre=lakes {"isDefault":true,"value":"rivers"} {"isDefault":false,"value":"lakes"}`,
		`label.delete cost-centre=lakes {"isDefault":false,"name":"cost-centre","resource":true,"value":"lakes"} `}
	if got := s.auditLines("label.%"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the audit log: %q", got)
	}
	if got := s.auditLines("run.label"); fmt.Sprint(got) != `[run.label a {"labels":[]} {"labels":["cost-centre=lakes"]}]` {
		t.Errorf("the audit log: %q", got)
	}
}

func TestARunHasTheLabelsOfItsLaunchAndListsAreNarrowedByThem(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	urgent, other := s.addLabel(platform.WorkspaceLabel{Name: "urgent"}), s.addLabel(platform.WorkspaceLabel{Name: "other"})
	centre := s.addLabel(platform.WorkspaceLabel{Name: "cost-centre", Value: "rivers", Resource: true, Default: true})
	id := func(l platform.WorkspaceLabel) string { return fmt.Sprint(l.ID) }
	checked := func(l platform.WorkspaceLabel) string { return `name="labelIds" value="` + id(l) + `" checked` }
	for _, path := range []string{"/launch", "/pipelines/new", "/studios/new", "/compute-envs/new"} {
		_, page := s.get(b, ws+path)
		wants(t, path, page, checked(centre))
		lacks(t, path, page, checked(urgent))
	}
	form := url.Values{"csrf": {csrf}, "name": {"saved"}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {s.env.ID}, "labelIds": {id(urgent)}, "revision": {"?"}}
	status, page := s.post(b, ws+"/pipelines", form)
	if status != http.StatusUnprocessableEntity {
		t.Fatalf("%d", status)
	}
	wants(t, "the form that was refused", page, checked(urgent))
	lacks(t, "the form that was refused", page, checked(centre))
	form.Del("revision")
	for _, p := range []string{"saved", "plain"} {
		form.Set("name", p)
		if status, page := s.post(b, ws+"/pipelines", form); status != http.StatusSeeOther {
			t.Fatalf("%d\n%s", status, page)
		}
		form.Del("labelIds")
	}
	_, page = s.get(b, ws+"/launch?pipeline=1")
	wants(t, "the launch of the pipeline", page, checked(urgent))
	lacks(t, "the launch of the pipeline", page, checked(centre))
	_, page = s.get(b, ws+"/launchpad?label="+id(urgent))
	wants(t, "the Launchpad", page, ">saved</h2>", ws+"/launchpad?label="+id(urgent))
	lacks(t, "the Launchpad", page, ">plain</h2>")
	for _, run := range []string{"brisk_thames", "calm_wye"} {
		form.Set("runName", run)
		if status, page := s.post(b, ws+"/launch", form); status != http.StatusSeeOther {
			t.Fatalf("%d\n%s", status, page)
		}
		form.Set("labelIds", id(urgent))
	}
	_, page = s.get(b, ws+"/runs?q=hello&state=SUBMITTED&label="+id(urgent))
	wants(t, "the list of runs", page, "calm_wye", ws+"/runs?q=hello&amp;state=SUBMITTED&amp;label="+id(urgent), `value="`+id(urgent)+`" selected`)
	lacks(t, "the list of runs", page, "brisk_thames")
	_, page = s.get(b, ws+"/runs")
	wants(t, "the whole list", page, `href="`+ws+"/runs?label="+id(urgent)+`"`)
	_, page = s.get(b, ws+"/runs?label="+id(other))
	wants(t, "a list of nothing", page, "No run fits")
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Label: urgent.ID, Limit: 9})
	must(t, err)
	if len(runs) != 1 || runs[0].Name != "calm_wye" {
		t.Fatalf("%v", runs)
	}
	run := ws + "/runs/" + runs[0].ID
	if status, _ := s.post(b, run+"/labels", url.Values{"csrf": {csrf}, "labelIds": {id(other), id(centre)}}); status != http.StatusSeeOther {
		t.Errorf("%d", status)
	}
	_, page = s.get(b, run)
	wants(t, "the run", page, ">other</a>", ">cost-centre=rivers</a>", checked(other))
	_, page = s.get(b, ws+"/launch?relaunch="+runs[0].ID)
	wants(t, "its relaunch", page, checked(other), checked(centre))
	form.Set("labelIds", "4711")
	form.Set("runName", "deep_exe")
	if status, page = s.post(b, ws+"/launch", form); status != http.StatusUnprocessableEntity || !strings.Contains(page, `id="labelIds-error"`) {
		t.Errorf("a label that is not there: %d", status)
	}
}

func TestStudiosAndEnvironmentsHaveLabels(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	b, csrf := s.signedIn()
	urgent := s.addLabel(platform.WorkspaceLabel{Name: "urgent"})
	at := fmt.Sprintf("?label=%d", urgent.ID)
	chosen := url.Values{"csrf": {csrf}, "labelIds": {fmt.Sprint(urgent.ID)}, "name": {"labelled"}, "platform": {"local"}, "workDir": {t.TempDir()},
		"template": {"terminal"}, "computeEnvId": {s.env.ID}, "lifespan": {"endless"}}
	for _, template := range platform.ShippedTemplates() {
		if template.OnHost() {
			chosen.Set("template", template.ID)
		}
	}
	other := s.addStudio("other", false)
	for list, unlabelled := range map[string]string{"/compute-envs": ">here</a>", "/studios": ">other</a>"} {
		if status, page := s.post(b, ws+list, chosen); status != http.StatusSeeOther {
			t.Fatalf("%s: %d\n%s", list, status, page)
		}
		_, page := s.get(b, ws+list+at)
		wants(t, list, page, ">labelled</a>", ws+list+at, ">urgent</a>")
		lacks(t, list, page, unlabelled)
	}
	studios, err := s.db.Studios(t.Context(), s.member.Workspace.ID, "labelled")
	must(t, err)
	_, page := s.get(b, ws+"/studios/"+studios[0].ID+"/edit")
	wants(t, "the Studio's form", page, fmt.Sprintf(`name="labelIds" value="%d" checked`, urgent.ID))
	_, page = s.get(b, ws+"/studios/"+other.ID)
	lacks(t, "the other Studio", page, ">urgent</a>")
	must(t, s.db.DeleteStudio(t.Context(), s.member.Workspace.ID, studios[0].ID))
	uses, err := s.db.LabelUses(t.Context(), s.member.Workspace.ID)
	must(t, err)
	if len(uses) != 1 || uses[0].Kind != platform.LabelsComputeEnv {
		t.Errorf("%v", uses)
	}
}

func TestTagsThatAMachineCannotHaveAreRefusedInTheForm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.server.Pages.AgentURLReachable = true
	s.server.Pages.Clouds[platform.PlatformAWSCloud] = s.server.Pages.Clouds[platform.PlatformLocal]
	b, csrf := s.signedIn()
	labels := make([]platform.Label, 30)
	for i := range labels {
		labels[i] = platform.Label{Name: fmt.Sprintf("env%d", i), Value: "x"}
	}
	e := s.cloudEnv("cloudy", platform.AWSCloud{ResourceLabels: labels})
	form := url.Values{"csrf": {csrf}, "pipeline": {"nextflow-io/hello"}, "computeEnvId": {e.ID}, "runName": {"brisk_thames"}}
	launch := func(what string, want int) {
		t.Helper()
		status, page := s.post(b, ws+"/launch", form)
		if status != want || (want == http.StatusUnprocessableEntity) != strings.Contains(page, `id="labelIds-error"`) {
			t.Errorf("%s: %d", what, status)
		}
	}
	for i := range 13 {
		l := s.addLabel(platform.WorkspaceLabel{Name: fmt.Sprintf("run%d", i), Value: "x", Resource: true})
		form.Add("labelIds", fmt.Sprint(l.ID))
	}
	launch("30 tags of the environment, 13 of the run, 8 of Wherry", http.StatusUnprocessableEntity)
	over := s.addLabel(platform.WorkspaceLabel{Name: "ENV0", Value: "y", Resource: true}) // in place of the environment's own
	form["labelIds"] = append(form["labelIds"][:12], fmt.Sprint(over.ID))
	twice := s.addLabel(platform.WorkspaceLabel{Name: "env0", Value: "z", Resource: true})
	form.Add("labelIds", fmt.Sprint(twice.ID))
	launch("two values of one name", http.StatusUnprocessableEntity)
	form["labelIds"] = form["labelIds"][:13]
	launch("30, and 12, and one in place of another", http.StatusSeeOther)
	runs, err := s.db.Runs(t.Context(), s.member.Workspace.ID, db.RunFilter{Limit: 1})
	must(t, err)
	m, err := s.db.MachineOfRun(t.Context(), runs[0].ID)
	must(t, err)
	tags, err := s.db.MachineTags(t.Context(), m)
	must(t, err)
	all := platform.MachineTags(e.Config.ResourceLabels, tags)
	if len(all) != 42 || all[0] != (platform.Label{Name: "ENV0", Value: "y"}) {
		t.Errorf("%d tags: %v", len(all), all)
	}
}

func TestLabelsByTheAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.setUp()
	s.exec(`INSERT INTO users (user_name, email, password_hash, created_at) VALUES ('vera', 'vera@example.org', '', 0)`)
	s.exec(`INSERT INTO participants VALUES (?, ?, 'view')`, s.member.Workspace.ID, s.userID("vera"))
	ada, vera := s.accessToken(s.member.User.ID), s.accessToken(s.userID("vera"))
	run, _ := s.addRun("a")
	p := platform.Pipeline{WorkspaceID: s.member.Workspace.ID, Name: "saved", Launch: platform.Launch{Pipeline: "nextflow-io/hello"}}
	must(t, s.db.AddPipeline(t.Context(), &p))
	at := fmt.Sprintf("?workspaceId=%d", s.member.Workspace.ID)
	for _, c := range []struct {
		method, path, token, body string
		want                      int
		text                      string
	}{
		{"POST", "/api/labels", ada, `{"name":"a","value":"1","resource":true,"isDefault":true}`, 200, `"id":1,"name":"a","value":"1","resource":true,"isDefault":true`},
		{"POST", "/api/labels", ada, `{"name":"b"}`, 200, `"id":2,"name":"b","value":null,"resource":false,"isDefault":false`},
		{"POST", "/api/labels", ada, `{"name":"b"}`, 422, "already"},
		{"GET", "/api/labels", vera, "", 200, `"totalSize":2`},
		{"POST", "/api/labels", vera, `{"name":"c"}`, 403, ""},
		{"GET", "/api/labels&type=simple", vera, "", 200, `"totalSize":1`},
		{"GET", "/api/labels&isDefault=true", vera, "", 200, `{"labels":[{"id":1,`},
		{"GET", "/api/labels&max=1&offset=1", vera, "", 200, `{"labels":[{"id":2,`},
		{"GET", "/api/labels&max=-1&offset=99&search=B", vera, "", 200, `{"labels":[],"totalSize":1}`},
		{"PUT", "/api/labels/1", ada, `{"value":"2"}`, 200, `"name":"a","value":"2","resource":true,"isDefault":true`},
		{"PUT", "/api/labels/9", ada, `{"value":"2"}`, 404, ""},
		{"POST", "/api/workflow/labels/add", ada, `{"workflowIds":["` + run.ID + `"],"labelIds":[1]}`, 204, ""},
		{"POST", "/api/workflow/labels/add", ada, `{"workflowIds":["` + run.ID + `"],"labelIds":[2]}`, 204, ""},
		{"POST", "/api/workflow/labels/remove", ada, `{"workflowIds":["` + run.ID + `"],"labelIds":[1]}`, 204, ""},
		{"POST", "/api/workflow/labels/add", vera, `{"workflowIds":["` + run.ID + `"],"labelIds":[1]}`, 403, ""},
		{"POST", "/api/workflow/labels/add", ada, `{"workflowIds":["nothing"],"labelIds":[1]}`, 404, ""},
		{"POST", "/api/pipelines/labels/apply", ada, `{"pipelineIds":[1],"labelIds":[1,2]}`, 204, ""},
		{"POST", "/api/pipelines/labels/apply", ada, `{"pipelineIds":[1],"labelIds":[9]}`, 422, ""},
		{"DELETE", "/api/labels/1", ada, "", 204, ""},
		{"DELETE", "/api/labels/1", ada, "", 404, ""},
	} {
		path, query, _ := strings.Cut(c.path, "&")
		status, answer := s.call(c.method, path+at+"&"+query, c.token, c.body)
		if status != c.want || !strings.Contains(answer, c.text) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, status, answer, c.want, c.text)
		}
	}
	for kind, id := range map[platform.LabelKind]string{platform.LabelsRun: run.ID, platform.LabelsPipeline: "1"} {
		if on, err := s.db.LabelsOn(t.Context(), kind, id); err != nil || len(on) != 1 || on[0].Name != "b" {
			t.Errorf("the %s has %v %v", kind, on, err)
		}
	}
}
