package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"wherry/cloud/processes"
)

const (
	// pollEvery is how often the hypervisor asks moto whether instances were ended past the proxy.
	pollEvery = 500 * time.Millisecond
	// killLimit is how long killing a machine's processes may take; the kernel waits for some system calls.
	killLimit = 30 * time.Second
)

// Options tell how a hypervisor boots. With none it boots at once, with the host's own commands.
type Options struct {
	Dir      string            // Dir holds a folder for each machine; default: one of its own that it removes
	Tools    []string          // Tools are folders of PATH before the host's, of Nextflow and Java for instance
	Commands map[string]string // Commands are scripts by name that come first on PATH, over those of standIns
	Env      []string          // Env are variables, NAME=value, of everything that runs on machines

	Pending    time.Duration // Pending is how long an instance is pending
	Boot       time.Duration // Boot is how long it then takes until the user data runs
	Minute     time.Duration // Minute is that of `shutdown -h +N`; default: a minute
	SpotNotice time.Duration // SpotNotice is from the notice of an interruption to the end; default: two minutes, as EC2's

	// At is a folder, which must be there, at which each machine sees its own root, so that paths are the same on all of them
	// as on EC2's instances; empty: each root has a path of its own. It takes the right to mount.
	At string
	// Disk is the size of machines' disks in bytes; 0: that of the host. It takes the right to mount.
	Disk int64
	Log  io.Writer // Log gets what goes wrong; default: the standard error
}

// Hypervisor boots what is launched through a proxy: each instance is a group of processes in a folder of its own, which
// execute the instance's user data beside a metadata service of its own.
type Hypervisor struct {
	Options
	proxy  *Proxy
	id     string // the mark of all its processes
	reaper *exec.Cmd
	leash  io.WriteCloser // the reaper's standard input: when it ends, so do all processes

	ctx   context.Context
	stop  context.CancelFunc
	group sync.WaitGroup

	mu       sync.Mutex
	machines map[string]*machine // by instance id, also those that are gone
	reach    []string            // the addresses that machines reach over relays
}

// NewHypervisor starts a hypervisor for what is launched through a proxy from now on.
func NewHypervisor(p *Proxy, o Options) (*Hypervisor, error) {
	o.Minute, o.SpotNotice = cmp.Or(o.Minute, time.Minute), cmp.Or(o.SpotNotice, 2*time.Minute)
	if o.Log == nil {
		o.Log = os.Stderr
	}
	var err error
	if o.Dir == "" {
		o.Dir, err = os.MkdirTemp("", "wherry-sandbox-")
	} else if err = os.MkdirAll(o.Dir, 0o755); err == nil {
		o.Dir, err = os.MkdirTemp(o.Dir, "machines-")
	}
	if err != nil {
		return nil, err
	}
	h := &Hypervisor{Options: o, proxy: p, id: filepath.Base(o.Dir), machines: map[string]*machine{}}
	h.ctx, h.stop = context.WithCancel(context.Background())
	if err := h.startReaper(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting what ends machines when this process dies: %w", err), os.RemoveAll(o.Dir))
	}
	p.mu.Lock()
	p.hypervisor = h
	p.mu.Unlock()
	h.group.Go(h.watch)
	return h, nil
}

// Close ends all machines, terminates their instances and waits until nothing is left.
func (h *Hypervisor) Close() error {
	h.proxy.mu.Lock()
	h.proxy.hypervisor = nil
	h.proxy.mu.Unlock()
	h.stop()
	for _, m := range h.all() {
		h.group.Go(func() { h.discard(m) })
	}
	h.group.Wait()
	left := h.mark().KillAll(context.Background(), killLimit)
	if left > 0 {
		h.log("%d processes of machines do not die", left)
		return fmt.Errorf("%d processes of machines do not die", left) // the reaper goes on trying
	}
	fmt.Fprintln(h.leash, "done")
	h.leash.Close()
	return errors.Join(h.reaper.Wait(), os.RemoveAll(h.Dir))
}

