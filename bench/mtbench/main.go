// Command mtbench measures what the scheduler brings to MT-Bench's answers: the first turns of Leo's own 80 questions, all
// handed over together, against one at a time, in turn, on the same machine.
//
//	go run ./bench/mtbench -model leo-mini -tokens 128 -rounds 3
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"slices"
	"time"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/open"
)

func main() {
	model := flag.String("model", "", "model; the embedded one by default")
	tokens := flag.Int("tokens", 128, "most tokens of an answer")
	rounds := flag.Int("rounds", 3, "measurements of each")
	questions := flag.Int("questions", 80, "questions to ask")
	flag.Parse()
	if err := run(context.Background(), *model, *tokens, *rounds, *questions); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, model string, tokens, rounds, questions int) error {
	set, err := mtbench.OwnQuestions()
	if err != nil {
		return err
	}
	var reqs []eval.Request
	for _, q := range set.Head(questions).Questions {
		reqs = append(reqs, eval.Request{Messages: []chat.Message{{Role: chat.User, Content: q.Turns[0]}}, MaxNewTokens: tokens})
	}
	rates := map[int][]float64{}
	for range rounds {
		for _, together := range []int{1, 32} {
			rate, err := measure(ctx, model, reqs, together)
			if err != nil {
				return err
			}
			fmt.Printf("%2d at a time: %7.1f tokens/s\n", together, rate)
			rates[together] = append(rates[together], rate)
		}
	}
	one, many := median(rates[1]), median(rates[32])
	fmt.Printf("median: %.1f and %.1f tokens/s, %.2f times\n", one, many, many/one)
	return nil
}

// measure answers the requests and returns new tokens per second.
func measure(ctx context.Context, model string, reqs []eval.Request, together int) (float64, error) {
	m, err := open.Open(ctx, model, open.Options{Together: together, PageLen: 64})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	l := eval.NewLocal(m, eval.LocalOptions{Together: together})
	defer l.Close()
	n := 0
	start := time.Now()
	err = l.Generate(ctx, reqs, func(i int, a eval.Answer) error {
		n += a.NewTokens
		return a.Err
	})
	return float64(n) / time.Since(start).Seconds(), err
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
