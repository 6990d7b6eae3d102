package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// instanceStores is where udev names the disks of the instance store.
const instanceStores = "/dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*"

// disk is a disk of the instance store.
type disk struct {
	device string
	name   string // of the kernel, such as nvme1n1
	bytes  int64
}

// FastDisk puts the largest unused disk of the instance store at dir. Where there is none, or it cannot be used, dir is a
// folder on the boot disk. A disk that has anything on it is not touched.
func (i *Instance) FastDisk(ctx context.Context, dir string) (what string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	d, ok, err := i.unusedDisk(ctx)
	if err != nil {
		return "the boot disk, because the instance store cannot be looked at", err
	}
	if !ok {
		return "the boot disk, because there is no unused disk of an instance store", nil
	}
	if err := i.mount(ctx, d, dir); err != nil {
		return fmt.Sprintf("the boot disk, because %s of the instance store cannot be used", d.name), err
	}
	return fmt.Sprintf("%s of the instance store, %d GB", d.name, d.bytes/1e9), nil
}

// unusedDisk finds the largest disk that has no partition and no signature of a filesystem or anything else.
func (i *Instance) unusedDisk(ctx context.Context) (found disk, ok bool, err error) {
	disks, err := i.disks()
	if err != nil {
		return found, false, err
	}
	var failures []error
	for _, d := range disks {
		empty, err := i.isEmpty(ctx, d)
		failures = append(failures, err)
		if empty {
			return d, true, nil
		}
	}
	return found, false, errors.Join(failures...)
}

// disks lists the disks of the instance store, the largest first. udev has several names for each.
func (i *Instance) disks() (list []disk, err error) {
	links, err := filepath.Glob(i.root + instanceStores)
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		device, err := filepath.EvalSymlinks(link)
		if err != nil {
			return nil, err
		}
		d := disk{device: device, name: filepath.Base(device)}
		if strings.Contains(filepath.Base(link), "-part") || slices.ContainsFunc(list, func(o disk) bool { return o.device == d.device }) {
			continue
		}
		const sector = 512 // the unit of this file, whatever the disk's own is
		text, err := os.ReadFile(i.root + "/sys/block/" + d.name + "/size")
		if err != nil {
			return nil, err
		}
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, err
		}
		d.bytes = sectors * sector
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b disk) int { return cmp.Compare(b.bytes, a.bytes) })
	return list, nil
}

// nothingFound is blkid's exit status for a disk without any signature (blkid(8)).
const nothingFound = 2

func (i *Instance) isEmpty(ctx context.Context, d disk) (bool, error) {
	partitions, err := filepath.Glob(i.root + "/sys/block/" + d.name + "/" + d.name + "p*")
	if err != nil || len(partitions) > 0 {
		return false, err
	}
	_, err = i.run(ctx, "blkid", "-p", d.device)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == nothingFound {
		return true, nil
	}
	return false, err
}

// mount makes a filesystem and mounts it. What a new disk holds is not worth discarding first, which takes long.
func (i *Instance) mount(ctx context.Context, d disk, dir string) error {
	_, err := i.run(ctx, "mkfs.xfs", "-K", d.device)
	if errors.Is(err, exec.ErrNotFound) {
		_, err = i.run(ctx, "mkfs.ext4", "-q", "-E", "nodiscard", d.device)
	}
	if err != nil {
		return err
	}
	_, err = i.run(ctx, "mount", "-o", "noatime", d.device, dir)
	return err
}
