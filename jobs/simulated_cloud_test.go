package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wherry/cloud"
	"wherry/platform"
)

// simulatedCloud starts instances as EC2 does: by a token, with a delay until they show, and with every fault of a call that
// there is. Each instance boots and runs a simulatedAgent.
type simulatedCloud struct {
	s    *simulation
	calm atomic.Bool // calls have no more faults

	mu        sync.Mutex
	tokens    map[string]*simulatedInstance
	instances map[string]*simulatedInstance // by id
	full      map[string]bool               // tokens that were refused for good
	most      map[string]int                // how many instances a machine ever had
	works     map[string]*simulatedWork     // by run or session
	agents    sync.WaitGroup
}

// simulatedInstance is one instance of it.
type simulatedInstance struct {
	id, machine string
	born        time.Time
	shows       time.Time // when Describe and List show it
	status      cloud.Status
	reason      string
	interrupted bool
	ctx         context.Context // ends with the instance
	end         context.CancelFunc
}

var errSimulated = errors.New("simulated")

func newSimulatedCloud(s *simulation) *simulatedCloud {
	return &simulatedCloud{s: s, tokens: map[string]*simulatedInstance{}, instances: map[string]*simulatedInstance{}, full: map[string]bool{}, most: map[string]int{}, works: map[string]*simulatedWork{}}
}

// call makes a call with a fault, or without: an error before it has its effect or after, throttling, and no answer until
// the caller gives up. late is the effect of a call that arrives after that; nil: it has none.
func (c *simulatedCloud) call(ctx context.Context, effect, late func()) error {
	sleep(ctx, c.s.upTo(200*time.Millisecond))
	if c.calm.Load() || !c.s.chance(simulatedFaults) {
		effect()
		return ctx.Err()
	}
	simulated.faults.Add(1)
	switch c.s.number(5) {
	case 0:
		return cloud.Errorf(cloud.KindTransient, errSimulated, "Before the effect.")
	case 1:
		effect()
		return cloud.Errorf(cloud.KindTransient, errSimulated, "After the effect.")
	case 2:
		return cloud.Errorf(cloud.KindThrottled, errSimulated, "Too many calls.")
	case 3:
		effect()
		<-ctx.Done()
	case 4:
		<-ctx.Done()
		if late != nil && c.s.chance(0.7) {
			time.AfterFunc(c.s.upTo(10*time.Minute), late) // it arrives when nobody waits for it any more
		}
	}
	return errors.Join(ctx.Err(), cloud.Errorf(cloud.KindTransient, errSimulated, "No answer."))
}

func (c *simulatedCloud) Start(ctx context.Context, _ platform.ComputeEnv, req cloud.StartRequest) (started cloud.Started, err error) {
	token := req.Placement
	if token == "" || c.refused(token) { // each place that is asked has a token of its own, which nothing but Keep remembers
		token = fmt.Sprintf("%s-%d", req.MachineID, c.s.number(1_000_000_000))
		if err := req.Keep(ctx, token); err != nil {
			return started, err
		}
	}
	if !c.calm.Load() && c.s.chance(0.05) && c.refuse(token) {
		return started, cloud.Errorf(cloud.KindCapacity, errSimulated, "There is no room.")
	}
	err = c.call(ctx, func() {
		i := c.run(token, req)
		started = cloud.Started{InstanceID: i.id, Hardware: platform.Hardware{InstanceType: "m5d.large", HourMicroUSD: 113_000}}
	}, func() { c.run(token, req) })
	return started, err
}

// refuse has no room for a token, unless that has an instance already.
func (c *simulatedCloud) refuse(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens[token] != nil {
		return false
	}
	c.full[token] = true
	return true
}

func (c *simulatedCloud) refused(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full[token]
}

// run starts an instance, once for a token. What was refused for good stays so, for a call too that arrives late.
func (c *simulatedCloud) run(token string, req cloud.StartRequest) *simulatedInstance {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.tokens[token]; i != nil || c.full[token] {
		return i
	}
	now := time.Now()
	i := &simulatedInstance{id: fmt.Sprintf("i-%d", len(c.tokens)+1), machine: req.MachineID, born: now, shows: now.Add(c.s.upTo(20 * time.Second)), status: cloud.StatusPending}
	i.ctx, i.end = context.WithCancel(context.Background())
	c.tokens[token], c.instances[i.id] = i, i
	c.most[i.machine]++
	c.agents.Go(func() { c.boot(i, req.Lifetime) })
	return i
}

