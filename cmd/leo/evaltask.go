package main

import (
	"github.com/spf13/cobra"

	"leolm/chat"
	"leolm/eval/harness"
)

func newEvalTaskCmd() *cobra.Command {
	f := &harnessFlags{}
	var seed int64
	cmd := &cobra.Command{
		Use:   "task FILE.yaml...",
		Short: "Score tasks from files in lm-evaluation-harness' vocabulary",
		Long: `Score multiple-choice, perplexity and generation tasks that YAML files describe, as
lm-evaluation-harness reads them: dataset_path with data_files, output_type,
doc_to_text, doc_to_choice and doc_to_target as columns or Jinja templates,
num_fewshot, fewshot_split, fewshot_config, description, metric_list, filter_list,
generation_kwargs. Unknown keys are errors. Examples are drawn as there, by the same
seed. Functions in Python are not run.`,
		Example: "  leo eval task mytask.yaml --model leo-7b --num-fewshot 5 --output results",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE: led(func(cmd *cobra.Command, args []string) error {
			shots, err := f.given(cmd)
			if err != nil {
				return err
			}
			var tasks []*harness.Task
			for _, path := range args {
				c, err := harness.ReadConfig(cmd.Context(), path)
				if err != nil {
					return err
				}
				t, err := c.Build(cmd.Context(), harness.BuildOptions{Shots: shots, Limit: f.limit, Seed: seed})
				if err != nil {
					return err
				}
				tasks = append(tasks, t)
			}
			return f.run(cmd, tasks, chat.BOSAuto, harness.Options{Config: map[string]any{"seed": seed, "limit": f.limit, "precision": f.precision}})
		}, f.openReplica),
	}
	f.register(cmd)
	cmd.Flags().Int64Var(&seed, "fewshot-seed", harness.DefaultSeed, "seed that draws the examples")
	return cmd
}
