package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// cell is one kind of measurement.
type cell struct {
	name     string
	headline string // the value that chooses llama-server's settings
	higher   bool   // is better
	slots    []int  // of llama-server, to choose from
	context  int    // tokens of a slot
	run      func(context.Context, *bench, *server, uint64) (sample, error)
	// inside, if any, adds what Leo does without a server, measured behind each round in turn with the server.
	inside func(context.Context, *bench, *server, uint64) (sample, error)
}

// sample has the values of one program in one round, by name.
type sample map[string]float64

// Lengths in tokens. Prompts are drawn evenly from between shortest and longest.
const (
	shortest, longest = 128, 512
	written           = 128
	chatContext       = 768

	conversation = 2000 // the first turn; not a whole number of anybody's cache pages
	reply        = 64   // of the first turn
	question     = 64   // the second turn's

	document = 4096 // the long prompt beside running streams

	alone = 256 // tokens of the cell that compares the server with decoding without one
)

var cells = []cell{
	{name: "chats-8", headline: "tokens_per_second", higher: true, slots: []int{8}, context: chatContext,
		run: chats(8)},
	{name: "chats-32", headline: "tokens_per_second", higher: true, slots: []int{32}, context: chatContext,
		run: chats(32)},
	{name: "arrivals", headline: "first_token_p95", slots: []int{8, 32}, context: chatContext, run: arrivals},
	{name: "second-turn", headline: "second_over_first", slots: []int{4}, context: 2304, run: secondTurn},
	{name: "long-prompt", headline: "largest_gap_over_usual", slots: []int{5}, context: 5120, run: longPrompt},
	{name: "single", headline: "tokens_per_second", higher: true, slots: []int{1}, context: chatContext,
		run: streams(1), inside: inProcess(1)},
	{name: "eight", headline: "tokens_per_second", higher: true, slots: []int{8}, context: chatContext,
		run: streams(8), inside: inProcess(8)},
	{name: "memory", headline: "bytes_per_chat", slots: []int{8}, context: chatContext, run: memory},
}

// chats sends n prompts at once. Tokens per second are those written, over the time from the first prompt to the last
// answer; "writing" leaves out what comes before the last answer began and after the first one ended.
func chats(n int) func(context.Context, *bench, *server, uint64) (sample, error) {
	return func(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
		answers, err := send(ctx, s, newGenerator(seed, b.words).together(n, shortest, longest, written))
		if err != nil {
			return nil, err
		}
		return throughput(answers), nil
	}
}

func throughput(answers []*answer) sample {
	begin, end := answers[0].due, answers[0].end
	var firsts, gaps []float64
	var tokens, prompts, chunks int
	for _, a := range answers {
		if a.due.Before(begin) {
			begin = a.due
		}
		if a.end.After(end) {
			end = a.end
		}
		tokens, prompts, chunks = tokens+a.tokens, prompts+a.prompt, chunks+len(a.chunks)
		firsts = append(firsts, a.first())
		for i := 1; i < len(a.chunks); i++ {
			gaps = append(gaps, a.chunks[i].Sub(a.chunks[i-1]).Seconds())
		}
	}
	wall := end.Sub(begin).Seconds()
	v := sample{
		"tokens_per_second": float64(tokens) / wall, "requests_per_second": float64(len(answers)) / wall,
		"prompt_tokens": float64(prompts), "chunks_per_token": float64(chunks) / float64(tokens),
		"first_token_median": median(firsts), "first_token_p95": percentile(firsts, 0.95),
		"gap_median": median(gaps), "gap_p99": percentile(gaps, 0.99),
	}
	if rate := steady(answers); rate > 0 {
		v["writing_tokens_per_second"] = rate
	}
	return v
}

