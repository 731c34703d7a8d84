package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/harness"
	"leolm/eval/suite"
)

// suiteFlags are those of leo eval suite.
type suiteFlags struct {
	evalModelFlags
	opt     suite.Options
	out     string
	minPass float64
	asJSON  bool
}

func newSuiteCmd() *cobra.Command {
	f := &suiteFlags{}
	cmd := &cobra.Command{
		Use:   "suite FILE...",
		Short: "Ask prompts and check what is expected of the answers, for release pipelines",
		Long: `Ask the prompts of a file and check the answers. Each row has a prompt (or messages)
and an object expect with what must hold: language, refusal, regex, not_regex,
contains, json_schema, min_chars, max_chars, min_words, max_words, complete, exact,
choice, number. The command fails if fewer prompts pass than --min-pass asks for.

Other data become suites by templates over their columns:

  leo eval suite mgsm_de.tsv --columns question,answer \
    --prompt '{{question}}' --expect '{"number": "{{answer}}"}' --min-pass 0.5`,
		Example: "  leo eval suite release.jsonl --model leo-7b-chat --output results/suite",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: led(func(cmd *cobra.Command, args []string) error {
			if f.minPass < 0 || f.minPass > 1 || f.opt.Limit < 0 || f.opt.MaxNewTokens < 0 || !(f.opt.Temperature >= 0) {
				return usageError{errors.New("--min-pass takes 0 to 1; --limit, --max-new-tokens and --temperature must not be negative")}
			}
			return f.run(cmd, args)
		}, f.openReplica),
	}
	f.evalModelFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "output", "o", "", "folder for artifacts and single results, from which a stopped run goes on (default: none are kept)")
	fl.Float64Var(&f.minPass, "min-pass", 1, "share of the prompts that must pass")
	fl.StringVar(&f.opt.Prompt, "prompt", "", "Jinja template that makes prompts of a row's columns")
	fl.StringVar(&f.opt.Expect, "expect", "", "Jinja template that makes the JSON object of what is expected")
	fl.StringSliceVar(&f.opt.Columns, "columns", nil, "names of the columns of a CSV or TSV file without a header")
	fl.StringVar(&f.opt.System, "system", "", "system message before every prompt")
	fl.BoolVar(&f.opt.Plain, "plain", false, "prompts are continued as they stand, without a chat template")
	fl.IntVar(&f.opt.Limit, "limit", 0, "only the first N prompts (0: all)")
	fl.IntVarP(&f.opt.MaxNewTokens, "max-new-tokens", "n", 512, "most tokens of an answer, where a prompt does not say")
	fl.Float64Var(&f.opt.Temperature, "temperature", 0, "sampling temperature, where a prompt does not say")
	fl.BoolVar(&f.asJSON, "json", false, "print the results as JSON")
	return cmd
}

func (f *suiteFlags) run(cmd *cobra.Command, paths []string) error {
	var tasks []*harness.Task
	for _, path := range paths {
		t, err := suite.Load(cmd.Context(), path, f.opt)
		if err != nil {
			return err
		}
		printTaskNotes(cmd.ErrOrStderr(), t)
		tasks = append(tasks, t)
	}
	opt := harness.Options{
		Dir:    f.out,
		Config: map[string]any{"prompt": f.opt.Prompt, "expect": f.opt.Expect, "system": f.opt.System, "limit": f.opt.Limit, "min_pass": f.minPass},
	}
	results, err := f.runTasks(cmd, tasks, chat.BOSAuto, opt, f.asJSON, printSuite)
	if err != nil {
		return err
	}
	return f.verdict(results)
}

// verdict is an error if too few prompts pass, or rows of a suite could not be asked.
func (f *suiteFlags) verdict(results []*harness.Result) error {
	for _, r := range results {
		if n := len(r.Task.Faults); n > 0 {
			return fmt.Errorf("%s: %d of %d rows cannot be asked", r.Task.Name, n, r.Task.Rows)
		}
		n, ok := r.Number(suite.Passed)
		if !ok || n.Value == nil || *n.Value < f.minPass {
			share := 0.0
			if n.Value != nil {
				share = *n.Value
			}
			return fmt.Errorf("%s: %.1f %% of %d prompts pass; %.1f %% are asked for", r.Task.Name, 100*share, n.N, 100*f.minPass)
		}
	}
	return nil
}

// shownMisses is how many failed prompts are shown.
const shownMisses = 20

// printSuite prints what passed, and the answers that did not.
func printSuite(w io.Writer, results []*harness.Result, _ eval.Identity, _ *harness.Options) error {
	for _, r := range results {
		fmt.Fprintf(w, "%-40s %8s %8s %8s\n", r.Task.Name, "prompts", "passed", "share")
		for _, n := range r.Numbers {
			if n.Value == nil {
				continue
			}
			fmt.Fprintf(w, "%-40s %8d %8.0f %7.1f%%\n", strings.TrimPrefix(n.Name, "expect/"), n.N, *n.Value*float64(n.N), 100**n.Value)
		}
		shown := 0
		for _, rec := range r.Records {
			if rec.Error != "" || rec.Metrics[suite.Passed] == 1 {
				continue
			}
			if shown++; shown > shownMisses {
				continue
			}
			answer := ""
			if rec.Answer != nil {
				answer = *rec.Answer
			}
			fmt.Fprintf(w, "\n%s: %v\n  %s\n", rec.Row, rec.Picked, clip(answer, 300))
		}
		if shown > shownMisses {
			fmt.Fprintf(w, "\nand %d more\n", shown-shownMisses)
		}
	}
	return printCounts(w, results)
}

// clip is the beginning of a text on one line.
func clip(text string, n int) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > n {
		return string(r[:n]) + "…"
	}
	return text
}
