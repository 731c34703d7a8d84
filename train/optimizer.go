package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"leolm/device"
	"leolm/llama"
)

// Optimizer is AdamW, or Muon with AdamW beside it, over a list of trainable parameters.
type Optimizer struct {
	dev    device.Device
	cfg    OptimizerConfig
	ranks  *ranks
	pool   *pooled // of weights, where ranks have those of their shares only; else nil
	Step   int     // steps taken
	params []optParam
	layers [][]int // the parameters of each decoder block
	others []int   // and those of none

	room *room // of weights on their way between ranks
	// What passes between ranks together: gradients by decoder block, others' gradients, weights.
	blockBundles                [][]*bundle
	otherBundles, weightBundles []*bundle
}

type optParam struct {
	llama.Param
	owner int                   // the rank that updates it; negative: all do
	m, v  device.OptimizerState // nil where another rank has them; v also with Muon
	muon  bool
	decay float64
}

// smallest8Bit is the size below which a tensor's state stays in 32 bits even
// with 8-bit AdamW (as bitsandbytes has it): small tensors save nothing and are sensitive.
const smallest8Bit = 4096

// NewOptimizer makes the state for params.
func NewOptimizer(dev device.Device, cfg OptimizerConfig, params []llama.Param) (*Optimizer, error) {
	return newOptimizer(dev, cfg, params, &ranks{Comm: alone{}, parts: 1}, false)
}

