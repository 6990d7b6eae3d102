package aws

import (
	"context"
	"sync"
	"time"
)

// shared asks one question of AWS for all who want its answer at the same time, and gives the answer to those who come soon
// after. K is what decides the answer.
type shared[K comparable, V any] struct {
	age   time.Duration // how long ago the question of an answer may have begun
	limit time.Duration // how long one question may take

	mu        sync.Mutex
	questions map[K]*question[V]
}

// question is one that is under way, or was: done is closed when its answer is there.
type question[V any] struct {
	began  time.Time
	done   chan struct{}
	answer V
	err    error
}

func newShared[K comparable, V any](age, limit time.Duration) *shared[K, V] {
	return &shared[K, V]{age: age, limit: limit, questions: map[K]*question[V]{}}
}

// get returns an answer whose question began after get was called, or not longer than age before. At most one question for
// a key is under way. An error is told to those who waited for it, and not kept.
func (s *shared[K, V]) get(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	for {
		q, fresh := s.join(ctx, key, ask)
		select {
		case <-q.done:
			if fresh {
				return q.answer, q.err
			}
		case <-ctx.Done():
			var none V
			return none, translate(ctx.Err())
		}
	}
}

// join returns the question that is under way or was answered, and whether it began late enough; where there is none, it
// begins one. Who asked first may go away, and others still get the answer.
func (s *shared[K, V]) join(ctx context.Context, key K, ask func(context.Context) (V, error)) (q *question[V], fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if q = s.questions[key]; q != nil {
		fresh = now.Sub(q.began) <= s.age
		if fresh || !q.isDone() {
			return q, fresh
		}
	}
	s.forgetOld(now)
	q = &question[V]{began: now, done: make(chan struct{})}
	s.questions[key] = q
	go s.put(context.WithoutCancel(ctx), key, q, ask)
	return q, true
}

func (s *shared[K, V]) put(ctx context.Context, key K, q *question[V], ask func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	q.answer, q.err = ask(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.err != nil && s.questions[key] == q {
		delete(s.questions, key)
	}
	close(q.done)
}

// forget lets the next get ask again.
func (s *shared[K, V]) forget(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.questions[key]; q != nil && q.isDone() {
		delete(s.questions, key)
	}
}

// forgetOld keeps the map from growing for ever.
func (s *shared[K, V]) forgetOld(now time.Time) {
	for key, q := range s.questions {
		if q.isDone() && now.Sub(q.began) > s.age {
			delete(s.questions, key)
		}
	}
}

func (q *question[V]) isDone() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}
