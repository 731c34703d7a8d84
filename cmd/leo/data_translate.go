package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"leolm/dataset/translate"
	"leolm/internal/bounded"
)

func newDataTranslateCmd() *cobra.Command {
	var out, promptFile, systemFile, baseURL, model, keyEnv, suffix, format string
	var fields []string
	var limit, concurrency, tries, maxTokens int
	var temperature, priceIn, priceOut, budget float64
	var estimate, asJSON, quiet bool
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkThreads("--concurrency", concurrency); err != nil {
				return err
			}
			prompt, err := bounded.File(cmd.Context(), promptFile, maxPrompt)
			if err != nil {
				return fmt.Errorf("--prompt: %w", err)
			}
			var system []byte
			if systemFile != "" {
				if system, err = bounded.File(cmd.Context(), systemFile, maxPrompt); err != nil {
					return fmt.Errorf("--system: %w", err)
				}
			}
			var last time.Time
			t := &translate.Translation{
				Input: args[0], Output: out, Fields: fields, Suffix: suffix, System: string(system), Prompt: string(prompt), Limit: limit,
				Endpoint:    translate.Endpoint{URL: baseURL, Key: os.Getenv(keyEnv), Model: model},
				Temperature: &temperature,
				MaxTokens:   maxTokens,
				Concurrency: concurrency,
				Tries:       tries,
				Price:       translate.Price{Prompt: priceIn, Completion: priceOut},
				Budget:      budget,
				Done: func(finished, total int) {
					if quiet || time.Since(last) < 5*time.Second && finished < total {
						return
					}
					last = time.Now()
					fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d texts\n", finished, total)
				},
			}
			t.Options.Format = format
			if !quiet {
				t.Log = func(f string, a ...any) { fmt.Fprintf(cmd.ErrOrStderr(), f+"\n", a...) }
			}
			if err := t.Validate(); err != nil {
				return usageError{err}
			}
			if estimate {
				e, err := t.Estimate()
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d rows, %d texts, %d characters: about %d tokens sent and %d received, cost %.2f\n", e.Rows, e.Requests, e.Chars, e.Prompt, e.Answer, e.Cost)
				return nil
			}
			res, err := t.Run(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(res)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d rows, %d texts, %d doubtful; %d tokens sent, %d received, cost %.2f: %s\n", res.Rows, res.Requests, res.Problems, res.Usage.Prompt, res.Usage.Completion, res.Cost, out)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "JSONL file to write (required)")
	f.StringVar(&promptFile, "prompt", "", "file with the user message, {text} marks the text (required)")
	f.StringVar(&systemFile, "system", "", "file with the system message")
	f.StringArrayVar(&fields, "field", nil, "field to translate, such as output or turns[].text (repeatable, required)")
	f.StringVar(&suffix, "suffix", "", "put translations into fields with this suffix, such as _de (default: in place)")
	f.StringVar(&format, "format", "", "format of the input (default: by the file's name)")
	f.StringVar(&baseURL, "base-url", "http://127.0.0.1:8080/v1", "endpoint, without /chat/completions")
	f.StringVar(&model, "model", "", "model to ask for")
	f.StringVar(&keyEnv, "key-env", "OPENAI_API_KEY", "environment variable that holds the API key")
	f.Float64Var(&temperature, "temperature", 0, "sampling temperature")
	f.IntVar(&maxTokens, "max-new-tokens", 0, "most tokens of an answer (0: the server's limit)")
	f.IntVar(&concurrency, "concurrency", 8, "requests in flight")
	f.IntVar(&tries, "tries", 2, "how often a text is requested if its checks fail")
	f.IntVar(&limit, "limit", 0, "translate only the first N rows (0: all)")
	f.Float64Var(&priceIn, "price-in", 0, "price of a million tokens sent")
	f.Float64Var(&priceOut, "price-out", 0, "price of a million tokens received")
	f.Float64Var(&budget, "budget", 0, "stop when the cost exceeds this (0: no limit)")
	f.BoolVar(&estimate, "estimate", false, "print what it would cost, and do nothing")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	requireFlag(cmd, "output")
	requireFlag(cmd, "prompt")
	requireFlag(cmd, "field")
	return cmd
}
