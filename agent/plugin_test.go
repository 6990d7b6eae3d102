package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wherry/platform"
)

// tooLarge has a task that no machine has room for.
const tooLarge = `
process SMALL { output: path 'x'; script: "echo x > x" }
process LARGE { cpus 5000; input: path x; script: "cat $x" }
workflow { LARGE(SMALL()) }
`

func TestThePluginsTasksAreToldWhereTheirFilesAreKept(t *testing.T) {
	plugins := os.Getenv("WHERRY_TEST_NF_PLUGINS")
	if plugins == "" {
		t.Skip("SKIPPED: the nf-tower plugin is not at hand (WHERRY_TEST_NF_PLUGINS)")
	}
	t.Setenv("NXF_PLUGINS_DIR", plugins)
	nextflow, place, s := realNextflow(t), newFakePlace(t), cloudSpec(t)
	pipeline, dir := filepath.Join(t.TempDir(), "main.nf"), filepath.Join(t.TempDir(), "machine")
	must(t, os.WriteFile(pipeline, []byte(tooLarge), 0o600))
	s.Launch.Pipeline = pipeline
	p := newFakePortal(t, s)
	must(t, os.MkdirAll(dir, 0o755))
	_, ended := p.start(t.Context(), "", func(c *Config) {
		onPlace(place)(c)
		c.Dir, c.Nextflow, c.Plugin = dir, nextflow, true
	})
	must(t, finishWithin(t, ended, nextflowLimit))
	end := p.ended()
	if end == nil || end.ExitCode == nil || *end.ExitCode == 0 || !strings.Contains(end.ErrorReport, "req: 5000; avail: ") {
		t.Fatalf("a task that needs more than the machine has: %+v\n%s", end, p.output())
	}
	if !slices.Contains(p.trace, "complete") || !strings.Contains(strings.Join(p.bodies, "\n"), `"workdir":"s3://bucket/work/`) {
		t.Errorf("trace calls %v: %s", p.trace, p.bodies)
	}
	kept := strings.Split(strings.TrimSpace(place.read(t, platform.KeptFolder("run1")+"/"+platform.KeptTrace)), "\n")
	if len(kept) < len(p.trace) || !strings.HasPrefix(kept[0], `{"name":"create","body":{`) {
		t.Errorf("%d trace calls are kept, and %d were made: %s", len(kept), len(p.trace), kept[0])
	}
}
