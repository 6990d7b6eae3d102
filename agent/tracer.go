package agent

import (
	"io"
	"os"
	"strings"

	"wherry/platform"
)

// tracer tells the portal of Nextflow and its tasks: through Nextflow's own plugin where it can be had, or else from what
// Nextflow writes into its trace file and log. A run looks the same either way.
type tracer interface {
	plugin() string            // for Nextflow's -plugins; "" when the agent does it
	url() string               // where the plugin calls; "" when the agent does it
	token() string             // with which the plugin calls
	finish(platform.EndReport) // Nextflow has ended: tell all that is left to tell
}

// startTracer chooses and starts the tracer.
func (a *agent) startTracer(dir string) (tracer, error) {
	if plugin := findPlugin(); a.Plugin && plugin != "" && a.image == "" && !a.usesWave() {
		return startRelay(plugin, a.relayToken, a.spec.RunID, a.PortalURL+"/runs/"+a.spec.RunID, a.spool, a.steps)
	}
	return startFollower(dir, a.spec, a.Nextflow, a.readTaskFile, a.spool, a.steps)
}

// readTaskFile reads a file of a task, which is in the work directory itself where Nextflow works there.
func (a *agent) readTaskFile(path string) ([]byte, error) {
	key, ok := strings.CutPrefix(path, strings.TrimRight(a.spec.Launch.WorkDir, "/")+"/")
	if !a.spec.Cloud.Fusion || !ok {
		return os.ReadFile(path)
	}
	body, err := a.store.Get(a.keeping.all, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxScript+1))
}
