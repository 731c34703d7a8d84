package infer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/sample"
	"leolm/tensor"
)

// schedulerEngine returns an engine whose cache has that many pages of 32 tokens.
func schedulerEngine(t testing.TB, pages int, change ...func(*checkpoint.Config)) *Engine {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dev.Close)
	e, err := NewEngine(dev, testModel(t, dev, tensor.F32, change...), Options{CacheType: tensor.F16, Context: 32 * pages, PageLen: 32, PrefillChunk: 50})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func start(t testing.TB, e *Engine, opt SchedulerOptions) (*Scheduler, func() error) {
	s := NewScheduler(e, opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return s, stop
}

func newPlain() Text { return plain{} }

// requests are answers of many kinds whose prompts partly begin alike.
func requests(n int, rng *rand.Rand) []*Request {
	common := tokens(90, 7)
	var rs []*Request
	for i := range n {
		prompt := tokens(1+rng.IntN(120), uint64(100+i))
		if i%3 == 0 {
			prompt = append(slices.Clone(common[:40+rng.IntN(51)]), prompt[:1+rng.IntN(len(prompt))]...)
		}
		r := &Request{Prompt: prompt, MaxNewTokens: 1 + rng.IntN(40), TopLogProbs: 0}
		if i%2 == 1 {
			r.Params = sample.Params{Temperature: 1.2, Seed: uint64(i + 1)}
		}
		if i%5 == 0 {
			r.Draft, r.Speculate = &PromptLookup{}, 3
		}
		rs = append(rs, r)
	}
	return rs
}

type written struct {
	res  *Result
	toks []Token
}

// alone generates an answer with nothing else running.
func alone(t testing.TB, e *Engine, r *Request) written {
	t.Helper()
	var w written
	s := e.NewSession()
	defer s.Close()
	res, err := e.Generate(context.Background(), s, plain{}, r, func(tok Token) error {
		w.toks = append(w.toks, tok)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.res = res
	return w
}

func same(a, b written) bool {
	return slices.Equal(a.res.IDs, b.res.IDs) && a.res.Text == b.res.Text && a.res.Finish == b.res.Finish &&
		slices.EqualFunc(a.toks, b.toks, func(x, y Token) bool { return x.ID == y.ID && x.Text == y.Text && x.LogProb == y.LogProb })
}

// Requests come and go at random, prompts share beginnings, the cache is far too small for all of them, some are canceled:
// every answer that ends is the one written alone, to the last bit of its log-probabilities, and no page is lost.
func TestSchedulerWritesWhatIsWrittenAlone(t *testing.T) {
	for _, pages := range []int{9, 24, 200} {
		t.Run(fmt.Sprintf("%d pages", pages), func(t *testing.T) {
			e := schedulerEngine(t, pages)
			rng := rand.New(rand.NewPCG(uint64(pages), 1))
			rs := requests(40, rng)
			var want []written
			for _, r := range rs {
				want = append(want, alone(t, e, r))
			}
			s, stop := start(t, e, SchedulerOptions{MaxSequences: 12, MaxTokens: 64})
			var wg sync.WaitGroup
			for i, r := range rs {
				delay, canceled := time.Duration(rng.IntN(60))*time.Millisecond, i%9 == 4
				wg.Go(func() {
					time.Sleep(delay)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					ts, err := s.Submit(ctx, newPlain, r)
					if err != nil {
						t.Error(err)
						return
					}
					var got written
					for {
						tok, ok := ts[0].Next()
						if !ok {
							break
						}
						got.toks = append(got.toks, tok)
						if canceled && len(got.toks) == 2 {
							cancel()
						}
					}
					got.res, err = ts[0].Result()
					switch {
					case canceled && errors.Is(err, context.Canceled):
						if n := len(got.res.IDs); !slices.Equal(got.res.IDs, want[i].res.IDs[:n]) {
							t.Errorf("request %d went another way before it was canceled", i)
						}
					case err != nil:
						t.Errorf("request %d: %v", i, err)
					case !same(got, want[i]):
						t.Errorf("request %d: %q, alone %q", i, got.res.Text, want[i].res.Text)
					}
				})
			}
			wg.Wait()
			if pages == 200 && s.prefix.hits == 0 {
				t.Error("no prompt shared its beginning with another")
			}
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			free := 0
			for _, err := e.cache.Alloc(); err == nil; _, err = e.cache.Alloc() {
				free++
			}
			if free != pages {
				t.Errorf("%d of %d pages are free", free, pages)
			}
		})
	}
}

// Several answers to one prompt read it once.
func TestSchedulerReadsASharedPromptOnce(t *testing.T) {
	e := schedulerEngine(t, 100)
	prompt := tokens(150, 3)
	var rs []*Request
	for i := range 5 {
		rs = append(rs, &Request{Prompt: prompt, MaxNewTokens: 9, Params: sample.Params{Temperature: 1, Seed: uint64(i + 1)}, TopLogProbs: 0})
	}
	var want []written
	for _, r := range rs {
		want = append(want, alone(t, e, r))
	}
	s, _ := start(t, e, SchedulerOptions{})
	ts, err := s.Submit(context.Background(), newPlain, rs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, ticket := range ts {
		res, err := ticket.Result()
		if err != nil || !slices.Equal(res.IDs, want[i].res.IDs) {
			t.Errorf("answer %d: %v, alone %v (%v)", i, res.IDs, want[i].res.IDs, err)
		}
		if read := res.Stats.PromptTokens - res.Stats.CachedTokens; i > 0 && read != 1 {
			t.Errorf("answer %d read %d tokens of the prompt again", i, read)
		}
	}
}

// A follower may end, or take pages, while it waits to be admitted: it ends once, and its pages are there for those that run.
func TestWaitingFollowers(t *testing.T) {
	for _, most := range []int{1, 30} {
		e := schedulerEngine(t, 6)
		r := &Request{Prompt: tokens(70, 3), MaxNewTokens: most, TopLogProbs: 0}
		want := alone(t, e, r)
		s, stop := start(t, e, SchedulerOptions{MaxSequences: 1})
		ts, err := s.Submit(context.Background(), newPlain, r, r, r, r, r)
		if err != nil {
			t.Fatal(err)
		}
		for i, ticket := range ts {
			res, err := ticket.Result()
			if err != nil || !slices.Equal(res.IDs, want.res.IDs) {
				t.Errorf("at most %d tokens, answer %d: %v, alone %v (%v)", most, i, res.IDs, want.res.IDs, err)
			}
		}
		stop()
		if n := e.cache.PagesInUse(); n > 0 || len(ts[4].q.res.IDs) != len(want.res.IDs) {
			t.Errorf("%d pages are in use, and %d tokens came", n, len(ts[4].q.res.IDs))
		}
	}
}

// What can't be written is an error of its own request: too long for the context, too large for the cache, ids without a
// row, a full queue, a scheduler that has ended. The others go on.
func TestSchedulerErrorsAreOfOneRequest(t *testing.T) {
	e := schedulerEngine(t, 4)
	// The cache holds 4 pages. One is taken by another session, so that three are left.
	held := e.NewSession()
	if err := held.grow(1); err != nil {
		t.Fatal(err)
	}
	s, stop := start(t, e, SchedulerOptions{Queue: 3})
	ctx := context.Background()
	var long *ContextError
	if _, err := s.Submit(ctx, newPlain, &Request{Prompt: tokens(128, 1), TopLogProbs: -1}); !errors.As(err, &long) {
		t.Errorf("longer than the context: %v", err)
	}
	var bad *TokenError
	if _, err := s.Submit(ctx, newPlain, &Request{Prompt: []int32{1 << 30}, TopLogProbs: -1}); !errors.As(err, &bad) {
		t.Errorf("an id without a row: %v", err)
	}
	if _, err := s.Submit(ctx, newPlain, requests(4, rand.New(rand.NewPCG(1, 1)))...); err == nil {
		t.Error("several prompts at once")
	}
	r := func() *Request { return &Request{Prompt: tokens(5, 1), MaxNewTokens: 3, TopLogProbs: -1} }
	var queue *QueueFullError
	if _, err := s.Submit(ctx, newPlain, r(), r(), r(), r()); !errors.As(err, &queue) || queue.Limit != 3 {
		t.Errorf("more than the queue holds: %v", err)
	}
	// Three pages for 90 tokens and an answer.
	ts, err := s.Submit(ctx, newPlain, &Request{Prompt: tokens(90, 2), MaxNewTokens: 30, TopLogProbs: -1})
	if err != nil {
		t.Fatal(err)
	}
	var full *device.CacheFullError
	if res, err := ts[0].Result(); !errors.As(err, &full) || len(res.IDs) == 0 {
		t.Errorf("an answer that outgrows the cache: %v after %d tokens", err, len(res.IDs))
	}
	if ts, err = s.Submit(ctx, newPlain, r()); err != nil {
		t.Fatal(err)
	}
	if _, err := ts[0].Result(); err != nil {
		t.Errorf("the next request: %v", err)
	}
	stop()
	held.Close()
	if _, err := s.Submit(ctx, newPlain, r()); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Nobody reads: the answers are generated all the same, and all pages are freed.
func TestSchedulerDoesNotWaitForReaders(t *testing.T) {
	before := runtime.NumGoroutine()
	e := schedulerEngine(t, 60)
	s, stop := start(t, e, SchedulerOptions{})
	var all []*Ticket
	for _, r := range requests(12, rand.New(rand.NewPCG(5, 5))) {
		ts, err := s.Submit(context.Background(), newPlain, r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ts...)
	}
	for _, ticket := range all {
		if _, err := ticket.Result(); err != nil {
			t.Error(err)
		}
		if _, ok := ticket.Next(); !ok {
			t.Error("the tokens are gone")
		}
	}
	stop()
	for range 100 {
		if runtime.NumGoroutine() <= before+2 { // the device's workers
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}
