package components

import (
	"fmt"
	"strconv"
	"time"

	"wherry/platform"
)

// Duration says how long something took, to the precision that a person wants.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// Millis says how long so many milliseconds are; nil is a dash.
func Millis(ms *int64) string {
	if ms == nil {
		return "–"
	}
	return Duration(time.Duration(*ms) * time.Millisecond)
}

// Bytes says how much so many bytes are; nil is a dash.
func Bytes(n *int64) string {
	if n == nil {
		return "–"
	}
	const unit = 1024
	if *n < unit {
		return strconv.FormatInt(*n, 10) + " B"
	}
	value, i := float64(*n)/unit, 0
	for value >= unit && i < 4 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %s", value, [...]string{"KiB", "MiB", "GiB", "TiB", "PiB"}[i])
}

// Percent writes a share; nil is a dash.
func Percent(p *float64) string {
	if p == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", *p)
}

// Count writes a number; nil is a dash.
func Count(n *int) string {
	if n == nil {
		return "–"
	}
	return strconv.Itoa(*n)
}

// Text writes a string; nil and empty are a dash.
func Text(s *string) string {
	if s == nil || *s == "" {
		return "–"
	}
	return *s
}

// Cost says what something has cost. An estimate is rounded to cents, so that it promises no more than it knows.
func Cost(m platform.Money, estimate bool) string {
	switch {
	case !estimate:
		return m.String()
	case m > 0 && m < platform.USD(0.005):
		return "under $0.01 (estimate)"
	}
	return "about " + m.Cents() + " (estimate)"
}

// Ago says how long ago a moment was.
func Ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	case d < 30*24*time.Hour:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
	return t.Format("2 January 2006")
}

// Stamp writes a moment in full, in UTC.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Plural writes a count with its noun.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// runTone, taskTone and envTone are the classes of a state's colour. The badge's sign and words say the same, for those who see no colours.
func runTone(s platform.RunState) string {
	switch s {
	case platform.RunSucceeded:
		return "is-good"
	case platform.RunFailed:
		return "is-bad"
	case platform.RunRunning:
		return "is-run"
	case platform.RunUnknown:
		return "is-warn"
	}
	return ""
}

func taskTone(s platform.TaskStatus) string {
	switch s {
	case platform.TaskCompleted, platform.TaskCached:
		return "is-good"
	case platform.TaskFailed:
		return "is-bad"
	case platform.TaskRunning:
		return "is-run"
	case platform.TaskAborted:
		return "is-warn"
	}
	return ""
}

func envTone(s platform.ComputeEnvStatus) string {
	switch s {
	case platform.ComputeEnvAvailable:
		return "is-good"
	case platform.ComputeEnvErrored, platform.ComputeEnvInvalid:
		return "is-bad"
	case platform.ComputeEnvCreating, platform.ComputeEnvDeleting:
		return "is-run"
	}
	return ""
}

// machineTone is that of something under way until the machine has ended: an end that is on its way is no trouble, and work that
// goes on is not done.
func machineTone(s platform.MachineState) string {
	switch s {
	case platform.MachineRequested, platform.MachineBooting, platform.MachineWorking, platform.MachineDraining, platform.MachineTerminating:
		return "is-run"
	case platform.MachineFailed:
		return "is-bad"
	}
	return ""
}

// StudioWord is the state of a Studio in words.
func StudioWord(s platform.StudioState) string {
	if s == platform.StudioBuildFailed {
		return "build failed"
	}
	return string(s)
}

func studioTone(s platform.StudioState) string {
	switch s {
	case platform.StudioRunning:
		return "is-good"
	case platform.StudioStarting, platform.StudioBuilding, platform.StudioStopping:
		return "is-run"
	case platform.StudioErrored, platform.StudioBuildFailed:
		return "is-bad"
	}
	return ""
}

func credentialsTone(s platform.CredentialsStatus) string {
	if s == platform.CredentialsAvailable {
		return "is-good"
	}
	return "is-bad"
}

func resourceTone(s platform.ResourceState) string {
	switch s {
	case platform.ResourceMade:
		return "is-good"
	case platform.ResourceWanted:
		return "is-run"
	}
	return ""
}
