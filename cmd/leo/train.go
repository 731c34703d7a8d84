package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/durable"
	"leolm/internal/kernel/limits"
	"leolm/internal/recipe"
	"leolm/internal/report"
	"leolm/open"
	"leolm/train"
)

func newTrainCmd() *cobra.Command {
	var sets []string
	var plan, print, asJSON, force bool
	var export, from, on string
	var threads int
	var among ranksPlanned
	var jobs jobFlags
	cmd := &cobra.Command{
		Use:   "train RECIPE",
		Short: "Train a model: continued pretraining, fine-tuning, LoRA",
		Long: `Train what a YAML recipe describes. A run that was stopped (Ctrl-C, SIGTERM,
SIGHUP, SIGUSR1, SIGUSR2, a crash) resumes from its last checkpoint when the same command is given again.

Started by mpirun or srun, all processes train one model together: mpirun -n 4 leo train RECIPE.
--emit prints the script that starts them on a cluster.`,
		Example: "  leo train recipes/mini-5min.yaml --set output=out/mini\n  leo train recipes/mini-5min.yaml --set output=out/mini --export out/so-far --checkpoint best",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkThreads("--threads", threads); err != nil {
				return err
			}
			if err := open.CheckDevice(on); err != nil {
				return usageError{fmt.Errorf("--device: %w", err)}
			}
			if err := jobs.check(cmd); err != nil {
				return err
			}
			cfg, err := train.Load(args[0], sets)
			if err != nil {
				return err
			}
			if print {
				return recipe.Print(cmd.OutOrStdout(), cfg)
			}
			if among.ranks < 1 || !(among.bandwidth > 0) {
				return usageError{errors.New("--ranks and --bandwidth must be positive")}
			}
			if jobs.kind != "" {
				if !cmd.Flags().Changed("ranks") {
					among.ranks = max(1, jobs.nodes)
				}
				return emitJob(cmd.OutOrStdout(), cfg, jobs, among.ranks, jobs.rankCommand(args[0], sets, threads))
			}
			if cmd.Flags().Changed("ranks") && !plan {
				return usageError{errors.New("--ranks is for --plan and --emit: how many ranks train, a launcher says, such as mpirun -n 4 leo train RECIPE")}
			}
			if plan {
				return showPlan(cmd.Context(), cmd.OutOrStdout(), cfg, on, among, asJSON)
			}
			if export != "" {
				return exportCheckpoint(cmd, cfg, from, export, force)
			}
			if from != "" || force {
				return usageError{errors.New("--checkpoint and --force say how --export DIR writes: give both")}
			}
			grace := 0
			if cmd.Flags().Changed("grace") {
				grace = jobs.grace
			}
			return runTraining(cmd, cfg, on, threads, grace, asJSON)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&sets, "set", nil, "override a key of the recipe, such as optimizer.lr=1e-4 (repeatable)")
	fl.BoolVar(&plan, "plan", false, "print what the run takes (memory, time, disk), and do nothing")
	fl.IntVar(&among.ranks, "ranks", 1, "with --plan: also what each of so many ranks takes; with --emit: processes of the job")
	fl.Float64Var(&among.bandwidth, "bandwidth", 12.5, "with --plan --ranks: GB/s that a rank sends and receives")
	fl.BoolVar(&print, "print", false, "print the recipe with all defaults, and do nothing")
	fl.StringVar(&export, "export", "", "write the model of a checkpoint into this folder and do nothing else; works while the run goes on")
	fl.BoolVar(&force, "force", false, "with --export: replace the folder if it exists")
	fl.StringVar(&from, "checkpoint", "", "with --export: best, or a name such as step-00000200 (default: the newest)")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	jobs.add(cmd)
	fl.StringVar(&on, "device", open.OnCPU, "where the training runs: cpu, gpu or gpu:N (through Vulkan), or auto (a GPU if there is one)")
	completeWith(cmd, "device", open.OnCPU, open.OnGPU, open.OnAuto)
	fl.IntVarP(&threads, "threads", "t", 0, "worker threads (default: the processors that this process may use)")
	return cmd
}

