package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"wherry/platform"
)

// containerRunner runs a Studio's tool in its container image.
type containerRunner struct {
	*studio
	gpus       bool
	entrypoint []string // the image's own, and its command
	imageCmd   []string
}

const (
	// pullTries is how often an image is asked for.
	pullTries = 3
	// pullPause is how long after a failure it is asked for again.
	pullPause = 2 * time.Second
	// dockerFailed is docker's exit status where the container could not be started (docker-run(1)).
	dockerFailed = 125
	// dockerLook is how often a Docker that is starting is looked for.
	dockerLook = time.Second
)

// dockerWorks tells whether there is Docker. Where it is installed its daemon may still be starting.
func (s *studio) dockerWorks(ctx context.Context) bool {
	for until := time.Now().Add(s.DockerWait); ; {
		out, err := exec.CommandContext(ctx, "docker", "version").CombinedOutput()
		if err == nil {
			return true
		}
		if !bytes.Contains(out, []byte("daemon")) || time.Now().After(until) {
			s.Log.Warn("docker does not work", "error", err, "output", string(out))
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(dockerLook):
		}
	}
}

// fetch gets the image, and learns what has to be known to run it.
func (r *containerRunner) fetch(ctx context.Context) (failure string) {
	image := r.session.Template.Image
	if err := r.pull(ctx, image); err != nil {
		return fmt.Sprintf("The container image %s could not be fetched: %v. Check its name, that it is public, and that the machine's subnet reaches the internet.", image, err)
	}
	r.steps.add(platform.StepImagePulled, time.Now(), image)
	r.gpus = gpusWork(ctx)
	if len(r.session.CondaPackages) == 0 {
		return ""
	}
	if err := r.inspect(ctx, image); err != nil {
		return fmt.Sprintf("The container image %s cannot be read: %v.", image, err)
	}
	return ""
}

// pull gets the image, unless the machine has it, and shows in the log how that goes.
func (r *containerRunner) pull(ctx context.Context, image string) (err error) {
	if exec.CommandContext(ctx, "docker", "image", "inspect", image).Run() == nil {
		return nil
	}
	r.say("The container image %s is being fetched.", image)
	for try := range pullTries {
		if try > 0 {
			r.say("The image could not be fetched; it is tried again.")
			select {
			case <-ctx.Done():
			case <-time.After(pullPause):
			}
		}
		var output *outputPipe
		if output, err = r.output.pipe(); err != nil {
			return err
		}
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, "docker", "pull", image)
		cmd.Stdout, cmd.Stderr = output.write, &said
		err = cmd.Run()
		output.drain()
		if err == nil || ctx.Err() != nil {
			return err
		}
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return err
}

// inspect reads what the image runs when nothing else is said.
func (r *containerRunner) inspect(ctx context.Context, image string) error {
	text, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{json .Config}}", image).Output()
	if err != nil {
		return err
	}
	var config struct{ Entrypoint, Cmd []string }
	err = json.Unmarshal(text, &config)
	r.entrypoint, r.imageCmd = config.Entrypoint, config.Cmd
	return err
}

// command runs the image. Variables are passed by name: values would be on the command line for all to see. The port is open
// to the machine itself alone.
func (r *containerRunner) command(port int) *exec.Cmd {
	t := r.session.Template
	args := []string{"run", "--rm", "--name", r.containerName(), "--publish", fmt.Sprintf("127.0.0.1:%d:%d", port, t.Port),
		"--volume", r.workspace + ":" + platform.WorkspaceFolder + r.propagation()}
	if memory, err := totalMemory("/proc/meminfo"); err == nil {
		args = append(args, "--shm-size", strconv.FormatInt(memory/2, 10)) // as much as Linux gives by itself
	}
	if r.gpus {
		args = append(args, "--gpus", "all")
	}
	if t.User != "" {
		args = append(args, "--user", t.User)
	}
	vars := append(cloudVariables(), r.toolVariables(t.Port, platform.WorkspaceFolder)...)
	env := ownEnvironment()
	for _, v := range vars {
		name, _, _ := strings.Cut(v, "=")
		if forDocker(name) {
			args = append(args, "--env", v)
			continue
		}
		args, env = append(args, "--env", name), append(env, v)
	}
	command := replaceAll(r.words(t.Port, platform.WorkspaceFolder), t.Command)
	if r.packages != nil {
		args = append(args, "--volume", r.packages.folder+":"+packagesInContainer, "--entrypoint", "sh")
		command = slices.Concat(r.packages.script(), r.entrypoint, command)
		if len(t.Command) == 0 {
			command = append(command, r.imageCmd...)
		}
	}
	cmd := exec.Command("docker", slices.Concat(args, []string{t.Image}, command)...)
	cmd.Env = env
	return cmd
}

// forDocker tells whether a variable would change what the docker command itself does, which runs as root outside the container:
// to which daemon it speaks, or what is loaded into it. None of Wherry's own, and so no secret, is one.
func forDocker(name string) bool {
	return name == "PATH" || name == "HOME" || strings.HasPrefix(name, "DOCKER_") || strings.HasPrefix(name, "LD_")
}

// propagation lets the container see when a mount ends.
func (r *containerRunner) propagation() string {
	if len(r.mounts) == 0 {
		return ""
	}
	return ":rslave"
}

// serves is true: Docker itself listens at the port, and does not start a container whose port is taken.
func (r *containerRunner) serves(int) bool { return true }

func (r *containerRunner) ask(_ *exec.Cmd, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace+dockerLimit)
	defer cancel()
	seconds := strconv.Itoa(int((grace + time.Second - 1) / time.Second))
	if out, err := exec.CommandContext(ctx, "docker", "stop", "-t", seconds, r.containerName()).CombinedOutput(); err != nil {
		r.Log.Warn("docker does not stop the tool", "error", err, "output", string(out))
	}
}

func (r *containerRunner) kill(cmd *exec.Cmd) {
	ctx, cancel := context.WithTimeout(context.Background(), dockerLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "rm", "--force", "--volumes", r.containerName()).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("No such container")) && !bytes.Contains(out, []byte("already in progress")) { // it goes by itself
		r.Log.Warn("docker does not end the tool", "error", err, "output", string(out))
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
