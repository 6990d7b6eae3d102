package web

import (
	"context"
	"sync"

	"wherry/db"
	"wherry/platform"
)

// recentChanges is how many changes the hub remembers, so that subscribers who are not far behind need no database.
const recentChanges = 4096

// Hub tells open pages what changes. It holds the newest lines of the journal in memory; who is further behind reads the
// database.
type Hub struct {
	db      *db.DB
	closing chan struct{}
	once    sync.Once
	stop    func()

	mu      sync.Mutex
	recent  []platform.Change // in order of ids, without gaps after the first
	clients map[*client]struct{}
	windows map[windowKey]*window
}

// client is one open page. wake holds at most one token: how much is new, the client finds out itself.
type client struct {
	workspaceID int64
	of          string // the run or Studio that it follows; empty: all of the workspace
	wake        chan struct{}
	logs        chan struct{} // like wake, for the logs of the run or Studio
}

// follows tells whether a change is of what the page shows, or of who may see it.
func (c *client) follows(change platform.Change) bool {
	return c.workspaceID == change.WorkspaceID && (c.of == "" || c.of == change.RunID || c.of == change.StudioID || change.Kind == platform.ChangeMembers)
}

// windowKey names a window on a log that many pages ask for at once.
type windowKey struct {
	of     string // the run or Studio
	workID string // the run, or the session of the Studio
	stream platform.LogStream
	first  int64
}

type window struct {
	once  sync.Once
	lines platform.LogLines
	err   error
}

// NewHub follows the database's changes until Close.
func NewHub(d *db.DB) *Hub {
	h := &Hub{db: d, closing: make(chan struct{}), clients: map[*client]struct{}{}, windows: map[windowKey]*window{}}
	h.stop = d.Subscribe(h.publish)
	return h
}

// Close ends every open stream, so that the server can shut down; browsers come back with Last-Event-ID.
func (h *Hub) Close() {
	h.once.Do(func() {
		h.stop()
		close(h.closing)
	})
}

func (h *Hub) publish(change platform.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if change.Kind == platform.ChangeLog {
		for key := range h.windows {
			if key.of == change.RunID || key.of == change.StudioID {
				delete(h.windows, key)
			}
		}
	} else {
		if h.recent = append(h.recent, change); len(h.recent) > 2*recentChanges {
			h.recent = append(h.recent[:0:0], h.recent[len(h.recent)-recentChanges:]...)
		}
	}
	for c := range h.clients {
		if !c.follows(change) {
			continue
		}
		if change.Kind == platform.ChangeLog {
			poke(c.logs)
		} else {
			poke(c.wake)
		}
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (h *Hub) join(workspaceID int64, of string) (c *client, leave func()) {
	c = &client{workspaceID: workspaceID, of: of, wake: make(chan struct{}, 1), logs: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.clients, c)
	}
}

// since lists what is new for a client after a change, and the id up to which it has then seen everything. complete is
// false when it is too far behind to be told.
func (h *Hub) since(ctx context.Context, c *client, after int64) (changes []platform.Change, upTo int64, complete bool, err error) {
	if changes, upTo, ok := h.fromRecent(c, after); ok {
		return changes, upTo, true, nil
	}
	if upTo, err = h.db.LastChange(ctx); err != nil {
		return nil, 0, false, err
	}
	changes, complete, err = h.db.ChangesSince(ctx, c.workspaceID, c.of, after)
	if n := len(changes); n > 0 {
		upTo = max(upTo, changes[n-1].ID)
	}
	return changes, upTo, complete, err
}

func (h *Hub) fromRecent(c *client, after int64) (changes []platform.Change, upTo int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == 0 || after < h.recent[0].ID-1 {
		return nil, 0, false
	}
	upTo = h.recent[len(h.recent)-1].ID
	for i := len(h.recent) - 1; i >= 0 && h.recent[i].ID > after; i-- {
		if change := h.recent[i]; c.follows(change) {
			changes = append(changes, change)
		}
	}
	return changes, max(after, upTo), after <= upTo
}

// lines reads a window of a log, once for all pages that ask for it until the log grows.
func (h *Hub) lines(ctx context.Context, key windowKey, count int) (platform.LogLines, error) {
	h.mu.Lock()
	w, ok := h.windows[key]
	if !ok {
		w = &window{}
		h.windows[key] = w
	}
	h.mu.Unlock()
	w.once.Do(func() {
		w.lines, w.err = h.db.LogLines(context.WithoutCancel(ctx), key.workID, key.stream, key.first, count)
	})
	h.forgetLater(key, w)
	return w.lines, w.err
}

// forgetLater keeps the map of windows small: one that is not the newest of its log is read once or twice only.
func (h *Hub) forgetLater(key windowKey, w *window) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.windows) > 256 || w.err != nil {
		delete(h.windows, key)
	}
}

// Clients counts the open pages that follow changes.
func (h *Hub) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}
