package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Reach makes machines that boot from now on reach these addresses, http URLs without a path such as the portal's, over
// relays of their own, which CutNetwork cuts. In the user data that they execute the addresses stand for the relays'.
func (h *Hypervisor) Reach(urls ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reach = append(h.reach, urls...)
}

func (h *Hypervisor) reached() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.reach...)
}

// CutNetwork cuts a machine off from AWS and from what Reach names: calls hang until MendNetwork. Its metadata service
// answers on, as EC2's does.
func (h *Hypervisor) CutNetwork(instanceID string) error {
	m, err := h.machine(instanceID)
	if err == nil {
		m.network.cut()
	}
	return err
}

// MendNetwork undoes CutNetwork. Connections that hang go on.
func (h *Hypervisor) MendNetwork(instanceID string) error {
	m, err := h.machine(instanceID)
	if err == nil {
		m.network.mend()
	}
	return err
}

// Kill kills those processes of a machine whose command line holds a text, and tells how many they were.
func (h *Hypervisor) Kill(instanceID, commandHolds string) (count int, err error) {
	m, err := h.machine(instanceID)
	if err != nil {
		return 0, err
	}
	for _, p := range m.mark().List() {
		line, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/cmdline")
		if err == nil && bytes.Contains(bytes.ReplaceAll(line, []byte{0}, []byte{' '}), []byte(commandHolds)) {
			p.Kill()
			count++
		}
	}
	return count, nil
}

// Processes counts the processes of a machine.
func (h *Hypervisor) Processes(instanceID string) int {
	m, err := h.machine(instanceID)
	if err != nil {
		return 0
	}
	return len(m.mark().List())
}

// Interrupt gives a Spot Instance notice, and takes it back when the notice is over.
func (h *Hypervisor) Interrupt(instanceID string) error {
	m, err := h.machine(instanceID)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.metadata == nil || m.isGone() {
		return fmt.Errorf("%s is not up", instanceID)
	}
	m.metadata.mu.Lock()
	m.metadata.interruption = time.Now().Add(h.SpotNotice)
	m.metadata.mu.Unlock()
	h.group.Go(func() {
		select {
		case <-time.After(h.SpotNotice):
			m.goDown("terminated", ReasonSpot, true)
		case <-m.closing:
		}
	})
	return nil
}

// End stops or terminates an instance from outside, for a reason: "stopped" or "terminated". It returns when the machine is
// gone.
func (h *Hypervisor) End(instanceID, state string, reason StateReason) error {
	m, err := h.machine(instanceID)
	if err == nil {
		m.goDown(state, reason, true)
	}
	return err
}

// FillDisk fills a machine's disk to the last byte. It takes Options.Disk.
func (h *Hypervisor) FillDisk(instanceID string) error {
	m, err := h.machine(instanceID)
	if err != nil {
		return err
	}
	if h.Disk == 0 {
		return errors.New("machines have no disks of their own: set Options.Disk")
	}
	file, err := os.Create(filepath.Join(m.root(), "full"))
	if err != nil {
		return err
	}
	defer file.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
	}
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

// FreeDisk undoes FillDisk.
func (h *Hypervisor) FreeDisk(instanceID string) error {
	m, err := h.machine(instanceID)
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(m.root(), "full"))
}

// Root is the folder that is a machine's /. It is there from the boot to the end.
func (h *Hypervisor) Root(instanceID string) (string, error) {
	m, err := h.machine(instanceID)
	if err != nil {
		return "", err
	}
	return m.root(), nil
}

// Metadata is the address of a machine's metadata service; empty before its boot.
func (h *Hypervisor) Metadata(instanceID string) (string, error) {
	m, err := h.machine(instanceID)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.metadata == nil {
		return "", nil
	}
	return m.metadata.url, nil
}

// Console is the end of what a machine said, also when it is gone.
func (h *Hypervisor) Console(instanceID string) (string, error) {
	m, err := h.machine(instanceID)
	if err != nil {
		return "", err
	}
	return string(m.consoleTail()), nil
}

// Wait waits until nothing is left of a machine.
func (h *Hypervisor) Wait(ctx context.Context, instanceID string) error {
	m, err := h.machine(instanceID)
	if err != nil {
		return err
	}
	select {
	case <-m.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", instanceID, context.Cause(ctx))
	}
}

// Running are the ids of the instances whose machines are not gone.
func (h *Hypervisor) Running() (ids []string) {
	for _, m := range h.all() {
		if !m.isGone() {
			ids = append(ids, m.instance.id)
		}
	}
	return ids
}
