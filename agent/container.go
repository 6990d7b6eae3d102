package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wherry/platform"
)

// Nextflow in its container image, where the machine has none: the launch script and Nextflow run in the container, and
// tasks in containers beside it, which the host's Docker starts. So whatever a task's container mounts has to be at the same
// path in both: the machine's folder is.
const (
	dockerSocket = "/var/run/docker.sock"
	imageHome    = "/.nextflow" // NXF_HOME of the image, with the Nextflow in it (nextflow-io/nextflow, docker/Dockerfile)
	taskPrefix   = "nxf-"       // how Nextflow names the containers of tasks (nextflow.processor.TaskRun)
	dockerLimit  = 20 * time.Second
)

// containerName is the container that Nextflow runs in.
func (a *agent) containerName() string { return "wherry-" + a.spec.WorkID() }

// dockerRun is the command that runs the launch script in the image. Variables are passed by name: values would be on the
// command line for all to see. The container shares the host's processes, so that Nextflow is stopped with a signal, wherever
// it runs, and its network, so that it reaches the agent and the instance's metadata.
func (a *agent) dockerRun(launch string, vars []string, command []string) *exec.Cmd {
	args := []string{"run", "--rm", "--name", a.containerName(), "--network", "host", "--pid", "host", "--user", "0:0",
		"--volume", dockerSocket + ":" + dockerSocket,
		"--volume", a.Dir + ":" + a.Dir,
		"--volume", filepath.Join(a.Dir, nextflowHome, homeConfig) + ":" + filepath.Join(imageHome, homeConfig) + ":ro",
		"--workdir", launch, "--entrypoint", "bash"}
	for _, v := range append(cloudVariables(), vars...) {
		name, _, _ := strings.Cut(v, "=")
		args = append(args, "--env", name)
	}
	cmd := exec.Command("docker", slices.Concat(args, []string{a.image}, command)...)
	cmd.Env = append(ownEnvironment(), vars...)
	return cmd
}

// cloudVariables are those of the machine that say where the cloud is, as all tools for it read them.
func cloudVariables() (list []string) {
	for _, e := range os.Environ() {
		for _, begin := range []string{"AWS_ENDPOINT_URL", "AWS_REGION=", "AWS_DEFAULT_REGION=", "AWS_EC2_METADATA_"} {
			if strings.HasPrefix(e, begin) {
				list = append(list, e)
			}
		}
	}
	return list
}

// pullImage gets the image, unless the machine has it.
func pullImage(ctx context.Context, image string) error {
	if exec.CommandContext(ctx, "docker", "image", "inspect", image).Run() == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "docker", "pull", "--quiet", image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// needImage gets the image for the run, and reports it.
func (a *agent) needImage(ctx context.Context) error {
	err := pullImage(ctx, a.image)
	if err == nil {
		a.steps.add(platform.StepImagePulled, time.Now(), a.image)
	}
	return err
}

// removeContainers ends Nextflow's container and those of its tasks, if any is left. The machine has no others of that name.
func (a *agent) removeContainers() {
	ctx, cancel := context.WithTimeout(context.Background(), dockerLimit)
	defer cancel()
	left, err := exec.CommandContext(ctx, "docker", "ps", "--quiet", "--filter", "name=^"+taskPrefix, "--filter", "name=^"+a.containerName()+"$").Output()
	if err != nil {
		a.Log.Warn("docker does not tell which containers are left", "error", err)
		return
	}
	if ids := strings.Fields(string(left)); len(ids) > 0 {
		a.Log.Info("ending containers that are left", "count", len(ids))
		if err := exec.CommandContext(ctx, "docker", append([]string{"kill"}, ids...)...).Run(); err != nil {
			a.Log.Warn("containers could not be ended", "error", err)
		}
	}
}
