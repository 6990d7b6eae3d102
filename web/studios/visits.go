package studios

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wherry/platform"
)

const (
	// maxConnections and maxPersonal are how many requests at once a Studio takes, and of one person. A WebSocket is one.
	maxConnections, maxPersonal = 200, 100
	// quietLimit is how long a request may last without a byte in either direction.
	quietLimit = time.Hour
	// gone is how long after their last request somebody counts as connected.
	gone = 30 * time.Second
)

// visit is a request that is under way in a Studio.
type visit struct {
	grant grant // of its who
	end   context.CancelCauseFunc
	moved atomic.Int64 // when a byte last moved, in milliseconds of the epoch

	mu   sync.Mutex
	w    http.ResponseWriter
	conn net.Conn // of the browser, once it is taken over from the server
	cut  bool
}

// person is somebody who is connected to a Studio.
type person struct {
	name   string
	since  time.Time
	last   time.Time // when their last request ended
	visits int
}

// visits are the requests under way, and who is connected.
type visits struct {
	mu     sync.Mutex
	all    map[*visit]struct{}
	people map[string]map[int64]*person // by Studio and user
}

// errEnded is the cause with which requests are cut off.
type errEnded struct{ why string }

func (e errEnded) Error() string { return e.why }

// begin notes a request; why is empty unless there are too many.
func (vs *visits) begin(w http.ResponseWriter, g grant, name string, now time.Time, end context.CancelCauseFunc) (v *visit, why string) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.all == nil {
		vs.all, vs.people = map[*visit]struct{}{}, map[string]map[int64]*person{}
	}
	total := 0
	for _, p := range vs.people[g.Studio] {
		total += p.visits
	}
	p := vs.people[g.Studio][g.User]
	switch {
	case total >= maxConnections:
		return nil, "This Studio has as many connections open as it may. Close some of its tabs, and try again."
	case p != nil && p.visits >= maxPersonal:
		return nil, "You have as many connections to this Studio open as one person may. Close some of its tabs, and try again."
	case vs.people[g.Studio] == nil:
		vs.people[g.Studio] = map[int64]*person{}
	}
	if p == nil || p.visits == 0 && now.Sub(p.last) > gone {
		p = &person{since: now}
		vs.people[g.Studio][g.User] = p
	}
	p.name, p.last = name, now
	p.visits++
	v = &visit{grant: g.who(), end: end, w: w}
	v.moved.Store(now.UnixMilli())
	vs.all[v] = struct{}{}
	return v, ""
}

func (vs *visits) finish(v *visit, now time.Time) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	delete(vs.all, v)
	if p := vs.people[v.grant.Studio][v.grant.User]; p != nil {
		p.visits--
		p.last = now
	}
}

// has tells whether a member has a request under way.
func (vs *visits) has(who grant) bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for v := range vs.all {
		if v.grant == who {
			return true
		}
	}
	return false
}

// open lists requests under way, by whose they are.
func (vs *visits) open() map[grant][]*visit {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	list := map[grant][]*visit{}
	for v := range vs.all {
		list[v.grant] = append(list[v.grant], v)
	}
	return list
}

// connected lists who has a Studio open, the longest first, and forgets who has not.
func (vs *visits) connected(studioID string, now time.Time) (list []platform.StudioConnection) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for id, p := range vs.people[studioID] {
		if p.visits == 0 && now.Sub(p.last) > gone {
			delete(vs.people[studioID], id)
			continue
		}
		list = append(list, platform.StudioConnection{UserName: p.name, Since: p.since})
	}
	if len(vs.people[studioID]) == 0 {
		delete(vs.people, studioID)
	}
	slices.SortFunc(list, func(a, b platform.StudioConnection) int { return a.Since.Compare(b.Since) })
	return list
}

// stop cuts a request off at once, whatever it waits for: the tool, or a browser that does not read.
func (v *visit) stop(why string) {
	v.end(errEnded{why})
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut = true; v.conn != nil {
		_ = v.conn.Close()
		return
	}
	if v.w != nil {
		past := time.Unix(1, 0)
		_ = http.NewResponseController(v.w).SetWriteDeadline(past)
	}
}

// done lets go of the request's writer, which is not its own any more.
func (v *visit) done() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.w, v.conn = nil, nil
}

// taken notes that the browser's connection is the request's own from now on.
func (v *visit) taken(conn net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn = conn; v.cut {
		_ = conn.Close()
	}
}
