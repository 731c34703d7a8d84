package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/compare"
	"leolm/open"
)

// compareFlags are those of leo eval compare.
type compareFlags struct {
	modelFlags
	texts    []string
	field    string
	bos, out string
	window   int
	tokens   int
	loraB    []string
	asJSON   bool
}

func newCompareCmd() *cobra.Command {
	f := &compareFlags{}
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "What lies between two models, or between two results",
		Long: `Compare two models on texts, to see what quantizing, training or an adapter has
changed: the Kullback-Leibler divergence of B from A with its quantiles, how often
both hold the same token most probable, and both perplexities, for each file and
language. A and B are models with one vocabulary; --lora-b adds an adapter to B.

Or compare two results of leo eval germanbench, task or suite: A and B are the
folders, or files of single results. Documents are paired; McNemar's exact test and a
bootstrap interval say whether the difference is more than chance.`,
		Example: `  leo eval compare leo-7b leo-7b-q4.gguf --text wiki_de.jsonl.gz --text wiki_en.jsonl.gz
  leo eval compare results/leo-7b results/leo-7b-q4`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, b := compare.HasRecords(args[0]), compare.HasRecords(args[1])
			switch {
			case a && b:
				return f.results(cmd, args[0], args[1])
			case a || b:
				return usageError{fmt.Errorf("%s and %s: one has single results and the other has none; give two results or two models", args[0], args[1])}
			}
			return f.models(cmd, args[0], args[1])
		},
	}
	f.modelFlags.register(cmd)
	fl := cmd.Flags()
	if err := fl.MarkHidden("model"); err != nil { // the arguments are the models
		panic(err)
	}
	fl.StringArrayVar(&f.texts, "text", nil, "file with texts: one a row in data files, any other file is one (repeatable)")
	fl.StringVar(&f.field, "field", "text", "column or field that holds the text")
	fl.StringVar(&f.bos, "bos", "auto", "begin-of-sequence token before each text: auto (as the tokenizer says), always, never")
	fl.IntVar(&f.window, "window", 0, "tokens that are read together (default: 512)")
	fl.IntVar(&f.tokens, "max-tokens", 0, "compare at most N tokens of each file (default: 4 million)")
	fl.StringArrayVar(&f.loraB, "lora-b", nil, "LoRA adapter for B only, as PATH or PATH=STRENGTH (repeatable)")
	fl.StringVarP(&f.out, "output", "o", "", "file for the artifact")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	completeWith(cmd, "bos", "auto", "always", "never")
	return cmd
}

// results compares single results.
func (f *compareFlags) results(cmd *cobra.Command, a, b string) error {
	list, alone, err := compare.Folders(a, b)
	if err != nil {
		return err
	}
	for _, name := range alone {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is in one of the two results only\n", name)
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%-34s %-12s %6s %8s %8s %8s  %-20s %6s %6s %8s\n", "task", "metric", "n", "A", "B", "B-A", "95 % interval", "only A", "only B", "McNemar")
	for _, p := range list {
		fmt.Fprintf(w, "%-34s %-12s %6d %8.4f %8.4f %+8.4f  [%+.4f, %+.4f]", p.Task, p.Metric, p.N, p.A, p.B, p.Diff, p.CI95[0], p.CI95[1])
		if p.P != nil {
			fmt.Fprintf(w, "   %6d %6d %8.4f", *p.OnlyA, *p.OnlyB, *p.P)
		}
		fmt.Fprintln(w)
		if p.MissingA+p.MissingB > 0 {
			fmt.Fprintf(w, "  without a result: %d documents in A, %d in B\n", p.MissingA, p.MissingB)
		}
	}
	return nil
}

// models compares predictions.
func (f *compareFlags) models(cmd *cobra.Command, a, b string) error {
	if len(f.texts) == 0 {
		return usageError{fmt.Errorf("--text is needed to compare models; %s and %s have no single results", a, b)}
	}
	bos, err := parseBOS(f.bos, chat.BOSAuto)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	openModel := func(arg string, loras []string) (*open.Model, error) {
		mf := f.modelFlags
		mf.model, mf.loras = arg, append(append([]string(nil), f.loras...), loras...)
		return mf.open(ctx, cmd.ErrOrStderr(), 1)
	}
	ma, err := openModel(a, nil)
	if err != nil {
		return err
	}
	defer ma.Close()
	mb, err := openModel(b, f.loraB)
	if err != nil {
		return err
	}
	defer mb.Close()
	start, last := time.Now(), time.Now()
	opt := compare.Options{Window: f.window, MaxTokens: f.tokens, BOS: bos == chat.BOSAlways || bos == chat.BOSAuto && ma.Tokenizer.AddBOS(), Progress: func(n int) {
		if !f.quiet && time.Since(last) > 5*time.Second {
			last = time.Now()
			fmt.Fprintf(cmd.ErrOrStderr(), "%d tokens, %.0f a second\n", n, float64(n)/time.Since(start).Seconds())
		}
	}}
	next, closeTexts := f.documents(ctx)
	defer closeTexts()
	list, err := compare.Models(ctx, ma, mb, next, opt)
	if err != nil {
		return err
	}
	if f.out != "" {
		artifact := compare.Artifact(list, eval.NewLocal(ma, eval.LocalOptions{BOS: bos}).Identity(), eval.NewLocal(mb, eval.LocalOptions{BOS: bos}).Identity(), software(),
			map[string]any{"texts": f.texts, "window": f.window, "max_tokens": f.tokens})
		artifact.Seconds = time.Since(start).Seconds()
		if err := artifact.WriteFile(f.out); err != nil {
			return err
		}
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	printDivergence(cmd.OutOrStdout(), list)
	return nil
}

// printDivergence prints a table.
func printDivergence(w io.Writer, list []compare.Row) {
	fmt.Fprintf(w, "%-26s %-4s %9s %9s %9s %9s %9s %9s %7s %10s %10s %8s\n",
		"source", "lang", "tokens", "KL mean", "median", "p90", "p99", "max", "top-1", "perpl. A", "perpl. B", "B/A")
	for _, r := range list {
		source, language := r.Source, r.Language
		if source == "" {
			source = "all"
		}
		if language == "" {
			language = "-"
		}
		fmt.Fprintf(w, "%-26s %-4s %9d %9.5f %9.5f %9.5f %9.5f %9.5f %6.2f%% %10.3f %10.3f %8.4f\n", source, language, r.Tokens,
			r.KL, r.Quantile.Median, r.Quantile.P90, r.Quantile.P99, r.Quantile.Max, 100*r.Same, r.PerplexityA, r.PerplexityB, r.PerplexityB/r.PerplexityA)
	}
}

// documents yields the texts of all files, one after the other.
func (f *compareFlags) documents(ctx context.Context) (next func() (compare.Text, bool, error), done func()) {
	ch, stop := make(chan compare.Text), make(chan struct{})
	var failed error
	go func() {
		defer close(ch)
		for _, path := range f.texts {
			if failed = eachDocument(ctx, path, f.field, 0, func(text string) error {
				select {
				case ch <- compare.Text{Source: filepath.Base(path), Text: text}:
					return nil
				case <-stop:
					return context.Canceled
				}
			}); failed != nil {
				return
			}
		}
	}()
	return func() (compare.Text, bool, error) {
		t, ok := <-ch
		if !ok {
			return t, false, failed
		}
		return t, true, nil
	}, func() { close(stop) }
}
