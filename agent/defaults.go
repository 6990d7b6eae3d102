package agent

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"wherry/platform"
)

const (
	nextflowHome  = "nextflow-home" // NXF_HOME of the run, in the machine's folder
	reportsFolder = "reports"
	// homeConfig is the configuration with the lowest precedence (Nextflow's documentation, "Configuration"): a pipeline's
	// own comes after it, and so do the environment's and the launch's.
	homeConfig = "config"
)

// defaults is Nextflow's configuration for this machine, which pipelines and people may change.
func (a *agent) defaults() (string, error) {
	var b strings.Builder
	for _, r := range nextflowReports {
		fmt.Fprintf(&b, "%s {\n  enabled = true\n  overwrite = true\n  file = %s\n}\n", r.scope, quoteGroovy(filepath.Join(a.Dir, reportsFolder, r.file)))
	}
	if a.Place == nil {
		return b.String(), nil
	}
	memory, err := totalMemory("/proc/meminfo")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "executor {\n  cpus = %d\n  memory = '%d MB'\n}\n", runtime.NumCPU(), taskMemory(memory)>>20)
	c := a.spec.Cloud
	if _, err := exec.LookPath("docker"); err == nil {
		b.WriteString("docker.enabled = true\n")
	}
	if c.Region != "" {
		fmt.Fprintf(&b, "aws.region = %s\n", quoteGroovy(c.Region))
	}
	if c.Wave || c.Fusion { // Fusion comes into the containers of tasks through Wave
		b.WriteString("wave.enabled = true\n")
	}
	if c.Fusion {
		// The containers of tasks get the role from the metadata service; Nextflow's option to write keys into the scripts
		// of tasks stays off.
		b.WriteString("fusion.enabled = true\nprocess.scratch = false\n")
		if len(a.spec.PipelineSecrets) > 0 { // there the whole task runs in its container, with what reads its secrets
			fmt.Fprintf(&b, "docker.runOptions = %s\n", quoteGroovy("--volume "+filepath.Dir(a.secretsStore())+":"+filepath.Dir(a.secretsStore())+":ro"))
		}
	}
	return b.String(), nil
}

// quoteGroovy writes a string that Groovy does not interpret.
func quoteGroovy(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
}

// The system, Nextflow's own Java machine and this agent need memory beside the tasks: a tenth of it, and at least 512 MB.
const minReserve = 512 << 20

func taskMemory(total int64) int64 {
	return max(total/4, total-max(total/10, minReserve))
}

// totalMemory reads the machine's memory in bytes.
func totalMemory(meminfo string) (int64, error) { return readMemory(meminfo, "MemTotal") }

// readMemory reads one of the kernel's numbers about memory, in bytes (proc_meminfo(5)).
func readMemory(meminfo, name string) (int64, error) {
	file, err := os.Open(meminfo)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", meminfo, name)
}

// homeFolders are in Nextflow's home, and outlive a run where the host does.
var homeFolders = []string{"assets", "plugins", "framework", "secrets", "tmp"}

// makeHome makes a home for Nextflow that is the machine's own, but for its configuration: ours first, and the machine's
// after it.
func (a *agent) makeHome() error {
	home := filepath.Join(a.Dir, nextflowHome)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(a.Dir, reportsFolder), 0o755); err != nil {
		return err
	}
	text, err := a.defaults()
	if err != nil {
		return err
	}
	own := ownHome()
	for _, name := range homeFolders {
		_ = os.MkdirAll(filepath.Join(own, name), 0o755) // where the home is read-only, Nextflow has to do with what is there
	}
	entries, _ := os.ReadDir(own)
	for _, e := range entries {
		if e.Name() == homeConfig {
			text += "includeConfig " + quoteGroovy(filepath.Join(own, homeConfig)) + "\n"
		} else if err := os.Symlink(filepath.Join(own, e.Name()), filepath.Join(home, e.Name())); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return os.WriteFile(filepath.Join(home, homeConfig), []byte(text), 0o600)
}

// ownHome is the machine's Nextflow home.
func ownHome() string {
	if home := os.Getenv("NXF_HOME"); home != "" {
		return home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	return filepath.Join(home, ".nextflow")
}

// assets is where Nextflow keeps its copies of pipelines.
func (a *agent) assets() string {
	if a.image != "" {
		return filepath.Join(a.Dir, "assets")
	}
	return cmp.Or(os.Getenv("NXF_ASSETS"), filepath.Join(ownHome(), "assets"))
}

// imageFor is the container image with the Nextflow that a run wants.
func imageFor(spec platform.Spec) string {
	version := cmp.Or(spec.Launch.NextflowVersion, spec.Cloud.NextflowVersion, platform.DefaultNextflowVersion)
	return "docker.io/nextflow/nextflow:" + version
}
