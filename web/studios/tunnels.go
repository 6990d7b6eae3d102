package studios

import (
	"context"
	"net/http"
	"sync"
	"time"

	"wherry/platform"
	"wherry/tunnel"
)

// tunnelWait is how long a request waits for a Studio's tunnel: agents come back within 5 seconds of the portal's start.
const tunnelWait = 8 * time.Second

// tunnels are those that agents have opened, by their Studio's session.
type tunnels struct {
	mu     sync.Mutex
	open   map[string]*way // by session
	news   chan struct{}   // closed when one is added
	closed bool
}

// way leads to a Studio's tool.
type way struct {
	machineID string
	tunnel    *tunnel.Tunnel
	proxy     http.Handler
}

// add puts the newest way to a session in the place of an older one, which it closes. false: no more ways are taken.
func (t *tunnels) add(sessionID string, w *way) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.open == nil {
		t.open = map[string]*way{}
	}
	if old := t.open[sessionID]; old != nil {
		_ = old.tunnel.Close()
	}
	t.open[sessionID] = w
	if t.news != nil {
		close(t.news)
		t.news = nil
	}
	return true
}

func (t *tunnels) remove(sessionID string, w *way) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[sessionID] == w {
		delete(t.open, sessionID)
	}
}

// find returns the way to a session, nil if there is none now, and then what is closed at news.
func (t *tunnels) find(sessionID string) (*way, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.open[sessionID]; w != nil {
		select {
		case <-w.tunnel.Done():
		default:
			return w, nil
		}
	}
	if t.news == nil {
		t.news = make(chan struct{})
	}
	return nil, t.news
}

// wait returns the way to a session, and waits for it at most for limit; nil: it has not come.
func (t *tunnels) wait(ctx context.Context, sessionID string, limit time.Duration) *way {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		w, news := t.find(sessionID)
		if w != nil {
			return w
		}
		select {
		case <-news:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// all lists the open ways.
func (t *tunnels) all() (list []*way) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.open {
		list = append(list, w)
	}
	return list
}

// close ends every tunnel, and takes no more.
func (t *tunnels) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	for _, w := range t.all() {
		_ = w.tunnel.Close()
	}
}

// AcceptTunnel takes the tunnel that the agent of a Studio's machine opens, and returns when that has ended. The request is
// answered then, whatever it returns.
func (s *Studios) AcceptTunnel(w http.ResponseWriter, r *http.Request, m platform.Machine) error {
	t, err := tunnel.Accept(w, r)
	if err != nil {
		return err
	}
	defer t.Close()
	way := &way{machineID: m.ID, tunnel: t}
	proxy, idle := s.newProxy(t)
	defer idle()
	way.proxy = proxy
	if !s.tunnels.add(m.StudioSessionID, way) {
		return nil
	}
	defer s.tunnels.remove(m.StudioSessionID, way)
	s.watch()
	<-t.Done()
	return nil
}

// closeUnwanted ends tunnels of machines whose work is over.
func (s *Studios) closeUnwanted(ctx context.Context) {
	for _, w := range s.tunnels.all() {
		m, err := s.DB.Machine(ctx, w.machineID)
		if platform.ErrorCode(err) == platform.CodeNotFound || err == nil && !m.State.Wanted() {
			_ = w.tunnel.Close()
		}
	}
}
