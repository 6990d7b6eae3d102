// Package local runs machines on this host: a machine is a group of processes in a folder of its own, led by a supervisor
// that plays the part which the boot script and the hypervisor play in a cloud. Machines outlive the portal.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wherry/cloud"
	"wherry/cloud/processes"
	"wherry/platform"
)

// Config tells where machines live and how they are started.
type Config struct {
	Dir      string   // holds machines/ID for every machine
	Command  []string // runs the supervisor; default: this program's "machine" command
	Env      []string // NAME=value, for supervisors over the portal's own
	Nextflow string   // the nextflow command; empty: "nextflow" from PATH
	Log      *slog.Logger
}

// Local is this host as a platform.
type Local struct{ Config }

var _ cloud.Cloud = (*Local)(nil)

// New returns this host as a platform.
func New(c Config) *Local {
	if c.Nextflow == "" {
		c.Nextflow = "nextflow"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Local{c}
}

func (l *Local) folder(machineID string) folder {
	return folder(filepath.Join(l.Dir, "machines", machineID))
}

// mark is what every process of a machine carries.
func mark(machineID string) processes.Mark { return processes.Mark("WHERRY_MACHINE=" + machineID) }

// instanceID names the one instance that a machine can have here.
func instanceID(machineID string) string { return "local-" + machineID }

// Start makes the machine's folder and starts its supervisor. The folder is the request; the supervisor makes sure that
// it is the only one there ever was, so that starting a second one, after a crash or by mistake, does nothing.
func (l *Local) Start(ctx context.Context, _ platform.ComputeEnv, req cloud.StartRequest) (cloud.Started, error) {
	if !platform.ValidID(req.MachineID) {
		return cloud.Started{}, cloud.Errorf(cloud.KindInvalid, nil, "%q is not a machine's id.", req.MachineID)
	}
	f := l.folder(req.MachineID)
	if err := f.make(); err != nil {
		return cloud.Started{}, startError(err)
	}
	started := cloud.Started{InstanceID: instanceID(req.MachineID)}
	if f.has(startedFile) || f.has(terminateFile) {
		return started, nil
	}
	if err := l.spawn(f, req); err != nil {
		return cloud.Started{}, startError(err)
	}
	return started, nil
}

func startError(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, exec.ErrNotFound) {
		return cloud.Errorf(cloud.KindInvalid, err, "This host cannot start a machine.")
	}
	return cloud.Errorf(cloud.KindTransient, err, "This host could not start a machine.")
}

