// Package jobs holds the loops that make the world match the database. Each looks at what is and at what should be, takes
// one step, and writes down what came of it; run twice, it changes nothing more. Nothing else moves a state:
//
//	launch        wanted machines are asked of their platform
//	watch         machines that were asked for, and their runs and Studios, follow what the agent and the platform say
//	teardown      machines that are of no more use are ended
//	sweep         instances that no living machine stands for are ended
//	warm          environments that want warm machines have as many as they should
//	environments  what a compute environment needs in its account is made, checked and removed
package jobs

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"wherry/cloud"
	"wherry/db"
	"wherry/platform"
)

// Times are the deadlines and intervals of the loops. The zero value of each means its default.
type Times struct {
	Poll       time.Duration // how often a living machine is described
	Fallback   time.Duration // how long an agent may be silent before its logs are looked for where it keeps them
	StartLimit time.Duration // how long a platform may go on refusing to start a machine, other than by throttling
	BootLimit  time.Duration // how long a machine may be requested, and then booting, until its agent claims the work
	Unknown    time.Duration // platform.UnknownAfter
	Lost       time.Duration // platform.LostAfter
	Cancel     time.Duration // platform.CancelLimit
	// StudioReady is how long a Studio's tool may take to answer once its machine works, with large work to bring back and packages
	// to install; its agent gives the tool alone less. StudioStop is how long it may take to stop (platform.StudioStopLimit).
	StudioReady, StudioStop time.Duration

	Drain     time.Duration // how long a machine may take to end by itself after its work
	Sweep     time.Duration // how often the sweep looks
	Backoff   time.Duration // the longest pause between failed steps
	MakeLimit time.Duration // how long making an environment may go on failing, other than by throttling
	Lifetime  time.Duration // dead-man's timer of a machine
	Idle      time.Duration // how long a loop sleeps at most, should a wake ever be missed
}

func (t Times) orDefault() Times {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&t.Poll, 2 * time.Second}, {&t.StartLimit, 10 * time.Minute}, {&t.BootLimit, 5 * time.Minute},
		{&t.Unknown, platform.UnknownAfter}, {&t.Fallback, 40 * time.Second}, {&t.Lost, platform.LostAfter}, {&t.Cancel, platform.CancelLimit},
		{&t.Drain, time.Second}, {&t.Sweep, time.Minute}, {&t.Backoff, 30 * time.Second}, {&t.Lifetime, platform.LostAfter},
		{&t.StudioReady, time.Hour}, {&t.StudioStop, platform.StudioStopLimit}, {&t.MakeLimit, 10 * time.Minute}, {&t.Idle, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return t
}

// Jobs runs the loops.
type Jobs struct {
	DB        *db.DB
	Clouds    map[platform.PlatformName]cloud.Cloud
	Accounts  map[platform.PlatformName]cloud.Account // of platforms that make things in somebody's account
	Key       []byte                                  // db.MachineKey; claim tokens come from it
	PortalURL string                                  // where agents reach the portal
	// Fitting lists instance types of an environment's platform that have what a task lacked, the smallest first; may be nil.
	Fitting func(platform.ComputeEnv, platform.Shortage) []platform.InstanceOffer
	Times   Times
	// AuditRetention is for how long entries of the audit log are kept; 0: for ever.
	AuditRetention time.Duration
	Log            *slog.Logger
	Pulse          Pulse // how the loops do

	started time.Time
}

// Run works until ctx is done, and then waits for the steps that are under way.
func (j *Jobs) Run(ctx context.Context) {
	j.Times, j.started = j.Times.orDefault(), time.Now()
	launch := newLoop(j, "launch", j.machines(platform.MachineWanted), j.launch)
	launch.most = maxLaunching
	watch := newLoop(j, "watch", j.machines(platform.MachineRequested, platform.MachineBooting, platform.MachineWorking), j.watch)
	teardown := newLoop(j, "teardown", j.machines(platform.MachineDraining, platform.MachineFailed, platform.MachineTerminating), j.teardown)
	warm := make(chan struct{}, 1)
	environments := newLoop(j, "environments", j.environments(), j.stepEnvironment)
	defer j.DB.Subscribe(func(c platform.Change) {
		switch c.Kind {
		case platform.ChangeRun, platform.ChangeStudio, platform.ChangeMachine:
			launch.poke()
			watch.poke()
			teardown.poke()
			poke(warm)
		case platform.ChangeEnvs:
			environments.poke()
			poke(warm)
		}
	})()
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){launch.run, watch.run, teardown.run, environments.run, j.sweepUntil,
		func(ctx context.Context) { j.warmUntil(ctx, warm) }} {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
}

// ClaimToken is the token with which a machine's agent claims its work. It is derived and not kept, so that asking a
// platform again after a crash is the very same request, and the database holds nothing that could be stolen.
func ClaimToken(key []byte, machineID string) string { return derive(key, "claim "+machineID) }

// StudioToken is the secret with which the portal, and nobody else, comes to the tool of a Studio's session. It is derived as
// a claim token is.
func StudioToken(key []byte, sessionID string) string { return derive(key, "studio "+sessionID) }

func derive(key []byte, what string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(what))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// backoff is the pause after so many failed attempts: doubling from 250 ms to the limit, with jitter, so that machines
// that failed together do not come back together.
func backoff(attempts int, limit time.Duration) time.Duration {
	pause := min(limit, 250*time.Millisecond<<min(attempts, 10))
	return pause/2 + rand.N(pause/2+1)
}
