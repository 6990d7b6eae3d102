package views

import (
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

func TestAStudioOnItsWaySaysWhatItDoes(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	after := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	did := func(names ...string) (list []platform.Step) {
		for i, name := range names {
			list = append(list, platform.Step{Name: name, Agent: true, At: after(10 + i)})
		}
		return list
	}
	machine := func(state platform.MachineState) platform.Machine {
		return platform.Machine{State: state, StateSince: after(5)}
	}
	waiting := machine(platform.MachineWanted)
	waiting.Waiting = "Place 3 in the queue."
	starting := platform.StudioSession{State: platform.StudioStarting, StateSince: begin}
	stopped := starting
	stopped.StopAsked = after(7)
	kept := starting
	kept.Restored = "a checkpoint"
	for name, c := range map[string]struct {
		session platform.StudioSession
		where   platform.PlatformName
		machine platform.Machine
		steps   []platform.Step
		want    string
		since   time.Time
	}{
		"wished for":         {starting, platform.PlatformAWSCloud, machine(platform.MachineWanted), nil, "Starting: asking for a machine", after(5)},
		"in the queue":       {starting, platform.PlatformAWSCloud, waiting, nil, "Starting: waiting for a machine", after(5)},
		"asked for":          {starting, platform.PlatformAWSCloud, machine(platform.MachineRequested), nil, "Starting: the machine is being made", after(5)},
		"booting":            {starting, platform.PlatformAWSCloud, machine(platform.MachineBooting), did(platform.StepBooted), "Starting: the machine boots", after(10)},
		"in a cloud":         {starting, platform.PlatformAWSCloud, machine(platform.MachineWorking), did(platform.StepAgentUp, platform.StepTunnel), "Starting: pulling the image", after(11)},
		"on this host":       {starting, platform.PlatformLocal, machine(platform.MachineWorking), did(platform.StepAgentUp), "Starting: preparing the tool", after(10)},
		"with kept work":     {kept, platform.PlatformLocal, machine(platform.MachineWorking), did(platform.StepAgentUp), "Starting: bringing the kept work back", after(10)},
		"the work is back":   {kept, platform.PlatformAWSCloud, machine(platform.MachineWorking), did(platform.StepAgentUp, platform.StepRestored), "Starting: pulling the image", after(11)},
		"packages":           {kept, platform.PlatformAWSCloud, machine(platform.MachineWorking), did(platform.StepImagePulled, platform.StepRestored, platform.StepPackages), "Starting: installing packages", after(12)},
		"the tool begins":    {starting, platform.PlatformAWSCloud, machine(platform.MachineWorking), did(platform.StepImagePulled, platform.StepToolStarted), "Starting: waiting for the tool to answer", after(11)},
		"the tool answers":   {starting, platform.PlatformAWSCloud, machine(platform.MachineWorking), did(platform.StepToolStarted, platform.StepToolReady), "Starting: opening the connection", after(11)},
		"nothing came of it": {starting, platform.PlatformAWSCloud, platform.Machine{}, nil, "Starting: the machine ends", begin},
		"building":           {platform.StudioSession{State: platform.StudioBuilding, StateSince: begin}, platform.PlatformLocal, machine(platform.MachineWorking), nil, "Starting: installing packages", begin},
		"stopping":           {platform.StudioSession{State: platform.StudioStopping, StateSince: begin}, platform.PlatformLocal, machine(platform.MachineWorking), nil, "Stopping: saving its work", begin},
		"stopped at once":    {stopped, platform.PlatformLocal, machine(platform.MachineWorking), nil, "Stopping: saving its work", after(7)},
		"running":            {platform.StudioSession{State: platform.StudioRunning}, platform.PlatformLocal, machine(platform.MachineWorking), nil, "", time.Time{}},
	} {
		n := StudioNow{Studio: platform.Studio{Session: &c.session, Platform: c.where}, Machine: c.machine, Steps: c.steps}
		if words, since := n.progress(); words != c.want || !since.Equal(c.since) {
			t.Errorf("%s: %q since %s, want %q since %s", name, words, since, c.want, c.since)
		}
	}
}

func TestAStudioSaysHowLongItGoesOn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for want, session := range map[string]*platform.StudioSession{
		"":                      {State: platform.StudioStopped, StopAt: now.Add(time.Hour)},
		"7 h 05 min left":       {State: platform.StudioRunning, StopAt: now.Add(7*time.Hour + 5*time.Minute + 59*time.Second)},
		"59 min left":           {State: platform.StudioRunning, StopAt: now.Add(time.Hour - time.Second)},
		"under a minute left":   {State: platform.StudioRunning, StopAt: now.Add(-time.Second)},
		"stopping":              {State: platform.StudioRunning, StopAt: now.Add(time.Hour), StopAsked: now},
		"until it is stopped":   {State: platform.StudioRunning},
		"8 h from when it runs": {State: platform.StudioStarting, Config: platform.StudioConfig{LifespanHours: 8}},
	} {
		if got := (StudioNow{Studio: platform.Studio{Session: session}}).leftWords(now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMetersShowNothingThatWasNotMeasured(t *testing.T) {
	t.Parallel()
	if list := meters(platform.Usage{CPU: 5}); list != nil {
		t.Errorf("%+v", list)
	}
	if list := meters(platform.Usage{At: time.Now(), CPU: 50}); len(list) != 3 || list[0].Words != "50 % of 1 CPU" {
		t.Errorf("without GPUs: %+v", list)
	}
}

func TestAStudioSaysHowNearItIsToStoppingIdle(t *testing.T) {
	t.Parallel()
	now := time.Now()
	n := StudioNow{Studio: platform.Studio{Session: &platform.StudioSession{State: platform.StudioRunning, Started: now.Add(-time.Hour), Active: now.Add(-12 * time.Minute)}}}
	if got := n.idleWords(now); got != "" {
		t.Errorf("one that does not stop idle: %q", got)
	}
	n.Session.Config.IdleMinutes = 30
	if got := n.idleWords(now); !strings.HasSuffix(got, "for 30 minutes. That has been so for 12 min.") {
		t.Error(got)
	}
	n.Connections = []platform.StudioConnection{{UserName: "ada"}}
	if got := n.idleWords(now); !strings.HasSuffix(got, "Somebody is connected now.") {
		t.Error(got)
	}
}

func TestAStudioSaysWhatComesAndWhatIsKept(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for want, session := range map[string]platform.StudioSession{
		"Connect is offered here as soon as it is ready.": {State: platform.StudioStarting},
		"It can be started again when it has stopped.":    {State: platform.StudioRunning, StopAsked: now},
		"": {State: platform.StudioRunning},
	} {
		if got := (StudioNow{Studio: platform.Studio{Session: &session}}).onItsWay(); got != want {
			t.Errorf("%+v: %q, want %q", session, got, want)
		}
	}
	for where, inCloud := range map[platform.PlatformName]bool{platform.PlatformLocal: false, platform.PlatformAWSCloud: true} {
		got := StudioNow{Studio: platform.Studio{Platform: where}}.keptWords()
		if strings.Contains(got, platform.WorkspaceFolder) != inCloud || strings.Contains(got, platform.DataFolder) != inCloud {
			t.Errorf("on %s: %s", where, got) // this host has no such folders
		}
	}
}
