package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/device"
	"leolm/device/split"
	"leolm/internal/durable"
	"leolm/tensor"
)

// Step is what one optimizer step did.
type Step struct {
	Step         int     `json:"step"`
	Total        int     `json:"total"`
	Epoch        int     `json:"epoch"`
	Epochs       float64 `json:"epochs"` // passes over the data behind this step
	Loss         float64 `json:"loss"`
	LR           float64 `json:"lr"`
	GradNorm     float64 `json:"grad_norm"`
	Tokens       int     `json:"tokens"`      // positions of this step
	LossTokens   float64 `json:"loss_tokens"` // sum of loss weights
	TokensSeen   int64   `json:"tokens_seen"` // in the whole run
	Seconds      float64 `json:"seconds"`
	TokensPerSec float64 `json:"tokens_per_second"`
	TFLOPS       float64 `json:"tflops"` // model FLOPs of this step per second / 1e12
	Skipped      bool    `json:"skipped,omitempty"`
}

// Eval is one validation.
type Eval struct {
	Step    int                `json:"step"`
	Loss    float64            `json:"valid_loss"` // mean over the sets' tokens
	Sets    map[string]float64 `json:"valid_sets,omitempty"`
	Samples []Sample           `json:"samples,omitempty"`
	Best    bool               `json:"best,omitempty"`
}

// Sample is a prompt and how the model went on.
type Sample struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
}

// Observer is told what happens. Any field may be nil.
type Observer struct {
	Start func(Plan)
	// Batch sees the windows of a step before it is taken; they change with the next one. Only of shards.
	Batch func(step int, windows []loader.Window)
	Step  func(Step)
	Eval  func(Eval)
	// Evaluate measures the model where the recipe's section evaluate asks for it, which is refused without. An error does
	// not end the training; Run returns the first one, as an *EvaluationError, when everything else is written.
	Evaluate func(ctx context.Context, m *Snapshot) error
	Note     func(format string, args ...any)
	// Saved is told how long a checkpoint took, on rank 0.
	Saved func(took time.Duration)
}

func (o *Observer) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(format, args...)
	}
}

// Result is the outcome of a run.
type Result struct {
	Steps       int
	Loss        float64 // of the last step; NaN if it is not known
	ValidLoss   float64 // of the last evaluation; NaN if there was none
	Finished    bool    // the run had its last step before: nothing was trained
	Interrupted bool    // stopped by a signal, with a checkpoint written
	EarlyStop   bool
	PeakBytes   int // weights, gradients, optimizer state and tensors
}

// MarshalJSON writes null for what is not known.
func (r Result) MarshalJSON() ([]byte, error) {
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	type plain Result
	return json.Marshal(struct {
		plain
		Loss, ValidLoss *float64
	}{plain(r), known(r.Loss), known(r.ValidLoss)})
}

// FaultError stops a run at a step whose numbers went bad.
type FaultError struct {
	Step   int
	Tensor string // whose gradient is not finite; "" for a bad loss
	Loss   float64
	Mean   float64 // running mean of the loss, for a spike
}

func (e *FaultError) Error() string {
	switch {
	case e.Tensor != "":
		return fmt.Sprintf("step %d: the gradient of %s is not finite (loss %v); lower optimizer.lr, set optimizer.clip, or set faults.action: skip", e.Step, e.Tensor, e.Loss)
	case math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0):
		return fmt.Sprintf("step %d: the loss is %v; lower optimizer.lr, or set faults.action: skip", e.Step, e.Loss)
	}
	return fmt.Sprintf("step %d: the loss jumped to %.4f from a mean of %.4f (faults.spike); lower optimizer.lr, or set faults.action: skip", e.Step, e.Loss, e.Mean)
}