// terminate ends an instance, as it was not ended before.
func (c *simulatedCloud) terminate(i *simulatedInstance, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i.status != cloud.StatusGone {
		i.status, i.reason = cloud.StatusGone, reason
		i.end()
	}
}

func (c *simulatedCloud) Describe(ctx context.Context, _ platform.ComputeEnv, m platform.Machine) (out cloud.Instance, err error) {
	err = c.call(ctx, func() { out = c.look(m) }, nil)
	return out, err
}

// placedLately is how long an instance that was asked for may not show.
const placedLately = 2 * time.Minute

func (c *simulatedCloud) look(m platform.Machine) cloud.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.instances {
		if i.machine == m.ID && time.Now().After(i.shows) {
			return i.shown()
		}
	}
	out := cloud.Instance{MachineID: m.ID, Status: cloud.StatusGone}
	if m.Placement != "" && time.Since(m.Placed) < placedLately {
		out.Status = cloud.StatusPending
	}
	return out
}

func (i *simulatedInstance) shown() cloud.Instance {
	return cloud.Instance{MachineID: i.machine, InstanceID: i.id, Status: i.status, Reason: i.reason, Started: i.born, Interrupted: i.interrupted}
}

func (c *simulatedCloud) Terminate(ctx context.Context, _ platform.ComputeEnv, m platform.Machine) error {
	end := func() {
		for _, i := range c.list() {
			if i.machine == m.ID {
				c.terminate(i, "its end was asked for")
			}
		}
	}
	return c.call(ctx, end, end)
}

func (c *simulatedCloud) End(ctx context.Context, _ platform.ComputeEnv, id string) error {
	end := func() {
		for _, i := range c.list() {
			if i.id == id {
				c.terminate(i, "its end was asked for")
			}
		}
	}
	return c.call(ctx, end, end)
}

// list is every instance that shows.
func (c *simulatedCloud) list() (shown []*simulatedInstance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.instances {
		if time.Now().After(i.shows) {
			shown = append(shown, i)
		}
	}
	return shown
}

func (c *simulatedCloud) List(ctx context.Context, _ platform.ComputeEnv) (list []cloud.Instance, err error) {
	err = c.call(ctx, func() {
		list = nil
		for _, i := range c.list() {
			c.mu.Lock()
			if i.status != cloud.StatusGone {
				list = append(list, i.shown())
			}
			c.mu.Unlock()
		}
	}, nil)
	return list, err
}

func (c *simulatedCloud) Recover(ctx context.Context, _ platform.ComputeEnv, req cloud.RecoverRequest) (left cloud.Recovered, err error) {
	err = c.call(ctx, func() {
		if w := c.workOf(req.WorkID); w != nil {
			left = w.left(req)
		}
	}, nil)
	return left, err
}

func (c *simulatedCloud) LastWords(context.Context, platform.ComputeEnv, platform.Machine) string {
	return ""
}

func (c *simulatedCloud) Open(context.Context, platform.ComputeEnv, string, string) (fs.File, error) {
	return nil, fs.ErrNotExist
}

func (c *simulatedCloud) CheckLaunch(context.Context, platform.ComputeEnv, platform.Launch) error {
	return nil
}

func (c *simulatedCloud) Check(context.Context, platform.ComputeEnv) error { return nil }

func (c *simulatedCloud) living() int { return len(c.livingList()) }

func (c *simulatedCloud) livingList() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.instances)) {
		if i := c.instances[id]; i.status != cloud.StatusGone {
			list = append(list, fmt.Sprintf("%s of machine %s, %s", id, i.machine, i.status))
		}
	}
	return list
}

// workOf is what was done for a run or a session; nil: nothing.
func (c *simulatedCloud) workOf(id string) *simulatedWork {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.works[id]
}

// close ends what a failed simulation has left.
func (c *simulatedCloud) close() {
	c.mu.Lock()
	for _, i := range c.instances {
		i.end()
	}
	c.mu.Unlock()
	c.agents.Wait()
}

func (c *simulatedCloud) Assign(context.Context, platform.ComputeEnv, platform.Machine, cloud.StartRequest) error {
	return nil
}
