package platform

import (
	"strings"
	"testing"
)

// report is what Nextflow 24.10.0 printed of a process that asked for too much, with other causes put in.
func report(cause string) string {
	return "ERROR ~ Error executing process > 'ALIGN (1)'\n\nCaused by:\n  " + cause + "\n\n\nCommand executed:\n\n  echo 1\n\n" +
		"Command exit status:\n  -\n\nCommand output:\n  (empty)\n\nWork dir:\n  /work/52/8fe57f95f9aba93114cbee5c6919ae\n\n" +
		"Tip: you can replicate the issue by changing to the process work dir and entering the command `bash .command.run`\n\n -- Check '.nextflow.log' file for details\n"
}

func TestShortagesAreReadFromNextflowsWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want Shortage
		ok   bool
	}{
		"CPUs": {report("Process requirement exceeds available CPUs -- req: 16; avail: 2"), Shortage{Process: "ALIGN", CPUs: 16, AvailCPUs: 2}, true},
		"memory": {report("Process requirement exceeds available memory -- req: 64 GB; avail: 7.6 GB"),
			Shortage{Process: "ALIGN", Memory: 64 << 30, AvailMemory: 8160437862, MemoryRounding: (1 << 30) / 20}, true},
		"memory in terabytes": {report("Process requirement exceeds available memory -- req: 1.5 TB; avail: 7.6 GB"),
			Shortage{Process: "ALIGN", Memory: 3 << 39, AvailMemory: 8160437862, MemoryRounding: (1 << 40) / 20}, true},
		"rounded to the same": {report("Process requirement exceeds available memory -- req: 7.6 GB; avail: 7.6 GB"),
			Shortage{Process: "ALIGN", Memory: 8160437862, AvailMemory: 8160437862, MemoryRounding: (1 << 30) / 20}, true},
		"accelerators of newer versions": {report("Process requirement exceeds available accelerators -- req: 1; avail: 0"), Shortage{Process: "ALIGN", GPUs: 1}, true},
		"the message alone":              {"Process requirement exceeds available CPUs -- req: 16; avail: 2", Shortage{CPUs: 16, AvailCPUs: 2}, true},
		"the log": {"  error [nextflow.exception.ProcessUnrecoverableException]: Process requirement exceeds available memory -- req: 512 MB; avail: 100 MB\n",
			Shortage{Memory: 512 << 20, AvailMemory: 100 << 20, MemoryRounding: (1 << 20) / 20}, true},
		"a process in a workflow, with quotes in its tag": {"Error executing process > 'NFCORE:RNASEQ:STAR (it's (odd))'\n\nCaused by:\n  Process requirement exceeds available CPUs -- req: 12; avail: 4",
			Shortage{Process: "NFCORE:RNASEQ:STAR", CPUs: 12, AvailCPUs: 4}, true},
		"another failure":        {report("Process `ALIGN (1)` terminated with an error exit status (1)"), Shortage{}, false},
		"no shortage":            {"Process requirement exceeds available CPUs -- req: 2; avail: 16", Shortage{}, false},
		"no numbers":             {"Process requirement exceeds available CPUs -- req: many; avail: 2", Shortage{}, false},
		"more than a number has": {"Process requirement exceeds available CPUs -- req: 99999999999999999999; avail: 2", Shortage{}, false},
		"two points":             {"Process requirement exceeds available memory -- req: 1.2.3 GB; avail: 1 GB", Shortage{}, false},
		"too much memory to be":  {"Process requirement exceeds available memory -- req: 99 EB; avail: 1 GB", Shortage{}, false},
		"empty":                  {"", Shortage{}, false},
	} {
		got, ok := ReadShortage(c.text)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestMemoryOfAShortageCoversWhatRoundingHides(t *testing.T) {
	t.Parallel()
	s, ok := ReadShortage("Process requirement exceeds available memory -- req: 64 GB; avail: 7.6 GB") // of 64.04 GB, for one
	if asked := int64(65_577); !ok || s.MemoryMiB() < asked || s.MemoryMiB() > 65*1024 {
		t.Errorf("%d MiB, and %d may have been asked for", s.MemoryMiB(), asked)
	}
}

func TestShortageIsExplainedWithNumbersAndTypes(t *testing.T) {
	t.Parallel()
	both := Shortage{Process: "ALIGN", CPUs: 16, AvailCPUs: 2, Memory: 64 << 30, AvailMemory: 8160437862}
	offers := []InstanceOffer{{InstanceType{Name: "r5.4xlarge", CPUs: 16, MemoryMiB: 128 << 10}, Price{Hour: 1_128_000}},
		{InstanceType{Name: "g5.8xlarge", CPUs: 32, MemoryMiB: 128 << 10, GPUs: 1}, Price{}}}
	const lower = " what the process asks for: cpus, memory or resourceLimits in the pipeline's configuration."
	for want, got := range map[string]string{
		"The process ALIGN asks for 16 CPUs and 64 GB; the instance m5d.large has 2 CPUs and 7.6 GB. The smallest types with that much in eu-west-1: " +
			"r5.4xlarge (16 CPUs, 128 GB, $1.13 an hour), g5.8xlarge (32 CPUs, 128 GB, 1 GPU). Choose one of them in the compute environment, or lower": both.Explain("m5d.large", "eu-west-1", offers),
		"A process asks for 2 CPUs; the instance a1.medium has 1 CPU. Wherry knows no suitable instance type with that much in eu-west-1. Choose a larger one in the compute environment if there is one, or lower": Shortage{CPUs: 2, AvailCPUs: 1}.Explain("a1.medium", "eu-west-1", nil),
		"A process asks for 1 GPU; the machine has no GPU. Use a compute environment with a larger machine, or lower":                                                                                               Shortage{GPUs: 1}.Explain("", "", nil),
	} {
		if got != want+lower {
			t.Errorf("it says\n%s\nand should say\n%s", got, want+lower)
		}
	}
	if text := both.Explain("m5d.large", "eu-west-1", offers); strings.Contains(text, "\n") {
		t.Error("what follows a line end would be hidden as details")
	}
}
