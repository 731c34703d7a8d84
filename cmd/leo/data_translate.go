package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"leolm/dataset/translate"
	"leolm/internal/bounded"
)

// translateFlags are the flags of leo data translate, most of them fields of the job.
type translateFlags struct {
	job                     translate.Translation
	prompt, system          string // files
	keyEnv                  string
	temperature             float64
	estimate, asJSON, quiet bool
}

func newDataTranslateCmd() *cobra.Command {
	f := &translateFlags{}
	cmd := &cobra.Command{
		Use:   "translate FILE -o OUT.jsonl --prompt FILE --field NAME...",
		Short: "Translate fields of a dataset through a chat endpoint",
		Long: `Sends the texts of the named fields to an OpenAI-compatible endpoint and writes
the rows with their translations. The prompt file holds the user message, with
{text} where the text goes. Answers are kept in OUT.jsonl.journal: the same
command resumes where an earlier run stopped.

Each answer is checked: code blocks, numbers, placeholders and addresses must
survive, and it must not be cut off or wrapped in talk. An answer that fails is
asked for again; what still fails is listed in OUT.jsonl.problems.jsonl.`,
		Example: `  leo data translate alpaca.json -o alpaca_de.jsonl --prompt de.txt --field instruction --field output --estimate
  leo data translate sharegpt.json -o out.jsonl --prompt de.txt --field "conversations[].value" --base-url http://localhost:8080/v1`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	t := &f.job
	fl := cmd.Flags()
	fl.StringVarP(&t.Output, "output", "o", "", "JSONL file to write (required)")
	fl.StringVar(&f.prompt, "prompt", "", "file with the user message, {text} marks the text (required)")
	fl.StringVar(&f.system, "system", "", "file with the system message")
	fl.StringArrayVar(&t.Fields, "field", nil, "field to translate, such as output or turns[].text (repeatable, required)")
	fl.StringVar(&t.Suffix, "suffix", "", "put translations into fields with this suffix, such as _de (default: in place)")
	fl.StringVar(&t.Options.Format, "format", "", "format of the input (default: by the file's name)")
	fl.StringVar(&t.Endpoint.URL, "base-url", "http://127.0.0.1:8080/v1", "endpoint, without /chat/completions")
	fl.StringVar(&t.Endpoint.Model, "model", "", "model to ask for")
	fl.StringVar(&f.keyEnv, "key-env", "OPENAI_API_KEY", "environment variable that holds the API key")
	fl.Float64Var(&f.temperature, "temperature", 0, "sampling temperature")
	fl.IntVar(&t.MaxTokens, "max-new-tokens", 0, "most tokens of an answer (0: the server's limit)")
	fl.IntVar(&t.Concurrency, "concurrency", 8, "requests in flight")
	fl.IntVar(&t.Tries, "tries", 2, "how often a text is requested if its checks fail")
	fl.IntVar(&t.Limit, "limit", 0, "translate only the first N rows (0: all)")
	fl.Float64Var(&t.Price.Prompt, "price-in", 0, "price of a million tokens sent")
	fl.Float64Var(&t.Price.Completion, "price-out", 0, "price of a million tokens received")
	fl.Float64Var(&t.Budget, "budget", 0, "stop when the cost exceeds this (0: no limit)")
	fl.BoolVar(&f.estimate, "estimate", false, "print what it would cost, and do nothing")
	fl.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	requireFlag(cmd, "output")
	requireFlag(cmd, "prompt")
	requireFlag(cmd, "field")
	return cmd
}

func (f *translateFlags) run(cmd *cobra.Command, input string) error {
	t := &f.job
	if err := checkThreads("--concurrency", t.Concurrency); err != nil {
		return err
	}
	if err := f.readPrompts(cmd.Context()); err != nil {
		return err
	}
	t.Input, t.Endpoint.Key, t.Temperature = input, os.Getenv(f.keyEnv), &f.temperature
	if !f.quiet {
		t.Done = translateProgress(cmd.ErrOrStderr())
		t.Log = func(f string, a ...any) { fmt.Fprintf(cmd.ErrOrStderr(), f+"\n", a...) }
	}
	if err := t.Validate(); err != nil {
		return usageError{err}
	}
	out := cmd.OutOrStdout()
	if f.estimate {
		e, err := t.Estimate()
		if err != nil {
			return err
		}
		if f.asJSON {
			return json.NewEncoder(out).Encode(e)
		}
		fmt.Fprintf(out, "%d rows, %d texts, %d characters: about %d tokens sent and %d received, cost %.2f\n", e.Rows, e.Requests, e.Chars, e.Prompt, e.Answer, e.Cost)
		return nil
	}
	res, err := t.Run(cmd.Context())
	if err != nil {
		return err
	}
	if f.asJSON {
		return json.NewEncoder(out).Encode(res)
	}
	fmt.Fprintf(out, "%d rows, %d texts, %d doubtful; %d tokens sent, %d received, cost %.2f: %s\n", res.Rows, res.Requests, res.Problems, res.Usage.Prompt, res.Usage.Completion, res.Cost, t.Output)
	return nil
}

// readPrompts reads the files of --prompt and --system.
func (f *translateFlags) readPrompts(ctx context.Context) error {
	prompt, err := bounded.File(ctx, f.prompt, maxPrompt)
	if err != nil {
		return fmt.Errorf("--prompt: %w", err)
	}
	f.job.Prompt = string(prompt)
	if f.system == "" {
		return nil
	}
	system, err := bounded.File(ctx, f.system, maxPrompt)
	if err != nil {
		return fmt.Errorf("--system: %w", err)
	}
	f.job.System = string(system)
	return nil
}

// translateProgress writes how far a translation is, every five seconds and at its end.
func translateProgress(w io.Writer) func(finished, total int) {
	var last time.Time
	return func(finished, total int) {
		if time.Since(last) < 5*time.Second && finished < total {
			return
		}
		last = time.Now()
		fmt.Fprintf(w, "%d of %d texts\n", finished, total)
	}
}
