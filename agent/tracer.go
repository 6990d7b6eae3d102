package agent

import (
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
	if plugin := findPlugin(); a.Plugin && plugin != "" {
		return startRelay(plugin, a.spec.RunID, a.PortalURL+"/runs/"+a.spec.RunID, a.spool, a.steps)
	}
	return startFollower(dir, a.spec, a.Nextflow, a.spool, a.steps)
}
