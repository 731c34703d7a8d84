// Command sizes compares models of several sizes, trained briefly, at equal compute.
//
//	for s in "small 192 528 3 420" "medium 256 704 4 270" "large 320 864 5 190"; do set -- $s
//	  leo train recipes/leo-mini/pretrain.yaml --set output=out/leo-mini/sizes/$1 --set model.shape.hidden_size=$2 \
//	    --set model.shape.intermediate_size=$3 --set model.shape.heads=$4 --set schedule.steps=$5 --set eval.every=$(($5/6))
//	done
//	go run ./recipes/leo-mini/sizes --out models/leo-mini out/leo-mini/sizes/*
//
// It reads metrics.jsonl of each run and writes sizes.svg, held-out loss over compute, and sizes.md, the table.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/internal/durable"
	"leolm/internal/report"
)

func main() {
	out := flag.String("out", "models/leo-mini", "folder for sizes.svg and sizes.md")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "sizes: name the output folders of the runs")
		os.Exit(2)
	}
	if err := write(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

// trial is one run: its compute and loss at each validation.
type trial struct {
	name          string
	flopsPerToken float64
	speed         float64   // median tokens per second
	flops, loss   []float64 // rising in flops
}

func write(out string, dirs []string) error {
	var trials []trial
	for _, d := range dirs {
		t, err := readTrial(d)
		if err != nil {
			return err
		}
		trials = append(trials, t)
	}
	slices.SortFunc(trials, func(a, b trial) int { return int(a.flopsPerToken - b.flopsPerToken) })
	plot := report.Lines{Title: "Held-out loss over compute, by size", XLabel: "FLOPs", YLabel: "nats per token", LogX: true}
	for i, t := range trials {
		plot.Lines = append(plot.Lines, report.Line{Name: t.name, X: t.flops, Y: t.loss, Color: i, Dashed: i >= 6})
	}
	if err := durable.WriteFile(filepath.Join(out, "sizes.svg"), plot.SVG()); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(out, "sizes.md"), []byte(table(trials)))
}

func readTrial(dir string) (trial, error) {
	rows, err := report.ReadMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		return trial{}, err
	}
	t := trial{name: filepath.Base(dir)}
	var speeds []float64
	flops := map[int64]float64{}
	for _, r := range rows {
		if s := r.Values[report.TokensPerSecond]; s > 0 {
			t.flopsPerToken = r.Values["tflops"] * 1e12 / s
			speeds = append(speeds, s)
			flops[r.Step] = r.Values["tokens_seen"] * t.flopsPerToken
		}
		if v, ok := r.Values[report.ValidLoss]; ok && flops[r.Step] > 0 {
			t.flops, t.loss = append(t.flops, flops[r.Step]), append(t.loss, v)
		}
	}
	if len(t.flops) == 0 {
		return trial{}, fmt.Errorf("%s: no validation in metrics.jsonl", dir)
	}
	slices.Sort(speeds)
	t.speed = speeds[len(speeds)/2]
	return t, nil
}

// at returns the loss at a compute, interpolated over its logarithm; NaN outside the range of the run.
func (t *trial) at(flops float64) float64 {
	for i := 1; i < len(t.flops); i++ {
		if lo, hi := t.flops[i-1], t.flops[i]; lo <= flops && flops <= hi {
			p := math.Log(flops/lo) / math.Log(hi/lo)
			return t.loss[i-1]*(1-p) + t.loss[i]*p
		}
	}
	return math.NaN()
}

// table compares the trials at three computes that all of them reached, if there are any.
func table(trials []trial) string {
	lo, hi := 0.0, math.Inf(1)
	for _, t := range trials {
		lo, hi = max(lo, t.flops[0]), min(hi, t.flops[len(t.flops)-1])
	}
	var marks []float64
	if lo < hi {
		marks = []float64{lo, math.Sqrt(lo * hi), hi}
	}
	var b strings.Builder
	b.WriteString("| size | FLOPs per token | tokens/s |")
	for _, m := range marks {
		fmt.Fprintf(&b, " loss at %.1e FLOPs |", m)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(marks)) + "\n")
	for _, t := range trials {
		fmt.Fprintf(&b, "| %s | %.3g | %.0f |", t.name, t.flopsPerToken, t.speed)
		for _, m := range marks {
			fmt.Fprintf(&b, " %.3f |", t.at(m))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
