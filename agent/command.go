package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"wherry/platform"
)

// nextflowArgs is Nextflow's command line for a launch, run in the launch folder. plugin is the nf-tower plugin to name,
// or "" for the agent's own trace.
func nextflowArgs(command string, spec platform.Spec, plugin string) []string {
	l := spec.Launch
	args := []string{command, "-log", ".nextflow.log", "run", l.Pipeline, "-name", l.RunName, "-work-dir", l.WorkDir, "-ansi-log", "false"}
	for _, c := range []struct {
		file string
		is   bool
	}{{envConfigFile, spec.EnvConfigText != ""}, {runConfigFile, l.ConfigText != ""}, {traceConfig, plugin == ""}} {
		if c.is {
			args = append(args, "-c", c.file)
		}
	}
	for _, option := range []struct{ name, value string }{
		{"-r", l.Revision}, {"-profile", strings.Join(l.ConfigProfiles, ",")}, {"-main-script", l.MainScript}, {"-plugins", plugin},
	} {
		if option.value != "" {
			args = append(args, option.name, option.value)
		}
	}
	if spec.ParamsJSON != "" {
		args = append(args, "-params-file", paramsFile)
	}
	if l.PullLatest {
		args = append(args, "-latest")
	}
	if l.StubRun {
		args = append(args, "-stub-run")
	}
	if l.Resume && l.SessionID != "" {
		args = append(args, "-resume", l.SessionID)
	}
	return args
}

// ownEnvironment is the machine's environment, without what is the agent's alone.
func ownEnvironment() (env []string) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasPrefix(name, settings) && name != "TOWER_ACCESS_TOKEN" {
			env = append(env, e)
		}
	}
	return env
}

// variables are what the launch script gets beside the machine's environment. The cache lies in the folder of work, where a
// later run that resumes this one, from a folder of its own, finds it.
func (a *agent) variables(traceURL, traceToken string) (vars []string) {
	spec, c := a.spec, a.spec.Cloud
	vars = append(vars, "NXF_ANSI_LOG=false", "NXF_ASSETS="+a.assets())
	if a.image == "" {
		vars = append(vars, "NXF_HOME="+filepath.Join(a.Dir, nextflowHome))
		if a.Place != nil && spec.Launch.NextflowVersion != "" {
			vars = append(vars, "NXF_VER="+spec.Launch.NextflowVersion)
		}
	}
	if c.Fusion {
		vars = append(vars, "NXF_CACHE_DIR="+filepath.Join(a.Dir, "cache"), "NXF_CLOUDCACHE_PATH="+strings.TrimRight(spec.Launch.WorkDir, "/")+"/.wherry/cache")
	} else {
		vars = append(vars, "NXF_CACHE_DIR="+filepath.Join(spec.Launch.WorkDir, cacheFolder))
	}
	if !a.usesWave() { // Wave would take the portal's ids for its own service's
		vars = append(vars, "TOWER_WORKFLOW_ID="+spec.RunID, "TOWER_WORKSPACE_ID="+strconv.FormatInt(spec.WorkspaceID, 10))
	}
	for _, e := range spec.Environment {
		vars = append(vars, e.Name+"="+e.Value)
	}
	if len(spec.PipelineSecrets) > 0 {
		vars = append(vars, "NXF_SECRETS_FILE="+a.secretsStore())
	}
	for name, value := range spec.Secrets {
		vars = append(vars, name+"="+value)
	}
	switch {
	case traceURL != "": // with the token in its environment, Nextflow loads the plugin
		vars = append(vars, "TOWER_API_ENDPOINT="+traceURL, "TOWER_ACCESS_TOKEN="+traceToken)
	case a.usesWave() && c.AccessToken != "":
		vars = append(vars, "TOWER_ACCESS_TOKEN="+c.AccessToken)
	}
	return vars
}

// usesWave tells whether Nextflow talks to Wave, which Fusion comes by. It does so with the one token that the nf-tower
// plugin would report with, so the agent reports then.
func (a *agent) usesWave() bool { return a.spec.Cloud.Wave || a.spec.Cloud.Fusion }

// findPlugin looks for an nf-tower plugin where Nextflow keeps its plugins, and returns it as Nextflow's -plugins takes it;
// "" when there is none.
func findPlugin() string {
	dirs := []string{os.Getenv("NXF_PLUGINS_DIR")}
	if home, err := os.UserHomeDir(); err == nil && dirs[0] == "" {
		dirs[0] = filepath.Join(home, ".nextflow", "plugins")
	}
	if home := os.Getenv("NXF_HOME"); home != "" {
		dirs = append(dirs, filepath.Join(home, "plugins"))
	}
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "nf-tower-*")) // the pattern is right, so there is no error
		slices.Sort(found)
		for _, path := range slices.Backward(found) {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				return "nf-tower@" + strings.TrimPrefix(filepath.Base(path), "nf-tower-")
			}
		}
	}
	return ""
}
