package agent

import (
	_ "embed"
	"errors"
	"os"
	"path/filepath"

	"wherry/platform"
)

//go:embed launch.sh
var launchScript []byte

// Files in the launch folder.
const (
	launchFile    = "launch.sh"
	phasesFile    = "phases"
	paramsFile    = "params.json"
	envConfigFile = "environment.config"
	runConfigFile = "launch.config"
	traceConfig   = "wherry-trace.config"
	traceFile     = "wherry-trace.tsv"
	cancelledFile = "cancelled"
)

// writeFiles puts what Nextflow reads into the launch folder. Secrets are in none of them.
func writeFiles(dir string, spec platform.Spec) error {
	launch := spec.Launch
	files := []struct {
		name, text string
	}{
		{launchFile, string(launchScript)},
		{phasesFile, "begun\n"},
		{paramsFile, spec.ParamsJSON},
		{envConfigFile, spec.EnvConfigText},
		{runConfigFile, launch.ConfigText},
		{"pre-run-env.sh", spec.EnvPreRun},
		{"pre-run.sh", launch.PreRunScript},
		{"post-run.sh", launch.PostRunScript},
		{"post-run-env.sh", spec.EnvPostRun},
	}
	var failures []error
	for _, f := range files {
		if f.text != "" {
			failures = append(failures, os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), 0o600))
		}
	}
	return errors.Join(failures...)
}

// exists tells whether a file is there.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
