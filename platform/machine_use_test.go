package platform

import (
	"testing"
	"time"
)

func TestWhatAMachineCosts(t *testing.T) {
	t.Parallel()
	m := Machine{Launched: fixed, Hardware: Hardware{InstanceType: "m5d.large", HourMicroUSD: 126_000, Estimate: true}}
	if got := m.Use().Cost(fixed.Add(30 * time.Minute)); got != 63_000 {
		t.Errorf("half an hour costs %s", got)
	}
	m.Gone = fixed.Add(time.Hour)
	if got := m.Use().Cost(fixed.Add(5 * time.Hour)); got != 126_000 {
		t.Errorf("an hour costs %s", got)
	}
	if p := m.Hardware.Price(); !p.Estimate || !p.Known() || !m.Hardware.Billed() || (Hardware{}).Billed() {
		t.Errorf("%+v", p)
	}
}

func TestWhichMachinesAreEnding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m    RunningMachine
		want bool
	}{
		"works":           {RunningMachine{Machine: Machine{State: MachineWorking}, RunState: RunRunning}, false},
		"waits":           {RunningMachine{Machine: Machine{State: MachineBooting}}, false},
		"is terminating":  {RunningMachine{Machine: Machine{State: MachineTerminating}}, true},
		"failed":          {RunningMachine{Machine: Machine{State: MachineFailed}}, true},
		"end asked":       {RunningMachine{Machine: Machine{State: MachineBooting, EndAsked: fixed}}, true},
		"cancel asked":    {RunningMachine{Machine: Machine{State: MachineWorking}, RunState: RunRunning, CancelAsked: fixed}, true},
		"its run is over": {RunningMachine{Machine: Machine{State: MachineWorking}, RunState: RunFailed}, true},
	} {
		if got := c.m.Ending(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
