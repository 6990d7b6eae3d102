package platform

import (
	"testing"
	"time"
)

func TestAnEndThatAnAgentReportsCanBeReachedFromEveryLivingState(t *testing.T) {
	t.Parallel()
	zero, one := 0, 1
	reports := map[string]EndReport{"interrupted": {Interrupted: true}, "build failed": {BuildFailed: true}, "lifespan": {StopReason: StopLifespan},
		"ended": {ExitCode: &zero}, "failed": {ExitCode: &one}, "killed": {Signal: "killed"}, "with a reason": {Reason: "The image is not there."}}
	for name, report := range reports {
		for _, state := range StudioStates {
			s := StudioSession{State: state}
			if state == StudioStopping {
				s.StopAsked, s.StopReason, s.StoppedBy = time.Now(), StopUser, "ada"
			}
			if name == "build failed" && state == StudioRunning {
				continue // its packages are there
			}
			end := StudioEndFromReport(s, report.Bounded())
			if !state.Ended() && !state.CanMove(end.State) {
				t.Errorf("%s: from %s it ends as %s, which it cannot", name, state, end.State)
			}
			if end.Message == "" || (end.State == StudioStopped) != (end.StopReason != "") {
				t.Errorf("%s: from %s it ends as %+v", name, state, end)
			}
		}
	}
}

func TestWhatWentWrongWhileAStudioStoppedIsSaid(t *testing.T) {
	t.Parallel()
	s := StudioSession{State: StudioStopping, StopAsked: time.Now(), StopReason: StopUser, StoppedBy: "ada"}
	end := StudioEndFromReport(s, EndReport{Reason: "Its work could not be saved: access denied.", ErrorReport: "AccessDenied"})
	if end.State != StudioStopped || end.Message != "It was stopped by ada. Its work could not be saved: access denied." || end.Details != "AccessDenied" {
		t.Errorf("%+v", end)
	}
}

func TestAStopWithTroubleIsToldApart(t *testing.T) {
	t.Parallel()
	for message, trouble := range map[string]bool{"It was stopped by ada.": false, "It was stopped by ada. Nothing of this session could be kept.": true, "": false} {
		s := StudioSession{State: StudioStopped, StopReason: StopUser, StoppedBy: "ada", Message: message}
		if s.StoppedWithTrouble() != trouble {
			t.Errorf("%q: %v", message, !trouble)
		}
		if s.State = StudioErrored; s.StoppedWithTrouble() {
			t.Errorf("errored with %q", message)
		}
	}
	if s := (StudioSession{State: StudioStopped, StopReason: StopSpot, Message: "EC2 took the Spot instance back."}); s.StoppedWithTrouble() {
		t.Error("an interruption is told as trouble of the stop")
	}
}
