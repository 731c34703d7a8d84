package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"leolm/eval"
	"leolm/eval/mtbench"
)

func newMTBenchScoreCmd() *cobra.Command {
	var questions string
	cmd := &cobra.Command{
		Use:   "score JUDGE-REPLIES.json",
		Short: "Print the scores of a judge's replies, as FastEval writes them",
		Long: `Read a judge's replies, in FastEval's layout (judge-replies.json) or FastChat's
(model_judgment/*.jsonl), and print what FastEval writes as scores.json: the means of
both turns, of each category, and of the two turns.

Only that goes to standard output. Replies without a rating are left out of the
means, as FastEval does; they are named on standard error, like ratings outside 1 to 10,
which count.`,
		Example: "  leo eval mtbench score --questions questions_de.json judge-replies.json > scores.json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := fetchQuestions(cmd.Context(), questions, "")
			if err != nil {
				return err
			}
			data, err := eval.Fetch(cmd.Context(), args[0], mtbench.MaxFile)
			if err != nil {
				return err
			}
			replies, err := mtbench.ParseReplies(args[0], data)
			if err != nil {
				return err
			}
			s, err := mtbench.Score(set, replies)
			if s != nil {
				printRatingNotes(cmd.ErrOrStderr(), s)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = exactWriter(cmd).Write(s.JSON())
			return err
		},
	}
	cmd.Flags().StringVar(&questions, "questions", "", "questions in FastEval's or FastChat's layout: a path, an address or hf://datasets/ORG/NAME/FILE (required)")
	requireFlag(cmd, "questions")
	return cmd
}

// shownNotes is how many single replies are named; their number is always said.
const shownNotes = 10

// printRatingNotes names the replies that have no rating and those whose rating is doubtful.
func printRatingNotes(w io.Writer, s *mtbench.Scores) {
	for i, d := range s.Dropped {
		if i == 0 {
			fmt.Fprintf(w, "%d of %d replies have no rating and are in no mean:\n", len(s.Dropped), len(s.Dropped)+len(s.Rated))
		}
		if i < shownNotes {
			fmt.Fprintf(w, "  entry %d (question %s, turn %d): %s\n", d.Row, d.Question, d.Turn, d.Why)
		}
	}
	if n := len(s.Dropped) - shownNotes; n > 0 {
		fmt.Fprintf(w, "  and %d more\n", n)
	}
	for _, kind := range []struct {
		what string
		is   func(r mtbench.Rated) bool
	}{
		{"ratings outside 1 to 10, which count", func(r mtbench.Rated) bool { return !r.InRange() }},
		{"ratings in single brackets, which may be something else", func(r mtbench.Rated) bool { return r.Fallback }},
		{"replies with several ratings, of which the first counts", func(r mtbench.Rated) bool { return r.Several }},
	} {
		var found []mtbench.Rated
		for _, r := range s.Rated {
			if kind.is(r) {
				found = append(found, r)
			}
		}
		if len(found) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s (%d):", kind.what, len(found))
		for _, r := range found[:min(len(found), shownNotes)] {
			fmt.Fprintf(w, " entry %d (%s)", r.Row, r.Rating)
		}
		fmt.Fprintln(w)
	}
}
