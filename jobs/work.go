package jobs

import (
	"context"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// work is what a machine is for: a run (runWork), a session of a Studio (studioWork) or, of a warm machine, nothing yet
// (noWork). The loops move machines alike, whatever they are for; what differs is behind this. It is as it was read: a loop
// that needs it newer reads it again (workOf).
type work interface {
	created() time.Time
	ended() bool
	// report is its agent's report of the end; nil: there is none.
	report() *platform.EndReport
	// stopAsked is since when it shall end; zero: nobody wants that.
	stopAsked() time.Time
	// news tells whether its agent or people said what moves it on while its machine works.
	news() bool
	// request fills in whose a machine is.
	request(*cloud.StartRequest)
	// kept is where its agent keeps files: a folder of a work directory.
	kept() (folder, workDir string)
	// again is a sentence about what to do after a failure that may pass.
	again() string

	// failed ends it, because its machine never worked; why is for people.
	failed(ctx context.Context, why string) error
	// stopped ends it as it was asked to, before its machine worked.
	stopped(ctx context.Context) error
	// finished ends it as its agent reported.
	finished(ctx context.Context, w watched, report platform.EndReport) error
	// lost ends it without a report of its agent.
	lost(ctx context.Context, w watched) error
	// watch moves it where the facts say so, while its machine works.
	watch(ctx context.Context, w watched) (moved bool, err error)
	// take saves what its agent left beside logs, steps and the end.
	take(ctx context.Context, m platform.Machine, left cloud.Recovered) error
}

// workOf reads what a machine is for.
func (j *Jobs) workOf(ctx context.Context, m platform.Machine) (work, error) {
	switch {
	case m.RunID != "":
		run, err := j.DB.AnyRun(ctx, m.RunID)
		return runWork{j, run}, err
	case m.StudioSessionID != "":
		session, err := j.DB.StudioSession(ctx, m.StudioSessionID)
		return studioWork{j, session}, err
	}
	return noWork{m}, nil
}

// noWork is that of a warm machine. It only ends, when the end of the machine is asked for.
type noWork struct{ m platform.Machine }

func (n noWork) created() time.Time                           { return n.m.Created }
func (n noWork) ended() bool                                  { return false }
func (n noWork) report() *platform.EndReport                  { return nil }
func (n noWork) stopAsked() time.Time                         { return n.m.EndAsked }
func (n noWork) news() bool                                   { return false }
func (n noWork) request(*cloud.StartRequest)                  {}
func (n noWork) kept() (folder, workDir string)               { return "", "" }
func (n noWork) again() string                                { return "It is tried again later." }
func (n noWork) failed(context.Context, string) error         { return nil }
func (n noWork) stopped(context.Context) error                { return nil }
func (n noWork) lost(context.Context, watched) error          { return nil }
func (n noWork) watch(context.Context, watched) (bool, error) { return false, nil }

func (n noWork) finished(context.Context, watched, platform.EndReport) error { return nil }

func (n noWork) take(context.Context, platform.Machine, cloud.Recovered) error { return nil }
