package aws

import (
	"sync"
	"time"
)

// refusedFor is how long an offering that EC2 refused is not asked for again. (Karpenter waits as long.)
const refusedFor = 3 * time.Minute

// offering is what EC2 may have no room for: a type in one zone, or any type in one subnet.
type offering struct {
	account, region string
	instanceType    string // empty: any
	place           string // a zone or a subnet
	spot            bool
}

// refusals remembers which offerings EC2 refused a moment ago, so that other machines pass them over.
type refusals struct {
	mu    sync.Mutex
	until map[offering]time.Time
}

func (r *refusals) add(o offering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for known, until := range r.until {
		if now.After(until) {
			delete(r.until, known)
		}
	}
	r.until[o] = now.Add(refusedFor)
}

func (r *refusals) has(o offering) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until[o])
}
