package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/eval/report"
	"leolm/internal/durable"
	"leolm/open"
)

// mtbenchFlags choose the model that is asked, and the questions.
type mtbenchFlags struct {
	modelFlags
	endpointFlags
	questions, references string
	name, out, system     string
	choices, limit        int
	maxNewTokens          int
	temperatures          []string
	asJSON                bool
}

func newMTBenchCmd() *cobra.Command {
	f, j := &mtbenchFlags{}, &judgeFlags{}
	cmd := &cobra.Command{
		Use:   "mtbench",
		Short: "MT-Bench in German: answers, a judge's ratings, scores",
		Long: `Ask a model questions of two turns in eight categories, and let a judge rate the
answers. Without --questions it asks Leo's own set, which is part of the program;
LeoLM's and others are read in FastEval's and FastChat's layouts.

The model runs here (--model), or behind an OpenAI-compatible endpoint (--base-url).
So does the judge: --judge-model, with --judge-base-url for an endpoint; or
--judge-replies replays what a judge said elsewhere. Without a judge the answers are
written and counted: not German, cut off, empty, looping.

Everything goes into one folder. The same command again goes on where it was
stopped, by whatever, and ends with the same scores.`,
		Example: `  leo eval mtbench --model leo-7b-chat --judge-model gpt-4o --judge-base-url https://api.openai.com/v1
  leo eval mtbench --questions questions_de.json --judge-prompts judge_prompts_de.json --judge-replies judge-replies.json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: led(func(cmd *cobra.Command, args []string) error { return f.run(cmd, j) }, f.openReplica),
	}
	f.register(cmd)
	j.register(cmd)
	cmd.AddCommand(newMTBenchJudgeCmd(), newMTBenchScoreCmd(), newMTBenchCompareCmd(), newMTBenchReportCmd(), newMTBenchQuestionsCmd())
	return cmd
}

func (f *mtbenchFlags) register(cmd *cobra.Command) {
	f.modelFlags.register(cmd)
	f.endpointFlags.register(cmd, "", "the model")
	registerRanks(cmd)
	fl := cmd.Flags()
	registerQuestions(cmd, &f.questions, &f.references)
	fl.StringVarP(&f.out, "output", "o", "", "folder for everything (default: mtbench/NAME)")
	fl.StringVar(&f.name, "name", "", "name of the model in files and reports (default: its own)")
	fl.StringVar(&f.system, "system", "", "system message (MT-Bench has none)")
	fl.IntVar(&f.choices, "choices", 1, "answers to each question")
	fl.IntVar(&f.limit, "limit", 0, "ask only the first N questions (0: all)")
	fl.IntVarP(&f.maxNewTokens, "max-new-tokens", "n", 1024, "most tokens of an answer")
	fl.StringArrayVar(&f.temperatures, "temperature", nil, "CATEGORY=VALUE instead of MT-Bench's temperature, also for categories of your own (repeatable)")
	fl.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

// registerQuestions adds the flags that choose questions.
func registerQuestions(cmd *cobra.Command, questions, references *string) {
	fl := cmd.Flags()
	fl.StringVar(questions, "questions", "", "questions in FastEval's or FastChat's layout: a path, an address or hf://datasets/ORG/NAME/FILE (default: Leo's own)")
	fl.StringVar(references, "references", "", "reference answers to questions in mathematics, reasoning and coding, in place of those in the questions")
}

// fetchQuestions reads a set of questions from a path, an address or the hub; "" is Leo's own.
func fetchQuestions(ctx context.Context, source, references string) (*mtbench.Set, error) {
	set, err := mtbench.OwnQuestions()
	if source != "" {
		var data []byte
		if data, err = eval.Fetch(ctx, source, mtbench.MaxFile); err == nil {
			set, err = mtbench.ParseQuestions(source, data)
		}
	}
	if err != nil || references == "" {
		return set, err
	}
	data, err := eval.Fetch(ctx, references, mtbench.MaxFile)
	if err != nil {
		return nil, err
	}
	answers, err := mtbench.ParseAnswers(references, data)
	if err != nil {
		return nil, err
	}
	return set.WithReferences(references, answers)
}

// options checks the flags about answers.
func (f *mtbenchFlags) options() (mtbench.AnswerOptions, error) {
	opt := mtbench.AnswerOptions{Choices: f.choices, MaxNewTokens: f.maxNewTokens, System: f.system, Limit: f.limit, Temperatures: map[string]float64{}}
	if f.choices < 1 || f.choices > maxChoices || f.limit < 0 || f.maxNewTokens < 1 {
		return opt, usageError{fmt.Errorf("--choices takes 1 to %d, --max-new-tokens numbers from 1, --limit none below 0", maxChoices)}
	}
	for _, t := range f.temperatures {
		category, text, ok := strings.Cut(t, "=")
		v, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil || !(v >= 0 && v <= 100) {
			return opt, usageError{fmt.Errorf("--temperature %q: write CATEGORY=VALUE, such as writing=0.7", t)}
		}
		opt.Temperatures[category] = v
	}
	return opt, nil
}

// maxChoices bounds the answers to one question.
const maxChoices = 100

func (f *mtbenchFlags) run(cmd *cobra.Command, j *judgeFlags) error {
	opt, err := f.options()
	if err != nil {
		return err
	}
	if err := j.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	set, err := fetchQuestions(ctx, f.questions, f.references)
	if err != nil {
		return err
	}
	r, err := f.answer(cmd, set, opt)
	if err != nil {
		return err
	}
	defer r.Close()
	if !j.given() {
		result, err := eval.ReadArtifact(ctx, filepath.Join(r.Dir, mtbench.AnswersResult))
		if err != nil {
			return err
		}
		if err := f.print(cmd, result); err != nil {
			return err
		}
		return incomplete(r.Failures(), 2*opt.Choices*len(set.Questions))
	}
	return j.judge(cmd, r, f.quiet, f.asJSON)
}

// answer asks the questions and returns the open run.
func (f *mtbenchFlags) answer(cmd *cobra.Command, set *mtbench.Set, opt mtbench.AnswerOptions) (*mtbench.Run, error) {
	var g eval.Generator
	var spent func() *eval.Usage
	ranks := dealing(cmd.Context())
	if f.baseURL != "" {
		if ranks != nil {
			return nil, errReplicasHere
		}
		e, err := f.endpointFlags.open(f.model, logTo(cmd.ErrOrStderr(), f.quiet))
		if err != nil {
			return nil, err
		}
		g, spent = e, func() *eval.Usage { u := e.Usage(); return &u }
	} else {
		here := f.openReplica
		if ranks != nil {
			here = func(cmd *cobra.Command, what byte) (eval.Model, func(), error) {
				return ranks.replicas(cmd, what, f.openReplica)
			}
		}
		m, done, err := here(cmd, leadEnd+1)
		if err != nil {
			return nil, err
		}
		defer done()
		g = m
	}
	if f.name != "" {
		g = eval.Rename(g, f.name)
	}
	dir := f.out
	if dir == "" {
		dir = filepath.Join("mtbench", eval.FileName(g.Identity().Name))
	}
	r, err := mtbench.OpenRun(cmd.Context(), dir, set)
	if err != nil {
		return nil, err
	}
	p := newStageProgress(cmd.ErrOrStderr(), "answers", f.quiet, spent)
	err = r.Answer(cmd.Context(), g, opt, software(), p.update)
	if p.end(err == nil); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// openReplica opens the model in this process.
func (f *mtbenchFlags) openReplica(cmd *cobra.Command, _ byte) (eval.Model, func(), error) {
	m, err := f.modelFlags.openFor(cmd.Context(), cmd.ErrOrStderr(), func(o *open.Options) { o.Together, o.PageLen = maxAnswers, shortPages })
	if err != nil {
		return nil, nil, err
	}
	l := eval.NewLocal(m, eval.LocalOptions{Together: maxAnswers})
	return l, func() {
		l.Close()
		m.Close()
	}, nil
}

// maxAnswers is the number of answers that are written at the same time.
const maxAnswers = 32

// print shows a result, as JSON or as a table for people.
func (f *mtbenchFlags) print(cmd *cobra.Command, result *eval.Artifact) error {
	if f.asJSON {
		return printJSON(exactWriter(cmd), result)
	}
	return printMTBench(cmd.OutOrStdout(), result)
}

// incomplete is the error of a run in which something is missing.
func incomplete(failures []mtbench.Failure, of int) error {
	if len(failures) == 0 {
		return nil
	}
	f, again := failures[0], "the same command tries again"
	switch refused := len(mtbench.Refusals(failures)); {
	case refused == len(failures):
		again = "the same command would be refused again"
	case refused > 0:
		again = fmt.Sprintf("%d were refused, the others the same command tries again", refused)
	}
	return fmt.Errorf("%d of %d turns have no text, the first of them question %s, turn %d: %s (%s)",
		len(failures), of, f.Question, f.Turn, f.Why, again)
}

// shownRefusals is how many turns without a text are named on the terminal; the result has them all.
const shownRefusals = 20

// printRefusals names the turns that were refused, by the model or by the judge.
func printRefusals(w io.Writer, failures []mtbench.Failure) {
	refused := mtbench.Refusals(failures)
	for _, by := range []struct {
		who   string
		judge bool
	}{{"the model", false}, {"the judge", true}} {
		list := slices.DeleteFunc(slices.Clone(refused), func(f mtbench.Failure) bool { return (f.Prompt != "") != by.judge })
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(w, "refused by %s: %d turns\n", by.who, len(list))
		for _, f := range list[:min(len(list), shownRefusals)] {
			fmt.Fprintf(w, "  question %s, turn %d: %s\n", f.Question, f.Turn, f.Why)
		}
		if more := len(list) - shownRefusals; more > 0 {
			fmt.Fprintf(w, "  and %d more, which the result names\n", more)
		}
	}
}

// printMTBench prints scores and counts.
func printMTBench(w io.Writer, result *eval.Artifact) error {
	d, err := mtbench.ReadDetails(result)
	if err != nil {
		return err
	}
	judged := len(result.Judges) > 0
	fmt.Fprintf(w, "%-12s", "category")
	if judged {
		fmt.Fprintf(w, " %7s %15s %7s", "rating", "95 %", "ratings")
	}
	fmt.Fprintf(w, " %7s %6s %5s %10s %7s %7s\n", "answers", "failed", "empty", "not German", "cut off", "looping")
	interval := func(name, group string) {
		m, ok := result.Metric(name, group)
		if !ok || m.Value == nil {
			fmt.Fprintf(w, " %7s %15s %7d", "–", "", m.N)
			return
		}
		ci := ""
		if m.CI95 != nil {
			ci = fmt.Sprintf("%.2f … %.2f", m.CI95[0], m.CI95[1])
		}
		fmt.Fprintf(w, " %7.3f %15s %7d", *m.Value, ci, m.N)
	}
	for _, q := range d.Quality {
		fmt.Fprintf(w, "%-12s", q.Category)
		if judged {
			interval("rating", q.Category)
		}
		fmt.Fprintf(w, " %7d %6d %5d %10d %7d %7d\n", q.Answers, q.Failed, q.Empty, q.NotGerman, q.CutOff, q.Looping)
	}
	if !judged {
		printRefusals(w, d.Failed)
		return nil
	}
	for _, row := range [][2]string{{"first turn", "first_turn"}, {"second turn", "second_turn"}, {"average", "average"}} {
		fmt.Fprintf(w, "%-12s", row[0])
		interval(row[1], "")
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d of %d replies of the judge have a rating", result.Counts["rated"], result.Counts["replies_expected"])
	for _, c := range [][2]string{
		{"dropped", "without one"}, {"replies_cut_off", "cut off"}, {"out_of_range", "outside 1 to 10"},
		{"fallback", "in single brackets"}, {"several_ratings", "with several"}, {"replies_failed", "never came"},
	} {
		if n := result.Counts[c[0]]; n > 0 {
			fmt.Fprintf(w, ", %d %s", n, c[1])
		}
	}
	fmt.Fprintln(w)
	printRefusals(w, d.Failed)
	for _, warning := range d.Warning {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	return nil
}

func newMTBenchQuestionsCmd() *cobra.Command {
	var questions, references, layout string
	cmd := &cobra.Command{
		Use:     "questions",
		Short:   "Print a question set, Leo's own by default",
		Long:    "Print a question set in FastEval's layout (questions.json) or FastChat's (question.jsonl), to read it or to use it elsewhere.",
		Example: "  leo eval mtbench questions --layout fastchat > question.jsonl",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := fetchQuestions(cmd.Context(), questions, references)
			if err != nil {
				return err
			}
			switch layout {
			case "fasteval":
				return set.FastEval(exactWriter(cmd))
			case "fastchat":
				return set.FastChat(exactWriter(cmd))
			}
			return usageError{fmt.Errorf("--layout %q: choose fasteval or fastchat", layout)}
		},
	}
	registerQuestions(cmd, &questions, &references)
	cmd.Flags().StringVar(&layout, "layout", "fasteval", "fasteval or fastchat")
	completeWith(cmd, "layout", "fasteval", "fastchat")
	return cmd
}

func newMTBenchReportCmd() *cobra.Command {
	var out, chart string
	cmd := &cobra.Command{
		Use:   "report FOLDER... -o PAGE.html",
		Short: "Show runs side by side: a page with radar chart and tables",
		Long: `Read the results below folders of leo eval mtbench (all judges of a run, or one
judge's folder), and write one page that needs no network: radar chart, means with
their intervals, agreement of judges, what is wrong with answers.`,
		Example: "  leo eval mtbench report mtbench/leo-7b mtbench/leo-13b --output page.html --radar radar.svg",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" && chart == "" {
				return usageError{errors.New("--output or --radar is needed")}
			}
			var results []*eval.Artifact
			for _, dir := range args {
				found, err := mtbench.Results(cmd.Context(), dir)
				if err != nil {
					return err
				}
				results = append(results, found...)
			}
			return writeMTBenchReport(results, out, chart)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "page to write")
	cmd.Flags().StringVar(&chart, "radar", "", "radar chart to write, an SVG file")
	return cmd
}

// writeMTBenchReport writes a page and a radar chart, each if it has a name.
func writeMTBenchReport(results []*eval.Artifact, page, chart string) error {
	if page != "" {
		if err := durable.WriteTo(page, func(w io.Writer) error { return report.WriteMTBench(w, results) }); err != nil {
			return err
		}
	}
	if chart == "" {
		return nil
	}
	svg, err := report.RadarSVG(results)
	if err != nil {
		return err
	}
	return durable.WriteFile(chart, svg)
}
