package views

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wherry/platform"
	"wherry/views/components"
)

// StudioNow is a Studio as it stands now.
type StudioNow struct {
	platform.Studio
	Machine     platform.Machine // of its newest session; the zero value: there is none, or it is not known any more
	Steps       []platform.Step  // of Machine, while the session is on its way
	Tool        string           // the name of its template
	Connections []platform.StudioConnection
}

func (n StudioNow) path(s components.Shell) string { return s.Base() + "/studios/" + n.ID }

// living tells whether a session of it goes on.
func (n StudioNow) living() bool { return n.Session != nil && !n.Session.State.Ended() }

// startable tells whether it can be started.
func (n StudioNow) startable() bool { return !n.living() }

// stoppable tells whether its session can be asked to stop.
func (n StudioNow) stoppable() bool { return n.living() && n.Session.StopAsked.IsZero() }

// deletable tells whether it can be deleted.
func (n StudioNow) deletable() bool { return !n.living() }

// progress tells what a Studio that is on its way does now, and since when; "" for one that runs or has ended.
func (n StudioNow) progress() (words string, since time.Time) {
	if n.Session == nil {
		return "", time.Time{}
	}
	if n.living() && !n.Session.StopAsked.IsZero() {
		return "Stopping: saving its work", n.Session.StopAsked
	}
	switch n.Session.State {
	case platform.StudioStarting:
		words, since = n.starting()
		return "Starting: " + words, since
	case platform.StudioBuilding:
		return "Starting: installing packages", n.Session.StateSince
	case platform.StudioStopping:
		return "Stopping: saving its work", n.Session.StateSince
	}
	return "", time.Time{}
}

// onItsWay tells what comes when the Studio has started, or stopped; "" for one that runs or has ended.
func (n StudioNow) onItsWay() string {
	switch {
	case !n.living():
		return ""
	case !n.Session.StopAsked.IsZero():
		return "It can be started again when it has stopped."
	case n.Session.State == platform.StudioRunning:
		return ""
	}
	return "Connect is offered here as soon as it is ready."
}

// folder is what people call the folder that is kept: on this host, a Studio's is somewhere below the portal's data.
func (n StudioNow) folder() string {
	if n.Platform == platform.PlatformLocal {
		return "its workspace folder"
	}
	return platform.WorkspaceFolder
}

// keptWords tells what is kept of a Studio's work, and what is not.
func (n StudioNow) keptWords() string {
	notKept := "programs and kernels that run, and what lies elsewhere on the machine"
	if n.Platform != platform.PlatformLocal {
		notKept = "programs and kernels that run, what lies elsewhere on the machine, and " + platform.DataFolder
	}
	return fmt.Sprintf("The files of %s are saved every few minutes while it runs, when something in them is new, and when it stops; the next start begins with the newest. Not kept are %s. The newest %d without a name are kept, and one with a name until somebody deletes it.",
		n.folder(), notKept, platform.KeptCheckpoints)
}

// starting tells what the start waits for.
func (n StudioNow) starting() (string, time.Time) {
	switch n.Machine.State {
	case platform.MachineWanted:
		if n.Machine.Waiting != "" {
			return "waiting for a machine", n.Machine.StateSince
		}
		return "asking for a machine", n.Machine.StateSince
	case platform.MachineRequested:
		return "the machine is being made", n.Machine.StateSince
	case platform.MachineBooting, platform.MachineWorking:
		return n.onMachine()
	}
	return "the machine ends", n.Session.StateSince // why, the session says in a moment
}

// onMachine tells what the machine does, by the steps that its agent reported.
func (n StudioNow) onMachine() (string, time.Time) {
	since, has := n.Machine.StateSince, map[string]bool{}
	for _, s := range n.Steps {
		if s.Agent {
			has[s.Name] = true
			if s.At.After(since) {
				since = s.At
			}
		}
	}
	switch {
	case n.Machine.State == platform.MachineBooting:
		return "the machine boots", since
	case has[platform.StepToolReady]:
		return "opening the connection", since
	case has[platform.StepToolStarted]:
		return "waiting for the tool to answer", since
	case has[platform.StepPackages] && !has[platform.StepPackagesReady]:
		return "installing packages", since
	case n.Session.Restored != "" && !has[platform.StepRestored]:
		return "bringing the kept work back", since
	case n.Platform != platform.PlatformLocal && !has[platform.StepImagePulled] && !has[platform.StepMounted]:
		return "pulling the image", since
	}
	return "preparing the tool", since
}

