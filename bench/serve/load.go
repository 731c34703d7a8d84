package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// request is one prompt, when it is sent, and how much is written behind it.
type request struct {
	at     time.Duration // after the beginning of the load
	prompt []int32
	tokens int
}

// generator makes the load of a round: the same seed makes the same requests, for both programs.
type generator struct {
	rnd   *rand.Rand
	words []int32
}

func newGenerator(seed uint64, words []int32) *generator {
	return &generator{rand.New(rand.NewPCG(seed, 0x5e17e)), words}
}

// prompt returns n random ids.
func (g *generator) prompt(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = g.words[g.rnd.IntN(len(g.words))]
	}
	return ids
}

// together returns n requests at once, with prompts of between low and high tokens.
func (g *generator) together(n, low, high, tokens int) []request {
	list := make([]request, n)
	for i := range list {
		list[i] = request{prompt: g.prompt(low + g.rnd.IntN(high-low+1)), tokens: tokens}
	}
	return list
}

// poisson returns n requests that arrive independently of each other, rate per second on average (an open loop: nobody
// waits for an answer before asking). The pauses are exponential and scaled to last n/rate together, so that a short
// load has the rate that it is named after.
func (g *generator) poisson(n int, rate float64, low, high, tokens int) []request {
	list := g.together(n, low, high, tokens)
	var at float64
	times := make([]float64, n)
	for i := range times {
		times[i] = at
		at += g.rnd.ExpFloat64()
	}
	scale := float64(n) / rate / at
	for i := range list {
		list[i].at = time.Duration(times[i] * scale * float64(time.Second))
	}
	return list
}

// send sends requests at their times and waits for all answers. The first error ends the others.
func send(ctx context.Context, s *server, list []request) ([]*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]*answer, len(list))
	begin := time.Now()
	var group sync.WaitGroup
	for i, r := range list {
		group.Go(func() {
			due := begin.Add(r.at)
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return
			}
			a, err := s.complete(ctx, r, nil)
			if err != nil {
				cancel(err)
				return
			}
			a.due = due
			answers[i] = a
		})
	}
	group.Wait()
	return answers, context.Cause(ctx)
}

// percentile returns the value below which the share p of v lies, interpolated between neighbors. v need not be sorted.
func percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	at := p * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

func median(v []float64) float64 { return percentile(v, 0.5) }
