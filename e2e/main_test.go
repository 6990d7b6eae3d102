// Package e2e drives the real program: the portal as a process, real Nextflow, and a real browser. `make test` sets what
// it needs.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"
)

var (
	browser  playwright.Browser
	wherry   string // the program under test
	nextflow string // the command that machines use
	plugins  string // folder with the nf-tower plugin, or ""
	jupyter  string // the jupyter command of hosts with JupyterLab
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	nextflow, plugins = os.Getenv("WHERRY_TEST_NEXTFLOW"), os.Getenv("WHERRY_TEST_NF_PLUGINS")
	jupyter = os.Getenv("JUPYTER")
	if nextflow == "" || jupyter == "" || os.Getenv("AXE_JS") == "" || os.Getenv("CHROMIUM") == "" {
		fmt.Fprintln(os.Stderr, "these tests need a browser, Nextflow, JupyterLab and axe-core: run them with `make test`")
		return 1
	}
	dir, err := os.MkdirTemp("", "wherry-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	wherry = filepath.Join(dir, "wherry")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", wherry, "wherry").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building: %v\n%s", err, out)
		return 1
	}
	stop, err := startBrowser()
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		return 1
	}
	defer stop()
	return m.Run()
}

func startBrowser() (stop func(), err error) {
	pw, err := playwright.Run(&playwright.RunOptions{SkipInstallBrowsers: true, Stderr: os.Stderr})
	if err != nil {
		return nil, err
	}
	browser, err = pw.Chromium.Launch(playwright.BrowserTypeLaunchOptions{
		ExecutablePath: playwright.String(os.Getenv("CHROMIUM")),
		Args: []string{"--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync"},
	})
	if err != nil {
		return nil, err
	}
	return func() {
		within(20*time.Second, func() {
			browser.Close()
			pw.Stop()
		})
	}, nil
}
