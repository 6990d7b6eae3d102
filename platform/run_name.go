package platform

import "math/rand/v2"

var (
	runAdjectives = []string{"amber", "bold", "brisk", "calm", "clever", "cosy", "deft", "eager", "fair", "gentle", "glad",
		"golden", "happy", "hardy", "hearty", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "nimble", "noble",
		"patient", "placid", "proud", "quick", "quiet", "ready", "serene", "silver", "steady", "sunny", "swift", "tidy",
		"trusty", "vivid", "warm", "wise"}
	runNouns = []string{"avon", "barge", "bosun", "cam", "canoe", "clyde", "coble", "coracle", "cutter", "danube", "dee",
		"dinghy", "dory", "felucca", "ferry", "gondola", "humber", "kayak", "ketch", "loire", "lugger", "medway", "mersey",
		"nile", "orwell", "ouse", "pinnace", "punt", "rhine", "rhone", "sampan", "schooner", "severn", "skiff", "sloop",
		"spey", "tamar", "thames", "trent", "tyne", "waveney", "wensum", "yare", "yawl"}
)

// RandomRunName returns a friendly name that Nextflow accepts, such as "brisk_thames".
func RandomRunName() string {
	return runAdjectives[rand.N(len(runAdjectives))] + "_" + runNouns[rand.N(len(runNouns))]
}