// trainLog prints progress and records the metrics.
type trainLog struct {
	w     io.Writer
	cfg   *train.Config
	plan  train.Plan
	peak  float64 // of the machine in the compute type, in GFLOP/s; 0 if the run is too short to measure it
	last  time.Time
	start time.Time
	first int
	run   *report.Run
	err   error // of the metrics, reported at the end

	grace   time.Duration // that is left to a run which is told to stop; 0 if that is not known or was too short
	slowest float64       // step, in seconds
}

// saved says once that a job leaves too little time for a step and a checkpoint: the next ones may take longer.
func (l *trainLog) saved(took time.Duration) {
	long := 2 * (took.Seconds() + l.slowest)
	if l.grace == 0 || long <= l.grace.Seconds() {
		return
	}
	fmt.Fprintf(l.w, "a step took up to %.3g s, this checkpoint %.3g s, and the job leaves %.0f s for both: let it leave %.0f or more (--grace, where the job was emitted)\n",
		l.slowest, took.Seconds(), l.grace.Seconds(), math.Ceil(long))
	l.grace = 0
}

func (l *trainLog) step(s train.Step) {
	l.slowest = max(l.slowest, s.Seconds)
	if l.first == 0 {
		l.first, l.start = s.Step, time.Now().Add(-time.Duration(s.Seconds*float64(time.Second)))
	}
	l.keep(report.Row{Step: int64(s.Step), Values: map[string]float64{
		report.Loss: s.Loss, report.LearningRate: s.LR, report.GradNorm: s.GradNorm, report.TokensPerSecond: s.TokensPerSec,
		"tokens_seen": float64(s.TokensSeen), "loss_tokens": s.LossTokens, "epoch": s.Epochs, "tflops": s.TFLOPS,
	}})
	speed := fmt.Sprintf("%.3f TFLOP/s", s.TFLOPS)
	if l.peak > 0 {
		speed = fmt.Sprintf("%.0f %% of peak", 100*s.TFLOPS*1e3/l.peak)
	}
	if s.Step != s.Total && s.Step != l.first && time.Since(l.last) < 5*time.Second {
		return
	}
	l.last = time.Now()
	done := s.Step - l.first + 1
	left := time.Duration(float64(time.Since(l.start)) / float64(done) * float64(s.Total-s.Step)).Round(time.Second)
	fmt.Fprintf(l.w, "step %d/%d  loss %.4f  epoch %s  lr %.2e  norm %.3f  %.0f tokens/s  %s  left %s\n",
		s.Step, s.Total, s.Loss, epochsOf(s.Epochs, l.plan.Epochs), s.LR, s.GradNorm, s.TokensPerSec, speed, left)
}

// epochsOf formats the passes over the data, with their total if it is known.
func epochsOf(done, all float64) string {
	if all == 0 {
		return fmt.Sprintf("%.2f", done)
	}
	return fmt.Sprintf("%.2f/%s", done, strconv.FormatFloat(math.Round(100*all)/100, 'f', -1, 64))
}

func (l *trainLog) eval(e train.Eval) {
	row := report.Row{Step: int64(e.Step), Values: map[string]float64{}}
	if len(e.Sets) > 0 {
		row.Values[report.ValidLoss] = e.Loss
		best := ""
		if e.Best {
			best = " (best so far)"
		}
		fmt.Fprintf(l.w, "step %d  validation loss %.4f%s", e.Step, e.Loss, best)
		for _, name := range slices.Sorted(maps.Keys(e.Sets)) {
			row.Values[report.ValidPrefix+name] = e.Sets[name]
			fmt.Fprintf(l.w, "  %s %.4f", name, e.Sets[name])
		}
		fmt.Fprintln(l.w)
	}
	for i, s := range e.Samples {
		row.AddSample(i, s.Prompt, s.Text)
		fmt.Fprintf(l.w, "  %s ▸ %s\n", s.Prompt, strings.ReplaceAll(s.Text, "\n", " ⏎ "))
	}
	l.keep(row)
	l.page()
}

func (l *trainLog) keep(row report.Row) {
	if l.run == nil || l.err != nil {
		return
	}
	row.Time = float64(time.Now().UnixMilli()) / 1000
	l.err = l.run.Write(row)
}

