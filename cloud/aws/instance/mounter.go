package instance

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
)

// mounter is Mountpoint for Amazon S3, and mounterPackage where AWS publishes it for Amazon Linux (Mountpoint's
// documentation, INSTALL.md).
const (
	mounter        = "mount-s3"
	mounterPackage = "https://s3.amazonaws.com/mountpoint-s3-release/latest/%s/mount-s3.rpm"
)

// architectures are Go's names, as Mountpoint calls them.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "arm64"}

// InstallMounter installs Mountpoint for Amazon S3, unless the image has it.
func (i *Instance) InstallMounter(ctx context.Context) error {
	if _, err := i.run(ctx, mounter, "--version"); !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	address := fmt.Sprintf(mounterPackage, architectures[runtime.GOARCH])
	_, err := i.run(ctx, "dnf", "install", "--assumeyes", address)
	if errors.Is(err, exec.ErrNotFound) {
		_, err = i.run(ctx, "yum", "install", "--assumeyes", address)
	}
	return err
}
