package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"
)

// expectations wait for what a page must come to show. Nextflow takes seconds to start.
var expectations = playwright.NewPlaywrightAssertions(60_000)

// newPage opens a browser of its own. A console error or warning, or a script's error, fails the test, unless it has one
// of the expected texts.
func newPage(t *testing.T, expected ...string) playwright.Page {
	t.Helper()
	bc, err := browser.NewContext(playwright.BrowserNewContextOptions{Viewport: &playwright.Size{Width: 1280, Height: 800},
		IgnoreHttpsErrors: playwright.Bool(true)})
	must(t, err)
	t.Cleanup(func() { within(20*time.Second, func() { bc.Close() }) })
	page, err := bc.NewPage()
	must(t, err)
	page.SetDefaultTimeout(15_000)
	page.OnConsole(func(m playwright.ConsoleMessage) {
		// A form that is not taken answers 422, and a browser says so of every answer from 400 on.
		for _, text := range append(expected, "status of 422") {
			if strings.Contains(m.Text(), text) {
				return
			}
		}
		if m.Type() == "error" || m.Type() == "warning" {
			t.Errorf("console %s: %s", m.Type(), m.Text())
		}
	})
	page.OnPageError(func(err error) { t.Errorf("page error: %v", err) })
	return page
}

// within waits for the end of f, but not for ever: closing, playwright sometimes never hears from its browser that it has closed.
func within(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// signIn signs in by a one-time link.
func (p *portal) signIn(page playwright.Page) {
	p.t.Helper()
	_, err := page.Goto(p.signInLink())
	must(p.t, err)
	click(p.t, page, "button", "Sign in")
	must(p.t, expectations.Page(page).ToHaveTitle("Launchpad · Wherry"))
}

// click clicks the one button or link of that name.
func click(t *testing.T, page playwright.Page, role, name string) {
	t.Helper()
	if err := page.GetByRole(playwright.AriaRole(role), playwright.PageGetByRoleOptions{Name: name, Exact: playwright.Bool(true)}).First().Click(); err != nil {
		t.Fatalf("clicking the %s %q: %v", role, name, err)
	}
}

// fill types into the field of that label.
func fill(t *testing.T, page playwright.Page, label, text string) {
	t.Helper()
	if err := page.GetByLabel(label, playwright.PageGetByLabelOptions{Exact: playwright.Bool(true)}).Fill(text); err != nil {
		t.Fatalf("filling in %q: %v", label, err)
	}
}

// shows waits until the page has a text in a place.
func shows(t *testing.T, page playwright.Page, selector, text string) {
	t.Helper()
	if err := expectations.Locator(page.Locator(selector).First()).ToContainText(text); err != nil {
		t.Fatalf("%s does not come to show %q: %v", selector, text, err)
	}
}

// inspect checks the page with axe-core and takes its picture, in light and in dark.
func inspect(t *testing.T, page playwright.Page, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		_, err := page.Evaluate(`scheme => { document.documentElement.dataset.theme = scheme }`, scheme)
		must(t, err)
		if dir := os.Getenv("SHOTS"); dir != "" {
			_, err := page.Screenshot(playwright.PageScreenshotOptions{Path: playwright.String(filepath.Join(dir, name+"-"+scheme+".png")),
				FullPage: playwright.Bool(true), Caret: playwright.ScreenshotCaretInitial}) // hiding the caret would put a style into the page
			must(t, err)
		}
		for _, v := range axe(t, page) {
			t.Errorf("axe: %s, %s: %s (%s): %s", name, scheme, v.ID, v.Impact, v.Help)
			for _, n := range v.Nodes {
				t.Logf("  %s %v", n.HTML, n.FailureSummary)
			}
		}
	}
}

type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// axe runs axe-core in the page. It goes in over the debugger, so the page's Content-Security-Policy stays as it is.
func axe(t *testing.T, page playwright.Page) (list []violation) {
	t.Helper()
	source, err := os.ReadFile(os.Getenv("AXE_JS"))
	must(t, err)
	_, err = page.Evaluate(string(source))
	must(t, err)
	result, err := page.Evaluate(`async () => JSON.stringify((await axe.run(document,
		{preload: false, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})).violations)`)
	must(t, err)
	must(t, json.Unmarshal([]byte(result.(string)), &list))
	return list
}

func TestTheAccessibilityCheckCanFail(t *testing.T) {
	t.Parallel()
	page := newPage(t)
	p := newPortal(t, false)
	_, err := page.Goto(p.url)
	must(t, err)
	_, err = page.Evaluate(`() => { document.querySelector("label").remove(); document.documentElement.removeAttribute("lang") }`)
	must(t, err)
	found := map[string]bool{}
	for _, v := range axe(t, page) {
		found[v.ID] = true
	}
	if !found["label"] || !found["html-has-lang"] {
		t.Errorf("a page without a label and a language passes: %v", found)
	}
}