// steady is the rate of all answers together while all of them were being written, 0 if they never were.
func steady(answers []*answer) float64 {
	from, to := answers[0].chunks[0], answers[0].end
	for _, a := range answers {
		if a.chunks[0].After(from) {
			from = a.chunks[0]
		}
		if last := a.chunks[len(a.chunks)-1]; last.Before(to) {
			to = last
		}
	}
	n := 0
	for _, a := range answers {
		for _, at := range a.chunks {
			if at.After(from) && !at.After(to) {
				n++
			}
		}
	}
	if !to.After(from) {
		return 0
	}
	return float64(n) / to.Sub(from).Seconds()
}

// arrivals sends requests at random times, at a rate that both programs can sustain.
func arrivals(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
	rate, err := b.arrivalRate()
	if err != nil {
		return nil, err
	}
	answers, err := send(ctx, s, newGenerator(seed, b.words).poisson(b.arrivals, rate, shortest, longest, written))
	if err != nil {
		return nil, err
	}
	v := throughput(answers)
	v["rate"] = rate
	return v, nil
}

// secondTurn holds three conversations: their first turns, one after the other, then their second turns. A second
// prompt is the first, an answer and a question. The answer is made up, for a client of text would not send the very
// ids that were written either: both programs read it again.
func secondTurn(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
	g := newGenerator(seed, b.words)
	var prompts [3][]int32
	var first, second, cached []float64
	for i := range prompts {
		prompts[i] = g.prompt(conversation)
		a, err := s.complete(ctx, request{prompt: prompts[i], tokens: reply}, nil)
		if err != nil {
			return nil, err
		}
		first = append(first, a.first())
	}
	for _, p := range prompts {
		a, err := s.complete(ctx, request{prompt: append(p, g.prompt(reply+question)...), tokens: reply}, nil)
		if err != nil {
			return nil, err
		}
		second, cached = append(second, a.first()), append(cached, float64(a.cached))
	}
	return sample{"first_turn": median(first), "second_turn": median(second),
		"second_over_first": median(second) / median(first), "cached_tokens": median(cached)}, nil
}

// longPrompt lets four answers run, sends a long prompt when each has a while behind it, and looks at the pauses in the
// four until the long prompt's answer begins. They run on for a while: their texts have grown, and pauses with them.
func longPrompt(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
	const streams, before, after = 4, 48, 48
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := newGenerator(seed, b.words)
	var mu sync.Mutex
	var chunks [streams][]time.Time
	var enough [streams]int // chunks when a stream may end
	var running, ending, group sync.WaitGroup
	ending.Add(streams)
	failed := make(chan error, streams)
	for i, r := range g.together(streams, shortest, shortest, document) {
		running.Add(1)
		group.Go(func() {
			ready, ended := sync.OnceFunc(running.Done), sync.OnceFunc(ending.Done)
			defer ready()
			defer ended()
			_, err := s.complete(ctx, r, func(n int, at time.Time) {
				mu.Lock()
				chunks[i] = append(chunks[i], at)
				done := enough[i] > 0 && len(chunks[i]) >= enough[i]
				mu.Unlock()
				if n == before {
					ready()
				}
				if done {
					ended()
				}
			})
			if ctx.Err() == nil { // it ended before the long prompt was read
				failed <- errors.Join(errors.New("a stream has ended too early"), err)
				cancel()
			}
		})
	}
	running.Wait()
	a, err := s.complete(ctx, request{prompt: g.prompt(document), tokens: 8}, nil)
	mu.Lock()
	for i := range enough {
		enough[i] = len(chunks[i]) + after
	}
	mu.Unlock()
	if err == nil {
		ending.Wait()
	}
	cancel()
	group.Wait()
	if err != nil {
		select {
		case early := <-failed:
			return nil, early
		default:
			return nil, err
		}
	}
	return pauses(chunks[:], a.due, a.chunks[0], a.end), nil
}