// spawn starts the supervisor in a session of its own, so that nothing that ends the portal ends it. The order goes in by
// a pipe: the claim token in it is on no command line, in no environment and in no file.
func (l *Local) spawn(f folder, req cloud.StartRequest) error {
	command := l.Command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		command = []string{self, "machine"}
	}
	order, err := encodeOrder(order{MachineID: req.MachineID, PortalURL: req.PortalURL, ClaimToken: req.ClaimToken,
		Lifetime: req.Lifetime, Folder: string(f), Nextflow: l.Nextflow})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(f.path(logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = string(f), r, log, log
	cmd.Env = append(withoutSettings(os.Environ()), l.Env...)
	cmd.Env = append(cmd.Env, string(mark(req.MachineID)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() // reaps it, should it end before the portal does
	_, err = w.Write(order)
	return err
}

// withoutSettings leaves out what configures the portal: its machines have no need of it.
func withoutSettings(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if !strings.HasPrefix(e, "WHERRY_") || strings.HasPrefix(e, "WHERRY_AGENT_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// Describe tells how the machine is, from its folder and from the processes that carry its mark.
func (l *Local) Describe(_ context.Context, _ platform.ComputeEnv, m platform.Machine) (cloud.Instance, error) {
	return l.describe(m.ID)
}

func (l *Local) describe(machineID string) (cloud.Instance, error) {
	f := l.folder(machineID)
	i := cloud.Instance{MachineID: machineID, InstanceID: instanceID(machineID), Status: cloud.StatusGone}
	if !f.exists() {
		return i, nil
	}
	supervised, err := f.locked()
	if err != nil {
		return i, cloud.Errorf(cloud.KindTransient, err, "The machine's folder cannot be read.")
	}
	i.Started = f.startedAt()
	switch {
	case supervised && f.has(terminateFile):
		i.Status = cloud.StatusStopping
	case supervised:
		i.Status = cloud.StatusRunning
	case f.has(endedFile):
		i.Reason = f.endReason()
	case f.has(startedFile):
		i.Status, i.Reason = statusOfRest(machineID), "its supervisor was killed"
	case !f.has(terminateFile) && len(mark(machineID).List()) > 0:
		i.Status = cloud.StatusPending
	case !f.has(terminateFile) && time.Since(f.modified()) < spawnGrace:
		i.Status = cloud.StatusPending
	}
	return i, nil
}

// spawnGrace is how long a folder may be there before its supervisor is.
const spawnGrace = 10 * time.Second

// statusOfRest tells how a machine is that has lost its supervisor.
func statusOfRest(machineID string) cloud.Status {
	if len(mark(machineID).List()) > 0 {
		return cloud.StatusStopping
	}
	return cloud.StatusGone
}

// Terminate ends every process of the machine. The mark in its folder comes first, so that no supervisor starts after.
// After it, Start starts nothing.
func (l *Local) Terminate(ctx context.Context, _ platform.ComputeEnv, m platform.Machine) error {
	machineID := m.ID
	if !platform.ValidID(machineID) {
		return cloud.Errorf(cloud.KindInvalid, nil, "%q is not a machine's id.", machineID)
	}
	f := l.folder(machineID)
	if err := errors.Join(f.make(), f.touch(terminateFile)); err != nil {
		return cloud.Errorf(cloud.KindTransient, err, "The machine could not be marked for its end.")
	}
	if left := mark(machineID).KillAll(ctx, killLimit); left > 0 {
		return cloud.Errorf(cloud.KindTransient, nil, "%d processes of the machine have been killed and are not gone yet.", left)
	}
	if err := f.waitUnlocked(ctx, killLimit); err != nil {
		return cloud.Errorf(cloud.KindTransient, err, "The machine's supervisor has been killed and is not gone yet.")
	}
	if f.has(endedFile) {
		return nil
	}
	if err := f.writeEnd("its end was asked for"); err != nil { // its supervisor was killed with the rest, and could not
		return cloud.Errorf(cloud.KindTransient, err, "The machine's end could not be written down.")
	}
	return nil
}

// End ends the machine that has the instance.
func (l *Local) End(ctx context.Context, env platform.ComputeEnv, instance string) error {
	return l.Terminate(ctx, env, platform.Machine{ID: strings.TrimPrefix(instance, instanceID(""))})
}

// killLimit bounds one Terminate; the loop asks again.
const killLimit = 3 * time.Second

// List finds the machines that are not gone.
func (l *Local) List(context.Context, platform.ComputeEnv) ([]cloud.Instance, error) {
	entries, err := os.ReadDir(filepath.Join(l.Dir, "machines"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, cloud.Errorf(cloud.KindTransient, err, "The folder of machines cannot be read.")
	}
	var list []cloud.Instance
	for _, e := range entries {
		if f := l.folder(e.Name()); !platform.ValidID(e.Name()) || f.has(endedFile) {
			continue
		}
		i, err := l.describe(e.Name())
		if err != nil {
			return nil, err
		}
		if i.Status != cloud.StatusGone {
			list = append(list, i)
		}
	}
	return list, nil
}

// Recover reads the logs from the machine's folder, where they are whole, and the rest from the work directory.
func (l *Local) Recover(_ context.Context, _ platform.ComputeEnv, req cloud.RecoverRequest) (cloud.Recovered, error) {
	f := l.folder(req.MachineID)
	return cloud.ReadKept(func(name string, offset int64) (io.ReadCloser, error) {
		path := filepath.Join(req.WorkDir, filepath.FromSlash(req.Folder), name)
		switch name {
		case cloud.KeptLog(platform.LogOutput), cloud.KeptLog(platform.LogNextflow):
			path = f.path(name) // masked; Nextflow's own is not
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		_, err = file.Seek(offset, io.SeekStart)
		return file, err
	}, req)
}

// Assign has nobody to tell.
func (l *Local) Assign(context.Context, platform.ComputeEnv, platform.Machine, cloud.StartRequest) error {
	return nil
}

// LastWords are none: what a machine on this host prints is in its folder.
func (l *Local) LastWords(context.Context, platform.ComputeEnv, platform.Machine) string { return "" }

// Open opens a file in a run's work directory. Links that lead out of the directory are not followed.
func (l *Local) Open(_ context.Context, _ platform.ComputeEnv, workDir, name string) (fs.File, error) {
	root, err := os.OpenRoot(workDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Without O_NONBLOCK a named pipe would be waited for until somebody writes into it.
	file, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, cloud.Errorf(cloud.KindInvalid, err, "This file cannot be read.")
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, cloud.Errorf(cloud.KindInvalid, err, "This is not a file.")
	}
	return file, nil
}

// CheckLaunch looks whether a pipeline that is named by its path is there.
func (l *Local) CheckLaunch(_ context.Context, _ platform.ComputeEnv, launch platform.Launch) error {
	if !filepath.IsAbs(launch.Pipeline) {
		return nil // a repository: Nextflow looks for it when the run begins
	}
	info, err := os.Stat(launch.Pipeline)
	if err != nil {
		return platform.FieldErrors{"pipeline": "There is no such file or folder on this host."}
	}
	script := cmp.Or(launch.MainScript, "main.nf")
	if !info.IsDir() || isThere(filepath.Join(launch.Pipeline, script)) {
		return nil
	}
	if launch.MainScript != "" {
		return platform.FieldErrors{"mainScript": "The pipeline has no such file."}
	}
	if isThere(filepath.Join(launch.Pipeline, "nextflow.config")) {
		return nil // its manifest may name another main script
	}
	return platform.FieldErrors{"pipeline": "This folder is no pipeline: it has neither main.nf nor nextflow.config."}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Check tells whether the work directory can be written and Nextflow be found.
func (l *Local) Check(_ context.Context, env platform.ComputeEnv) error {
	if err := os.MkdirAll(env.WorkDir, 0o755); err != nil {
		return cloud.Errorf(cloud.KindInvalid, err, "The work directory %s cannot be made on this host.", env.WorkDir)
	}
	probe, err := os.CreateTemp(env.WorkDir, ".wherry-check-")
	if err != nil {
		return cloud.Errorf(cloud.KindInvalid, err, "The work directory %s cannot be written.", env.WorkDir)
	}
	err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		return cloud.Errorf(cloud.KindInvalid, err, "The work directory %s cannot be written.", env.WorkDir)
	}
	if _, err := exec.LookPath(l.Nextflow); err != nil {
		return cloud.Errorf(cloud.KindInvalid, err, "The command %q was not found on this host. Install Nextflow, or set WHERRY_NEXTFLOW.", l.Nextflow)
	}
	return nil
}

// describeEnd says in words how a process ended.
func describeEnd(state *os.ProcessState, what string) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("the %s was killed by signal %d (%s)", what, status.Signal(), status.Signal())
	}
	return fmt.Sprintf("the %s ended with exit status %d", what, state.ExitCode())
}
