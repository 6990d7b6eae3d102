package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// published is a file in the launch folder that is not the agent's or Nextflow's own: what a pipeline published to a
// relative path.
type published struct {
	name string // relative to the launch folder, with slashes
	path string // on the machine
	size int64
}

// ownFiles are what the agent puts into the launch folder.
var ownFiles = []string{launchFile, phasesFile, paramsFile, envConfigFile, runConfigFile, traceConfig, traceFile, cancelledFile,
	"pre-run-env.sh", "pre-run.sh", "post-run.sh", "post-run-env.sh"}

// maxDepth bounds how deep folders of the launch folder are looked into.
const maxDepth = 40

// publishedFiles lists what was published. Nextflow publishes with links, to files and to whole folders, unless told
// otherwise: they are followed, but never into a folder that is being looked into already.
func publishedFiles(launch, work string) (list []published) {
	var walk func(name string, above []string)
	walk = func(name string, above []string) {
		folder := filepath.Join(launch, name)
		real, err := filepath.EvalSymlinks(folder)
		if err != nil || slices.Contains(above, real) || len(above) > maxDepth || folder == work {
			return
		}
		entries, _ := os.ReadDir(folder) // what cannot be read is not published
		for _, e := range entries {
			one := filepath.Join(name, e.Name())
			if name == "" && (slices.Contains(ownFiles, e.Name()) || strings.HasPrefix(e.Name(), ".nextflow")) {
				continue
			}
			info, err := os.Stat(filepath.Join(launch, one))
			switch {
			case err != nil:
			case info.IsDir():
				walk(one, append(slices.Clone(above), real))
			case info.Mode().IsRegular():
				list = append(list, published{filepath.ToSlash(one), filepath.Join(launch, one), info.Size()})
			}
		}
	}
	walk("", nil)
	return list
}
