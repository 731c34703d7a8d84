package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/open"
)

// judgeFlags choose a judge.
type judgeFlags struct {
	endpointFlags
	model, replies, prompts, name string
	maxNewTokens                  int
}

func (f *judgeFlags) register(cmd *cobra.Command) {
	f.endpointFlags.register(cmd, "judge-", "the judge")
	fl := cmd.Flags()
	fl.StringVar(&f.model, "judge-model", "", "judge: a model as in --model, or what to ask for at --judge-base-url")
	fl.StringVar(&f.replies, "judge-replies", "", "replay the judge's replies from a file in FastEval's or FastChat's layout")
	fl.StringVar(&f.prompts, "judge-prompts", "", "judge prompts in FastEval's or FastChat's layout: a path, an address or hf://datasets/ORG/NAME/FILE (default: Leo's own)")
	fl.StringVar(&f.name, "judge-name", "", "name of the judge and of its folder (default: its own)")
	fl.IntVar(&f.maxNewTokens, "judge-max-new-tokens", 2048, "most tokens of a judge's reply")
}

// given reports whether there is a judge.
func (f *judgeFlags) given() bool { return f.model != "" || f.replies != "" || f.baseURL != "" }

func (f *judgeFlags) check() error {
	if f.replies != "" && (f.model != "" || f.baseURL != "") {
		return usageError{errors.New("--judge-replies takes the place of --judge-model and --judge-base-url")}
	}
	if f.maxNewTokens < 1 {
		return usageError{errors.New("--judge-max-new-tokens takes numbers from 1")}
	}
	if f.name != "" && (f.name != filepath.Base(f.name) || f.name[0] == '.') {
		return usageError{fmt.Errorf("--judge-name %q: it names a folder, and has no separators or dots in front", f.name)}
	}
	return nil
}

// open returns the judge, what it has cost, and a function that closes it.
func (f *judgeFlags) open(ctx context.Context, stderr io.Writer, quiet bool) (g eval.Generator, spent func() *eval.Usage, done func(), err error) {
	switch {
	case f.replies != "":
		data, err := eval.Fetch(ctx, f.replies, mtbench.MaxFile)
		if err != nil {
			return nil, nil, nil, err
		}
		replies, err := mtbench.ParseReplies(f.replies, data)
		if err != nil {
			return nil, nil, nil, err
		}
		return mtbench.NewReplay(f.replies, replies), nil, func() {}, nil
	case f.baseURL != "":
		e, err := f.endpointFlags.open(f.model, logTo(stderr, quiet))
		if err != nil {
			return nil, nil, nil, err
		}
		return e, func() *eval.Usage { u := e.Usage(); return &u }, func() {}, nil
	}
	mf := &modelFlags{model: f.model, packed: open.PackedAuto, cacheType: "f16", quiet: quiet}
	m, err := mf.openFor(ctx, stderr, func(o *open.Options) { o.Together, o.PageLen = maxAnswers, shortPages })
	if err != nil {
		return nil, nil, nil, fmt.Errorf("the judge: %w", err)
	}
	l := eval.NewLocal(m, eval.LocalOptions{Together: maxAnswers})
	return l, nil, func() { l.Close(); m.Close() }, nil
}

// options are those of the library.
func (f *judgeFlags) options(ctx context.Context) (mtbench.JudgeOptions, error) {
	opt := mtbench.JudgeOptions{Name: f.name, MaxNewTokens: f.maxNewTokens}
	var err error
	if f.prompts == "" {
		opt.Prompts, err = mtbench.OwnPrompts()
		return opt, err
	}
	data, err := eval.Fetch(ctx, f.prompts, mtbench.MaxFile)
	if err != nil {
		return opt, err
	}
	opt.Prompts, err = mtbench.ParsePrompts(f.prompts, data)
	return opt, err
}

// judge lets the judge rate a run, writes page and chart, and prints the result.
func (f *judgeFlags) judge(cmd *cobra.Command, r *mtbench.Run, quiet, asJSON bool) error {
	ctx := cmd.Context()
	opt, err := f.options(ctx)
	if err != nil {
		return err
	}
	g, spent, done, err := f.open(ctx, cmd.ErrOrStderr(), quiet)
	if err != nil {
		return err
	}
	defer done()
	p := newStageProgress(cmd.ErrOrStderr(), "judgments", quiet, spent)
	j, err := r.Judge(ctx, g, opt, software(), p.update)
	if p.end(err == nil); err != nil {
		return err
	}
	results, err := mtbench.Results(ctx, r.Dir)
	if err != nil {
		return err
	}
	if err := writeMTBenchReport(results, filepath.Join(r.Dir, "report.html"), filepath.Join(r.Dir, "radar.svg")); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(exactWriter(cmd), j.Result); err != nil {
			return err
		}
	} else if err := printMTBench(cmd.OutOrStdout(), j.Result); err != nil {
		return err
	}
	if j.Scores == nil {
		return fmt.Errorf("%s: %w in one of the turns, so there are no scores", r.Dir, mtbench.ErrNoRatings)
	}
	return incomplete(append(r.Failures(), j.Failures...), j.Result.Counts["replies_expected"])
}

