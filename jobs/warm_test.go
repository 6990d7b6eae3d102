package jobs

import (
	"testing"

	"wherry/platform"
)

// warmWorld has an environment that keeps one warm machine.
func warmWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, quick)
	w.env = platform.ComputeEnv{WorkspaceID: w.member.Workspace.ID, Name: "warm", Platform: platform.PlatformLocal, WorkDir: "/w",
		Status: platform.ComputeEnvAvailable, Config: platform.ComputeEnvConfig{AWSCloud: platform.AWSCloud{WarmInstances: 1}}}
	must(t, w.db.AddComputeEnv(t.Context(), &w.env))
	return w
}

// waiting is the warm machine, once its agent asks for work.
func (w *world) waiting() platform.Machine {
	w.t.Helper()
	var m platform.Machine
	w.until("a warm machine boots", func() bool {
		list, err := w.db.WarmMachines(w.t.Context(), w.env.ID)
		must(w.t, err)
		if len(list) != 1 || list[0].State != platform.MachineBooting {
			return false
		}
		m = list[0]
		return true
	})
	claimed, err := w.db.Claim(w.t.Context(), m.ID, m.InstanceID, "key of "+m.ID)
	must(w.t, err)
	if claimed.RunID != "" {
		w.t.Fatalf("a warm machine got the run %s", claimed.RunID)
	}
	return m
}

func TestALaunchTakesAWarmMachineAndAnotherIsStarted(t *testing.T) {
	t.Parallel()
	w := warmWorld(t)
	w.start()
	first := w.launch() // nothing is warm before the first launch
	w.claim(first.ID)
	m := w.waiting()
	second := w.launch()
	if taken := w.machine(second.ID); taken.ID != m.ID {
		t.Fatalf("the run got the machine %s, and %s was warm", taken.ID, m.ID)
	}
	w.claim(second.ID)
	w.until("the machine works", func() bool { return w.machine(second.ID).State == platform.MachineWorking })
	w.cloud.mu.Lock()
	if len(w.cloud.assigned) != 1 || w.cloud.assigned[m.ID] != second.ID {
		t.Errorf("the platform was told of %v", w.cloud.assigned)
	}
	w.cloud.mu.Unlock()
	next := w.waiting()
	w.report(first.ID, 0)
	w.report(second.ID, 0)
	w.until("both have ended", func() bool {
		return w.machine(first.ID).State == platform.MachineTerminated && w.machine(second.ID).State == platform.MachineTerminated
	})
	must(t, w.db.AskEnd(t.Context(), w.member.Workspace.ID, next.ID, "ada"))
	w.until("a warm machine that is not wanted ends", func() bool {
		m, err := w.db.Machine(t.Context(), next.ID)
		must(t, err)
		return m.State == platform.MachineTerminated
	})
}

func TestAWarmMachineEndsWithItsEnvironmentsUse(t *testing.T) {
	t.Parallel()
	w := warmWorld(t)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.waiting()
	w.report(r.ID, 0)
	w.until("the run's machine is gone", func() bool { return w.machine(r.ID).State == platform.MachineTerminated })
	must(t, w.db.DeleteComputeEnv(t.Context(), w.env.WorkspaceID, w.env.ID))
	w.until("the environment is deleted, and nothing lives", func() bool {
		e, err := w.db.AnyComputeEnv(t.Context(), w.env.ID)
		must(t, err)
		return e.Status == platform.ComputeEnvDeleted && w.cloud.living() == 0
	})
}

// TestAWarmMachineOfAnotherConfigurationTakesNoRun changes the environment while one waits.
func TestAWarmMachineOfAnotherConfigurationTakesNoRun(t *testing.T) {
	t.Parallel()
	w := warmWorld(t)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	m := w.waiting()
	changed := w.env
	changed.Config.InstanceType = "other.large"
	must(t, w.db.UpdateComputeEnv(t.Context(), changed, platform.ComputeEnvAvailable))
	second := w.launch()
	if w.machine(second.ID).ID == m.ID {
		t.Error("the run got a machine of the old configuration")
	}
	w.until("the old one is ended", func() bool {
		m, err := w.db.Machine(t.Context(), m.ID)
		must(t, err)
		return m.State == platform.MachineTerminated
	})
}
