package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wherry/platform"
)

// TestKilledPortal kills the portal at one point of a run and starts it again: the run goes on, its log has no gap and no
// repeat, its tasks are all there, and its end is right.
func TestKilledPortal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		plugin bool
		at     func(p *portal, id string) bool
	}{
		{"when the run was just wished for", false, func(*portal, string) bool { return true }},
		{"when the machine is requested", true, func(p *portal, id string) bool { return p.machine(id).State != platform.MachineWanted }},
		{"when Nextflow starts", true, func(p *portal, id string) bool { return p.output(id, platform.LogOutput) != "" }},
		{"when tasks run, with the plugin", true, func(p *portal, id string) bool { return p.run(id).Progress.Done() > 2 }},
		{"when tasks run, without the plugin", false, func(p *portal, id string) bool { return p.run(id).Progress.Done() > 2 }},
		{"when the agent has reported the end", false, func(p *portal, id string) bool { return p.run(id).End != nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.plugin && plugins == "" {
				t.Skip("SKIPPED: the nf-tower plugin is not at hand (WHERRY_TEST_NF_PLUGINS)")
			}
			p := newPortal(t, c.plugin)
			m := p.member()
			r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("regatta"), ParamsText: "boats: 25",
				PreRunScript: "for i in $(seq 1 2000); do echo line $i of the pre-run script; done"})
			eventually(t, 60*time.Second, c.name, func() bool { return c.at(p, r.ID) })
			p.kill()
			time.Sleep(1500 * time.Millisecond) // the run goes on meanwhile
			p.start()
			r = p.wait(r.ID, 90*time.Second)
			if r.State != platform.RunSucceeded {
				t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
			}
			p.checkLogs(r.ID)
			p.checkTasks(r, 25)
			p.nothingLeft()
		})
	}
}

// machine reads a run's machine as it is now.
func (p *portal) machine(id string) platform.Machine {
	p.t.Helper()
	m, err := p.db.MachineOfRun(p.t.Context(), id)
	must(p.t, err)
	return m
}

// checkLogs compares the logs in the portal with the files on the machine, byte for byte.
func (p *portal) checkLogs(id string) {
	p.t.Helper()
	for stream, name := range map[platform.LogStream]string{platform.LogOutput: "stdout.log", platform.LogNextflow: "nextflow.log"} {
		want, err := os.ReadFile(filepath.Join(p.folder(id), name))
		must(p.t, err)
		if got := p.output(id, stream); got != string(want) {
			p.t.Errorf("the portal has %d bytes of %s and the machine %d; they differ", len(got), name, len(want))
		}
	}
}

// checkTasks wants so many tasks, all completed, and counts that say so.
func (p *portal) checkTasks(r platform.Run, want int) {
	p.t.Helper()
	tasks, total, err := p.db.Tasks(p.t.Context(), r.ID, taskFilter(platform.TaskCompleted))
	must(p.t, err)
	if total != want || r.Progress.Succeeded != want || r.Progress.Running != 0 {
		p.t.Errorf("%d tasks are completed, and the counts say %+v; want %d", total, r.Progress, want)
	}
	for _, task := range tasks {
		if task.Script == "" || task.Exit == nil || *task.Exit != 0 || task.Workdir == "" || task.Duration == nil {
			p.t.Errorf("task %d lacks something: %+v", task.TaskID, task)
			return
		}
	}
}

// TestKilledOnTheMachine kills the agent or its supervisor: the run fails and says so, and none of its processes is left.
func TestKilledOnTheMachine(t *testing.T) {
	t.Parallel()
	running := func(p *portal, id string) bool { return p.run(id).Progress.Done() > 0 }
	for _, c := range []struct {
		name, victim, reason string
		at                   func(p *portal, id string) bool
	}{
		{"the agent, when it has just come", "agent", "the agent was killed by signal 9", func(p *portal, id string) bool { return !p.machine(id).Claimed.IsZero() }},
		{"the agent, when Nextflow starts", "agent", "the agent was killed by signal 9", func(p *portal, id string) bool { return p.output(id, platform.LogOutput) != "" }},
		{"the agent, when tasks run", "agent", "the agent was killed by signal 9", running},
		{"the supervisor, when tasks run", "machine", "its supervisor was killed", running},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPortal(t, false)
			m := p.member()
			r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("regatta"), ParamsText: "boats: 2000"})
			eventually(t, 60*time.Second, c.name, func() bool { return c.at(p, r.ID) })
			p.killOnMachine(r.ID, c.victim)
			r = p.wait(r.ID, 60*time.Second)
			if r.State != platform.RunFailed || !strings.Contains(r.ErrorMessage, c.reason) {
				t.Errorf("the run is %s: %q; want FAILED because %q", r.State, r.ErrorMessage, c.reason)
			}
			if left := processesOf(t, p.machine(r.ID).ID); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			p.nothingLeft()
		})
	}
}

// killOnMachine kills the process of a run's machine that was started as `wherry NAME`.
func (p *portal) killOnMachine(id, name string) {
	p.t.Helper()
	for pid, command := range processesOf(p.t, p.machine(id).ID) {
		if strings.HasSuffix(command, "\x00"+name+"\x00") {
			must(p.t, syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	p.t.Fatalf("the machine has no process %q", name)
}

// processesOf finds the processes that carry a machine's mark, by their environment, with their command lines.
func processesOf(t *testing.T, machineID string) map[int]string {
	t.Helper()
	found := map[int]string{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, dir := range dirs {
		environ, err := os.ReadFile(dir + "/environ")
		if err != nil || !strings.Contains("\x00"+string(environ), fmt.Sprintf("\x00WHERRY_MACHINE=%s\x00", machineID)) {
			continue
		}
		command, _ := os.ReadFile(dir + "/cmdline")
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && len(command) > 0 {
			found[pid] = string(command)
		}
	}
	return found
}

// TestAMachineOutlivingItsPortalEndsByItsOwnTimer is for a portal that is gone for good.
func TestAMachineOutlivingItsPortalEndsByItsOwnTimer(t *testing.T) {
	t.Parallel()
	p := newPortal(t, false)
	p.kill()
	p.env = append(p.env, "WHERRY_MACHINE_LIFETIME=8s")
	p.start()
	m := p.member()
	r := p.launch(m, p.computeEnv(m), platform.Launch{Pipeline: p.example("regatta"), ParamsText: "boats: 2000"})
	eventually(t, 60*time.Second, "tasks run", func() bool { return p.run(r.ID).Progress.Done() > 0 })
	p.kill()
	machineID := p.machine(r.ID).ID
	eventually(t, time.Minute, "every process of the machine has ended", func() bool { return len(processesOf(t, machineID)) == 0 })
	p.start()
	if r = p.wait(r.ID, 20*time.Second); r.State != platform.RunFailed {
		t.Errorf("the run is %s: %s", r.State, r.ErrorMessage)
	}
}
