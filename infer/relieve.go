package infer

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"leolm/device"
)

// noRoom reports whether an error says that the cache has no page left, or the device no memory for one.
func noRoom(err error) bool {
	var full *device.CacheFullError
	var short *device.MemoryError
	return errors.As(err, &full) || errors.As(err, &short)
}

// relieve takes back a pass that the device had no memory for, and makes the next ones smaller: with fewer tokens, then with
// fewer works; one alone that does not fit ends. It returns other errors, and those of passes whose results were handed over.
func (b *batch) relieve(err error) error {
	var short *device.MemoryError
	if b.taken || !errors.As(err, &short) {
		return err
	}
	undo(b.feeds)
	last := b.works[len(b.works)-1].Ticket
	switch {
	case b.n > minPass:
		b.s.opt.MaxTokens = max(minPass, b.n/2)
	case len(b.works) > 1:
		b.s.preempt(last)
	default:
		b.s.leave(last, err)
	}
	return nil
}

// span is the n integers from first on.
func span(first, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(first + i)
	}
	return out
}

// parallel calls f with 0 to n-1, on as many goroutines as there are processors, and returns when all have.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// undo takes back the tokens of a pass that failed: their keys and values are worthless.
func undo(feeds []Feed) {
	for _, f := range feeds {
		f.Session.Truncate(f.Session.Len() - len(f.IDs))
	}
}
