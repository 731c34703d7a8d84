package corpus

import (
	"context"
	"sync"
)

// gate bounds how many goroutines compute at once, over all tasks of a run.
type gate chan struct{}

// ordered runs work on every item that produce emits, concurrently as far as
// the gate allows, and hands the results to consume in the order of the items.
// At most ahead items are in flight, which bounds memory. The first error of
// any side stops all.
func ordered[In, Out any](ctx context.Context, g gate, ahead int,
	produce func(emit func(In) error) error,
	work func(In) (Out, error),
	consume func(Out) error,
) error {
	type result struct {
		out Out
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan result, ahead)
	var produceErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(queue)
		produceErr = produce(func(item In) error {
			c := make(chan result, 1)
			select {
			case queue <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
			wg.Go(func() {
				select {
				case g <- struct{}{}:
				case <-ctx.Done():
					c <- result{err: ctx.Err()}
					return
				}
				defer func() { <-g }()
				out, err := work(item)
				c <- result{out, err}
			})
			return nil
		})
	})
	var err error
	for c := range queue {
		r := <-c
		if err != nil {
			continue
		}
		if err = r.err; err == nil {
			err = consume(r.out)
		}
		if err != nil {
			cancel()
		}
	}
	wg.Wait()
	if err != nil {
		return err
	}
	return produceErr
}
