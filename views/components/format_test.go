package components

import (
	"testing"

	"wherry/platform"
)

func TestCostTellsEstimatesFromWhatIsKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		money    platform.Money
		estimate bool
		want     string
	}{
		{12_345, false, "$0.0123"}, {12_345, true, "about $0.01 (estimate)"}, {4_999, true, "under $0.01 (estimate)"}, {5_000, true, "about $0.01 (estimate)"},
		{0, false, "$0.00"}, {0, true, "about $0.00 (estimate)"}, {1_994_000, true, "about $1.99 (estimate)"}, {98_320_000, false, "$98.32"},
		{12_345_678_900, true, "about $12,345.68 (estimate)"},
	} {
		if got := Cost(c.money, c.estimate); got != c.want {
			t.Errorf("%d millionths, estimate %v: %q, want %q", int64(c.money), c.estimate, got, c.want)
		}
	}
}

func TestAMachineUnderWayLooksNeitherDoneNorInTrouble(t *testing.T) {
	t.Parallel()
	for state, want := range map[platform.MachineState]string{platform.MachineWanted: "", platform.MachineWorking: "is-run", platform.MachineTerminating: "is-run",
		platform.MachineTerminated: "", platform.MachineFailed: "is-bad"} {
		if got := machineTone(state); got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}
}
