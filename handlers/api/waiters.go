package api

import (
	"cmp"
	"sync"

	"wherry/platform"
)

// waiters are the long polls that wait for news of a run or a Studio.
type waiters struct {
	mu      sync.Mutex
	of      map[string]map[chan struct{}]struct{} // by the id of the run or Studio
	closing chan struct{}                         // closed when the portal stops
	close   sync.Once
}

// Close has every long poll answered with what is known now, so that a portal that stops does not wait for them. Agents ask
// the next portal.
func (a *API) Close() {
	a.once.Do(a.beginWaiting)
	a.waiters.close.Do(func() { close(a.waiters.closing) })
}

func (a *API) beginWaiting() {
	a.waiters.of = map[string]map[chan struct{}]struct{}{}
	a.waiters.closing = make(chan struct{})
	a.DB.Subscribe(a.tellWaiters)
}

// listen tells of changes to a run or a Studio until leave is called; "" listens for any machine's work. The channel holds one token at most.
func (a *API) listen(id string) (news <-chan struct{}, leave func()) {
	a.once.Do(a.beginWaiting)
	ch := make(chan struct{}, 1)
	w := &a.waiters
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[id] == nil {
		w.of[id] = map[chan struct{}]struct{}{}
	}
	w.of[id][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.of[id], ch); len(w.of[id]) == 0 {
			delete(w.of, id)
		}
	}
}

func (a *API) tellWaiters(change platform.Change) {
	switch change.Kind {
	case platform.ChangeRun, platform.ChangeStudio:
		a.waiters.tell(cmp.Or(change.RunID, change.StudioID))
	case platform.ChangeMachine:
		a.waiters.tell(cmp.Or(change.RunID, change.StudioID))
		a.waiters.tell("") // warm machines, which wait for any work
	}
}

func (w *waiters) tell(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.of[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
