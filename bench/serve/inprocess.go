package main

import (
	"context"
	"errors"
	"time"

	"leolm/infer"
	"leolm/open"
)

// inProcess compares the streams of a server with the same passes without one: no scheduler, no HTTP, no texts. Both take
// turns, since memory has faster and slower seconds, and the ratio is the median of those of neighbors.
func inProcess(n int) func(context.Context, *bench, *server, uint64) (sample, error) {
	return func(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
		m, err := open.Open(ctx, b.inside, open.Options{Threads: b.threads, Context: chatContext, Sessions: n, PageLen: servePage,
			Packed: open.PackedAuto}) // as the server opens it: a mapped file has no large pages
		if err != nil {
			return nil, err
		}
		defer m.Close()
		g := newGenerator(seed, b.words)
		var inside, ratios []float64
		for range b.turns {
			requests := g.together(n, shortest, shortest, alone)
			answers, err := send(ctx, s, requests)
			if err != nil {
				return nil, err
			}
			served := steady(answers)
			if served == 0 {
				return nil, errors.New("the streams never ran at the same time")
			}
			own, err := decode(ctx, m.Engine, requests)
			if err != nil {
				return nil, err
			}
			inside, ratios = append(inside, own), append(ratios, served/own)
		}
		return sample{"inside_tokens_per_second": median(inside), "over_inside": median(ratios),
			"over_inside_low": percentile(ratios, 0.25), "over_inside_high": percentile(ratios, 0.75)}, nil
	}
}

// servePage is the number of tokens in a page of leo serve's cache.
const servePage = 32

// decode writes greedy answers to all requests in common passes, and returns tokens per second.
func decode(ctx context.Context, e *infer.Engine, requests []request) (float64, error) {
	feeds := make([]infer.Feed, len(requests))
	next := make([]int32, len(requests))
	for i, r := range requests {
		s := e.NewSession()
		defer s.Close()
		logits, err := e.Prefill(ctx, s, r.prompt, nil)
		if err != nil {
			return 0, err
		}
		feeds[i], next[i] = infer.Feed{Session: s, Want: infer.WantLast}, infer.ArgMax(logits)
	}
	start := time.Now()
	for range alone {
		for i := range feeds {
			feeds[i].IDs = next[i : i+1]
		}
		logits, err := e.Step(feeds)
		if err != nil {
			return 0, err
		}
		for i, v := 0, len(logits)/len(feeds); i < len(feeds); i++ {
			next[i] = infer.ArgMax(logits[i*v : (i+1)*v])
		}
	}
	return float64(alone*len(feeds)) / time.Since(start).Seconds(), nil
}
