package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"wherry/platform"
)

// newStudioPortal is a portal on a host that has JupyterLab.
func newStudioPortal(t *testing.T, env ...string) *portal {
	t.Helper()
	home := t.TempDir() // nothing of the host's own Jupyter counts
	return newPortalWith(t, false, append([]string{"PATH=" + filepath.Dir(jupyter) + ":" + os.Getenv("PATH"), "HOME=" + home,
		"JUPYTER_CONFIG_DIR=" + home, "JUPYTER_DATA_DIR=" + home, "JUPYTER_RUNTIME_DIR=" + home}, env...)...)
}

// studio reads a Studio by its name.
func (p *portal) studio(m platform.Member, name string) platform.Studio {
	p.t.Helper()
	list, err := p.db.Studios(p.t.Context(), m.Workspace.ID, "")
	must(p.t, err)
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	p.t.Fatalf("there is no Studio %q", name)
	return platform.Studio{}
}

// studioIs waits until a Studio is in a state.
func (p *portal) studioIs(id string, state platform.StudioState, limit time.Duration) platform.Studio {
	p.t.Helper()
	var s platform.Studio
	eventually(p.t, limit, "the Studio is "+string(state), func() bool {
		var err error
		s, err = p.db.AnyStudio(p.t.Context(), id)
		must(p.t, err)
		if s.State() != state && s.State().Ended() && s.Session.Message != "" {
			p.t.Fatalf("the Studio is %s: %s\n%s", s.State(), s.Session.Message, s.Session.Details)
		}
		return s.State() == state
	})
	return s
}

// runCell types code into the notebook's last cell and runs it.
func runCell(t *testing.T, tab playwright.Page, code, prints string) {
	t.Helper()
	cell := tab.Locator(".jp-Notebook .jp-CodeCell .cm-content").Last()
	must(t, cell.Click())
	must(t, cell.Fill(code))
	must(t, tab.Keyboard().Press("Shift+Enter"))
	must(t, expectations.Locator(tab.Locator(".jp-OutputArea-output").Last()).ToContainText(prints))
}

// pictureOfFailure keeps a picture of a tab should the test fail.
func pictureOfFailure(t *testing.T, tab playwright.Page, name string) {
	t.Cleanup(func() {
		if dir := os.Getenv("SHOTS"); t.Failed() && dir != "" {
			_, _ = tab.Screenshot(playwright.PageScreenshotOptions{Path: playwright.String(filepath.Join(dir, name+"-failed.png"))})
		}
	})
}

// TestANotebookFromTheFirstClickToTheNextStart is the story of a Studio as a scientist lives it: JupyterLab through the portal, a
// portal that is replaced meanwhile, and work that is there again after a stop.
func TestANotebookFromTheFirstClickToTheNextStart(t *testing.T) {
	t.Parallel()
	p := newStudioPortal(t)
	page := newPage(t, "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_REFUSED") // of a portal that is killed
	pictureOfFailure(t, page, "studio")
	m := p.member()
	p.computeEnv(m)
	p.signIn(page)
	click(t, page, "link", "Studios")
	inspect(t, page, "studios-empty")
	click(t, page, "link", "Add a Studio")
	fill(t, page, "Name", "notes")
	inspect(t, page, "studio-new")
	click(t, page, "button", "Add and start")
	shows(t, page, "h1", "notes")
	shows(t, page, "#studio-head .badge", "running")
	inspect(t, page, "studio-running")

	tab, err := page.ExpectPopup(func() error {
		return page.GetByRole("link", playwright.PageGetByRoleOptions{Name: "Connect"}).First().Click()
	})
	must(t, err)
	pictureOfFailure(t, tab, "notebook")
	must(t, tab.GetByText("Python 3 (ipykernel)").First().Click())
	// Before its kernel is there, JupyterLab forgets what it was asked to run.
	must(t, expectations.Locator(tab.Locator("#jp-main-statusbar")).ToContainText("| Idle"))
	runCell(t, tab, "x = 6 * 7; print('x is', x)", "x is 42")

	chooser, err := tab.ExpectFileChooser(func() error {
		return tab.Locator(`[data-command="filebrowser:upload"], [title^="Upload Files"]`).First().Click()
	})
	must(t, err)
	must(t, chooser.SetFiles([]playwright.InputFile{{Name: "rivers.csv", MimeType: "text/csv", Buffer: []byte("river,km\nYare,84\n")}}))
	must(t, expectations.Locator(tab.Locator(".jp-DirListing-item").Filter(playwright.LocatorFilterOptions{HasText: "rivers.csv"})).ToBeVisible())
	// JupyterLab opens what was uploaded.
	must(t, expectations.Locator(tab.Locator(".jp-CSVViewer").GetByRole("grid").Or(tab.Locator(".jp-CSVViewer .lm-DataGrid")).First()).ToBeVisible())
	must(t, tab.Locator(".lm-TabBar-tab", playwright.PageLocatorOptions{HasText: "Untitled.ipynb"}).First().Click())

	p.kill()
	p.start()
	runCell(t, tab, "print('still', x)", "still 42") // the kernel lives on

	must(t, tab.Close())
	_, err = page.Goto(p.url + "/orgs/lab/workspaces/rivers/studios/" + p.studio(m, "notes").ID)
	must(t, err)
	must(t, page.GetByText("Stop…").First().Click())
	inspect(t, page, "studio-stop")
	click(t, page, "button", "Stop the Studio")
	shows(t, page, "#studio-head .badge", "stopped")
	s := p.studioIs(p.studio(m, "notes").ID, platform.StudioStopped, time.Minute)
	eventually(t, time.Minute, "its machine is gone", func() bool {
		machine, err := p.db.MachineOfStudioSession(t.Context(), s.Session.ID)
		must(t, err)
		return machine.State == platform.MachineTerminated
	})
	p.nothingLeft()
	inspect(t, page, "studio-stopped")

	click(t, page, "button", "Start notes")
	shows(t, page, "#studio-head .badge", "running")
	tab, err = page.ExpectPopup(func() error {
		return page.GetByRole("link", playwright.PageGetByRoleOptions{Name: "Connect"}).First().Click()
	})
	must(t, err)
	must(t, expectations.Locator(tab.Locator(".jp-DirListing-item").Filter(playwright.LocatorFilterOptions{HasText: "rivers.csv"})).ToBeVisible())
	must(t, p.db.AskStudioStop(context.Background(), s.ID, platform.StopUser, "ada"))
	p.studioIs(s.ID, platform.StudioStopped, time.Minute)
}
