// Package examples holds the pipelines that a demonstration portal offers. They need nothing but bash and coreutils.
package examples

import "embed"

// Files are the pipelines' repositories, one folder for each.
//
//go:embed crossing leak regatta
var Files embed.FS

// Example is one pipeline, as the Launchpad offers it.
type Example struct {
	Name        string
	Dir         string // in Files
	Description string
	ParamsText  string
}

// All lists the examples. The first is the one that a demonstration launches by itself.
var All = []Example{
	{"crossing", "crossing", "Six passengers cross the river: a small pipeline with several processes and tags.",
		"passengers: [heron, otter, swift, vole, perch, moth]\nwind: fair\n"},
	{"leak", "leak", "A boat that fails its inspection: one task ends with an error that says why.", "boats: [avon, severn, tyne]\nleaking: severn\n"},
	{"regatta", "regatta", "Two hundred short tasks, to watch a run that takes longer.", "boats: 200\n"},
}
