package agent

import (
	"context"
	"errors"
	"sync"
)

// parallel is how many files are kept or restored at once.
const parallel = 8

// each calls f for all of list, some at once, and returns what failed. When ctx is done it begins no more.
func each[T any](ctx context.Context, list []T, f func(context.Context, T) error) error {
	return eachOf(ctx, len(list), func(ctx context.Context, i int) error { return f(ctx, list[i]) })
}

// eachOf is each for numbers: the agent's program has it once, and not for every type.
func eachOf(ctx context.Context, count int, f func(context.Context, int) error) error {
	var (
		mu       sync.Mutex
		failures []error
		group    sync.WaitGroup
	)
	free := make(chan struct{}, parallel)
	for i := range count {
		select {
		case <-ctx.Done():
			group.Wait()
			return errors.Join(append(failures, context.Cause(ctx))...)
		case free <- struct{}{}:
		}
		group.Go(func() {
			defer func() { <-free }()
			if err := f(ctx, i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}
