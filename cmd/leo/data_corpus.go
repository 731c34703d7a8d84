package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"leolm/dataset/corpus"
)

func newDataCorpusCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "corpus",
		Short: "Clean, deduplicate, tokenize and pack texts for pretraining",
		Long: `Turn collections of text into shuffled, packed token shards.

  leo data corpus plan RECIPE.yaml -o DIR   find the inputs, lay out the work
  leo data corpus run DIR                   do all of it, or what is still missing
  leo data corpus report DIR                show what became of the texts

A plan is cut into stages and tasks. On a cluster, "emit" prints the job scripts
in which each machine does one task: leo data corpus run DIR --stage S --task I.
Killed at any moment and run again, the output is the same to the byte.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCorpusPlanCmd(), newCorpusRunCmd(), newCorpusStatusCmd(), newCorpusReportCmd(), newCorpusEmitCmd(), newCorpusShowCmd(), newCorpusCleanCmd())
	return cmd
}

func newCorpusPlanCmd() *cobra.Command {
	var out, onError string
	var sets []string
	var replace, noHash, asJSON bool
	var partMB int64
	cmd := &cobra.Command{
		Use:   "plan RECIPE.yaml -o DIR",
		Short: "Find and hash the inputs, write DIR/plan.json",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usageError{errors.New("--output is needed: the folder for the work files")}
			}
			if partMB < 0 {
				return usageError{fmt.Errorf("--part-mb is %d, want 0 or more", partMB)}
			}
			if onError != "" {
				sets = append(sets, "on_error="+onError)
			}
			r, err := corpus.LoadRecipe(args[0], sets)
			if err != nil {
				return err
			}
			for _, n := range r.Notes {
				cmd.PrintErrln(n)
			}
			p, err := corpus.MakePlan(r, corpus.PlanOptions{RecipeFile: args[0], Sets: sets, NoHash: noHash, PartBytes: partMB << 20})
			if err != nil {
				return err
			}
			if err := p.Write(out, replace); err != nil {
				return err
			}
			if asJSON {
				return printCorpusJSON(cmd.OutOrStdout(), p)
			}
			return printPlan(cmd.OutOrStdout(), out, p)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "folder for the plan, the work files and the shards")
	f.StringArrayVar(&sets, "set", nil, "change a key of the recipe, as in --set pack.window=4096 (repeatable)")
	f.StringVar(&onError, "on-error", "", "what to do with a row that cannot be read: stop or skip (counted and listed)")
	f.BoolVar(&replace, "replace", false, "replace another plan in DIR; tasks that stay the same are kept")
	f.BoolVar(&noHash, "no-hash", false, "trust size and time of the inputs instead of hashing them (terabytes)")
	f.Int64Var(&partMB, "part-mb", 1024, "cut a larger uncompressed JSONL file at lines, a Parquet file at row groups, into tasks of this many MiB (0: keep files whole)")
	f.BoolVar(&asJSON, "json", false, "print the plan as JSON")
	return cmd
}

func printPlan(w io.Writer, dir string, p *corpus.Plan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "plan %s in %s: %d files", p.ID, dir, p.Files())
	if p.Files() != len(p.Inputs) {
		fmt.Fprintf(&b, " in %d parts", len(p.Inputs))
	}
	b.WriteByte('\n')
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "  %-9s %5d tasks\n", s.Name, s.Tasks)
	}
	n := runtime.GOMAXPROCS(0)
	fmt.Fprintf(&b, "output: %d train and %d validation shards of about %d MB\n", p.Train, p.Val, p.Recipe.Pack.ShardMB)
	fmt.Fprintf(&b, "memory: at most %.1f GiB with %d workers while no document is larger than 1 MB\n", float64(p.Memory(n, 1<<20))/(1<<30), n)
	fmt.Fprintf(&b, "next: leo data corpus run %s\n", dir)
	_, err := io.WriteString(w, b.String())
	return err
}

func printCorpusJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// corpusRunFlags are those of leo data corpus run.
type corpusRunFlags struct {
	corpus.RunOptions
	asJSON bool
}

func newCorpusRunCmd() *cobra.Command {
	opt := &corpusRunFlags{RunOptions: corpus.RunOptions{Task: -1}}
	cmd := &cobra.Command{
		Use:   "run DIR",
		Short: "Run the tasks that are not done yet, or one of them",
		Long: `Run the tasks of a plan that are not done yet, stage by stage, or one of them.

