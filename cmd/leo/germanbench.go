package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/germanbench"
	"leolm/eval/harness"
)

// harnessFlags are those of every run over tasks.
type harnessFlags struct {
	evalModelFlags
	out     string
	shots   int
	limit   int
	asJSON  bool
	asShown bool
}

func (f *harnessFlags) register(cmd *cobra.Command) {
	f.evalModelFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "folder for artifacts and single results, from which a stopped run goes on (default: none are kept)")
	fl.IntVar(&f.shots, "num-fewshot", 0, "examples before each document (default: the task's own number)")
	fl.IntVar(&f.limit, "limit", 0, "only the first N documents of each task (0: all)")
	fl.BoolVar(&f.asJSON, "json", false, "print the results as JSON")
	fl.BoolVar(&f.asShown, "show-prompt", false, "print the first document of each task as the model reads it, and score nothing")
}

// given returns the number of examples that the user wants; nil: none was said.
func (f *harnessFlags) given(cmd *cobra.Command) (*int, error) {
	if f.shots < 0 || f.limit < 0 {
		return nil, usageError{errors.New("--num-fewshot and --limit must not be negative")}
	}
	if !cmd.Flags().Changed("num-fewshot") {
		return nil, nil
	}
	return &f.shots, nil
}

func newGermanBenchCmd() *cobra.Command {
	f := &harnessFlags{}
	var tasks []string
	var variant, data string
	cmd := &cobra.Command{
		Use:   "germanbench",
		Short: "ARC, HellaSwag, MMLU and TruthfulQA in German, by log-likelihood",
		Long: `Score the four tasks of GermanBench. The variant leolm asks as LeoLM's own harness
did, to the character, with the same examples before each document, and without a
begin-of-sequence token; the variant fixed scores MMLU by letters, takes the first
examples, and has none of its typing errors.

The data come from the Hugging Face hub, or from files with the datasets' columns
(--data): their names or folders say task and split, as in arc_de/test.jsonl,
mmlu_de/anatomy/validation.parquet. Rows that cannot be scored are named and counted.

With --output, a run that was stopped, by whatever, goes on where it was.`,
		Example: `  leo eval germanbench --model leo-7b --output results
  leo eval germanbench --tasks arc_de,mmlu_de --data files --num-fewshot 3 --limit 100`,
		Args: usageArgs(cobra.NoArgs),
		RunE: led(func(cmd *cobra.Command, args []string) error {
			shots, err := f.given(cmd)
			if err != nil {
				return err
			}
			v := germanbench.Variant(variant)
			if v != germanbench.LeoLM && v != germanbench.Fixed {
				return usageError{fmt.Errorf("--variant %q: choose leolm or fixed", variant)}
			}
			list, err := germanbench.Load(cmd.Context(), germanbench.Options{Tasks: tasks, Variant: v, Shots: shots, Limit: f.limit, Dir: data})
			if err != nil {
				return err
			}
			bos := chat.BOSNever // as the German harness
			if v == germanbench.Fixed {
				bos = chat.BOSAuto
			}
			return f.run(cmd, list, bos, harness.Options{
				MeanOfErrors: v == germanbench.LeoLM, Config: map[string]any{"variant": variant, "limit": f.limit, "precision": f.precision},
			})
		}, f.openReplica),
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringSliceVar(&tasks, "tasks", nil, "tasks, separated by commas: "+strings.Join(germanbench.Names(), ", ")+" (default: all)")
	fl.StringVar(&variant, "variant", "leolm", "leolm or fixed")
	fl.StringVar(&data, "data", "", "folder with the data (default: from the Hugging Face hub)")
	completeWith(cmd, "variant", "leolm", "fixed")
	completeWith(cmd, "tasks", germanbench.Names()...)
	return cmd
}

// run scores tasks, and prints and keeps what comes of them.
func (f *harnessFlags) run(cmd *cobra.Command, tasks []*harness.Task, bos chat.BOSPolicy, opt harness.Options) error {
	stderr := cmd.ErrOrStderr()
	for _, t := range tasks {
		printTaskNotes(stderr, t)
	}
	if f.asShown {
		return printExamples(cmd.OutOrStdout(), tasks)
	}
	opt.Dir = f.out
	_, err := f.runTasks(cmd, tasks, bos, opt, f.asJSON, printResults)
	return err
}

// runTasks runs tasks on the model that the flags name. It keeps what comes of them in opt.Dir, if that is not "", and
// shows it as JSON or with show. Documents without a result are an error, after that.
func (f *evalModelFlags) runTasks(cmd *cobra.Command, tasks []*harness.Task, bos chat.BOSPolicy, opt harness.Options, asJSON bool,
	show func(io.Writer, []*harness.Result, eval.Identity, *harness.Options) error) ([]*harness.Result, error) {
	m, closeModel, err := f.open(cmd, bos)
	if err != nil {
		return nil, err
	}
	defer closeModel()
	p := &harnessProgress{w: cmd.ErrOrStderr(), quiet: f.quiet, start: time.Now(), last: time.Now()}
	opt.Leo, opt.Progress = software(), p.update
	results, err := harness.Run(cmd.Context(), m, tasks, opt)
	if err != nil {
		return nil, err
	}
	if opt.Dir != "" {
		if err := harness.Write(results, m.Identity(), &opt); err != nil {
			return nil, err
		}
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), harness.NewReport(results, m.Identity(), &opt))
	} else {
		err = show(cmd.OutOrStdout(), results, m.Identity(), &opt)
	}
	if err != nil {
		return nil, err
	}
	return results, failures(cmd.ErrOrStderr(), results)
}

