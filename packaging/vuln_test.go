package packaging

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vulnerable is a database (go.dev/doc/security/vuln/database) with one vulnerability, of every version of a function of a module.
func vulnerable(t *testing.T, module, symbol string) string {
	t.Helper()
	dir := t.TempDir()
	const id, at = "GO-2026-0001", "2026-01-01T00:00:00Z"
	for name, text := range map[string]string{
		"index/db.json":      `{"modified":"` + at + `"}`,
		"index/vulns.json":   `[{"id":"` + id + `","modified":"` + at + `"}]`,
		"index/modules.json": `[{"path":"` + module + `","vulns":[{"id":"` + id + `","modified":"` + at + `"}]}]`,
		"ID/" + id + ".json": `{"schema_version":"1.3.1","id":"` + id + `","modified":"` + at + `","published":"` + at + `","summary":"made up","details":"made up",
			"affected":[{"package":{"name":"` + module + `","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"` + module + `","symbols":["` + symbol + `"]}]}}]}`,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

// TestAKnownVulnerabilityFailsTheSearch has govulncheck look at a real program of ours, the agent.
func TestAKnownVulnerabilityFailsTheSearch(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "agent")
	if out, err := exec.Command("go", "build", "-o", program, "wherry/agent/wherry-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Its modules are fetched before the way to them is blocked.
	if out, err := exec.Command("go", "-C", "tools", "build", "-o", os.DevNull, "golang.org/x/vuln/cmd/govulncheck").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for what, c := range map[string]struct {
		db, want string
		fails    bool
	}{
		"what is called":                {vulnerable(t, "github.com/gorilla/websocket", "Dialer.DialContext"), "GO-2026-0001", true},
		"what is not built in":          {vulnerable(t, "github.com/example/other", "Do"), "No vulnerabilities found", false},
		"a database out of reach":       {"https://vuln.go.dev", "SKIPPED: the search for vulnerabilities in " + program, false},
		"a program that cannot be read": {"", "could not be searched", true},
	} {
		searched := program
		if c.db == "" {
			searched, c.db = "/no/program", vulnerable(t, "github.com/example/other", "Do")
		}
		cmd := exec.Command("./vuln.sh", searched)
		cmd.Env = append(os.Environ(), "VULN_DB="+c.db, "HTTPS_PROXY=http://127.0.0.1:1")
		out, err := cmd.CombinedOutput()
		if (err != nil) != c.fails || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}