// Trainer is a run in progress.
type Trainer struct {
	cfg       *Config
	dev       device.Device
	pool      *pooled       // dev, where ranks pool their memory for weights; else nil
	split     *split.Device // dev, where a team of ranks shares the model; else nil
	ranks     *ranks
	sub       *subject
	data      *feed
	objective objective
	opt       *Optimizer
	obs       Observer

	length     runLength
	seen       int64
	loss       float64 // of the last step; NaN before the first
	mean       float64 // running mean of the loss
	best       float64 // lowest validation loss so far
	bad        int     // evaluations since
	empty      int     // batches without a loss token, running
	lastSaved  time.Time
	damaged    []string // checkpoints that could not be read
	micro      microBatch
	room       *room
	team       *team       // while this rank leads its team in something; else nil
	teamBefore int         // ranks that shared the model before the run was resumed
	beside     [][]float32 // and those that are while the backward pass goes on
	onSegment  func(i int) // told of layers whose gradients are complete, or nil
	lastMicro  bool        // of this rank's part
	plan       Plan
	// unmeasured is the first evaluation that failed.
	unmeasured *EvaluationError

	identities map[string]string // see dataIdentity
}

// New prepares a run: opens model and data, and resumes from the newest
// checkpoint in the output folder if there is one of the same recipe. It runs in this process, whatever cfg.Parallel says.
func New(cfg *Config, dev device.Device, obs Observer) (*Trainer, error) {
	one := *cfg
	one.Parallel.Tensor = 0
	return NewRank(context.Background(), &one, dev, obs, alone{}, nil)
}

// newTrainer opens what a run needs, all but its state.
func newTrainer(cfg *Config, dev device.Device, obs Observer, r *ranks) (*Trainer, error) {
	compute, err := tensor.ParseDType(cfg.Compute.DType)
	if err != nil {
		return nil, err
	}
	if err := dev.SetCompute(compute); err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg, dev: dev, obs: obs, ranks: r, best: math.Inf(1), loss: math.NaN(), lastSaved: time.Now(), room: new(room)}
	t.pool, _ = dev.(*pooled)
	t.split, _ = dev.(*split.Device)
	if err := os.MkdirAll(cfg.Output, 0o777); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	if err := errors.Join(t.open(), dev.Sync()); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// open opens model, data and objective, and plans the run.
func (t *Trainer) open() (err error) {
	cfg := t.cfg
	if t.data, err = openData(cfg); err != nil {
		return err
	}
	if t.sub, err = openModel(cfg, t.dev, t.data); err != nil {
		return err
	}
	if err := t.checkExport(); err != nil {
		return err
	}
	teacher, err := planTeacher(cfg, t.sub.vocab, new([]string))
	if err != nil {
		return err
	}
	if t.objective, err = openObjective(t); err != nil {
		return err
	}
	if t.opt, err = newOptimizer(t.dev, cfg.Optimizer, t.sub.params, t.ranks, cfg.Parallel.Sharding != "none"); err != nil {
		return err
	}
	t.opt.room = t.room
	t.length = cfg.length(t.objective.windows)
	if t.length.steps < 1 {
		return fmt.Errorf("schedule: the data fill less than one global batch of %d sequences", cfg.Batch.Global)
	}
	for _, n := range slices.Concat(t.sub.notes(), cfg.cutNotes(t.data)) {
		t.obs.note("%s", n)
	}
	stored := t.sub.cfg.VocabSize
	if t.sub.base != nil {
		stored = t.sub.base.Checkpoint.Config.VocabSize
	}
	t.plan = makePlan(cfg, t.sub.cfg, stored, t.length, teacher)
	if onGPU(t.dev) {
		t.plan.OnGPU(t.dev)
	}
	if free, err := durable.FreeSpace(cfg.Output); err == nil && free < t.plan.Disk {
		t.obs.note("%s has %d MB free; checkpoints and model may take %d MB", cfg.Output, free/1e6, t.plan.Disk/1e6)
	}
	return nil
}

// Close gives files back.
func (t *Trainer) Close() {
	if t.objective != nil {
		t.objective.Close() // files that were only read
	}
	if t.data != nil {
		t.data.Close()
	}
	if t.sub != nil {
		t.sub.Close()
	}
}