// page writes the HTML report of the run so far.
func (l *trainLog) page() {
	if l.err == nil {
		l.err = l.run.Sync()
	}
	rows, err := report.ReadMetrics(filepath.Join(l.cfg.Output, "metrics.jsonl"))
	if err == nil {
		p := &l.plan
		err = report.Training(l.cfg.Name, "", [][2]string{
			{"parameters", count(p.Params)}, {"trained", count(p.Trainable)}, {"steps", fmt.Sprint(p.Steps)},
			{"tokens per step", fmt.Sprintf("up to %d", p.TokensPerStep)}, {"FLOPs", fmt.Sprintf("%.3g", p.FLOPs)},
		}, rows).WriteFile(filepath.Join(l.cfg.Output, "report.html"))
	}
	if l.err == nil {
		l.err = err
	}
}

// exportCheckpoint writes the model of a checkpoint.
func exportCheckpoint(cmd *cobra.Command, cfg *train.Config, from, dir string, force bool) error {
	if err := refuseOverwrite(cfg.Model.Base, dir, force); err != nil {
		return fmt.Errorf("--export: %w", err)
	}
	dev, err := newDevice(0)
	if err != nil {
		return err
	}
	t, err := train.New(cfg, dev, train.Observer{})
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.ExportCheckpoint(from, dir); err != nil {
		return err
	}
	if from == "" {
		from = fmt.Sprintf("step %d", t.Step())
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of %s is in %s\n", from, cfg.Name, dir)
	return err
}

func runTraining(cmd *cobra.Command, cfg *train.Config, on string, threads, grace int, asJSON bool) error {
	r, err := joinRanks(cmd.Context(), cmd.ErrOrStderr(), 0)
	if err != nil {
		return err
	}
	return r.leave(context.WithoutCancel(cmd.Context()), trainRank(cmd, cfg, r, on, threads, grace, asJSON))
}

// trainRank is the part of one process in a run.
func trainRank(cmd *cobra.Command, cfg *train.Config, r *rank, on string, threads, grace int, asJSON bool) (err error) {
	measured, dev, unlock, err := r.prepare(cmd.Context(), cfg, on, threads)
	if err = r.together(err); err != nil {
		return err
	}
	defer unlock()
	measured.printNotes(r.log)
	defer func() {
		if closed := dev.Close(); err == nil { // else tensors of the pass that failed are left
			err = closed
		}
	}()
	log := &trainLog{w: r.log, cfg: cfg, grace: time.Duration(grace) * time.Second}
	defer collectOften(gcPercent(nil, 1))()
	t, err := train.NewRank(context.WithoutCancel(cmd.Context()), cfg, dev.Device, train.Observer{
		Step: log.step, Eval: log.eval, Saved: log.saved,
		Evaluate: func(ctx context.Context, m *train.Snapshot) error { return log.evaluate(ctx, measured, m) },
		Note:     func(format string, args ...any) { fmt.Fprintf(r.log, format+"\n", args...) },
	}, r.comm, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	plan := t.Plan()
	if dev.GPU == nil { // else little of the plan is in this process
		collectOften(gcPercent(&plan, r.comm.Size()))
	}
	debug.FreeOSMemory() // what only the start has needed
	if err := log.begin(t, r, dev); err != nil {
		return err
	}
	if log.run != nil {
		defer log.run.Close()
	}
	ctx := cmd.Context()
	if len(stopSignals) > 0 {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, stopSignals...)
		defer stop()
	}
	res, err := t.Run(ctx)
	if log.run != nil {
		if log.page(); err == nil {
			err = log.err
		}
	}
	switch {
	case err != nil:
		return err
	case asJSON && r.first():
		return printJSON(cmd.OutOrStdout(), res)
	case res.Interrupted:
		return errSilent // on every rank: launchers take the status of any
	case !r.first():
		return nil
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; peak memory %s; %s\n", cfg.Name, outcome(res), bytesText(int64(res.PeakBytes)), written(cfg))
	return err
}

// prepare opens what this rank can open by itself. Files that two runs cannot share are locked until unlock.
func (r *rank) prepare(ctx context.Context, cfg *train.Config, on string, threads int) (measured *evaluation, dev *open.Trainer, unlock func(), err error) {
	unlock = func() {}
	if measured, err = loadEvaluation(ctx, cfg.Evaluate, false); err != nil {
		return nil, nil, unlock, err
	}
	if dev, err = r.trainer(on, threads); err != nil {
		return nil, nil, unlock, err
	}
	if err := os.MkdirAll(cfg.Output, 0o777); err != nil {
		return nil, nil, unlock, fmt.Errorf("output: %w", err)
	}
	if err := r.keepLog(cfg.Output); err != nil {
		return nil, nil, unlock, fmt.Errorf("output: %w", err)
	}
	if !r.first() {
		return measured, dev, unlock, nil
	}
	free, err := durable.LockDir(cfg.Output)
	if err != nil {
		return nil, nil, unlock, fmt.Errorf("output: %w: two runs can't share a folder; wait for its end, or choose another output", err)
	}
	return measured, dev, free, nil
}

// collectOften keeps what the collector has not yet found small beside the memory of a run: left alone, it waits until
// garbage equals all that is in use, and a run would take twice its plan. There is little to search, since weights hold no
// pointers. What it returns puts the percentage from before back.
func collectOften(percent int) (undo func()) {
	before := debug.SetGCPercent(percent)
	if os.Getenv("GOGC") != "" {
		debug.SetGCPercent(before)
	}
	return func() { debug.SetGCPercent(before) }
}

// gcPercent is how much garbage a run may have, in percent of what is in use: while it is opened, or where its plan is
// known, by that.
func gcPercent(p *train.Plan, ranks int) int {
	const opening = 25
	if p == nil {
		return opening
	}
	each, err := p.ForRanks(ranks)
	if err != nil {
		return opening
	}
	return int(min(opening, max(1, 100*train.GarbageBytes/max(1, each.Memory.Total()))))
}

// begin says what is about to be trained, and opens the metrics, on the rank that speaks for all.
func (l *trainLog) begin(t *train.Trainer, r *rank, dev *open.Trainer) (err error) {
	l.plan = t.Plan()
	p := &l.plan
	if r.first() {
		resume := int64(-1)
		if t.Step() > 0 {
			resume = int64(t.Step())
		}
		if l.run, err = report.OpenRun(l.cfg.Output, resume); err != nil {
			return err
		}
	}
	among := ""
	if n := r.comm.Size(); n > 1 {
		among = fmt.Sprintf(", %d ranks of %d threads", n, dev.Workers)
	}
	if dev.GPU != nil {
		among = ", on " + dev.Name()
	}
	fmt.Fprintf(l.w, "%s: %s parameters (%s trained), %d steps of up to %d tokens, %.3g FLOPs%s\n",
		l.cfg.Name, count(p.Params), count(p.Trainable), p.Steps, p.TokensPerStep, p.FLOPs, among)
	if p.FLOPs > longRun && r.first() && dev.GPU == nil {
		l.peak = measuredPeak(l.cfg, dev.Workers) * float64(r.comm.Size())
	}
	return nil
}

// written describes where the results of a run are.
func written(cfg *train.Config) string {
	model := "model in " + filepath.Join(cfg.Output, "model")
	if cfg.LoRA == nil {
		return model
	}
	adapter := "adapter in " + filepath.Join(cfg.Output, "adapter")
	if cfg.LoRA.Merge {
		return model + ", " + adapter
	}
	return adapter
}

// outcome describes the result of a run, as far as it is known.
func outcome(res *train.Result) string {
	text := fmt.Sprintf("%d steps", res.Steps)
	if res.Finished {
		text += ", finished before"
	}
	if !math.IsNaN(res.Loss) {
		text += fmt.Sprintf(", loss %.4f", res.Loss)
	}
	if !math.IsNaN(res.ValidLoss) {
		text += fmt.Sprintf(", validation loss %.4f", res.ValidLoss)
	}
	return text
}

// longRun is the work, in FLOPs, above which the second that measuring the peak takes does not matter.
const longRun = 1e13

// measuredPeak is the matrix-product peak of the workers in the recipe's type, in GFLOP/s; 0 if unknown.
func measuredPeak(cfg *train.Config, workers int) float64 {
	l := limits.Measure(workers, 100*time.Millisecond)
	if cfg.Compute.DType == "bf16" && l.BF16 > 0 {
		return l.BF16
	}
	return l.F32
}

// count formats a number of parameters for people.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f k", float64(n)/1e3)
}
