package agent

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"wherry/mask"
	"wherry/platform"
)

// steps reports what happens on the machine, for the launch timeline.
type steps struct {
	portal *portal
	mask   *mask.Mask
	wake   chan struct{}

	mu      sync.Mutex
	waiting []platform.StepReport
	all     []platform.StepReport
	seen    map[string]bool
	ended   bool
}

func newSteps(p *portal, m *mask.Mask) *steps {
	return &steps{portal: p, mask: m, wake: make(chan struct{}, 1), seen: map[string]bool{}}
}

// add reports a step, the first time it is named.
func (s *steps) add(name string, at time.Time, note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen[name] {
		s.seen[name] = true
		step := platform.StepReport{Name: name, At: at.UTC(), Note: s.mask.Text(note)}
		s.waiting, s.all = append(s.waiting, step), append(s.all, step)
		wake(s.wake)
	}
}

// reported lists all that was added.
func (s *steps) reported() []platform.StepReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// finish lets run return once all is reported.
func (s *steps) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	wake(s.wake)
}

func (s *steps) take() (batch []platform.StepReport, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, s.waiting = s.waiting, nil
	return batch, s.ended
}

// run sends what is added until finish.
func (s *steps) run(ctx context.Context) error {
	for {
		batch, ended := s.take()
		if len(batch) > 0 {
			if err := s.portal.call(ctx, http.MethodPost, "/agent/steps", batch, nil); err != nil {
				return err
			}
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

// wake leaves one token in a channel that holds one.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
