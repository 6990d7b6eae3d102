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

// nextflowEnv is the environment of the launch script. The cache lies in the work directory, where a later run that
// resumes this one, from a folder of its own, finds it.
func nextflowEnv(spec platform.Spec, traceURL, traceToken string) []string {
	var env []string
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !strings.HasPrefix(name, settings) && name != "TOWER_ACCESS_TOKEN" {
			env = append(env, e)
		}
	}
	env = append(env, "NXF_CACHE_DIR="+filepath.Join(spec.Launch.WorkDir, ".nextflow"), "NXF_ANSI_LOG=false",
		"TOWER_WORKFLOW_ID="+spec.RunID, "TOWER_WORKSPACE_ID="+strconv.FormatInt(spec.WorkspaceID, 10))
	for _, e := range spec.Environment {
		env = append(env, e.Name+"="+e.Value)
	}
	for name, value := range spec.Secrets {
		env = append(env, name+"="+value)
	}
	if traceURL != "" { // with the token in its environment, Nextflow loads the plugin
		env = append(env, "TOWER_API_ENDPOINT="+traceURL, "TOWER_ACCESS_TOKEN="+traceToken)
	}
	return env
}

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