// leftWords tells how long the lifespan goes on.
func (n StudioNow) leftWords(now time.Time) string {
	s := n.Session
	switch {
	case !n.living():
		return ""
	case !s.StopAsked.IsZero():
		return "stopping"
	case !s.StopAt.IsZero():
		return timeLeft(s.StopAt.Sub(now)) + " left"
	case s.Config.LifespanHours == 0:
		return "until it is stopped"
	}
	return fmt.Sprintf("%d h from when it runs", s.Config.LifespanHours)
}

// timeLeft writes a time that is to pass, in whole minutes.
func timeLeft(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "under a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// connectedWords tells who is connected.
func (n StudioNow) connectedWords() string {
	var names []string
	for _, c := range n.Connections {
		if !slices.Contains(names, c.UserName) {
			names = append(names, c.UserName)
		}
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// lifespanWords tells how long sessions of a configuration go on.
func lifespanWords(c platform.StudioConfig) string {
	text := "until it is stopped"
	if c.LifespanHours > 0 {
		text = components.Plural(c.LifespanHours, "hour", "hours")
	}
	if c.IdleMinutes > 0 {
		text += ", or " + components.Plural(c.IdleMinutes, "minute", "minutes") + " without people and work"
	}
	return text
}

// idleWords tells when a session stops because it is idle, and how near that is; "" for one that does not.
func (n StudioNow) idleWords(now time.Time) string {
	minutes := n.Session.Config.IdleMinutes // as it was started
	if minutes == 0 {
		return ""
	}
	words := fmt.Sprintf("It stops when nobody has been connected and nothing was computed for %s. ", components.Plural(minutes, "minute", "minutes"))
	if len(n.Connections) > 0 {
		return words + "Somebody is connected now."
	}
	return words + "That has been so for " + timeLeft(n.Session.IdleFor(now)) + "."
}

// meter is a share of something that a machine has, with words for those who see no bars.
type meter struct {
	Name, Words string
	Value, Max  float64
}

// meters shows what a Studio uses; none while nothing was measured.
func meters(u platform.Usage) (list []meter) {
	if u.At.IsZero() {
		return nil
	}
	cpus := max(u.CPUs, 1)
	list = append(list, meter{"CPU", fmt.Sprintf("%.0f %% of %s", u.CPU/float64(cpus), components.Plural(cpus, "CPU", "CPUs")), u.CPU, 100 * float64(cpus)},
		meter{"Memory", ofBytes(u.Memory, u.MemoryMax), float64(u.Memory), float64(u.MemoryMax)},
		meter{"Disk", ofBytes(u.Disk, u.DiskMax), float64(u.Disk), float64(u.DiskMax)})
	if u.GPUs > 0 {
		list = append(list, meter{"GPU", fmt.Sprintf("%.0f %% of %s", u.GPU, components.Plural(u.GPUs, "GPU", "GPUs")), u.GPU, 100},
			meter{"GPU memory", ofBytes(u.GPUMemory, u.GPUMemMax), float64(u.GPUMemory), float64(u.GPUMemMax)})
	}
	return list
}

func ofBytes(n, most int64) string { return components.Bytes(&n) + " of " + components.Bytes(&most) }

// usage is what the Studio uses now; the zero value while it does not run.
func (n StudioNow) usage() platform.Usage {
	if n.State() != platform.StudioRunning {
		return platform.Usage{}
	}
	return n.Session.Usage
}

// number writes a value of a meter.
func number(f float64) string { return fmt.Sprintf("%.2f", f) }

// StudioTitle tells a Studio's state in the tab of a browser, and that its end is near.
func StudioTitle(s platform.Studio, now time.Time) string {
	if s.Session != nil && s.Session.EndsSoon(now) && s.Session.State == platform.StudioRunning {
		return "⚠ " + timeLeft(s.Session.StopAt.Sub(now)) + " left: " + s.Name
	}
	sign := map[platform.StudioState]string{platform.StudioRunning: "▶", platform.StudioStopped: "■", platform.StudioErrored: "✗", platform.StudioBuildFailed: "✗"}[s.State()]
	if sign == "" {
		sign = "…"
	}
	return sign + " " + components.StudioWord(s.State()) + " " + s.Name
}
