package e2e

import (
	"fmt"
	"testing"
	"time"

	"wherry/db"
	"wherry/platform"
)

func taskFilter(status platform.TaskStatus) db.TaskFilter {
	return db.TaskFilter{Status: status, Limit: 1000}
}

// TestALogOf100000Lines opens at its end, follows, scrolls, searches and links, with only what is in view in the page.
func TestALogOf100000Lines(t *testing.T) {
	t.Parallel()
	p, page := newPortal(t, false), newPage(t)
	m := p.member()
	r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("crossing"), ParamsText: "passengers: [heron]",
		PreRunScript: `for i in $(seq 1 100000); do echo "line $i $(( i % 7 )) of the flood"; done; printf '\033[1;31mred\033[0m and plain\n'`})
	p.signIn(page)
	p.wait(r.ID, 90*time.Second)
	p.checkLogs(r.ID)
	began := time.Now()
	_, err := page.Goto(p.url + "/runs/" + r.ID)
	must(t, err)
	shows(t, page, ".log-rows", "heron crossed in the")
	t.Logf("the viewer showed the end of the log after %s", time.Since(began).Round(time.Millisecond))
	if n, err := page.Locator(".log-row").Count(); err != nil || n > 200 {
		t.Errorf("the page holds %d rows of the log, %v", n, err)
	}
	shows(t, page, ".log-rows .ansi-fg-1", "red")

	must(t, page.Locator("[data-log-search]").Fill("Line 4242 0"))
	must(t, page.Locator("[data-log-search]").Press("Enter"))
	shows(t, page, "[data-log-count]", "1 of 1 lines")
	shows(t, page, ".log-marked", "line 4242 0 of the flood")
	must(t, page.Locator(".log-marked a").Click())
	if want := fmt.Sprintf("%s#L4242", page.URL()[:len(page.URL())-len("#L4242")]); page.URL() != want {
		t.Errorf("the address is %s, want %s", page.URL(), want)
	}
	inspect(t, page, "log-search")

	_, err = page.Reload()
	must(t, err)
	shows(t, page, ".log-marked", "line 4242 0 of the flood")
	must(t, page.Locator("[data-log-scroll]").Press("Home"))
	shows(t, page, ".log-rows", "line 1 1 of the flood")
	_, err = page.Evaluate(`() => { document.querySelector("[data-log-scroll]").scrollTop = 70000 * 20 }`)
	must(t, err)
	shows(t, page, ".log-rows", "line 70010 ")
	must(t, page.Locator("[data-log-scroll]").Press("End"))
	shows(t, page, ".log-rows", "heron crossed in the")
}
