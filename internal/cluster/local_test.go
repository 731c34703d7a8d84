package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"leolm/tensor"
)

// ranks runs f on every rank of a local cluster and returns their errors.
func ranks(t *testing.T, size int, faults Faults, o Options, f func(ctx context.Context, c *Comm) error) []error {
	t.Helper()
	all, err := Local(size, faults, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	errs := make([]error, size)
	var wg sync.WaitGroup
	for r, c := range all {
		wg.Go(func() { errs[r] = f(ctx, c) })
	}
	wg.Wait()
	return errs
}

func TestLocal(t *testing.T) {
	for _, size := range []int{1, 2, 3, 4} {
		// Small pieces: buffers need many passes.
		for _, piece := range []int{0, 64, 1024} {
			for _, s := range scenarios {
				t.Run(fmt.Sprintf("%d ranks, pieces of %d, %s", size, piece, s.name), func(t *testing.T) {
					t.Parallel()
					for r, err := range ranks(t, size, Faults{}, Options{piece: piece}, func(ctx context.Context, c *Comm) error {
						return errors.Join(s.run(ctx, c), c.Close(ctx))
					}) {
						if err != nil {
							t.Errorf("rank %d: %v", r, err)
						}
					}
				})
			}
		}
	}
}

// A rank that dies ends the calls of all others, with its name, wherever they are.
func TestLocalDeath(t *testing.T) {
	for call := uint64(1); call <= 5; call++ {
		lost := make(chan error, 3)
		errs := ranks(t, 3, Faults{Kill: func(rank int, n uint64) bool { return rank == 1 && n == call }},
			Options{Lost: func(err error) { lost <- err }},
			func(ctx context.Context, c *Comm) error {
				buf := make([]float32, 100000)
				for range 5 {
					if err := AllReduce(c, Sum, buf).Wait(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		for r, err := range errs {
			var dead *DeadError
			switch {
			case r == 1 && !errors.Is(err, ErrKilled):
				t.Errorf("call %d: the killed rank got %v", call, err)
			case r != 1 && (!errors.As(err, &dead) || dead.Rank != 1):
				t.Errorf("call %d: rank %d got %v", call, r, err)
			}
		}
		for range 2 {
			select {
			case err := <-lost:
				if dead := (*DeadError)(nil); !errors.As(err, &dead) || dead.Rank != 1 {
					t.Errorf("Lost was told %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("Lost was not told")
			}
		}
	}
}

// A rank that computes for long learns of a death too.
func TestLocalDeathWhileIdle(t *testing.T) {
	lost := make(chan error, 2)
	errs := ranks(t, 2, Faults{}, Options{Lost: func(err error) { lost <- err }}, func(ctx context.Context, c *Comm) error {
		if c.Rank() == 0 {
			c.Abort(errors.New("no space left"))
			return nil
		}
		select {
		case err := <-lost:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	var abort *AbortError
	if !errors.As(errs[1], &abort) || abort.Rank != 0 || abort.Reason != "no space left" {
		t.Errorf("got %v", errs[1])
	}
}

// A rank that comes late delays the others, and nothing else.
func TestLocalDelay(t *testing.T) {
	faults := Faults{Delay: func(rank int, call uint64) time.Duration {
		return time.Duration((int(call)*7+rank*3)%5) * time.Millisecond
	}}
	for r, err := range ranks(t, 3, faults, Options{piece: 256}, checkAsync) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// Ranks that call something else are told what, instead of waiting for each other.
func TestMismatch(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, c *Comm) error
		want [2]string
	}{
		{"length", func(ctx context.Context, c *Comm) error {
			return AllReduce(c, Sum, make([]float32, 10+c.Rank()/2)).Wait(ctx)
		}, [2]string{"AllReduce (call 1, 10 elements of 4 bytes, sum)", "AllReduce (call 1, 11 elements of 4 bytes, sum)"}},
		{"type", func(ctx context.Context, c *Comm) error {
			if c.Rank() < 2 {
				return AllReduce(c, Sum, make([]float64, 10)).Wait(ctx)
			}
			return AllReduce(c, Sum, make([]float32, 10)).Wait(ctx)
		}, [2]string{"AllReduce (call 1, 10 elements of 8 bytes, sum)", "AllReduce (call 1, 10 elements of 4 bytes, sum)"}},
		{"operation", func(ctx context.Context, c *Comm) error {
			if c.Rank() < 2 {
				return AllReduce(c, Max, make([]float32, 10)).Wait(ctx)
			}
			return AllReduce(c, Sum, make([]float32, 10)).Wait(ctx)
		}, [2]string{"AllReduce (call 1, 10 elements of 4 bytes, max)", "AllReduce (call 1, 10 elements of 4 bytes, sum)"}},
		{"call", func(ctx context.Context, c *Comm) error {
			if c.Rank() < 2 {
				return c.Barrier(ctx)
			}
			return Broadcast(c, 1, make([]byte, 3)).Wait(ctx)
		}, [2]string{"Barrier (call 1)", "Broadcast (call 1, 3 elements of 1 bytes, root 1)"}},
		{"root", func(ctx context.Context, c *Comm) error {
			_, err := c.Share(ctx, c.Rank()/2, nil)
			return err
		}, [2]string{"Share (call 1, root 0)", "Share (call 1, root 1)"}},
		{"one call more", func(ctx context.Context, c *Comm) error {
			if c.Rank() == 2 {
				return c.Close(ctx)
			}
			return c.Barrier(ctx)
		}, [2]string{"Barrier (call 1)", "Close (call 1)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for r, err := range ranks(t, 3, Faults{}, Options{}, c.run) {
				var got *MismatchError
				if !errors.As(err, &got) || got.Ranks != [2]int{0, 2} || got.Calls != c.want {
					t.Errorf("rank %d: %v", r, err)
				}
			}
		})
	}
}

// Parts that differ are told apart even if they have the same length.
func TestMismatchOfParts(t *testing.T) {
	for r, err := range ranks(t, 2, Faults{}, Options{}, func(ctx context.Context, c *Comm) error {
		parts := Parts{0, 4, 10}
		if c.Rank() == 1 {
			parts = Parts{0, 6, 10}
		}
		from, to := parts.Of(c.Rank())
		return ReduceScatter(c, Sum, make([]float32, to-from), make([]float32, 10), parts).Wait(ctx)
	}) {
		if got := (*MismatchError)(nil); !errors.As(err, &got) {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// After Close, calls fail and do not hang; a second Close is none.
func TestClosed(t *testing.T) {
	for r, err := range ranks(t, 2, Faults{}, Options{}, func(ctx context.Context, c *Comm) error {
		if err := c.Close(ctx); err != nil {
			return err
		}
		if err := c.Barrier(ctx); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("Barrier after Close: %v", err)
		}
		if err := c.Close(ctx); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("second Close: %v", err)
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// A wait ends with its context, though the others never come.
func TestWaitEnds(t *testing.T) {
	cause := errors.New("enough")
	all, err := Local(2, Faults{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	w := AllReduce(all[0], Sum, make([]float32, 5))
	cancel(cause)
	if err := w.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	select {
	case <-w.Done():
		t.Error("the call is done, though rank 1 never came")
	default:
	}
	all[1].Abort(errors.New("the test is over"))
	<-w.Done()
}

// The sum of 1e8, 1, -1e8, 1 in the order of ranks is 2 in float64 and 1 in float32: one rounding, at the end.
func TestOneRounding(t *testing.T) {
	for r, err := range ranks(t, 4, Faults{}, Options{}, func(ctx context.Context, c *Comm) error {
		for _, n := range []int{1, 9999} {
			x := []float32{1e8, 1, -1e8, 1}[c.Rank()]
			buf := filled(n, func(int) float32 { return x })
			if err := AllReduce(c, Sum, buf).Wait(ctx); err != nil {
				return err
			}
			if buf[0] != 2 || buf[n-1] != 2 {
				return fmt.Errorf("%d elements: %v, %v", n, buf[0], buf[n-1])
			}
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

func TestRoundBF16(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want float32
	}{
		{0, 0}, {1, 1}, {1 + 0x1p-8, 1}, {1 + 3*0x1p-8, 1 + 0x1p-6},
		// A little more than the middle, by less than a float32 sees.
		{1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-7}, {1 + 3*0x1p-8 - 0x1p-40, 1 + 0x1p-7},
		{-1 - 0x1p-8 - 0x1p-40, -1 - 0x1p-7},
		{math.Inf(1), float32(math.Inf(1))}, {1e300, float32(math.Inf(1))}, {1e-300, 0}, {-1e300, float32(math.Inf(-1))},
	} {
		if got := tensor.BF16ToF32(roundBF16(c.x)); got != c.want {
			t.Errorf("%v: %v, want %v", c.x, got, c.want)
		}
	}
	if got := tensor.BF16ToF32(roundBF16(math.NaN())); got == got {
		t.Errorf("NaN: %v", got)
	}
}

// Cutting needs no memory, so lengths beyond any machine's are tried.
func TestCut(t *testing.T) {
	for _, n := range []int{0, 1, 5, 1<<31 - 1, 1 << 31, 1<<33 + 7, 1<<62 + 3} {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			parts := Even(n, size)
			if err := parts.check(n, size); err != nil {
				t.Fatal(err)
			}
			if d := parts.longest() - n/size; d > 1 {
				t.Errorf("%d elements for %d ranks: a part of %d", n, size, parts.longest())
			}
		}
		const piece = 1 << 30
		count := pieces(n, piece)
		for _, k := range []int{0, 1, 2, count - 2, count - 1, count, count + 1} {
			if k < 0 {
				continue
			}
			from, to := cut(0, n, k, piece)
			switch {
			case to < from || to > n || to-from > piece || (k < count) != (to > from):
				t.Errorf("piece %d of %d: %d to %d", k, n, from, to)
			case k < count && from != k*piece:
				t.Errorf("piece %d of %d begins at %d", k, n, from)
			case k == count-1 && to != n:
				t.Errorf("the last piece of %d ends at %d", n, to)
			}
		}
	}
}

// stuck is a life whose library does not end.
type stuck struct {
	life
	left chan struct{}
}

func (s *stuck) close() error {
	<-s.left
	return nil
}

// Close waits for all ranks, however late they are, but not for a library that does not end.
func TestCloseWaitsForRanks(t *testing.T) {
	left := make(chan struct{})
	defer close(left)
	all, err := Local(2, Faults{}, Options{closing: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		c.engine.life = &stuck{c.engine.life, left}
	}
	ended := make(chan error, 1)
	go func() { ended <- all[0].Close(t.Context()) }()
	select {
	case err := <-ended:
		t.Fatalf("rank 0 has left without rank 1: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := all[1].Close(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("rank 0 waits for its library")
	}
	if err := all[0].Barrier(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Barrier after Close: %v", err)
	}
}
