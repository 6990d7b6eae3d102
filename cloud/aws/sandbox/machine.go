package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wherry/cloud/processes"
)

// maxConsole is how much of its end EC2 keeps of a console, in bytes.
const maxConsole = 64 << 10

// machine is what runs for an instance: its processes, its folder, its metadata service and its network.
type machine struct {
	hypervisor *Hypervisor
	instance   *instance
	dir        string // dir holds root, the machine's own /; bin, the stand-ins; and console
	network    *network
	metadata   *metadata

	closing chan struct{} // closed when it begins to go down
	gone    chan struct{} // closed when nothing of it is left
	once    sync.Once

	mu       sync.Mutex
	up       bool        // up is true from when its parts are there
	console  *os.File    // console is what it says, in a file beside its disk
	shutdown *time.Timer // shutdown is what `shutdown +N` has set
	kept     []byte      // kept is the end of the console of a machine that is gone
}

func newMachine(h *Hypervisor, i *instance) *machine {
	m := &machine{hypervisor: h, instance: i, dir: filepath.Join(h.Dir, i.id), closing: make(chan struct{}), gone: make(chan struct{})}
	m.network = newNetwork()
	return m
}

func (m *machine) mark() processes.Mark {
	return processes.Mark("WHERRY_SANDBOX_INSTANCE=" + m.instance.id)
}

func (m *machine) isGone() bool {
	select {
	case <-m.gone:
		return true
	default:
		return false
	}
}

func (m *machine) root() string { return filepath.Join(m.dir, "root") }

// live brings the machine up when it is time.
func (m *machine) live() {
	select {
	case <-time.After(m.hypervisor.Pending + m.hypervisor.Boot):
	case <-m.closing:
		return
	}
	if err := m.start(); err != nil {
		m.hypervisor.log("booting %s: %v", m.instance.id, err)
		m.say("boot failed: " + err.Error())
	}
}

// start makes the machine's parts and runs its user data.
func (m *machine) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closing:
		return nil // it went down before it was up
	default:
	}
	m.up = true
	if err := m.makeDisk(); err != nil {
		return err
	}
	var err error
	if m.metadata, err = serveMetadata(m); err != nil {
		return err
	}
	if err := m.writeStandIns(); err != nil {
		return err
	}
	endpoint, err := m.network.relay(m.hypervisor.proxy.URL)
	if err != nil {
		return err
	}
	script, err := m.userData()
	if err != nil || script == "" {
		return err
	}
	return m.run(script, endpoint)
}

// makeDisk makes the machine's folders. With a size they are on a file system of their own.
func (m *machine) makeDisk() error {
	err := os.MkdirAll(m.root(), 0o755)
	if err == nil {
		m.console, err = os.OpenFile(filepath.Join(m.dir, "console"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	}
	if err != nil {
		return err
	}
	if size := m.hypervisor.Disk; size > 0 {
		if err := unix.Mount("tmpfs", m.root(), "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", size)); err != nil {
			return fmt.Errorf("mounting a disk of %d bytes, which takes root: %w", size, err)
		}
	}
	for _, dir := range []string{"etc", "root", "run", "tmp", "var/lib/cloud/instance/scripts", "var/log"} {
		if err := os.MkdirAll(filepath.Join(m.root(), dir), 0o755); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(m.dir, "bin"), 0o755)
}

// userData writes the user data as a script where cloud-init does, and returns its path. What is no script is said on the
// console and not run, as cloud-init does it.
func (m *machine) userData() (string, error) {
	text := m.instance.call.UserData()
	if zipped, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if text, err = io.ReadAll(zipped); err != nil {
			return "", fmt.Errorf("unpacking the user data: %w", err)
		}
	}
	if len(text) == 0 {
		return "", nil
	}
	if !bytes.HasPrefix(text, []byte("#!")) {
		m.say("cloud-init: the user data is no script that begins with #!, and nothing else is known here")
		return "", nil
	}
	for _, reach := range m.hypervisor.reached() {
		to, err := m.network.relay(reach)
		if err != nil {
			return "", err
		}
		text = bytes.ReplaceAll(text, []byte(reach), []byte(to))
	}
	path := filepath.Join(m.root(), "var/lib/cloud/instance/scripts/part-001")
	return path, os.WriteFile(path, text, 0o700)
}

