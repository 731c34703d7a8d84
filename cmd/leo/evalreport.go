package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"leolm/eval/report"
	"leolm/internal/durable"
)

func newEvalReportCmd() *cobra.Command {
	var out, title string
	var disagreements int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Show any results side by side: one page with tables, charts and disagreements",
		Long: `Write one page that shows results of leo eval side by side, of any tasks and models. A
RUN is a folder that one of these commands left (--output), one with such folders
inside, or the file of a single result.

The page needs no network and no scripts: tables with standard errors, the best number
marked where it is better by more than chance, bar charts, MT-Bench's radar,
McNemar's test and bootstrap intervals for pairs of models, and the documents and
answers on which models disagree. Where runs differ in questions, prompts, examples
or version, it says so and compares nothing.`,
		Example: `  leo eval report results/leo-7b results/leo-13b mtbench/leo-7b mtbench/leo-13b --output report.html
  leo eval report out/mini/evaluations --disagreements 3`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if disagreements < 0 || disagreements > maxDisagreements {
				return usageError{fmt.Errorf("--disagreements takes 0 to %d", maxDisagreements)}
			}
			if out == "" {
				return usageError{errors.New("--output must not be empty")}
			}
			var s *report.Summary
			err := durable.WriteTo(out, func(w io.Writer) (err error) {
				s, err = report.Write(cmd.Context(), w, args, report.Options{Title: title, Disagreements: disagreements})
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			for _, text := range s.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), text)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: results %d, models %d, tasks %d, disagreements %d\n", out, s.Results, s.Models, s.Tasks, s.Disagreements)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&out, "output", "o", "report.html", "page to write")
	fl.StringVar(&title, "title", "", "title of the page (default: Evaluation report)")
	fl.IntVar(&disagreements, "disagreements", report.DefaultDisagreements, "documents of each task, and turns of MT-Bench, that are shown at most (0: none)")
	fl.BoolVar(&asJSON, "json", false, "print a summary as JSON")
	return cmd
}

// maxDisagreements bounds the documents that a page shows of a task.
const maxDisagreements = 1000
