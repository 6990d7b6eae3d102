package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestABillWithoutAModuleIsRefused uses a real program of ours, the agent.
func TestABillWithoutAModuleIsRefused(t *testing.T) {
	t.Parallel()
	program, file := filepath.Join(t.TempDir(), "agent"), filepath.Join(t.TempDir(), "bill.json")
	out, err := exec.Command("go", "build", "-o", program, "wherry/agent/wherry-agent").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	must(t, err)
	type component struct {
		PURL string `json:"purl"`
	}
	var all []component
	for _, m := range info.Deps {
		all = append(all, component{"pkg:golang/" + m.Path + "@" + m.Version + "?type=module"})
	}
	write := func(format string, list []component) {
		text, err := json.Marshal(map[string]any{"bomFormat": format, "components": list})
		must(t, err)
		must(t, os.WriteFile(file, text, 0o600))
	}
	write("CycloneDX", all)
	if n, err := check(file, []string{program, program}); err != nil || n != len(info.Deps) || n < 5 {
		t.Errorf("with all: %d of %d, %v", n, len(info.Deps), err)
	}
	write("CycloneDX", all[1:])
	if _, err := check(file, []string{program}); err == nil || !strings.Contains(err.Error(), info.Deps[0].Path+"@"+info.Deps[0].Version) {
		t.Errorf("without the first: %v", err)
	}
	other := append([]component{{strings.Replace(all[0].PURL, "@", "@v0.0.1-", 1)}}, all[1:]...)
	write("CycloneDX", other)
	if _, err := check(file, []string{program}); err == nil {
		t.Error("with another version of the first")
	}
	write("SPDX", all)
	if _, err := check(file, []string{program}); err == nil {
		t.Error("of another format")
	}
	if _, err := check(file, []string{file}); err == nil {
		t.Error("of what is no program")
	}
}
