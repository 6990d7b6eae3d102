package jobs

import (
	"strings"
	"testing"

	"wherry/platform"
)

func TestATaskThatNeedsMoreThanItsMachineIsToldWhatFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.cloud.hardware = platform.Hardware{InstanceType: "m5d.large"}
	w.fitting = func(_ platform.ComputeEnv, s platform.Shortage) []platform.InstanceOffer {
		if s.CPUs != 16 {
			t.Errorf("what is lacking is %+v", s)
		}
		return []platform.InstanceOffer{{InstanceType: platform.InstanceType{Name: "c5.4xlarge", CPUs: 16, MemoryMiB: 32 << 10}}}
	}
	w.start()
	r := w.launch()
	w.claim(r.ID)
	one := 1
	w.reportEnd(r.ID, platform.EndReport{ExitCode: &one, ErrorReport: "Error executing process > 'ALIGN (heron)'\n\nCaused by:\n  Process requirement exceeds available CPUs -- req: 16; avail: 2\n"})
	r = w.over(r.ID, platform.RunFailed)
	for _, want := range []string{"The process ALIGN asks for 16 CPUs; the instance m5d.large has 2 CPUs", "c5.4xlarge (16 CPUs, 32 GB)"} {
		if !strings.Contains(r.ErrorMessage, want) {
			t.Errorf("%q does not say %q", r.ErrorMessage, want)
		}
	}
	if !strings.Contains(r.ErrorReport, "Process requirement exceeds") {
		t.Errorf("Nextflow's own words are lost: %q", r.ErrorReport)
	}
}

func TestAFullDiskIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	w.start()
	r := w.launch()
	w.claim(r.ID)
	one := 1
	w.reportEnd(r.ID, platform.EndReport{ExitCode: &one, ErrorReport: "java.io.IOException: No space left on device"})
	if r = w.over(r.ID, platform.RunFailed); !strings.HasPrefix(r.ErrorMessage, "The machine's disk is full. Make room") || r.ErrorReport == "" {
		t.Errorf("%q, %q", r.ErrorMessage, r.ErrorReport)
	}
}