// Run trains until the schedule ends, ctx is cancelled on one rank (a checkpoint is written at the next step border), or a
// fault stops it.
func (t *Trainer) Run(ctx context.Context) (*Result, error) {
	if t.cfg.Evaluate != nil && t.obs.Evaluate == nil {
		return nil, errors.New("evaluate: this program measures no benchmarks while it trains")
	}
	together := context.WithoutCancel(ctx) // the ranks stop at the same place: see border
	if err := t.ranks.failed(together, t.onFirst(t.tidy)); err != nil {
		return nil, err
	}
	if t.obs.Start != nil {
		t.obs.Start(t.plan)
	}
	res := &Result{ValidLoss: math.NaN(), Loss: t.loss, Finished: t.opt.Step >= t.length.steps}
	err := t.train(ctx, together, res)
	res.Steps, res.PeakBytes = t.opt.Step, t.PeakBytes()
	return res, err
}

// train takes the steps that are left. Collectives run in together.
func (t *Trainer) train(ctx, together context.Context, res *Result) error {
	if t.opt.Step == 0 && t.cfg.Model.Base != "" && t.cfg.Eval.Every > 0 {
		// Where the base model stands, to compare with.
		if _, _, err := t.evaluate(ctx); err != nil {
			return err
		}
	}
	if t.measureNow() { // a run that was stopped while it measured this step goes on with that
		if err := t.measureFirst(ctx); err != nil {
			return err
		}
	}
	for t.opt.Step < t.length.steps {
		st, err := t.step(together)
		if err != nil {
			return err
		}
		t.loss = st.Loss
		res.Loss = st.Loss
		if t.obs.Step != nil && t.ranks.first() {
			t.obs.Step(*st)
		}
		if every := t.cfg.Eval.Every; every > 0 && t.opt.Step%every == 0 && t.opt.Step < t.length.steps {
			ev, stop, err := t.evaluate(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			if err == nil {
				res.ValidLoss = ev.Loss
			}
			if stop {
				res.EarlyStop = true
				break
			}
		}
		if t.measureNow() {
			if err := t.measureFirst(ctx); err != nil {
				return err
			}
		}
		due, err := t.border(ctx, together, res)
		if err != nil {
			return err
		}
		if due {
			if err := t.Save(together); err != nil {
				return err
			}
		}
		if res.Interrupted {
			t.obs.note("interrupted at step %d of %d; run the same command again to go on", t.opt.Step, t.length.steps)
			return nil
		}
	}
	return t.finish(ctx, together, res)
}

// finish does what follows the last step: the last validation and checkpoint, the model, its record and benchmarks.
func (t *Trainer) finish(ctx, together context.Context, res *Result) error {
	ev, _, err := t.evaluate(ctx)
	if err != nil {
		return err
	}
	if len(ev.Sets) > 0 {
		res.ValidLoss = ev.Loss
	}
	if err := t.Save(together); err != nil {
		return err
	}
	if err := t.exportTogether(together); err != nil {
		return err
	}
	if err := t.ranks.failed(together, t.onFirst(func() error { return t.writeRecord(res) })); err != nil {
		return err
	}
	if err := t.measureFirst(ctx); err != nil { // what was exported
		return err
	}
	if t.cfg.Evaluate != nil {
		if res.Interrupted, err = t.ranks.any(together, ctx.Err() != nil); err != nil || res.Interrupted {
			return err
		}
	}
	if t.unmeasured != nil {
		return t.unmeasured
	}
	return nil
}

// border is what the ranks agree on between two steps: whether one of them was told to stop, and whether a checkpoint is
// due, for which rank 0 has the clock.
func (t *Trainer) border(ctx, together context.Context, res *Result) (save bool, err error) {
	const stopped, due = 1, 2
	mine := 0.0
	if ctx.Err() != nil {
		mine += stopped
	}
	if t.ranks.first() && t.due() {
		mine += due
	}
	all, err := t.ranks.exchange(together, mine, nil)
	for _, v := range all {
		res.Interrupted = res.Interrupted || int(v)&stopped != 0
		save = save || v != 0
	}
	return save, err
}

// tidy removes what earlier runs have left that this one would be mistaken for.
func (t *Trainer) tidy() error {
	if err := errors.Join(t.aside(), t.sweep()); err != nil {
		return err
	}
	if t.opt.Step == t.length.steps {
		return nil
	}
	if err := os.Remove(filepath.Join(t.cfg.Output, RecordFile)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// measureFirst measures on rank 0; the others wait for it at the next border.
func (t *Trainer) measureFirst(ctx context.Context) error {
	return t.settle(t.onFirstTeam(func() error {
		t.measure(ctx)
		return nil
	}))
}

// onFirst calls f on rank 0.
func (t *Trainer) onFirst(f func() error) error {
	if !t.ranks.first() {
		return nil
	}
	return f()
}

// due reports whether the schedule asks for a checkpoint.
func (t *Trainer) due() bool {
	c := &t.cfg.Checkpoint
	return c.Every > 0 && t.opt.Step%c.Every == 0 || c.Minutes > 0 && time.Since(t.lastSaved).Minutes() >= c.Minutes
}

// finishStep looks at the gradients, updates the weights and fills in what the step took.
func (t *Trainer) finishStep(ctx context.Context, st *Step, start time.Time) error {
	norm, bad, err := t.opt.gradNorm(ctx)
	if err = errors.Join(err, t.dev.Sync()); err != nil { // before numbers of a device that failed are believed
		return err
	}
	st.GradNorm = norm
	if err := t.check(st, bad); err != nil {
		if t.cfg.Faults.Action != "skip" {
			return err
		}
		t.obs.note("%v: skipped", err)
		t.opt.Zero()
		t.opt.Step++
		st.Skipped = true
	} else {
		if err := t.opt.update(ctx, st.LR, norm); err != nil {
			return err
		}
		if t.mean == 0 {
			t.mean = st.Loss
		}
		t.mean += 0.05 * (st.Loss - t.mean)
	}
	t.seen += int64(st.Tokens)
	st.TokensSeen = t.seen
	st.Seconds = time.Since(start).Seconds()
	st.TokensPerSec = float64(st.Tokens) / st.Seconds
	st.TFLOPS = t.plan.FLOPsPerToken * st.TokensPerSec / 1e12
	return nil
}

// maxEmpty is how many batches without a loss token are passed over.
const maxEmpty = 3

// check finds what is wrong with the numbers of a step.
func (t *Trainer) check(st *Step, bad string) error {
	switch {
	case bad != "", math.IsNaN(st.Loss), math.IsInf(st.Loss, 0):
		return &FaultError{Step: st.Step, Tensor: bad, Loss: st.Loss}
	case t.cfg.Faults.Spike > 0 && t.mean > 0 && st.Loss > t.cfg.Faults.Spike*t.mean:
		return &FaultError{Step: st.Step, Loss: st.Loss, Mean: t.mean}
	}
	return nil
}

// PeakBytes is the memory that the run took at most: weights with gradients, optimizer state, tensors.
func (t *Trainer) PeakBytes() int {
	n := t.sub.model.WeightBytes() + t.opt.Bytes() + t.dev.Memory().Arena
	for _, m := range t.objective.beside() {
		n += m.WeightBytes()
	}
	return n
}

// Plan returns the plan of the run.
func (t *Trainer) Plan() Plan { return t.plan }

// Step returns the number of steps taken.
func (t *Trainer) Step() int { return t.opt.Step }

// windowsOf cuts a validation set into windows.
func windowsOf(set shard.Set, length, i int, loss *loader.LossWeights) []loader.Window {
	var w loader.Window
	w.Append(loader.Ref{Index: i}, set.Sample(i), loss, length)
	if w.Len() == 0 {
		return nil
	}
	return []loader.Window{w}
}
