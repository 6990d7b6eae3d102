package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wherry/platform"
)

const (
	// mountCommand is Mountpoint for Amazon S3, which makes a folder of a bucket.
	mountCommand = "mount-s3"
	// unmountLimit is how long the end of a mount may take.
	unmountLimit = 20 * time.Second
)

// mountAll mounts the buckets that the Studio has, each as a folder of its workspace. It comes after what is kept was brought
// back, so that nothing is written into a bucket by that.
func (s *studio) mountAll(ctx context.Context) (failure string) {
	if len(s.session.Mounts) == 0 {
		return ""
	}
	if s.Place != nil {
		if err := s.Place.InstallMounter(ctx); err != nil {
			return fmt.Sprintf("The Studio's data cannot be mounted, because %s could not be installed on the machine: %v. Check that its subnet reaches the internet, or choose an image (AMI) that has it.", mountCommand, err)
		}
	} else if _, err := exec.LookPath(mountCommand); err != nil {
		return fmt.Sprintf("The Studio's data cannot be mounted, because the portal's host does not have the command %s. Install Mountpoint for Amazon S3 there, choose an AWS environment, or take the mounts away.", mountCommand)
	}
	for _, m := range s.session.Mounts {
		if err := s.mount(ctx, m); err != nil {
			return fmt.Sprintf("The data %s (%s) could not be mounted: %v. Check the name, and that the environment's role may read the bucket.", m.Name, m.URI, err)
		}
		s.say("%s is mounted at data/%s.", m.URI, m.Name)
	}
	s.steps.add(platform.StepMounted, time.Now(), countText(len(s.mounts), "mount"))
	return ""
}

// mount mounts one bucket, or a folder of it.
func (s *studio) mount(ctx context.Context, m platform.StudioMountSpec) error {
	root, err := os.OpenRoot(s.workspace)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(path.Join(dataFolder, m.Name), 0o755); err != nil {
		return err
	}
	folder := filepath.Join(s.workspace, dataFolder, m.Name)
	out, err := exec.CommandContext(ctx, mountCommand, mountArgs(m, folder)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	s.mounts = append(s.mounts, folder)
	return nil
}

// mountArgs is how the command is called (Mountpoint's documentation, CONFIGURATION.md). It finds the bucket's region itself, which
// need not be the machine's. A container's user is not the one who mounts.
func mountArgs(m platform.StudioMountSpec, folder string) []string {
	bucket, prefix, _ := platform.SplitS3(m.URI)
	args := []string{bucket, folder}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		args = append(args, "--prefix="+prefix+"/") // in one, because it may begin with a dash
	}
	if os.Geteuid() == 0 {
		args = append(args, "--allow-other")
	}
	if m.ReadOnly {
		return append(args, "--read-only")
	}
	return append(args, "--allow-delete", "--allow-overwrite", "--dir-mode", "0777", "--file-mode", "0666")
}

// unmountAll ends the mounts, the last first.
func (s *studio) unmountAll() {
	for _, folder := range slices.Backward(s.mounts) {
		if err := unmount(folder); err != nil {
			s.Log.Warn("a mount could not be ended", "folder", folder, "error", err)
		}
	}
	s.mounts = nil
}

// unmount ends a mount, with whichever command may do that. One that is in use ends when it is so no more.
func unmount(folder string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), unmountLimit)
	defer cancel()
	for _, command := range [][]string{{"umount", folder}, {"fusermount3", "-u", folder}, {"fusermount", "-u", folder}, {"umount", "--lazy", folder}} {
		out, failure := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if failure == nil {
			return nil
		}
		err = errors.Join(err, fmt.Errorf("%s: %w: %s", command[0], failure, strings.TrimSpace(string(out))))
	}
	return err
}
