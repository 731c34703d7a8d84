package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"leolm/internal/durable"
	"leolm/internal/pool"
	"leolm/open"
	"leolm/train"
)

// assumedShare is the share of the peak that a whole training step is assumed to
// reach, for predictions of time; docs/speed.md has measured ones.
const assumedShare = 0.45

// gpus are dense bf16 peaks in FLOP/s, from the vendors' data sheets.
var gpus = []struct {
	name   string
	peak   float64
	memory int64
}{
	{"RTX 4090 24 GB", 165e12, 24e9},
	{"A100 80 GB", 312e12, 80e9},
	{"H100 80 GB", 989e12, 80e9},
	{"H200 141 GB", 989e12, 141e9},
}

// timing is the predicted time of a run on one machine.
type timing struct {
	On      string  `json:"on"`
	Seconds float64 `json:"seconds"`
	Fits    bool    `json:"fits"`
}

// showPlan prints the memory, time and disk that a recipe would take.
func showPlan(ctx context.Context, w io.Writer, cfg *train.Config, on string, among ranksPlanned, asJSON bool) error {
	p, err := train.MakePlan(cfg)
	if err != nil {
		return err
	}
	gpu, err := planGPU(p, on)
	if err != nil {
		return err
	}
	if gpu != nil && among.ranks > 1 {
		return open.ErrRanksOnGPU
	}
	ranks, err := p.ForRanks(among.ranks)
	if err != nil {
		return err
	}
	measured, err := loadEvaluation(ctx, cfg.Evaluate, true)
	if err != nil {
		return err
	}
	var peak float64 // a GPU's is not known
	if gpu == nil {
		peak = measuredPeak(cfg, pool.Processors())
	}
	var times []timing
	if peak > 0 {
		times = append(times, timing{fmt.Sprintf("this machine (%.0f GFLOP/s)", peak), p.FLOPs / (assumedShare * peak * 1e9), true})
	}
	if among.ranks > 1 && peak > 0 {
		compute := times[0].Seconds / float64(among.ranks)
		times = append(times, timing{fmt.Sprintf("%d such machines, %.3g GB/s between them", among.ranks, among.bandwidth), compute + float64(p.Steps)*among.seconds(&ranks), true})
	}
	for _, g := range gpus {
		times = append(times, timing{g.name, p.FLOPs / (assumedShare * g.peak), p.Memory.Total() <= g.memory})
	}
	free, freeErr := durable.FreeSpace(cfg.Output)
	if asJSON {
		out := map[string]any{"plan": p, "times": times, "share_of_peak_assumed": assumedShare}
		if among.ranks > 1 {
			out["ranks"] = ranks
		}
		if gpu != nil {
			out["gpu"] = gpu
		}
		if cfg.Evaluate != nil {
			out["evaluation"] = measured.plan(p, cfg)
		}
		return printJSON(w, out)
	}
	printTraining(w, p, among, &ranks)
	gpu.print(w)
	fmt.Fprintf(w, "disk           %s for checkpoints and the model", bytesText(p.Disk))
	if freeErr == nil {
		fmt.Fprintf(w, ", %s are free", bytesText(free))
	}
	fmt.Fprintln(w)
	printTimes(w, times)
	if cfg.Evaluate != nil {
		printEvaluationPlan(w, measured.plan(p, cfg), peak)
	}
	for _, a := range p.Assumed {
		fmt.Fprintln(w, "assumed:", a)
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	return nil
}

// plannedGPU is the GPU of a plan.
type plannedGPU struct {
	Name      string `json:"name"`
	Available int64  `json:"available"` // bytes
	Fits      bool   `json:"fits"`
}

// planGPU makes p a plan for the GPU that on names; nil where that is the processor.
func planGPU(p *train.Plan, on string) (g *plannedGPU, err error) {
	if on == open.OnCPU {
		return nil, nil
	}
	dev, err := open.Training(on, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if dev.GPU == nil {
		return nil, nil
	}
	p.OnGPU(dev.GPU)
	free, _ := dev.Available()
	return &plannedGPU{Name: dev.Name(), Available: free, Fits: p.Memory.Total() <= free}, nil
}

func (g *plannedGPU) print(w io.Writer) {
	if g == nil {
		return
	}
	fits := ""
	if !g.Fits {
		fits = " (does not fit)"
	}
	fmt.Fprintf(w, "on the GPU     %s: %s are available%s\n", g.Name, bytesText(g.Available), fits)
}

// printTraining prints what is computed, and what memory and network that takes.
func printTraining(w io.Writer, p *train.Plan, among ranksPlanned, ranks *train.RankPlan) {
	fmt.Fprintf(w, "%s\n", p.Name)
	fmt.Fprintf(w, "parameters     %s, %s of them trained\n", count(p.Params), count(p.Trainable))
	epochs := ""
	if p.Epochs > 0 {
		epochs = fmt.Sprintf(", %.4g epochs", p.Epochs)
	}
	fmt.Fprintf(w, "steps          %d of up to %d tokens (%.4g tokens%s)\n", p.Steps, p.TokensPerStep, float64(p.Tokens), epochs)
	fmt.Fprintf(w, "FLOPs          %.3g (%.3g per token)\n", p.FLOPs, p.FLOPsPerToken)
	fmt.Fprintf(w, "memory         %s\n", memoryText(&p.Memory))
	if among.ranks > 1 {
		fmt.Fprintf(w, "%-15s%s each, with sharding %s", fmt.Sprintf("%d ranks", among.ranks), memoryText(&ranks.Memory), ranks.Sharding)
		if ranks.Tensor > 1 {
			fmt.Fprintf(w, "; %d share every layer", ranks.Tensor)
		}
		fmt.Fprintln(w)
		gathered := ""
		if ranks.Shared > 0 {
			gathered = fmt.Sprintf(" (within layers %s)", bytesText(ranks.Shared))
		}
		if ranks.Gathered > 0 {
			gathered = fmt.Sprintf(" (weights %s)", bytesText(ranks.Gathered))
		}
		fmt.Fprintf(w, "network        %s sent by each rank per step: %s at %.3g GB/s, if nothing overlaps\n", bytesText(ranks.Sent)+gathered, durationText(among.seconds(ranks)), among.bandwidth)
	}
}

// printTimes prints how long the training takes on each machine.
func printTimes(w io.Writer, times []timing) {
	for i, t := range times {
		label := "time           "
		if i > 0 {
			label = "               "
		}
		fits := ""
		if !t.Fits {
			fits = "  (does not fit one)"
		}
		fmt.Fprintf(w, "%s%-32s %s%s\n", label, t.On, durationText(t.Seconds), fits)
	}
	fmt.Fprintf(w, "               at %.0f %% of the peak, batches full\n", 100*assumedShare)
}

// ranksPlanned is what --plan is made for beside one machine.
type ranksPlanned struct {
	ranks     int
	bandwidth float64 // of a rank's network in one direction, in GB/s
}

// seconds is how long a step's messages are on their way.
func (c ranksPlanned) seconds(p *train.RankPlan) float64 {
	return float64(p.Sent) / (c.bandwidth * 1e9)
}

// memoryText lists the parts of a run's memory.
func memoryText(m *train.Memory) string {
	text := fmt.Sprintf("%s: weights %s, gradients %s, optimizer %s, activations %s, workspace %s", bytesText(m.Total()),
		bytesText(m.Weights), bytesText(m.Gradients), bytesText(m.Optimizer), bytesText(m.Activations), bytesText(m.Workspace))
	if m.Process > 0 { // a GPU's memory has none
		text += ", process " + bytesText(m.Process)
	}
	return text
}

// durationText formats seconds for people.
func durationText(s float64) string {
	switch {
	case s >= 2*86400:
		return fmt.Sprintf("%.1f days", s/86400)
	case s >= 2*3600:
		return fmt.Sprintf("%.1f hours", s/3600)
	case s >= 120:
		return fmt.Sprintf("%.0f minutes", s/60)
	}
	if s < 1 {
		return "under a second"
	}
	return fmt.Sprintf("%.0f seconds", s)
}