// newOptimizer makes the state of those params that this rank updates: with sharded its share, whole tensors, else all.
func newOptimizer(dev device.Device, cfg OptimizerConfig, params []llama.Param, r *ranks, sharded bool) (*Optimizer, error) {
	o := &Optimizer{dev: dev, cfg: cfg, ranks: r, room: new(room)}
	for _, p := range params {
		vocabulary := strings.Contains(p.Name, "embed_tokens") || strings.Contains(p.Name, "lm_head")
		op := optParam{Param: p, owner: -1, muon: cfg.Type == "muon" && !p.Vector && !vocabulary, decay: cfg.WeightDecay}
		if !cfg.DecayAll && (p.Vector || vocabulary) {
			op.decay = 0
		}
		o.params = append(o.params, op)
	}
	o.group()
	if p, ok := dev.(*pooled); ok {
		o.pool = p
		for i := range o.params {
			o.params[i].owner = p.of[o.params[i].Weight].owner
		}
	} else if sharded && r.Size() > 1 {
		o.share(r.Size())
	}
	for i := range o.params {
		p := &o.params[i]
		if !o.mine(p) {
			continue
		}
		bits := cfg.Bits
		if p.elements() < smallest8Bit {
			bits = 32
		}
		var err error
		if p.m, err = dev.NewOptimizerState(p.Weight, bits, true); err != nil {
			return nil, err
		}
		if p.muon {
			continue
		}
		if p.v, err = dev.NewOptimizerState(p.Weight, bits, false); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// elements is how many values of the parameter are trained.
func (p *optParam) elements() int {
	return (p.Weight.Rows() - p.Weight.FrozenRows()) * p.Weight.Cols()
}

// group sorts the parameters by decoder block.
func (o *Optimizer) group() {
	for i, p := range o.params {
		layer, ok := blockOf(p.Name)
		if !ok {
			o.others = append(o.others, i)
			continue
		}
		for len(o.layers) <= layer {
			o.layers = append(o.layers, nil)
		}
		o.layers[layer] = append(o.layers[layer], i)
	}
}

// sharded reports whether ranks have moments that others have not.
func (o *Optimizer) sharded() bool {
	return slices.ContainsFunc(o.params, func(p optParam) bool { return p.owner >= 0 })
}

// mine reports whether this rank updates p.
func (o *Optimizer) mine(p *optParam) bool { return p.owner < 0 || p.owner == o.ranks.Rank() }

// share gives every parameter to one of n ranks.
func (o *Optimizer) share(n int) {
	sizes := make([]int, len(o.params))
	for i := range sizes {
		sizes[i] = o.params[i].elements()
	}
	for i, owner := range shares(sizes, make([]int, n)) {
		o.params[i].owner = owner
	}
}

// GradNorm returns the Euclidean norm of all gradients and, if it is not finite, the name of the first
// tensor whose gradient is to blame.
func (o *Optimizer) GradNorm() (norm float64, bad string) {
	norm, bad, _ = o.gradNorm(context.Background()) // alone, nothing can fail
	return norm, bad
}

// gradNorm is GradNorm over the gradients of all ranks.
func (o *Optimizer) gradNorm(ctx context.Context) (norm float64, bad string, err error) {
	var weights []device.Weight
	var at []int
	for i := range o.params {
		if p := &o.params[i]; o.mine(p) {
			weights, at = append(weights, p.Weight), append(at, i)
		}
	}
	squares := make([]float64, len(o.params))
	for k, s := range o.dev.GradSquares(weights...) {
		squares[at[k]] = s
	}
	if o.sharded() {
		all, err := o.ranks.numbers(ctx, squares)
		if err != nil {
			return 0, "", err
		}
		for i := range o.params {
			squares[i] = all[o.params[i].owner][i]
		}
	}
	var sum float64
	for i, s := range squares {
		if bad == "" && (math.IsNaN(s) || math.IsInf(s, 0)) {
			bad = o.params[i].Name
		}
		sum += s
	}
	return math.Sqrt(sum), bad, nil
}

// Update takes one step with learning rate lr, clipping by norm (from GradNorm), and clears the gradients.
func (o *Optimizer) Update(lr, norm float64) {
	_ = o.update(context.Background(), lr, norm) // alone, nothing can fail
}

// update is Update, after which all ranks have the same weights.
func (o *Optimizer) update(ctx context.Context, lr, norm float64) error {
	o.Step++
	scale := 1.0
	if o.cfg.Clip > 0 {
		// PyTorch's clip_grad_norm_: clip/(norm+1e-6), at most 1.
		scale = math.Min(1, o.cfg.Clip/(norm+1e-6))
	}
	for i := range o.params {
		p := &o.params[i]
		switch {
		case !o.mine(p):
		case p.muon:
			o.dev.Muon(p.Weight, p.m, device.Muon{LR: lr, Momentum: o.cfg.Momentum, WeightDecay: p.decay, GradScale: scale})
		default:
			o.dev.AdamW(p.Weight, p.m, p.v, device.AdamW{
				LR: lr, Beta1: o.cfg.Betas[0], Beta2: o.cfg.Betas[1], Eps: o.cfg.Eps, WeightDecay: p.decay, Step: o.Step, GradScale: scale,
			})
		}
	}
	o.Zero()
	return o.spread(ctx)
}

// spread gives all ranks the weights that each has updated.
func (o *Optimizer) spread(ctx context.Context) error {
	if o.pool != nil {
		o.pool.changed() // they are gathered where they are needed
		return nil
	}
	if !o.sharded() {
		return nil
	}
	if o.weightBundles == nil {
		all := make([]int, len(o.params))
		for i := range all {
			all[i] = i
		}
		o.weightBundles = o.bundled(all, func(p *optParam) int { return p.Weight.Rows() * p.Weight.Cols() })
	}
	for _, b := range o.weightBundles {
		all := o.room.floats(b.total)
		b.each(all, func(i int, values []float32) {
			if p := &o.params[i]; o.mine(p) {
				o.dev.ReadWeight(p.Weight, values)
			}
		})
		if err := o.ranks.GatherParts(ctx, all, b.cuts); err != nil {
			return fmt.Errorf("%s: %w", o.params[b.params[0]].Name, err)
		}
		var failed error
		b.each(all, func(i int, values []float32) {
			if p := &o.params[i]; !o.mine(p) {
				failed = errors.Join(failed, o.dev.WriteWeight(p.Weight, values))
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// Zero clears the gradients.
func (o *Optimizer) Zero() {
	for _, p := range o.params {
		o.dev.ZeroGrad(p.Weight)
	}
}

// Bytes is the memory of the optimizer state.
func (o *Optimizer) Bytes() int {
	n := 0
	for _, p := range o.params {
		if p.m != nil {
			n += p.m.Bytes()
		}
		if p.v != nil {
			n += p.v.Bytes()
		}
	}
	return n
}

// state lists the moments that this rank has by name, for checkpoints.
func (o *Optimizer) state(f func(name string, m device.OptimizerState) error) error {
	for i := range o.params {
		p := &o.params[i]
		if !o.mine(p) {
			continue
		}
		if p.muon {
			if err := f("momentum_buffer."+p.Name, p.m); err != nil {
				return fmt.Errorf("optimizer state of %s: %w", p.Name, err)
			}
			continue
		}
		if err := f("exp_avg."+p.Name, p.m); err != nil {
			return fmt.Errorf("optimizer state of %s: %w", p.Name, err)
		}
		if err := f("exp_avg_sq."+p.Name, p.v); err != nil {
			return fmt.Errorf("optimizer state of %s: %w", p.Name, err)
		}
	}
	return nil
}
