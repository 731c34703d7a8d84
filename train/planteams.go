package train

import (
	"strings"

	"leolm/device/cpu"
)

// teamOf is how many of n ranks share the model: in one process, none do.
func (c *Config) teamOf(n int) int {
	if n == 1 {
		return 1
	}
	return max(1, c.Parallel.Tensor)
}

// teamShare is the part of the trained parameters that a rank of a team has.
type teamShare struct{ of, held int64 }

// trainable is what a rank has of so many.
func (s *teamShare) trainable(n int64) int64 {
	return int64(float64(n) * float64(s.held) / float64(max(s.of, 1)))
}

// part is the largest of n parts of so many columns or rows.
func part(columns, n int) int { return (columns + n - 1) / n }

// shareLayers plans what a rank takes of n that share every layer, and what passes between them: in every layer they gather
// the inputs of two products and the outputs, and add up derivatives.
func (p *Plan) shareLayers(r *RankPlan, n int) *teamShare {
	c := p.config
	e := newMemoryEstimate(c, &p.shape, p.stored, p, p.teacher)
	copies := int64(0) // trained parameters that each rank has whole
	for _, a := range c.adapters(&p.shape) {
		if strings.HasSuffix(a.name, ".lora_A.weight") {
			copies += int64(a.gradients / 4)
		}
	}
	s := &teamShare{of: p.Trainable, held: (p.Trainable-copies)/int64(n) + copies}
	r.Tensor = n
	r.Memory = Memory{
		Weights:   4*s.held + (e.weights()-4*p.Trainable)/int64(n),
		Gradients: 4 * s.held,
		Optimizer: s.trainable(e.optimizer()),
	}
	m, own := p.shape, *e
	own.m, own.q, own.kv, own.f = &m, part(e.q, n), part(e.kv, n), part(e.f, n)
	m.Heads = part(m.Heads, n)
	r.Memory.Activations = own.activations()
	r.Memory.Workspace = p.teamLoss(e, n) + own.backward() + own.unpacked()/int64(n) + p.room()
	widest := max(e.f, e.q, e.h)
	// Inputs of products that were gathered, sums that were not added up yet, and both on their way.
	r.Memory.Workspace += 2*e.computed(e.t, widest) + 2*e.computed(e.t, widest)
	per := int64(4)
	if e.bf16 {
		per = 2
	}
	r.Memory.Workspace += per * (int64(part(e.v, n))*int64(e.h) + max(int64(part(widest, n))*int64(e.h), int64(widest)*int64(e.t)))
	if c.Optimizer.Type == "muon" { // a matrix of each shape as a whole, its gradient and momentum
		r.Memory.Workspace += 12 * int64(e.h) * int64(2*e.f+e.q+e.kv)
	}
	r.Shared = p.passedInTeam(e, n, int64(r.Ranks/n))
	return s
}

// teamLoss is what the head needs for a chunk of rows, of which every rank gathers all logits.
func (p *Plan) teamLoss(e *memoryEstimate, n int) int64 {
	chunk := min(e.t, cpu.LossRows(e.v))
	bytes := 2*e.computed(chunk, e.v) + 2*e.computed(chunk, part(e.v, n)) + 2*e.computed(e.t, e.h) + 2*e.computed(chunk, e.h)
	if e.bf16 {
		bytes += e.saved(chunk, part(e.v, n)) + e.saved(chunk, e.h)
	}
	if t := e.teacher; t != nil {
		bytes += e.computed(e.t, t.HiddenSize) + 2*e.computed(chunk, t.VocabSize)
	}
	return bytes
}

// passedInTeam is what a rank sends to the n-1 others of its team in a step, in bytes.
func (p *Plan) passedInTeam(e *memoryEstimate, n int, teams int64) int64 {
	layers, d := int64(p.shape.Layers), p.config.demand()
	forward := layers*int64(e.q+2*e.h+e.f) + int64(e.h) // a token's; the last are the embedding's
	head := int64(e.v)
	each := forward + head + 2*int64(e.h) + layers*int64(e.q+e.f+4*e.h)
	if p.config.Compute.Recompute {
		each += forward
	}
	if p.config.LoRA == nil {
		each += layers * int64(e.q+e.f) // inputs, again, for the gradients of weights
	}
	each += int64(d.forwards) * (forward + head)
	if t := p.teacher; t != nil {
		each += int64(t.Layers)*int64(t.Heads*t.HeadDim+2*t.HiddenSize+t.IntermediateSize) + int64(t.HiddenSize+t.VocabSize)
	}
	return 4 * each * p.TokensPerStep / teams * int64(n-1) / int64(n)
}
