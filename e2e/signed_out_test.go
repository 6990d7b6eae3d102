package e2e

import (
	"strings"
	"testing"
)

// TestAPageWhoseSignInEndedShowsNothingAnyMore: signed out in one tab, another one that follows the portal shows none of what it had.
func TestAPageWhoseSignInEndedShowsNothingAnyMore(t *testing.T) {
	t.Parallel()
	p := newPortal(t, false)
	page := newPage(t, "401", "net::ERR_")
	p.member()
	p.signIn(page)
	_, err := page.Goto(p.url + "/")
	must(t, err)
	shows(t, page, "main", "Launchpad")
	_, err = page.Evaluate(`async () => {
		const {"X-CSRF-Token": token} = JSON.parse(document.body.getAttribute("hx-headers"));
		await fetch("/sign-out", {method: "POST", headers: {"X-CSRF-Token": token}, redirect: "manual"});
	}`)
	must(t, err)
	shows(t, page, "#connection", "You are signed out")
	text, err := page.Locator("body").InnerText()
	must(t, err)
	if strings.Contains(text, "Launchpad") || strings.Contains(text, "ada") {
		t.Errorf("the page still shows %q", text)
	}
}
