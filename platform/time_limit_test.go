package platform

import "testing"

func TestTimeLimitsAreReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, " ": 0, "90": 90, "1": 1, "90 min": 90, "90m": 90, "1 minute": 1, "1:30": 90, "0:05": 5, "2 h": 120, "2h": 120, "1 h 30 min": 90,
		"1h30m": 90, "1h30": 90, "1 hour 30 minutes": 90, "1 H 30 MIN": 90, "720 h": MaxTimeLimit, "43200": MaxTimeLimit} {
		if got, err := ParseTimeLimit(text); err != nil || got != want {
			t.Errorf("%q is %d minutes, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "0 h", "43201", "721 h", "720 h 01 min", "-5", "1.5 h", "1:60", "1:5", "an hour", "1 h 90 min", "5 s", "999999999999999999999", "1 h 30 min more", "٣"} {
		if got, err := ParseTimeLimit(text); ErrorCode(err) != CodeInvalid || got != 0 {
			t.Errorf("%q is %d minutes, %v", text, got, err)
		}
	}
	for _, minutes := range []int{0, 1, 59, 60, 61, 90, 120, MaxTimeLimit} {
		if got, err := ParseTimeLimit(FormatTimeLimit(minutes)); err != nil || got != minutes {
			t.Errorf("%d minutes are written %q, and read as %d, %v", minutes, FormatTimeLimit(minutes), got, err)
		}
	}
}

func TestALaunchIsCheckedWhereItGoes(t *testing.T) {
	t.Parallel()
	good := Launch{ComputeEnvID: NewID(), Pipeline: "nextflow-io/hello", NextflowVersion: " 24.10.0 ", TimeLimit: 90, RelaunchInterrupted: true}
	if err := good.Clean(); err != nil || good.NextflowVersion != "24.10.0" {
		t.Errorf("%+v: %v", good, err)
	}
	for field, bad := range map[string]Launch{"nextflowVersion": {NextflowVersion: "latest"}, "timeLimit": {TimeLimit: MaxTimeLimit + 1}} {
		bad.ComputeEnvID, bad.Pipeline = good.ComputeEnvID, good.Pipeline
		if errs, _ := bad.Clean().(FieldErrors); len(errs) != 1 || errs[field] == "" {
			t.Errorf("%s: %v", field, errs)
		}
	}
	for name, c := range map[string]struct {
		env      ComputeEnv
		version  string
		relaunch bool
	}{
		"this host": {ComputeEnv{Platform: PlatformLocal}, "", false},
		"On-Demand": {ComputeEnv{Platform: PlatformAWSCloud}, "24.10.0", false},
		"Spot":      {ComputeEnv{Platform: PlatformAWSCloud, Config: ComputeEnvConfig{AWSCloud: AWSCloud{Spot: true}}}, "24.10.0", true},
	} {
		l := good
		c.env.Status = ComputeEnvAvailable
		if err := l.CleanFor(c.env); err != nil || l.NextflowVersion != c.version || l.RelaunchInterrupted != c.relaunch || l.TimeLimit != 90 {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}
