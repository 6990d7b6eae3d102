package jobs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"wherry/platform"
)

// launchAs saves a run of a user.
func (w *world) launchAs(userID int64, launch platform.Launch) platform.Run {
	w.t.Helper()
	r := platform.Run{WorkspaceID: w.member.Workspace.ID, UserID: userID, ComputeEnvID: w.env.ID, Name: "r" + platform.NewID(), WorkDir: "/w", Launch: launch}
	_, err := w.db.AddRun(context.Background(), &r)
	must(w.t, err)
	return r
}

func TestAWorkspaceHasNoMoreMachinesThanItsLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	must(t, w.db.SetLimits(t.Context(), w.member.Workspace.ID, platform.Limits{Instances: 2}))
	w.start()
	var runs []platform.Run
	for range 5 {
		runs = append(runs, w.launch())
	}
	last := runs[len(runs)-1].ID
	w.until("the last knows its place", func() bool {
		return w.machine(last).Waiting == "Place 3 in the queue: the workspace has 2 of at most 2 machines."
	})
	done := map[string]bool{}
	for len(done) < len(runs) {
		w.until("a machine is requested", func() bool {
			for _, r := range runs {
				if !done[r.ID] && w.machine(r.ID).InstanceID != "" {
					return true
				}
			}
			return false
		})
		if n := w.cloud.living(); n > 2 {
			t.Fatalf("%d machines live", n)
		}
		for _, r := range runs {
			if done[r.ID] || w.machine(r.ID).InstanceID == "" {
				continue
			}
			w.claim(r.ID)
			w.report(r.ID, 0)
			w.until("it is gone", func() bool { return w.machine(r.ID).State == platform.MachineTerminated })
			done[r.ID] = true
			break
		}
	}
	for _, r := range runs {
		if r = w.run(r.ID); r.State != platform.RunSucceeded {
			t.Errorf("%s is %s: %s", r.Name, r.State, r.ErrorMessage)
		}
	}
}

func TestNothingStartsOnceTheMonthsMoneyIsSpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.cloud.hardware = platform.Hardware{InstanceType: "big", HourMicroUSD: 60_000_000} // a dollar for the least that is billed
	w.start()
	r := w.launch()
	w.claim(r.ID)
	w.report(r.ID, 0)
	w.over(r.ID, platform.RunSucceeded)
	must(t, w.db.SetLimits(t.Context(), w.member.Workspace.ID, platform.Limits{MonthMicroUSD: 1_000_000}))
	next := platform.Run{WorkspaceID: w.member.Workspace.ID, UserID: w.member.User.ID, ComputeEnvID: w.env.ID, Name: "next", WorkDir: "/w"}
	_, err := w.db.AddRun(t.Context(), &next)
	if platform.ErrorCode(err) != platform.CodeInvalid || !strings.Contains(fmt.Sprint(err), "have cost $1.00") {
		t.Errorf("another launch: %v", err)
	}
	must(t, w.db.SetLimits(t.Context(), w.member.Workspace.ID, platform.Limits{MonthMicroUSD: 2_000_000}))
	next.Name = "after"
	_, err = w.db.AddRun(t.Context(), &next)
	must(t, err)
	w.until("it is requested", func() bool { return w.machine(next.ID).InstanceID != "" })
}

func TestARunThatTakesTooLongIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launchAs(w.member.User.ID, platform.Launch{TimeLimit: 1})
	w.claim(r.ID)
	must(t, w.db.TraceCalled(t.Context(), w.run(r.ID), "begin", platform.TraceCall{SessionID: "s", Instant: time.Now().Add(-2 * time.Minute).UnixMilli()}))
	w.until("its agent is told", func() bool { return !w.run(r.ID).CancelAsked.IsZero() })
	w.reportEnd(r.ID, platform.EndReport{Cancelled: true, Signal: "terminated"})
	if r = w.over(r.ID, platform.RunFailed); r.ErrorMessage != "The run reached its time limit of 1m0s and was stopped." {
		t.Errorf("%q", r.ErrorMessage)
	}
}