// pauses compares the gaps between tokens that lie, in part at least, between the moments from and to with those
// without the long prompt. They grow with the streams' texts: from the median before, the first gaps left out, to the
// median after end, in proportion to what a stream has written.
func pauses(chunks [][]time.Time, from, to, end time.Time) sample {
	type gap struct {
		seconds, share float64 // how much of the stream's text of that time was written
	}
	var before, after []float64
	var during []gap
	for _, c := range chunks {
		first, last := len(c), len(c) // of those during
		for i := 16; i < len(c); i++ {
			switch seconds := c[i].Sub(c[i-1]).Seconds(); {
			case !c[i].After(from):
				before = append(before, seconds)
			case c[i-1].Before(to):
				first, last = min(first, i), i+1
			case !c[i-1].Before(end):
				after = append(after, seconds)
			}
		}
		for i := first; i < last; i++ {
			during = append(during, gap{c[i].Sub(c[i-1]).Seconds(), float64(i-first) / float64(last-first)})
		}
		// A stream that wrote nothing until the end.
		if silent := c[len(c)-1]; silent.Before(to) {
			during = append(during, gap{to.Sub(silent).Seconds(), 1})
		}
	}
	begin, largest := median(before), 0.0
	grown := begin
	if len(after) > 0 {
		grown = max(begin, median(after))
	}
	var over, usual []float64
	for _, g := range before {
		usual = append(usual, g/begin)
	}
	for _, g := range after {
		usual = append(usual, g/grown)
	}
	for _, g := range during {
		over = append(over, g.seconds/(begin+g.share*(grown-begin)))
		largest = max(largest, g.seconds)
	}
	return sample{"gap_before": begin, "gap_after": grown, "largest_gap": largest,
		"largest_gap_over_usual": percentile(over, 1), "p99_gap_over_usual": percentile(over, 0.99) / percentile(usual, 0.99),
		"median_gap_over_usual": median(over), "long_first_token": to.Sub(from).Seconds()}
}

// streams is n answers behind prompts of equal length, whose rate is compared with decoding without a server: inProcess,
// or what llama-server measures itself.
func streams(n int) func(context.Context, *bench, *server, uint64) (sample, error) {
	return func(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
		answers, err := send(ctx, s, newGenerator(seed, b.words).together(n, shortest, shortest, alone))
		if err != nil {
			return nil, err
		}
		v := sample{"tokens_per_second": steady(answers)}
		if v["tokens_per_second"] == 0 {
			return nil, errors.New("the streams never ran at the same time")
		}
		var own []float64
		for _, a := range answers {
			own = append(own, a.serverRate)
		}
		if n == 1 && own[0] > 0 {
			v["inside_tokens_per_second"] = own[0]
			v["over_inside"] = v["tokens_per_second"] / own[0]
		}
		return v, nil
	}
}

// memory opens idle connections, which have asked for the list of models once, closes them, and lets chats run.
func memory(ctx context.Context, b *bench, s *server, seed uint64) (sample, error) {
	const idle, running = 256, 8
	base, err := s.resident()
	if err != nil {
		return nil, err
	}
	connected, err := s.connect(ctx, idle, b.settle)
	if err != nil {
		return nil, err
	}
	before, err := s.resident()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	begun, inChats := 0, 0.0
	var failed error
	halfway := func(n int, _ time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if n != written/2 {
			return
		}
		if begun++; begun == running {
			inChats, failed = s.resident()
		}
	}
	var group sync.WaitGroup
	errs := make([]error, running)
	for i, r := range newGenerator(seed, b.words).together(running, longest, longest, written) {
		group.Go(func() { _, errs[i] = s.complete(ctx, r, halfway) })
	}
	group.Wait()
	if err := errors.Join(append(errs, failed)...); err != nil {
		return nil, err
	}
	return sample{"bytes": base, "bytes_in_chats": inChats, "bytes_per_connection": (connected - base) / idle,
		"bytes_per_chat": (inChats - before) / running}, nil
}

// connect opens n connections that ask for the list of models and then stay idle, and returns the program's memory when
// it has had time to answer them.
func (s *server) connect(ctx context.Context, n int, settle time.Duration) (float64, error) {
	addr := strings.TrimPrefix(s.base, "http://")
	for range n {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "GET /v1/models HTTP/1.1\r\nHost: %s\r\n\r\n", addr); err != nil {
			return 0, err
		}
	}
	time.Sleep(settle)
	return s.resident()
}