// run starts the user data's script.
func (m *machine) run(script, endpoint string) error {
	root := m.root()
	cmd := exec.Command(script)
	if at := m.hypervisor.At; at != "" {
		mount, err := exec.LookPath("mount") // machines have none of their own
		if err != nil {
			return err
		}
		cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `"$3" --bind "$0" "$1" && cd "$1" && exec "$2"`, root, at, script, mount)
		root = at
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.root(), m.console, m.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append([]string{
		"PATH=" + m.hypervisor.path(filepath.Join(m.dir, "bin")),
		"HOME=" + filepath.Join(root, "root"), "TMPDIR=" + filepath.Join(root, "tmp"), "USER=root", "LANG=C.UTF-8",
		"WHERRY_ROOT=" + root,
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + m.metadata.url,
		"AWS_ENDPOINT_URL=" + endpoint,
	}, m.hypervisor.Env...)
	cmd.Env = append(cmd.Env, string(m.hypervisor.mark()), string(m.mark()))
	if err := start(cmd); err != nil {
		return fmt.Errorf("running the user data: %w", err)
	}
	m.hypervisor.group.Go(func() {
		cmd.Wait()
		m.say("cloud-init: the user data ended, " + cmd.ProcessState.String())
	})
	return nil
}

// start starts a script that was written a moment ago. While another thread forks, the child has the script open for
// writing for a moment, and the kernel does not execute such a file (https://go.dev/issue/22315).
func start(cmd *exec.Cmd) error {
	for try := 0; ; try++ {
		err := cmd.Start()
		if !errors.Is(err, unix.ETXTBSY) || try == 100 {
			return err
		}
		time.Sleep(time.Millisecond)
		again := exec.Command(cmd.Args[0], cmd.Args[1:]...)
		again.Dir, again.Env, again.Stdout, again.Stderr, again.SysProcAttr = cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr
		*cmd = *again
	}
}

// say writes a line on the console. A machine that has none yet, or none any more, says nothing.
func (m *machine) say(text string) { _, _ = fmt.Fprintln(m.console, text) }

// consoleTail is the end of what the machine said. It can be read when the machine is gone, too.
func (m *machine) consoleTail() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readConsole()
}

func (m *machine) readConsole() []byte {
	if m.kept != nil || m.console == nil {
		return m.kept
	}
	info, err := m.console.Stat()
	if err != nil {
		return nil
	}
	from := max(0, info.Size()-maxConsole)
	text := make([]byte, info.Size()-from)
	n, _ := m.console.ReadAt(text, from) // it may be growing
	return text[:n]
}

// goDown ends the machine: its processes, its services, its disk, and where moto does not know yet, the instance there. The
// first reason counts. It returns when nothing is left.
func (m *machine) goDown(final string, reason StateReason, tellMoto bool) {
	m.once.Do(func() {
		close(m.closing)
		m.mu.Lock() // start may be at work: what it starts must be there to be killed
		m.mu.Unlock()
		m.instance.become(map[string]string{"terminated": "shutting-down", "stopped": "stopping"}[final], reason)
		m.cancelShutdown()
		if left := m.mark().KillAll(context.Background(), killLimit); left > 0 {
			m.hypervisor.log("%s: %d processes do not die", m.instance.id, left)
		}
		m.clear()
		if tellMoto {
			operation := map[string]string{"terminated": "TerminateInstances", "stopped": "StopInstances"}[final]
			if err := m.hypervisor.proxy.server.endInMoto(m.instance, operation); err != nil {
				m.hypervisor.log("ending %s: %v", m.instance.id, err)
			}
		}
		m.instance.become(final, reason)
		m.instance.mu.Lock()
		m.instance.machine = nil
		m.instance.mu.Unlock()
		close(m.gone)
	})
	<-m.gone
}

// clear lets go of all that the machine had beside processes.
func (m *machine) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if text := m.readConsole(); m.console != nil {
		m.kept = append([]byte{}, text...)
		m.console.Close()
	}
	m.network.close()
	if m.metadata != nil {
		m.metadata.close()
	}
	if m.up && m.hypervisor.Disk > 0 {
		_ = unix.Unmount(m.root(), unix.MNT_DETACH) // there may be none, when mounting it failed
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.hypervisor.log("removing the folder of %s: %v", m.instance.id, err)
	}
}