func newMTBenchJudgeCmd() *cobra.Command {
	j := &judgeFlags{}
	var answers, questions, references, name string
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "judge FOLDER",
		Short: "Let a judge rate the answers of a run, or answers from elsewhere",
		Long: `Let a judge rate answers that leo eval mtbench has written before; each judge has a
folder of its own in the run's, so that several can be compared. With --answers the
answers come from a file in FastEval's layout (answers.json) or FastChat's
(model_answer/*.jsonl), and FOLDER is made.`,
		Example: `  leo eval mtbench judge mtbench/leo-7b-chat --judge-model gpt-4o --judge-base-url https://api.openai.com/v1
  leo eval mtbench judge leolm --answers answers.json --questions questions_de.json --name leo-13b --judge-replies judge-replies.json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := j.check(); err != nil {
				return err
			}
			if !j.given() {
				return usageError{errors.New("name a judge with --judge-model, --judge-base-url or --judge-replies")}
			}
			if answers == "" && (questions != "" || references != "" || name != "") {
				return usageError{errors.New("--questions, --references and --name go with --answers: a run has its own")}
			}
			r, err := openAnswered(cmd.Context(), args[0], answers, questions, references, name)
			if err != nil {
				return err
			}
			defer r.Close()
			return j.judge(cmd, r, quiet, asJSON)
		},
	}
	j.register(cmd)
	registerQuestions(cmd, &questions, &references)
	fl := cmd.Flags()
	fl.StringVar(&answers, "answers", "", "answers in FastEval's or FastChat's layout: a path, an address or hf://datasets/ORG/NAME/FILE")
	fl.StringVar(&name, "name", "", "name of the model that gave the answers")
	fl.BoolVarP(&quiet, "quiet", "q", false, "no progress and no notes")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// openAnswered opens a run with its answers, or makes one of a file of answers.
func openAnswered(ctx context.Context, dir, answers, questions, references, name string) (*mtbench.Run, error) {
	if answers == "" {
		r, err := mtbench.OpenRun(ctx, dir, nil)
		if err != nil {
			return nil, err
		}
		if err := r.Load(ctx); err != nil {
			r.Close()
			return nil, err
		}
		return r, nil
	}
	set, err := fetchQuestions(ctx, questions, references)
	if err != nil {
		return nil, err
	}
	data, err := eval.Fetch(ctx, answers, mtbench.MaxFile)
	if err != nil {
		return nil, err
	}
	list, err := mtbench.ParseAnswers(answers, data)
	if err != nil {
		return nil, err
	}
	r, err := mtbench.OpenRun(ctx, dir, set)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = filepath.Base(dir)
	}
	id := eval.Identity{Name: name, Kind: "replay", URL: answers, Hash: eval.HashOf(list)}
	if err := r.Import(answers, list, id, software()); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func newMTBenchCompareCmd() *cobra.Command {
	j := &judgeFlags{}
	var out string
	var quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "compare FOLDER-A FOLDER-B",
		Short: "Let a judge say which of two runs answers better, turn by turn",
		Long: `Show a judge the answers of two runs side by side, each pair in both orders, and
count wins, ties and losses of the first. A pair whose two games name different
winners is a tie: the order decided, not the answers.`,
		Example: "  leo eval mtbench compare mtbench/leo-7b mtbench/leo-13b --judge-model gpt-4o --judge-base-url https://api.openai.com/v1",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := j.check(); err != nil {
				return err
			}
			if !j.given() || j.replies != "" {
				return usageError{errors.New("name a judge with --judge-model or --judge-base-url")}
			}
			if out == "" {
				out = filepath.Join("mtbench", filepath.Base(args[0])+"-vs-"+filepath.Base(args[1]))
			}
			return j.compare(cmd, args[0], args[1], out, quiet, asJSON)
		},
	}
	j.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&out, "output", "o", "", "folder for replies and result (default: mtbench/A-vs-B)")
	fl.BoolVarP(&quiet, "quiet", "q", false, "no progress and no notes")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (f *judgeFlags) compare(cmd *cobra.Command, dirA, dirB, out string, quiet, asJSON bool) error {
	ctx := cmd.Context()
	opt, err := f.options(ctx)
	if err != nil {
		return err
	}
	var runs [2]*mtbench.Run
	for i, dir := range []string{dirA, dirB} {
		if runs[i], err = openAnswered(ctx, dir, "", "", "", ""); err != nil {
			return err
		}
		defer runs[i].Close()
	}
	g, spent, done, err := f.open(ctx, cmd.ErrOrStderr(), quiet)
	if err != nil {
		return err
	}
	defer done()
	p := newStageProgress(cmd.ErrOrStderr(), "games", quiet, spent)
	c, err := mtbench.Compare(ctx, runs[0], runs[1], g, opt, out, software(), p.update)
	if p.end(err == nil); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(exactWriter(cmd), c.Result)
	} else {
		printComparison(cmd.OutOrStdout(), c)
	}
	if err != nil {
		return err
	}
	return incomplete(c.Failures, 2*len(c.Matches))
}

// printComparison prints who won.
func printComparison(w io.Writer, c *mtbench.Comparison) {
	fmt.Fprintf(w, "%s against %s\n%-12s %5s %5s %6s %9s %6s\n", c.A, c.B, "category", "wins", "ties", "losses", "undecided", "rate")
	row := func(name string, s mtbench.Standing) {
		fmt.Fprintf(w, "%-12s %5d %5d %6d %9d %5.1f%%\n", name, s.Wins, s.Ties, s.Losses, s.Undecided, 100*s.Rate)
	}
	for _, s := range c.Groups {
		row(s.Group, s)
	}
	row("all", c.All)
	fmt.Fprintf(w, "rate of all: 95 %% of draws between %.1f %% and %.1f %%; sign test p = %.3g\n", 100*c.CI95[0], 100*c.CI95[1], c.SignTest)
	fmt.Fprintf(w, "%.0f %% of pairs changed with the order; the answer shown first won %.0f %%, the longer one %.0f %% of the games with a winner\n",
		100*c.Inconsistent, 100*c.FirstWins, 100*c.LongerWins)
}
