package aws

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"wherry/cloud"
)

// EC2 takes RunInstances from a bucket of 5 requests, which is filled with 2 a second, for each account and region
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html). Wherry stays a little below: it may not be
// alone in the account.
const (
	launchBurst  = 4
	launchRate   = 1.8
	slowestRate  = 0.1 // launches a second, however often EC2 asks for fewer
	slowDownOnce = time.Second
	// launchPatience is how long a launch waits for its turn before it says so.
	launchPatience = 10 * time.Second
	// turnKept is how long a turn is kept for a launch that did not come back for it.
	turnKept = 2 * time.Minute
)

// pacer lets the launches of one account and region go at a rate that EC2 takes, in the order in which they asked first. It
// goes slower when EC2 asks for that, and faster again, little by little, when it does not.
type pacer struct {
	full rate.Limit

	mu      sync.Mutex
	limiter *rate.Limiter
	turns   map[string]time.Time // by machine id: when it is its turn
	slowed  time.Time
}

func newPacer(perSecond float64) *pacer {
	if perSecond <= 0 {
		perSecond = launchRate
	}
	return &pacer{full: rate.Limit(perSecond), limiter: rate.NewLimiter(rate.Limit(perSecond), launchBurst), turns: map[string]time.Time{}}
}

// wait returns when it is the machine's turn. When that is too long to wait for, it says so at once, and the turn is kept.
func (p *pacer) wait(ctx context.Context, machineID string) error {
	at := p.turn(machineID, time.Now())
	left := time.Until(at)
	deadline, bounded := ctx.Deadline()
	if left > launchPatience || (bounded && deadline.Before(at)) {
		return cloud.Errorf(cloud.KindThrottled, nil, "AWS takes only so many launches a second from one account. It is this machine's turn in %s.",
			left.Round(time.Second))
	}
	select {
	case <-time.After(left):
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.turns, machineID)
		return nil
	case <-ctx.Done():
		return translate(ctx.Err())
	}
}

// turn is the machine's kept turn, or a new one after all others.
func (p *pacer) turn(machineID string, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.turns {
		if now.Sub(at) > turnKept {
			delete(p.turns, id)
		}
	}
	at, kept := p.turns[machineID]
	if !kept {
		at = now.Add(p.limiter.ReserveN(now, 1).DelayFrom(now))
		p.turns[machineID] = at
	}
	return at
}

// slower halves the rate, once for all launches that EC2 turned away at the same time, and empties the bucket.
func (p *pacer) slower() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.slowed) < slowDownOnce {
		return
	}
	p.slowed = now
	if n := int(p.limiter.TokensAt(now)); n > 0 {
		p.limiter.AllowN(now, n)
	}
	p.limiter.SetLimitAt(now, max(slowestRate, p.limiter.Limit()/2))
}

// faster takes back a part of what slower took.
func (p *pacer) faster() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limiter.Limit() < p.full {
		p.limiter.SetLimit(min(p.full, p.limiter.Limit()*1.1))
	}
}

// rateNow is how many launches a second it lets go.
func (p *pacer) rateNow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%.2g", float64(p.limiter.Limit()))
}

// pacerOf is the pacer of an account and region.
func (a *AWS) pacerOf(account, region string) *pacer {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := account + " " + region
	if a.pacers[key] == nil {
		a.pacers[key] = newPacer(a.LaunchesPerSecond)
	}
	return a.pacers[key]
}