Started by mpirun or srun, the processes share the tasks of each stage; DIR lies on a
disk that all can write. The output is that of one process. With --stage, a process
works for itself.`,
		Example: `  leo data corpus run DIR
  mpirun --bind-to none -n 4 leo data corpus run DIR`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opt.Task >= 0 && opt.Stage == "" {
				return usageError{errors.New("--task needs --stage")}
			}
			if cmd.Flags().Changed("task") && opt.Task < 0 {
				return usageError{fmt.Errorf("--task is %d, want 0 or more", opt.Task)}
			}
			if err := checkThreads("--workers", opt.Workers); err != nil {
				return err
			}
			if opt.Stage != "" {
				return opt.run(cmd, args)
			}
			several, err := severalRanks()
			if err != nil {
				return err
			}
			if several {
				return onEachRank(cmd, args, opt.run)
			}
			return opt.run(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.Stage, "stage", "", "run this stage only: prep, buckets, cluster, tokenize, pack or report")
	f.IntVar(&opt.Task, "task", -1, "run this task of the stage only, counted from 0")
	f.IntVar(&opt.Workers, "workers", 0, "goroutines that compute (0: one per core; of several processes each has its share of the cores)")
	f.BoolVar(&opt.Wait, "wait", false, "wait until other machines have finished the earlier stages")
	f.BoolVar(&opt.asJSON, "json", false, "print the report as JSON")
	return cmd
}

// run does this process's tasks, and prints the report after the last stage.
func (f *corpusRunFlags) run(cmd *cobra.Command, args []string) error {
	opt, start, log := f.RunOptions, time.Now(), cmd.ErrOrStderr()
	r := dealing(cmd.Context())
	if r != nil {
		opt.Ranks, opt.Workers = r.comm, r.threads(opt.Workers)
	}
	var mu sync.Mutex
	skipped := 0
	opt.Event = func(e corpus.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Skipped {
			skipped++
			return
		}
		fmt.Fprintf(log, "%s%-8s %d/%d  %s  (%.1f s)\n", r.who(), e.Stage, e.Task+1, e.Tasks, e.Note, e.Took.Seconds())
	}
	if err := corpus.Run(cmd.Context(), args[0], opt); err != nil {
		return err
	}
	if skipped > 0 {
		fmt.Fprintf(log, "%d tasks were already done\n", skipped)
	}
	if opt.Stage != "" && opt.Stage != corpus.StageReport || r != nil && !r.first() {
		return nil
	}
	rep, err := corpus.ReadReport(args[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "finished in %.1f s: %s\n", time.Since(start).Seconds(), filepath.Join(args[0], "out"))
	if f.asJSON {
		return printCorpusJSON(cmd.OutOrStdout(), rep)
	}
	return rep.Print(cmd.OutOrStdout())
}

func newCorpusStatusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status DIR",
		Short: "Show which tasks are not done, and what has changed since the plan was made",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, p, err := corpus.Status(args[0])
			if st == nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				changed := ""
				if err != nil {
					changed = err.Error()
				}
				if jerr := printCorpusJSON(w, map[string]any{"plan": p.ID, "stages": st, "changed": changed}); jerr != nil {
					return jerr
				}
				return err
			}
			var b strings.Builder
			fmt.Fprintf(&b, "plan %s\n", p.ID)
			for _, s := range st {
				fmt.Fprintf(&b, "  %-9s %5d of %5d done", s.Stage, s.Done, s.Tasks)
				if len(s.Missing) > 0 && s.Done > 0 {
					fmt.Fprintf(&b, ", missing %s", ranges(s.Missing))
				}
				b.WriteByte('\n')
			}
			if _, werr := io.WriteString(w, b.String()); werr != nil {
				return werr
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// ranges writes sorted numbers in Slurm's notation: 0-3,7.
func ranges(n []int) string {
	var b strings.Builder
	for i := 0; i < len(n); {
		k := i
		for k+1 < len(n) && n[k+1] == n[k]+1 {
			k++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", n[i])
		if k > i {
			fmt.Fprintf(&b, "-%d", n[k])
		}
		i = k + 1
	}
	return b.String()
}

func newCorpusReportCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Show how many texts were kept, dropped and changed, and why",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			rep, err := corpus.ReadReport(args[0])
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s: no report yet; finish it with leo data corpus run %s", args[0], args[0])
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printCorpusJSON(cmd.OutOrStdout(), rep)
			}
			return rep.Print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON, with examples of what was dropped")
	return cmd
}

func newCorpusEmitCmd() *cobra.Command {
	opt := corpus.EmitOptions{}
	var slurm, kube bool
	cmd := &cobra.Command{
		Use:   "emit DIR --slurm|--kubernetes",
		Short: "Print the plan as a chain of Slurm array jobs or as Kubernetes Indexed Jobs",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if slurm == kube {
				return usageError{errors.New("choose one of --slurm and --kubernetes")}
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			p, err := corpus.ReadPlan(dir)
			if err != nil {
				return err
			}
			if slurm {
				return p.EmitSlurm(cmd.OutOrStdout(), dir, opt)
			}
			return p.EmitKubernetes(cmd.OutOrStdout(), dir, opt)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&slurm, "slurm", false, "a shell script that submits array jobs, each stage after the previous one")
	f.BoolVar(&kube, "kubernetes", false, "one Indexed Job per stage (YAML); each waits for the previous stage")
	f.StringVar(&opt.Leo, "leo", "leo", "the path of the leo program on the machines that run the jobs")
	f.IntVar(&opt.CPUs, "cpus", 4, "cores per task")
	f.IntVar(&opt.MaxArray, "max-array", 1000, "tasks in one Slurm array (MaxArraySize − 1); more tasks become several arrays")
	f.IntVar(&opt.Parallel, "parallel", 64, "tasks at once")
	f.StringVar(&opt.Time, "time", "04:00:00", "time limit of a Slurm task")
	f.StringVar(&opt.Image, "image", "leo:latest", "container image with leo (Kubernetes)")
	f.StringVar(&opt.Claim, "claim", "corpus", "persistent volume claim that holds DIR and the inputs (Kubernetes)")
	f.StringVar(&opt.Mount, "mount", "", "where the claim is mounted (Kubernetes; default: the parent of DIR)")
	return cmd
}

func newCorpusShowCmd() *cobra.Command {
	var at int64
	var split string
	cmd := &cobra.Command{
		Use:   "show DIR",
		Short: "Show one packed sample: where documents begin, and its text",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return corpus.Show(cmd.OutOrStdout(), args[0], split, at)
		},
	}
	cmd.Flags().Int64Var(&at, "sample", 0, "number of the sample, counted from 0")
	cmd.Flags().StringVar(&split, "split", "train", "train or val")
	return cmd
}

func newCorpusCleanCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "clean DIR",
		Short: "Remove the work files of a finished plan",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE:  func(cmd *cobra.Command, args []string) error { return corpus.Clean(args[0]) },
	}
}