// failures names documents without a result, and makes the command fail if there are any.
func failures(w io.Writer, results []*harness.Result) error {
	failed, shown := 0, 0
	for _, r := range results {
		failed += r.Counts.Failed
		for _, rec := range r.Records {
			if rec.Error != "" && shown < shownNotes {
				shown++
				fmt.Fprintf(w, "%s: %s has no result: %s\n", r.Task.Name, rec.Row, rec.Error)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d documents have no result; the numbers are of the others", failed)
	}
	return nil
}

// printTaskNotes says what is wrong with a task's rows.
func printTaskNotes(w io.Writer, t *harness.Task) {
	if n := len(t.Faults); n > 0 {
		fmt.Fprintf(w, "%s: %d of %d rows cannot be scored:\n", t.Name, n, t.Rows)
		for i, fault := range t.Faults {
			if i == shownNotes {
				fmt.Fprintf(w, "  and %d more\n", n-shownNotes)
				break
			}
			fmt.Fprintf(w, "  %s: %s\n", fault.Row, fault.Why)
		}
	}
	for _, n := range t.Notes {
		fmt.Fprintf(w, "%s: %s\n", t.Name, n)
	}
}

// printExamples shows what the model reads.
func printExamples(w io.Writer, tasks []*harness.Task) error {
	for _, t := range tasks {
		e := t.Example()
		if e == nil {
			continue
		}
		fmt.Fprintf(w, "== %s, %d examples, %d documents\n%s\n", t.Name, t.Shots, len(t.Items), e.Context)
		for _, c := range e.Continuations {
			fmt.Fprintf(w, "   → %q\n", c)
		}
	}
	return nil
}

// printResults prints a table for people.
func printResults(w io.Writer, results []*harness.Result, id eval.Identity, opt *harness.Options) error {
	fmt.Fprintf(w, "%-42s %5s %9s  %-14s %9s %9s\n", id.String(), "shots", "documents", "metric", "value", "stderr")
	row := func(name string, shots, n int, i int, x harness.Number) {
		if i > 0 {
			name = ""
		}
		value, se := "n/a", "n/a"
		if x.Value != nil {
			value = fmt.Sprintf("%.4f", *x.Value)
		}
		if x.StdErr != nil {
			se = fmt.Sprintf("%.4f", *x.StdErr)
		}
		fmt.Fprintf(w, "%-42s %5d %9d  %-12s %s %9s %9s\n", name, shots, n, x.Name, x.Direction(), value, se)
	}
	groups := harness.Groups(results, opt.MeanOfErrors)
	for _, r := range results {
		if r.Task.Group == "" || len(results) <= 8 {
			for i, x := range r.Numbers {
				row(r.Task.Name, r.Task.Shots, r.Counts.Documents, i, x)
			}
		}
	}
	for _, g := range groups {
		n := 0
		for _, p := range g.Parts {
			n += p.Counts.Documents
		}
		for i, x := range g.Numbers {
			row(fmt.Sprintf("%s (mean of %d parts)", g.Name, len(g.Parts)), g.Parts[0].Task.Shots, n, i, x)
		}
	}
	return printCounts(w, results)
}

// printCounts prints what should not have been met.
func printCounts(w io.Writer, results []*harness.Result) error {
	for _, r := range results {
		c := &r.Counts
		var parts []string
		for _, p := range []struct {
			n    int
			what string
		}{
			{c.Faults, "rows that cannot be scored"}, {c.Failed, "documents without a result"}, {c.Truncated, "contexts cut at their beginning"},
			{c.Ties, "choices between equals"}, {c.Unmatched, "answers that no filter understood"}, {c.CutOff, "answers cut off"}, {c.Empty, "empty answers"},
			{c.Alone, "choices inside the last token of their context"}, {c.Uneven, "choices whose tokens change those of the context"},
		} {
			if p.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
			}
		}
		for note, n := range c.Notes {
			parts = append(parts, fmt.Sprintf("%d %s", n, note))
		}
		if len(parts) > 0 {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Task.Name, strings.Join(parts, ", ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// harnessProgress says from time to time how far a run is.
type harnessProgress struct {
	w           io.Writer
	quiet       bool
	start, last time.Time
}

func (p *harnessProgress) update(s harness.Progress) {
	if p.quiet || time.Since(p.last) < 5*time.Second {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "%d of %d requests", s.Done, s.Total)
	if s.Fresh > 0 && s.Done < s.Total {
		elapsed := time.Since(p.start)
		fmt.Fprintf(p.w, ", about %s left", (elapsed / time.Duration(s.Fresh) * time.Duration(s.Total-s.Done)).Round(time.Second))
	}
	fmt.Fprintln(p.w)
}
