// Command same runs a recipe that starts from random weights and writes down what another program needs to run the same
// training: the first weights (f32), every batch, the learning rates, the validation windows. torch_same.py runs it.
//
//	same RECIPE DIR [KEY=VALUE ...]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/device/cpu"
	"leolm/train"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// window is one line of windows.jsonl. Step 0 are the validation windows.
type window struct {
	Step    int       `json:"step"`
	IDs     []int32   `json:"ids"`
	Targets []int32   `json:"targets"`
	Weights []float32 `json:"weights"`
	Docs    []int32   `json:"docs"`
}

func run(args []string) (err error) {
	if len(args) < 2 {
		return errors.New("usage: same RECIPE DIR [KEY=VALUE ...]")
	}
	dir := args[1]
	cfg, err := train.Load(args[0], append(args[2:], "output="+filepath.Join(dir, "run")))
	if err != nil {
		return err
	}
	if cfg.Model.Shape == nil || cfg.Optimizer.Type != "adamw" || len(cfg.Data.Valid) != 1 {
		return errors.New("same: the recipe must have model.shape, AdamW and one validation set")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "windows.jsonl"))
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	defer func() { err = errors.Join(err, out.Flush(), f.Close()) }()
	rec := &recorder{windows: json.NewEncoder(out)}
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	t, err := train.New(cfg, dev, train.Observer{Batch: rec.batch, Step: rec.step})
	if err != nil {
		return err
	}
	defer t.Close()
	if t.Step() > 0 {
		return fmt.Errorf("%s already contains a run; choose another folder", dir)
	}
	if err := saveFirst(t, cfg, dir); err != nil {
		return err
	}
	if err := rec.validation(cfg); err != nil {
		return err
	}
	start := time.Now()
	res, err := t.Run(context.Background())
	if err = errors.Join(err, rec.lost); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{
		"shape": cfg.Model.Shape, "optimizer": cfg.Optimizer, "rates": rec.rates, "losses": rec.losses, "valid_loss": res.ValidLoss,
		"step_seconds": rec.seconds, "seconds": time.Since(start).Seconds(), "peak_bytes": res.PeakBytes,
	}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("Leo: %d steps, loss %.4f, validation loss %.4f, %.0f s in steps\n", res.Steps, res.Loss, res.ValidLoss, rec.seconds)
	return os.WriteFile(filepath.Join(dir, "leo.json"), text, 0o666)
}

// recorder keeps what a run reads and what its steps say.
type recorder struct {
	windows       *json.Encoder
	lost          error // windows that could not be written
	rates, losses []float64
	seconds       float64
}

func (r *recorder) batch(step int, ws []loader.Window) {
	for i := range ws {
		w := &ws[i]
		r.lost = errors.Join(r.lost, r.windows.Encode(window{step, w.IDs, w.Targets, w.Weights, w.Docs}))
	}
}

func (r *recorder) step(s train.Step) {
	r.rates, r.losses, r.seconds = append(r.rates, s.LR), append(r.losses, s.Loss), r.seconds+s.Seconds
	if s.Step%25 == 0 {
		fmt.Fprintf(os.Stderr, "step %d/%d  loss %.4f  %.0f tokens/s\n", s.Step, s.Total, s.Loss, s.TokensPerSec)
	}
}

// validation records the validation windows as step 0.
func (r *recorder) validation(cfg *train.Config) error {
	valid, err := shard.Open(cfg.Data.Valid[0].Shards)
	if err != nil {
		return err
	}
	defer valid.Close()
	loss := loader.AllLoss()
	for i := range valid.Len() {
		var w loader.Window
		w.Append(loader.Ref{Index: i}, valid.Sample(i), &loss, cfg.Data.SequenceLength)
		r.batch(0, []loader.Window{w})
	}
	return nil
}

// saveFirst saves step-00000000 and copies the first weights to init.safetensors.
func saveFirst(t *train.Trainer, cfg *train.Config, dir string) error {
	if err := t.Save(context.Background()); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(cfg.Output, "checkpoints", "step-00000000", "weights.safetensors"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "init.safetensors"), b, 0o666)
}
