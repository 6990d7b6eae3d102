package aws

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wherry/cloud"
)

func TestManyAskersShareOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := newShared[string, int](time.Second, time.Minute)
		ask := func(context.Context) (int, error) {
			asked++
			time.Sleep(3 * time.Second)
			return asked, nil
		}
		var all sync.WaitGroup
		get := func(after time.Duration, want int) {
			all.Go(func() {
				time.Sleep(after)
				if got, err := s.get(t.Context(), "key", ask); err != nil || got != want {
					t.Errorf("who asked after %s got the answer %d (%v), want %d", after, got, err, want)
				}
			})
		}
		for range 100 {
			get(0, 1)
			get(time.Second, 1)           // it began a second ago
			get(1500*time.Millisecond, 2) // it began too long ago: the next one
			get(2900*time.Millisecond, 2)
			get(7*time.Second, 3)
		}
		all.Wait()
		if asked != 3 {
			t.Errorf("%d questions were asked, want 3", asked)
		}
	})
}

func TestAnAnswerDoesNotDependOnWhoAskedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared[string, int](time.Second, time.Minute)
		ask := func(ctx context.Context) (int, error) {
			time.Sleep(500 * time.Millisecond)
			return 1, ctx.Err()
		}
		first, goAway := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, goAway)
		var second sync.WaitGroup
		second.Go(func() {
			time.Sleep(50 * time.Millisecond)
			if got, err := s.get(t.Context(), "key", ask); got != 1 || err != nil {
				t.Errorf("%d, %v", got, err)
			}
		})
		if _, err := s.get(first, "key", ask); cloud.KindOf(err) != cloud.KindTransient || !strings.Contains(err.Error(), "broken off") {
			t.Errorf("who went away got %v", err)
		}
		second.Wait()
	})
}

func TestAnErrorAndAnOldAnswerAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared[int, int](time.Minute, time.Minute)
		failed := errors.New("it failed")
		if _, err := s.get(t.Context(), 1, func(context.Context) (int, error) { return 0, failed }); !errors.Is(err, failed) {
			t.Errorf("%v", err)
		}
		for want := range 3 {
			got, err := s.get(t.Context(), 1, func(context.Context) (int, error) { return want, nil })
			if err != nil || got != want {
				t.Errorf("%d, %v; want %d", got, err, want)
			}
			if want == 0 {
				s.forget(1)
			} else {
				time.Sleep(2 * time.Minute)
			}
		}
		if _, err := s.get(t.Context(), 2, func(context.Context) (int, error) { return 0, nil }); err != nil || len(s.questions) != 1 {
			t.Errorf("%d questions are kept (%v)", len(s.questions), err)
		}
	})
}

func TestAQuestionThatHangsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShared[int, int](time.Second, time.Minute)
		_, err := s.get(t.Context(), 1, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
