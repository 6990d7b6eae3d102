package sandbox

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// standIns are commands that come first on a machine's PATH: those that end it, and those with which a script would reach
// through to the host.
var standIns = map[string]string{
	"shutdown":  "", // written by shutdownScript
	"poweroff":  "#!/bin/sh\nexec shutdown -h now\n",
	"halt":      "#!/bin/sh\nexec shutdown -h now\n",
	"systemctl": "#!/bin/sh\necho \"systemctl $*\" >> \"$WHERRY_ROOT/var/log/systemctl\"\ncase \"$1\" in\npoweroff | halt) exec shutdown -h now ;;\nis-active | is-enabled) echo inactive; exit 3 ;;\nesac\n",
}

// absent are commands of the host that are not on machines, because they would change the host.
var absent = []string{"docker", "podman", "service", "systemd-run", "loginctl", "reboot", "init", "telinit", "mount", "umount", "mkfs", "mkfs.ext4",
	"mkfs.xfs", "mdadm", "apt-get", "apt", "dnf", "yum", "rpm", "useradd", "usermod", "sysctl", "iptables", "nft"}

// writeStandIns writes the machine's own commands.
func (m *machine) writeStandIns() error {
	scripts := map[string]string{}
	for _, name := range absent {
		scripts[name] = "#!/bin/sh\necho '" + name + ": command not found' >&2\nexit 127\n"
	}
	for name, script := range standIns {
		scripts[name] = script
	}
	var err error
	if scripts["shutdown"], err = shutdownScript(m.metadata.url); err != nil {
		return err
	}
	for name, script := range m.hypervisor.Commands {
		scripts[name] = script
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(m.dir, "bin", name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// shutdownScript tells the hypervisor what shutdown is told.
func shutdownScript(url string) (string, error) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		return "", fmt.Errorf("the shutdown of machines needs curl: %w", err)
	}
	return `#!/bin/bash
args=()
for a; do args+=(--data-urlencode "a=$a"); done
exec ` + curl + ` -sS --noproxy '*' --fail-with-body --max-time 10 --data-urlencode "a=" "${args[@]}" ` + url + `/sandbox/shutdown
`, nil
}

// shutdownCommand does what shutdown(8) is told by its arguments: -h, -P or -H with now or +MINUTES, and -c.
func (m *machine) shutdownCommand(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	when := "+1"
	for _, arg := range r.Form["a"] {
		switch {
		case arg == "" || arg == "-h" || arg == "-P" || arg == "-H" || arg == "--poweroff" || arg == "--halt" || arg == "--no-wall":
		case arg == "-c":
			m.cancelShutdown()
			return
		case strings.HasPrefix(arg, "-"):
			http.Error(w, "shutdown: "+arg+" is not known on this machine", http.StatusBadRequest)
			return
		case arg == "now" || strings.HasPrefix(arg, "+"):
			when = arg
		default:
			if _, err := strconv.Atoi(arg); err != nil && when == "+1" {
				http.Error(w, "Failed to parse time specification: "+arg, http.StatusBadRequest)
				return
			} // what follows the time is a message to users
		}
	}
	minutes, err := strconv.Atoi(strings.TrimPrefix(when, "+"))
	if when != "now" && err != nil {
		http.Error(w, "Failed to parse time specification: "+when, http.StatusBadRequest)
		return
	}
	m.scheduleShutdown(time.Duration(minutes) * m.hypervisor.Minute)
	if minutes > 0 {
		fmt.Fprintf(w, "Shutdown scheduled for %s, use 'shutdown -c' to cancel.\n", time.Now().Add(time.Duration(minutes)*m.hypervisor.Minute).Format(time.RFC1123))
	}
}

// scheduleShutdown shuts the machine down in some time. It takes the place of what was set before.
func (m *machine) scheduleShutdown(in time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown != nil {
		m.shutdown.Stop()
	}
	m.shutdown = time.AfterFunc(in, func() {
		final := "stopped"
		if m.instance.call.Params.Get("InstanceInitiatedShutdownBehavior") == "terminate" {
			final = "terminated"
		}
		m.goDown(final, ReasonShutdown, true)
	})
}

func (m *machine) cancelShutdown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown != nil {
		m.shutdown.Stop()
		m.shutdown = nil
	}
}
