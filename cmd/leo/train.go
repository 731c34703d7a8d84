package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/device"
	"leolm/internal/pool"
	"leolm/internal/recipe"
	"leolm/train"
)

func newTrainCmd() *cobra.Command {
	var sets []string
	var plan, print, asJSON bool
	var threads int
	cmd := &cobra.Command{
		Use:   "train RECIPE",
		Short: "Train a model: continued pretraining, fine-tuning, LoRA",
		Long: `Train what a YAML recipe describes. A run that was stopped (Ctrl-C, SIGTERM,
SIGUSR1, a crash) goes on from its last checkpoint when the same command is given again.`,
		Example: "  leo train recipes/mini-5min.yaml --set output=out/mini",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := train.Load(args[0], sets)
			if err != nil {
				return err
			}
			if print {
				return recipe.Print(cmd.OutOrStdout(), cfg)
			}
			if plan {
				return showPlan(cmd.OutOrStdout(), cfg, asJSON)
			}
			return runTraining(cmd, cfg, threads, asJSON)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&sets, "set", nil, "KEY=VALUE over the recipe, such as optimizer.lr=1e-4 (repeatable)")
	fl.BoolVar(&plan, "plan", false, "say what the run takes, and do nothing")
	fl.BoolVar(&print, "print", false, "print the recipe with all defaults, and do nothing")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	fl.IntVarP(&threads, "threads", "t", 0, "workers (default: the processors that this process may use)")
	return cmd
}

// trainLog shows progress as lines.
type trainLog struct {
	w     io.Writer
	last  time.Time
	start time.Time
	first int
	file  *metrics
}

func (l *trainLog) step(s train.Step) {
	if l.first == 0 {
		l.first, l.start = s.Step-1, time.Now().Add(-time.Duration(s.Seconds*float64(time.Second)))
	}
	l.file.step(s)
	if s.Step != s.Total && s.Step != l.first+1 && time.Since(l.last) < 5*time.Second {
		return
	}
	l.last = time.Now()
	left := time.Duration(float64(time.Since(l.start)) / float64(s.Step-l.first) * float64(s.Total-s.Step)).Round(time.Second)
	fmt.Fprintf(l.w, "step %d/%d  loss %.4f  lr %.2e  norm %.3f  %.0f tokens/s  %.3f TFLOP/s  left %s\n",
		s.Step, s.Total, s.Loss, s.LR, s.GradNorm, s.TokensPerSec, s.TFLOPS, left)
}

func (l *trainLog) eval(e train.Eval) {
	l.file.eval(e)
	if len(e.Sets) > 0 {
		best := ""
		if e.Best {
			best = " (best so far)"
		}
		fmt.Fprintf(l.w, "step %d  validation loss %.4f%s", e.Step, e.Loss, best)
		for name, v := range e.Sets {
			fmt.Fprintf(l.w, "  %s %.4f", name, v)
		}
		fmt.Fprintln(l.w)
	}
	for _, s := range e.Samples {
		fmt.Fprintf(l.w, "  %s ▸ %s\n", s.Prompt, strings.ReplaceAll(s.Text, "\n", " ⏎ "))
	}
}

func runTraining(cmd *cobra.Command, cfg *train.Config, threads int, asJSON bool) error {
	stderr := cmd.ErrOrStderr()
	workers := pool.Default()
	if threads > 0 {
		workers = pool.New(threads)
	}
	if err := os.MkdirAll(cfg.Output, 0o777); err != nil {
		return err
	}
	file, err := openMetrics(filepath.Join(cfg.Output, "metrics.jsonl"))
	if err != nil {
		return err
	}
	defer file.Close()
	log := &trainLog{w: stderr, file: file}
	t, err := train.New(cfg, device.NewCPU(workers), train.Observer{
		Step: log.step, Eval: log.eval,
		Note: func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer t.Close()
	p := t.Plan()
	fmt.Fprintf(stderr, "%s: %s parameters (%s trained), %d steps of up to %d tokens, %.3g FLOPs\n",
		cfg.Name, count(p.Params), count(p.Trainable), p.Steps, p.TokensPerStep, p.FLOPs)
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, saveSignals...)
	defer signal.Stop(usr1)
	save := make(chan struct{}, 1)
	go func() {
		for range usr1 {
			select {
			case save <- struct{}{}:
			default:
			}
		}
	}()
	res, err := t.Run(cmd.Context(), save)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), res)
	}
	if res.Interrupted {
		return errSilent
	}
	valid := ""
	if !math.IsNaN(res.ValidLoss) {
		valid = fmt.Sprintf(", validation loss %.4f", res.ValidLoss)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d steps, loss %.4f%s; peak memory %s; model in %s\n",
		cfg.Name, res.Steps, res.Loss, valid, bytesText(int64(res.PeakBytes)), filepath.Join(cfg.Output, "model"))
	return err
}

// count writes a number of parameters for people.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f k", float64(n)/1e3)
}

func showPlan(io.Writer, *train.Config, bool) error { return errors.New("not yet") }
