package jobs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// TestWhatAnAgentLeftIsReadBack has an agent that could not reach the portal any more before its machine ended.
func TestWhatAnAgentLeftIsReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	_, err := w.db.AppendLog(t.Context(), w.machine(r.ID), platform.LogOutput, 0, []byte("one\ntw"))
	must(t, err)
	zero := 0
	w.cloud.mu.Lock()
	w.cloud.left[r.ID] = cloud.Recovered{
		Logs: map[platform.LogStream][]byte{platform.LogOutput: []byte("o\nthree\n")},
		Trace: []platform.KeptCall{{Name: "progress", Body: json.RawMessage(`{"tasks":[{"taskId":1,"status":"COMPLETED","name":"a","process":"a"}]}`)},
			{Name: "nonsense", Body: json.RawMessage(`{}`)}},
		End: &platform.KeptEndFile{Report: platform.EndReport{ExitCode: &zero}, Steps: []platform.StepReport{{Name: platform.StepKept, At: time.Now()}},
			Reports: []platform.Report{{Name: "report.html", Display: "Report", MIMEType: "text/html", Size: 7}}},
	}
	w.cloud.mu.Unlock()
	w.cloud.switchOff(w.machine(r.ID).ID)
	w.over(r.ID, platform.RunSucceeded)
	var log bytes.Buffer
	must(t, w.db.CopyLog(t.Context(), &log, r.ID, platform.LogOutput))
	if log.String() != "one\ntwo\nthree\n" {
		t.Errorf("the log is %q", log.String())
	}
	task, err := w.db.Task(t.Context(), r.ID, 1)
	must(t, err)
	if task.Status != platform.TaskCompleted {
		t.Errorf("the task is %s", task.Status)
	}
	reports, err := w.db.Reports(t.Context(), r.ID)
	must(t, err)
	if len(reports) != 1 || reports[0].Name != "report.html" {
		t.Errorf("the reports are %v", reports)
	}
}

// TestWhatCanNotBeReadBackHoldsNoEndUp has a platform that refuses to give what an agent left.
func TestWhatCanNotBeReadBackHoldsNoEndUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.cloud.onCall = func(call string, n int) error {
		if call == "recover" {
			return cloud.Errorf(cloud.KindDenied, nil, "The permission s3:GetObject is missing.")
		}
		return nil
	}
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.cloud.switchOff(w.machine(r.ID).ID)
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "it was switched off") {
		t.Errorf("%q", r.ErrorMessage)
	}
}

func TestAnAgentThatDiedFailsItsRunAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.begin(r.ID)
	must(t, w.db.BootReported(t.Context(), w.machine(r.ID).ID, platform.BootReport{Failure: "The agent ended with status 137."}))
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "status 137") {
		t.Errorf("%q", r.ErrorMessage)
	}
}

func TestABootThatGivesUpFailsItsRunInItsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.until("the machine is requested", func() bool { return w.machine(r.ID).InstanceID != "" })
	must(t, w.db.BootReported(t.Context(), w.machine(r.ID).ID, platform.BootReport{Failure: "The agent's digest is not the one that was expected."}))
	if r = w.over(r.ID, platform.RunFailed); !strings.Contains(r.ErrorMessage, "gave up while it booted: The agent's digest") {
		t.Errorf("%q", r.ErrorMessage)
	}
}

func TestABootThatNeverReportsSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	times := quick
	times.BootLimit = 300 * time.Millisecond
	w := newWorld(t, times)
	w.cloud.lastWords = "Kernel panic"
	w.start()
	r := w.launch()
	w.until("the machine is requested", func() bool { return w.machine(r.ID).InstanceID != "" })
	must(t, w.db.BootReported(t.Context(), w.machine(r.ID).ID, platform.BootReport{Steps: []platform.StepReport{{Name: platform.StepBooted, At: time.Now()}}}))
	r = w.over(r.ID, platform.RunFailed)
	if !strings.Contains(r.ErrorMessage, "What was heard of it: booted") || !strings.Contains(r.ErrorReport, "Kernel panic") {
		t.Errorf("%q, %q", r.ErrorMessage, r.ErrorReport)
	}
}

// TestAnInterruptedRunIsLaunchedAgainOnce where its launch wants that, however it became known.
func TestAnInterruptedRunIsLaunchedAgainOnce(t *testing.T) {
	t.Parallel()
	for name, interrupt := range map[string]func(w *world, r platform.Run){
		"its agent says so": func(w *world, r platform.Run) {
			w.reportEnd(r.ID, platform.EndReport{Interrupted: true, Reason: "EC2 takes it back."})
		},
		"its platform says so": func(w *world, r platform.Run) {
			id := w.machine(r.ID).ID
			w.cloud.mu.Lock()
			w.cloud.interrupted[id] = true
			w.cloud.mu.Unlock()
			w.cloud.switchOff(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			w.start()
			r := w.launchAs(w.member.User.ID, platform.Launch{RelaunchInterrupted: true})
			w.claim(r.ID)
			w.begin(r.ID)
			interrupt(w, r)
			w.until("it has failed", func() bool { return w.run(r.ID).State == platform.RunFailed })
			again := w.run(w.run(r.ID).RelaunchedAs)
			if again.RelaunchOf != r.ID || !again.Launch.Resume || again.Launch.SessionID != "s" || again.WorkDir != r.WorkDir {
				t.Errorf("it was launched again as %+v", again)
			}
			w.until("the machine that was taken away has ended", func() bool { return w.machine(r.ID).State == platform.MachineTerminated })
			w.claim(again.ID)
			w.report(again.ID, 0)
			w.over(again.ID, platform.RunSucceeded)
			w.over(r.ID, platform.RunFailed)
			all, err := w.db.LivingRuns(t.Context())
			must(t, err)
			if len(all) > 0 {
				t.Errorf("there are other runs: %v", all)
			}
		})
	}
}

func TestTheSweepEndsASecondInstanceAndWritesItDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	j := w.start()
	r := w.launch()
	w.claim(r.ID)
	w.cloud.mu.Lock()
	w.cloud.instances["stranger"] = cloud.StatusRunning
	w.cloud.mu.Unlock()
	ended, err := j.Sweep(t.Context())
	must(t, err)
	if len(ended) != 1 || ended[0] != "i-stranger" {
		t.Errorf("the sweep ended %v", ended)
	}
	sweeps, err := w.db.Sweeps(t.Context(), w.member.Workspace.ID, 10)
	must(t, err)
	if len(sweeps) != 1 || sweeps[0].InstanceID != "i-stranger" || sweeps[0].Why == "" || sweeps[0].ComputeEnv != w.env.Name {
		t.Errorf("written down: %+v", sweeps)
	}
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
}
