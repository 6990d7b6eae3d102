package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// TestAnOpenPageSurvivesThePortal: the portal is killed and started again under an open page, which then shows the rest
// of the run, and every line of its log once.
func TestAnOpenPageSurvivesThePortal(t *testing.T) {
	t.Parallel()
	p := newPortal(t, false)
	page := newPage(t, "net::ERR_", "htmx:sendError", "htmx:afterRequest") // said of every connection that breaks
	m := p.member()
	r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("regatta"), ParamsText: "boats: 60"})
	p.signIn(page)
	_, err := page.Goto(p.url + "/runs/" + r.ID)
	must(t, err)
	shows(t, page, "#task-list", "COMPLETED")
	p.kill()
	shows(t, page, "#connection", "The portal cannot be reached")
	time.Sleep(time.Second)
	p.start()
	shows(t, page, "#run-head .badge", "SUCCEEDED")
	must(t, expectations.Locator(page.Locator("#connection")).ToBeHidden())
	shows(t, page, "#run-timeline", "terminated")
	shows(t, page, "#run-progress", "60 of 60 tasks")
	text, err := os.ReadFile(filepath.Join(p.folder(r.ID), "stdout.log"))
	must(t, err)
	must(t, expectations.Locator(page.Locator("log-view")).ToHaveAttribute("data-lines", strconv.Itoa(strings.Count(string(text), "\n"))))
	p.checkLogs(r.ID)
}
