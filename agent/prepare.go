package agent

import (
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"wherry/platform"
)

// prepare does what can be done before there is work: it gets the image with the Nextflow that most runs want, or else reads
// the machine's own, so that neither is fetched from afar when a launch waits for it. Nothing depends on it.
func (a *agent) prepare(ctx context.Context, nextflow string) {
	if _, err := exec.LookPath(nextflow); err == nil {
		readJars(ctx, ownHome())
		return
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return
	}
	image := imageFor(platform.Spec{})
	if err := pullImage(ctx, image); err != nil {
		a.Log.Warn("the Nextflow image could not be fetched ahead", "error", err)
		return
	}
	// The first start of Java reads all of it from the disk; the next one finds it in memory.
	warm := exec.CommandContext(ctx, "docker", "run", "--rm", "--entrypoint", "nextflow", image, "-version")
	if out, err := warm.CombinedOutput(); err != nil {
		a.Log.Warn("the Nextflow image could not be warmed up", "error", err, "output", string(out))
	}
}

// readJars reads Java archives, so that they are in memory. Folders may be links.
func readJars(ctx context.Context, folder string) {
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return
	}
	_ = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".jar") {
			return nil // what cannot be read is read when it is needed
		}
		if file, err := os.Open(path); err == nil {
			_, _ = io.Copy(io.Discard, file)
			file.Close()
		}
		return ctx.Err()
	})
}
