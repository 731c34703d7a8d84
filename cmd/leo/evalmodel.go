package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"leolm/eval"
	"leolm/eval/mtbench"
)

// software says which program this is.
func software() eval.Software {
	v := readVersion()
	return eval.Software{Version: v.Version, Commit: v.Commit}
}

// logTo returns a function that logs attempts that failed; nil if nothing is to be said.
func logTo(w io.Writer, quiet bool) func(string, ...any) {
	if quiet {
		return nil
	}
	return func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
}

// stageProgress says from time to time how far a stage is, how fast, and what it has cost.
type stageProgress struct {
	w     io.Writer
	what  string
	spent func() *eval.Usage // nil: nothing
	start time.Time
	stop  chan struct{} // nil if nothing is said
	ended sync.WaitGroup

	mu    sync.Mutex
	state mtbench.Progress
}

// progressEvery is the pause between two lines.
const progressEvery = 5 * time.Second

func newStageProgress(w io.Writer, what string, quiet bool, spent func() *eval.Usage) *stageProgress {
	p := &stageProgress{w: w, what: what, spent: spent, start: time.Now()}
	if quiet {
		return p
	}
	p.stop = make(chan struct{})
	p.ended.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.line()
			}
		}
	})
	return p
}

func (p *stageProgress) update(s mtbench.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
}

func (p *stageProgress) line() {
	p.mu.Lock()
	s, elapsed := p.state, time.Since(p.start)
	p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d of %d", p.what, s.Done, s.Total)
	if s.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", s.Failed)
	}
	fmt.Fprintf(&b, ", %s", elapsed.Round(time.Second))
	if s.NewTokens > 0 {
		fmt.Fprintf(&b, ", %.0f tokens/s", float64(s.NewTokens)/elapsed.Seconds())
	}
	if left := s.Total - s.Done - s.Failed; left > 0 && s.Fresh > 0 {
		fmt.Fprintf(&b, ", about %s left", (elapsed / time.Duration(s.Fresh) * time.Duration(left)).Round(time.Second))
	}
	if p.spent != nil {
		if u := p.spent(); u.Requests > 0 {
			fmt.Fprintf(&b, ", %d tokens sent, %d received, cost %.2f", u.Prompt, u.Completion, u.Cost)
		}
	}
	fmt.Fprintln(p.w, b.String())
}

// end prints the last line, if the stage was finished.
func (p *stageProgress) end(finished bool) {
	if p.stop == nil {
		return
	}
	close(p.stop)
	p.ended.Wait()
	if finished {
		p.line()
	}
}

// endpointFlags choose an OpenAI-compatible endpoint.
type endpointFlags struct {
	prefix                    string
	baseURL, keyEnv           string
	concurrency, attempts     int
	priceIn, priceOut, budget float64
}

// register adds the flags, with a prefix; whose says what answers there.
func (f *endpointFlags) register(cmd *cobra.Command, prefix, whose string) {
	f.prefix = prefix
	fl := cmd.Flags()
	fl.StringVar(&f.baseURL, prefix+"base-url", "", "OpenAI-compatible endpoint of "+whose+", without /chat/completions")
	fl.StringVar(&f.keyEnv, prefix+"key-env", "OPENAI_API_KEY", "environment variable that holds the endpoint's API key")
	fl.IntVar(&f.concurrency, prefix+"concurrency", 8, "requests in flight at the endpoint")
	fl.IntVar(&f.attempts, prefix+"attempts", 6, "how often a request is sent while the endpoint fails")
	fl.Float64Var(&f.priceIn, prefix+"price-in", 0, "price of a million tokens sent")
	fl.Float64Var(&f.priceOut, prefix+"price-out", 0, "price of a million tokens received")
	fl.Float64Var(&f.budget, prefix+"budget", 0, "stop when this run has cost more (0: no limit)")
}

func (f *endpointFlags) open(model string, log func(string, ...any)) (*eval.Endpoint, error) {
	if err := checkThreads("--"+f.prefix+"concurrency", f.concurrency); err != nil {
		return nil, err
	}
	if f.concurrency < 1 || f.attempts < 1 {
		return nil, usageError{fmt.Errorf("--%sconcurrency and --%sattempts take numbers from 1", f.prefix, f.prefix)}
	}
	return eval.NewEndpoint(eval.EndpointOptions{
		URL: f.baseURL, Key: os.Getenv(f.keyEnv), Model: model, Concurrency: f.concurrency, Attempts: f.attempts,
		Price: eval.Price{Prompt: f.priceIn, Completion: f.priceOut}, Budget: f.budget, Log: log,
	}), nil
}
