package platform

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Shortage is a task that asks for more than its machine has, which Nextflow refuses to start. What was not said is zero:
// Nextflow looks at CPUs first, and then at memory, and tells the first that is too much.
type Shortage struct {
	Process             string // without the tag of the task
	CPUs, AvailCPUs     int
	Memory, AvailMemory int64 // bytes, as Nextflow wrote them: rounded to a tenth of their unit
	GPUs, AvailGPUs     int
	MemoryRounding      int64 // how much more than Memory it may be, in bytes
}

// Nextflow's words are in its LocalPollingMonitor.canSubmit; "exceed" and "accelerators" are those of older and newer
// versions. The process is named by its report of an error.
var (
	shortageForm = regexp.MustCompile(`Process requirement exceeds? available (CPUs|memory|accelerators) -- req: ([0-9.]+(?: [KMGTPE]?B)?); avail: ([0-9.]+(?: [KMGTPE]?B)?)`)
	processForm  = regexp.MustCompile(`Error executing process > '([^\n]+)'`)
	memoryForm   = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?: ([KMGTPE]?)B)?$`)
)

// ReadShortage finds a shortage in what Nextflow printed or reported of an error.
func ReadShortage(text string) (Shortage, bool) {
	m := shortageForm.FindStringSubmatch(text)
	if m == nil {
		return Shortage{}, false
	}
	s, ok := Shortage{}, false
	switch m[1] {
	case "CPUs":
		s.CPUs, s.AvailCPUs, ok = readCounts(m[2], m[3])
	case "accelerators":
		s.GPUs, s.AvailGPUs, ok = readCounts(m[2], m[3])
	case "memory":
		var okAvail bool
		s.Memory, s.MemoryRounding, ok = readMemory(m[2])
		s.AvailMemory, _, okAvail = readMemory(m[3])
		ok = ok && okAvail && s.Memory+s.MemoryRounding >= s.AvailMemory
	}
	if p := processForm.FindStringSubmatch(text); p != nil {
		s.Process, _, _ = strings.Cut(p[1], " (")
	}
	return s, ok
}

func readCounts(asked, available string) (a, b int, ok bool) {
	a, errA := strconv.Atoi(asked)
	b, errB := strconv.Atoi(available)
	return a, b, errA == nil && errB == nil && a > b
}

// readMemory reads an amount as Nextflow's MemoryUnit writes it: a number with at most one decimal and a unit of 1024.
func readMemory(text string) (bytes, rounding int64, ok bool) {
	m := memoryForm.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, false
	}
	value, err := strconv.ParseFloat(m[1], 64)
	unit := math.Pow(1024, float64(strings.Index(" KMGTPE", m[2])))
	if m[2] == "" {
		unit = 1
	}
	if err != nil || value*unit > math.MaxInt64/2 {
		return 0, 0, false
	}
	return int64(math.Round(value * unit)), int64(unit / 20), true
}

// MemoryMiB is the memory that was asked for, in MiB, rounded up by what Nextflow's rounding may hide.
func (s Shortage) MemoryMiB() int64 {
	return (s.Memory + s.MemoryRounding + 1<<20 - 1) >> 20
}

// Explain tells people what was asked for, what there is, and what to do. The instance type and the region are empty where
// there are none. Offers are types that have as much, the smallest first.
func (s Shortage) Explain(instanceType, region string, offers []InstanceOffer) string {
	process, instance := "A process", "the machine"
	if s.Process != "" {
		process = "The process " + s.Process
	}
	if instanceType != "" {
		instance = "the instance " + instanceType
	}
	text := fmt.Sprintf("%s asks for %s; %s has %s. ", process, resources(s.CPUs, s.Memory, s.GPUs), instance, s.available())
	switch {
	case len(offers) > 0:
		text += fmt.Sprintf("The smallest types with that much in %s: %s. Choose one of them in the compute environment, or lower", region, listOffers(offers))
	case region != "":
		text += fmt.Sprintf("Wherry knows no suitable instance type with that much in %s. Choose a larger one in the compute environment if there is one, or lower", region)
	default:
		text += "Use a compute environment with a larger machine, or lower"
	}
	return text + " what the process asks for: cpus, memory or resourceLimits in the pipeline's configuration."
}

// available writes what there is of that which was asked for.
func (s Shortage) available() string {
	var parts []string
	if s.CPUs > 0 {
		parts = append(parts, countOf(s.AvailCPUs, "CPU"))
	}
	if s.Memory > 0 {
		parts = append(parts, formatMemory(s.AvailMemory))
	}
	if s.GPUs > 0 {
		parts = append(parts, countOf(s.AvailGPUs, "GPU"))
	}
	return joinAnd(parts)
}

// resources writes those of CPUs, bytes of memory and GPUs that are not zero.
func resources(cpus int, memory int64, gpus int) string {
	var parts []string
	if cpus > 0 {
		parts = append(parts, countOf(cpus, "CPU"))
	}
	if memory > 0 {
		parts = append(parts, formatMemory(memory))
	}
	if gpus > 0 {
		parts = append(parts, countOf(gpus, "GPU"))
	}
	return joinAnd(parts)
}

func listOffers(offers []InstanceOffer) string {
	list := make([]string, len(offers))
	for i, o := range offers {
		parts := []string{countOf(o.CPUs, "CPU"), formatMemory(o.MemoryMiB << 20)}
		if o.GPUs > 0 {
			parts = append(parts, countOf(o.GPUs, "GPU"))
		}
		if o.Price.Known() {
			parts = append(parts, o.Price.String())
		}
		list[i] = fmt.Sprintf("%s (%s)", o.Name, strings.Join(parts, ", "))
	}
	return strings.Join(list, ", ")
}

func countOf(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func joinAnd(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// formatMemory writes bytes as Nextflow does, so that people meet the numbers that they wrote: "7.6 GB" are 1024³ each.
func formatMemory(bytes int64) string {
	value, i := float64(bytes), 0
	for value >= 1024 && i < 6 {
		value /= 1024
		i++
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + " " + [...]string{"B", "KB", "MB", "GB", "TB", "PB", "EB"}[i]
}
