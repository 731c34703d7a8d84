package train

import (
	"fmt"
	"math"
	"strings"

	"leolm/device"
	"leolm/llama"
)

// Optimizer is AdamW, or Muon with AdamW beside it, over a list of trainable parameters.
type Optimizer struct {
	dev    device.Device
	cfg    OptimizerConfig
	Step   int // steps taken
	params []optParam
}

type optParam struct {
	llama.Param
	m, v  device.OptimizerState // v is nil with Muon
	decay float64
}

// smallest8Bit is the size below which a tensor's state stays in 32 bits even
// with 8-bit AdamW (as bitsandbytes has it): small tensors save nothing and are sensitive.
const smallest8Bit = 4096

// NewOptimizer makes the state for params.
func NewOptimizer(dev device.Device, cfg OptimizerConfig, params []llama.Param) (*Optimizer, error) {
	o := &Optimizer{dev: dev, cfg: cfg}
	for _, p := range params {
		bits := cfg.Bits
		if (p.Weight.Rows()-p.Weight.FrozenRows())*p.Weight.Cols() < smallest8Bit {
			bits = 32
		}
		m, err := dev.NewOptimizerState(p.Weight, bits, true)
		if err != nil {
			return nil, err
		}
		vocabulary := strings.Contains(p.Name, "embed_tokens") || strings.Contains(p.Name, "lm_head")
		op := optParam{Param: p, m: m, decay: cfg.WeightDecay}
		if cfg.Type != "muon" || p.Vector || vocabulary {
			if op.v, err = dev.NewOptimizerState(p.Weight, bits, false); err != nil {
				return nil, err
			}
		}
		if !cfg.DecayAll && (p.Vector || vocabulary) {
			op.decay = 0
		}
		o.params = append(o.params, op)
	}
	return o, nil
}

// GradNorm returns the Euclidean norm of all gradients and, if it is not finite, the name of the first
// tensor whose gradient is to blame.
func (o *Optimizer) GradNorm() (norm float64, bad string) {
	var sum float64
	for _, p := range o.params {
		s := o.dev.GradSquares(p.Weight)
		if bad == "" && (math.IsNaN(s) || math.IsInf(s, 0)) {
			bad = p.Name
		}
		sum += s
	}
	return math.Sqrt(sum), bad
}

// Update takes one step with learning rate lr, clipping by norm (from GradNorm), and clears the gradients.
func (o *Optimizer) Update(lr, norm float64) {
	o.Step++
	scale := 1.0
	if o.cfg.Clip > 0 {
		// PyTorch's clip_grad_norm_: clip/(norm+1e-6), at most 1.
		scale = math.Min(1, o.cfg.Clip/(norm+1e-6))
	}
	for _, p := range o.params {
		if p.v == nil {
			o.dev.Muon(p.Weight, p.m, device.Muon{LR: lr, Momentum: o.cfg.Momentum, WeightDecay: p.decay, GradScale: scale})
			continue
		}
		o.dev.AdamW(p.Weight, p.m, p.v, device.AdamW{
			LR: lr, Beta1: o.cfg.Betas[0], Beta2: o.cfg.Betas[1], Eps: o.cfg.Eps, WeightDecay: p.decay, Step: o.Step, GradScale: scale,
		})
	}
	o.Zero()
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
		n += p.m.Bytes()
		if p.v != nil {
			n += p.v.Bytes()
		}
	}
	return n
}

// state lists the moments by name, for checkpoints.
func (o *Optimizer) state(f func(name string, m device.OptimizerState) error) error {
	for _, p := range o.params {
		if p.v == nil {
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
