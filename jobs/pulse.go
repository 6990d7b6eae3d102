package jobs

import (
	"errors"
	"maps"
	"sync"
	"time"

	"wherry/cloud"
)

// Pulse tells from outside how the loops do. The zero Pulse is one in which nothing has happened yet.
type Pulse struct {
	mu     sync.Mutex
	looked map[string]time.Time
	failed map[Failure]int64
	swept  int64
}

// Failure names steps that failed: by their loop, and by what kind of error.
type Failure struct {
	Loop string
	Kind string // a cloud.Kind, or "other"
}

const (
	loopSweep = "sweep"
	loopWarm  = "warm"
)

// loopNames are all loops, by the names that they have in the log.
var loopNames = []string{"launch", "watch", "teardown", "environments", loopSweep, loopWarm}

// quiet is how long each loop may not have looked before it counts as stuck. The sweep asks one account after the other.
func quiet(loop string) time.Duration {
	if loop == loopSweep {
		return 30 * time.Minute
	}
	return time.Minute
}

// look notes that a loop looks now at what is to be done.
func (p *Pulse) look(loop string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looked == nil {
		p.looked = map[string]time.Time{}
	}
	p.looked[loop] = time.Now()
}

// fail notes a step that failed.
func (p *Pulse) fail(loop string, err error) {
	kind := "other"
	if c := new(cloud.Error); errors.As(err, &c) {
		kind = string(c.Kind)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = map[Failure]int64{}
	}
	p.failed[Failure{loop, kind}]++
}

// sweep notes an instance that the sweep ended.
func (p *Pulse) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swept++
}

// Quiet tells how long ago each loop last looked; -1: it has not begun.
func (p *Pulse) Quiet(now time.Time) map[string]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]time.Duration{}
	for _, loop := range loopNames {
		out[loop] = -1
		if at, ok := p.looked[loop]; ok {
			out[loop] = now.Sub(at)
		}
	}
	return out
}

// Stuck lists the loops that have not begun, or have not looked for too long.
func (p *Pulse) Stuck(now time.Time) (loops []string) {
	since := p.Quiet(now)
	for _, loop := range loopNames {
		if since[loop] < 0 || since[loop] > quiet(loop) {
			loops = append(loops, loop)
		}
	}
	return loops
}

// Failures counts the steps that failed since the portal started.
func (p *Pulse) Failures() map[Failure]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.failed)
}

// Swept counts the instances that the sweep ended since the portal started.
func (p *Pulse) Swept() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.swept
}
