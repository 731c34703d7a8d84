package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/catalog"
	"leolm/chat"
	"leolm/internal/pool"
	"leolm/open"
	"leolm/tensor"
)

// modelFlags choose a model and how it runs.
type modelFlags struct {
	model, tokenizer, template string
	cacheType                  string
	loras                      []string
	packed                     string
	gpu                        gpuFlags
	context, threads           int
	quiet                      bool
}

func (f *modelFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.model, "model", "m", "", "folder, .gguf file or Hugging Face id (default: the embedded model)")
	fl.StringVar(&f.tokenizer, "tokenizer", "", "tokenizer file or folder instead of the model's own")
	fl.StringVar(&f.template, "template", "", "chat template by name, or a file with a Jinja template, instead of the model's own")
	fl.StringArrayVar(&f.loras, "lora", nil, "LoRA adapter (PEFT folder or GGUF), as PATH or PATH=STRENGTH (repeatable; default strength 1)")
	fl.StringVar(&f.packed, "packed", "auto", "keep the repacked weights of a large model in a file, which makes the next start instant: auto (beside the model, or in the user's cache folder), off, or a path")
	fl.StringVar(&f.cacheType, "cache-type", "f16", "type of the key/value cache: f32, f16, bf16 or q8_0")
	completeWith(cmd, "template", templateNames()...)
	completeWith(cmd, "cache-type", "f32", "f16", "bf16", "q8_0")
	completeWith(cmd, "packed", "auto", "off")
	f.gpu.register(cmd)
	fl.IntVarP(&f.context, "context", "c", 0, "context length in tokens (default: the model's own, at most 8192)")
	fl.IntVarP(&f.threads, "threads", "t", 0, "worker threads (default: the processors that this process may use)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no notes")
}

// open opens the model that the flags name, with cache for that many sessions, and prints its notes to stderr.
func (f *modelFlags) open(ctx context.Context, stderr io.Writer, sessions int) (*open.Model, error) {
	return f.openFor(ctx, stderr, func(o *open.Options) { o.Sessions = sessions })
}

// openFor is open with the room for sessions that change sets.
func (f *modelFlags) openFor(ctx context.Context, stderr io.Writer, change func(*open.Options)) (*open.Model, error) {
	cache, err := tensor.ParseDType(f.cacheType)
	if err != nil {
		return nil, usageError{fmt.Errorf("--cache-type: %w", err)}
	}
	if f.context < 0 || f.threads < 0 {
		return nil, usageError{fmt.Errorf("--context and --threads must not be negative")}
	}
	if _, err := os.Stat(f.template); f.template != "" && err != nil {
		if _, err := chat.FindTemplate(f.template); err != nil {
			return nil, unknownTemplate(f.template)
		}
	}
	if err := checkThreads("--threads", f.threads); err != nil {
		return nil, err
	}
	adapters, err := adapterSpecs(f.loras)
	if err != nil {
		return nil, err
	}
	threads := f.threads
	if r := dealing(ctx); r != nil {
		threads = r.threads(threads)
	}
	p := newLoadProgress(stderr, f.quiet)
	opt := open.Options{
		Template: f.template, Tokenizer: f.tokenizer, Adapters: adapters, Threads: threads,
		Context: f.context, CacheType: cache, Packed: f.packed, Progress: p.update, Ranks: ranksOf(ctx),
	}
	if err := f.gpu.set(&opt); err != nil {
		return nil, err
	}
	change(&opt)
	m, err := open.Open(ctx, f.model, opt)
	p.clear()
	if err != nil {
		return nil, usageOfLevel(err)
	}
	printNotes(stderr, m.Notes, f.quiet)
	return m, nil
}

// maxThreads is above the processor count of the largest machines; every thread takes memory.
const maxThreads = 4096

// checkThreads refuses a number of threads, workers or requests that would only fill the memory.
func checkThreads(flag string, n int) error {
	if n > maxThreads {
		return usageError{fmt.Errorf("%s %d: at most %d; this machine has %d processors", flag, n, maxThreads, pool.Processors())}
	}
	return nil
}

// adapterSpecs reads the arguments of --lora.
func adapterSpecs(args []string) ([]catalog.AdapterSpec, error) {
	var specs []catalog.AdapterSpec
	for _, arg := range args {
		path, text, given := strings.Cut(arg, "=")
		strength := 1.0
		if given {
			var err error
			if strength, err = strconv.ParseFloat(text, 64); err != nil {
				return nil, usageError{fmt.Errorf("--lora %q: write PATH or PATH=STRENGTH", arg)}
			}
		}
		specs = append(specs, catalog.AdapterSpec{Path: path, Strength: strength})
	}
	return specs, nil
}

// loadProgress shows a line while a large model is loaded, on a terminal only.
type loadProgress struct {
	w     io.Writer
	start time.Time
	shown time.Time
}

func newLoadProgress(w io.Writer, quiet bool) *loadProgress {
	p := &loadProgress{start: time.Now()}
	if !quiet && isTerminal(w) {
		p.w = rawWriter(w)
	}
	return p
}

func (p *loadProgress) update(done, total int64) {
	// A model that loads in a blink needs no line.
	if p.w == nil || total == 0 || time.Since(p.start) < 300*time.Millisecond || time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\rloading %3d %% of %s", 100*done/total, bytesText(total))
}

func (p *loadProgress) clear() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", 40))
	}
}

// bytesText formats a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)/1024)
}