// discard terminates a machine's instance, also where the machine is gone because it was stopped.
func (h *Hypervisor) discard(m *machine) {
	m.goDown("terminated", ReasonUser, true)
	if now, _ := m.instance.at(time.Now()); now.name != "stopped" {
		return
	}
	if err := h.proxy.server.endInMoto(m.instance, "TerminateInstances"); err != nil {
		h.log("terminating %s: %v", m.instance.id, err)
	}
	m.instance.become("terminated", ReasonUser)
}

func (h *Hypervisor) mark() processes.Mark { return processes.Mark("WHERRY_SANDBOX=" + h.id) }

func (h *Hypervisor) log(format string, args ...any) {
	fmt.Fprintf(h.Log, "sandbox: "+format+"\n", args...)
}

func (h *Hypervisor) all() []*machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.machines))
}

// machine finds a machine by the id of its instance.
func (h *Hypervisor) machine(instanceID string) (*machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.machines[instanceID]
	if m == nil {
		return nil, fmt.Errorf("no machine was ever booted for %s", instanceID)
	}
	return m, nil
}

// reaper is a process that outlives this one and kills what carries the mark. It ends without doing so when it is told that
// all is done. It carries no mark itself.
const reaper = `
trap '' INT TERM HUP
read -r order && [ "$order" = done ] && exit 0
mark=$1 dir=$2 quiet=0
for try in {1..600}; do
  found=$(grep -slzxF -- "$mark" /proc/[0-9]*/environ | cut -d/ -f3)
  if [ -n "$found" ]; then kill -9 $found 2>/dev/null; quiet=0; else quiet=$((quiet + 1)); fi
  [ $quiet -ge 3 ] && break
  sleep 0.05
done
cut -d' ' -f2 /proc/mounts | grep -F -- "$dir/" | xargs -r umount -l
rm -rf -- "$dir"
`

func (h *Hypervisor) startReaper() error {
	bash, err := exec.LookPath("bash")
	if err != nil {
		return err
	}
	h.reaper = exec.Command(bash, "-c", reaper, "wherry-sandbox-reaper", string(h.mark()), h.Dir)
	h.reaper.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to this process's group is not for it
	if h.leash, err = h.reaper.StdinPipe(); err != nil {
		return err
	}
	return h.reaper.Start()
}

// boot lets a new instance come up.
func (h *Hypervisor) boot(i *instance) error {
	m := newMachine(h, i)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return errors.New("the hypervisor has ended")
	}
	i.mu.Lock()
	i.machine, i.booted = m, m
	i.changes = append(i.changes, change{at: time.Now().Add(h.Pending), name: "running"})
	i.mu.Unlock()
	h.machines[i.id] = m
	h.group.Go(m.live)
	return nil
}

// watch ends the machines of instances that were ended in moto without the proxy hearing of it.
func (h *Hypervisor) watch() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		regions := map[string]url.Values{}
		for _, m := range h.all() {
			if m.isGone() {
				continue
			}
			list := regions[m.instance.region]
			if list == nil {
				list = url.Values{}
				regions[m.instance.region] = list
			}
			list.Set(numbered("InstanceId", len(list)), m.instance.id)
		}
		for region, ids := range regions {
			found, err := h.proxy.server.askEC2(h.ctx, region, "DescribeInstances", ids)
			if err != nil {
				if h.ctx.Err() == nil {
					h.log("looking for instances that were ended: %v", err)
				}
				continue
			}
			h.proxy.observe(found)
		}
	}
}

// endInMoto stops or terminates an instance in moto.
func (s *Server) endInMoto(i *instance, operation string) error {
	_, err := s.askEC2(context.Background(), i.region, operation, url.Values{"InstanceId.1": {i.id}})
	return err
}

// path is the PATH of machines.
func (h *Hypervisor) path(bin string) string {
	dirs := append([]string{bin}, h.Tools...)
	return strings.Join(append(dirs, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"), ":")
}
