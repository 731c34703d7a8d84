// Command mtbench measures what the scheduler brings to MT-Bench's answers: both turns of Leo's own 80 questions, as leo
// eval mtbench asks them, many at a time against one at a time, in turn, on the same machine.
//
//	go run ./bench/mtbench -model leo-mini -tokens 128 -rounds 3
//	go run ./bench/mtbench -model leo-mini -tokens 128 -rounds 1 -together 32 -profile cpu.out
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/open"
)

func main() {
	model := flag.String("model", "", "model; the embedded one by default")
	tokens := flag.Int("tokens", 128, "most tokens of an answer")
	rounds := flag.Int("rounds", 3, "measurements of each")
	questions := flag.Int("questions", 80, "questions to ask")
	together := flag.String("together", "1,32", "how many at a time; the last number is compared with the first")
	profile := flag.String("profile", "", "file for a CPU profile")
	flag.Parse()
	if err := run(context.Background(), *model, *tokens, *rounds, *questions, strings.Split(*together, ","), *profile); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, model string, tokens, rounds, questions int, together []string, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var sizes []int
	for _, s := range together {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		sizes = append(sizes, n)
	}
	rates := make([][]float64, len(sizes))
	for range rounds {
		for i, n := range sizes {
			rate, err := measure(ctx, model, tokens, questions, n, slices.Max(sizes))
			if err != nil {
				return err
			}
			fmt.Printf("%2d at a time: %7.1f tokens/s\n", n, rate)
			rates[i] = append(rates[i], rate)
		}
	}
	one, many := median(rates[0]), median(rates[len(rates)-1])
	fmt.Printf("median: %.1f and %.1f tokens/s, %.2f times\n", one, many, many/one)
	return nil
}

// measure answers the questions and returns new tokens per second. The cache is that of the largest number together, so that
// second turns find their first ones in it.
func measure(ctx context.Context, model string, tokens, questions, together, most int) (float64, error) {
	set, err := mtbench.OwnQuestions()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mtbench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	r, err := mtbench.OpenRun(ctx, dir, set)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	m, err := open.Open(ctx, model, open.Options{Together: most, PageLen: 64})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	l := eval.NewLocal(m, eval.LocalOptions{Together: together})
	defer l.Close()
	n := 0
	start := time.Now()
	err = r.Answer(ctx, l, mtbench.AnswerOptions{MaxNewTokens: tokens, Limit: questions}, eval.Software{}, func(p mtbench.Progress) { n = p.NewTokens })
	return float64(n) / time.Since(start).Seconds(), err
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}
