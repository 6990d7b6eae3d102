package studios

import (
	"context"
	"time"

	"wherry/platform"
)

// watchEvery is how often it is looked whether who is in a Studio may still be.
const watchEvery = time.Second

// watch makes sure that somebody looks at what is open, until nothing is.
func (s *Studios) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watching {
		s.watching = true
		go s.watchWhileOpen()
	}
}

func (s *Studios) watchWhileOpen() {
	news := make(chan struct{}, 1)
	defer s.DB.Subscribe(func(c platform.Change) {
		switch c.Kind {
		case platform.ChangeStudio, platform.ChangeMachine, platform.ChangeMembers:
			select {
			case news <- struct{}{}:
			default:
			}
		}
	})()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-news:
		}
		s.look()
		if s.restAfterWatch() {
			return
		}
	}
}

// restAfterWatch tells whether nothing is open any more, and then the watch is over.
func (s *Studios) restAfterWatch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching = len(s.visits.open()) > 0 || len(s.tunnels.all()) > 0
	return !s.watching
}

// look cuts off who may not be in a Studio any more, and notes that it is in use by the others. Where the database cannot be
// asked, nothing changes until it can.
func (s *Studios) look() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for g, list := range s.visits.open() {
		studio, _, err := s.check(ctx, g, false)
		if err == nil {
			s.active(ctx, *studio.Session)
		}
		for _, v := range list {
			switch {
			case over(err):
				v.stop("Your access to this Studio has ended.")
			case s.now().Sub(time.UnixMilli(v.moved.Load())) > quietLimit:
				v.stop("Nothing was sent for too long.")
			}
		}
	}
	s.closeUnwanted(ctx)
}

// active notes that somebody is connected.
func (s *Studios) active(ctx context.Context, session platform.StudioSession) {
	if err := s.DB.StudioActive(ctx, session, s.now()); err != nil {
		s.Log.Debug("noting that a Studio is in use", "session", session.ID, "error", err)
	}
}
