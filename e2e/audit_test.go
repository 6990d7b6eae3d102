package e2e

import (
	"testing"

	"wherry/platform"
)

func TestTheAuditLogInTheBrowser(t *testing.T) {
	t.Parallel()
	s, page := newStillSite(t), newPage(t)
	s.signIn(page)
	env := s.env("here", platform.PlatformLocal, platform.AWSCloud{})
	for _, name := range []string{"calm_severn", "swift_tyne"} {
		s.run(env, name)
	}
	s.openPage(page, "/limits")
	fill(t, page, "Machines at once", "3")
	click(t, page, "button", "Save")
	shows(t, page, "main", "The limits were saved")

	s.open(page, "/orgs/lab/audit")
	shows(t, page, "tbody", "limits.update")
	inspect(t, page, "audit")
	fill(t, page, "Action", "run.launch")
	fill(t, page, "Find", "SEVERN")
	click(t, page, "button", "Find")
	shows(t, page, "tbody", "calm_severn")
	if n, err := page.Locator("tbody tr").Count(); err != nil || n != 1 {
		t.Errorf("%d entries fit, %v", n, err)
	}
	inspect(t, page, "audit-found")
	fill(t, page, "Find", "thames")
	click(t, page, "button", "Find")
	shows(t, page, "main", "No entry fits")
	inspect(t, page, "audit-nothing")
	click(t, page, "link", "Everything")
	shows(t, page, "tbody", "limits.update")
	must(t, page.Locator("tbody tr").First().Locator("a").Click())
	shows(t, page, "h1", "limits.update")
	shows(t, page, "table", "instances")
	inspect(t, page, "audit-entry")
	s.open(page, "/orgs/lab/audit?from=2026-11-25&to=2026-11-01")
	shows(t, page, ".error", "before the first one")
	inspect(t, page, "audit-wrong-day")
	s.open(page, "/admin/audit")
	shows(t, page, "tbody", "run.launch")
	inspect(t, page, "audit-portal")
}
