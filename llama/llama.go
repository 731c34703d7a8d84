// Package llama owns the Llama architecture: the parameters of a model and its
// one forward pass, which training, scoring, prefill and decoding share. It
// knows no file format (package checkpoint), no device (package device) and no
// sampling (package infer).
//
// Covered: Llama 1 to 3, Mistral and their relatives: RMSNorm, rotary
// embedding (linear, Llama-3, YaRN, dynamic and LongRoPE scaling), grouped key/value heads, SwiGLU, tied
// embeddings, attention and MLP bias, sliding windows, LoRA adapters.
package llama

import (
	"cmp"
	"math"
	"slices"

	"leolm/checkpoint"
	"leolm/device"
)

// Linear is a weight [out, in] with an optional bias and low-rank adapters.
type Linear struct {
	Name     string // canonical name without ".weight"
	W        device.Weight
	Bias     device.Weight // nil for none
	Adapters []*Adapter
}

// Adapter is a LoRA update of a Linear (Hu et al. 2021): y += Scale · B·A·dropout(x). With DoRA (Liu et al. 2024)
// it is y += DoRA(W·x', B·A·x') − W·x' for x' = dropout(x): the sum scaled to the magnitudes, see device.DoRA.
type Adapter struct {
	A, B    device.Weight // [rank, in], [out, rank]
	Scale   float32       // alpha/rank, or alpha/√rank for rsLoRA
	Dropout float32       // on the input of A, when the batch carries a dropout seed

	DoRA  *device.DoRA // nil for plain LoRA; its fields W, A, B and Scale are the Linear's and the adapter's
	Share float32      // how much of DoRA's change is applied; 0 means all of it
}

// Layer is one decoder block.
type Layer struct {
	AttnNorm, MLPNorm device.Weight
	Q, K, V, O        Linear
	Gate, Up, Down    Linear
}

// Model is a Llama on a device.
type Model struct {
	Config checkpoint.Config
	Embed  device.Weight // [vocab, hidden]
	Layers []Layer
	Norm   device.Weight
	Head   device.Weight // [vocab, hidden]; Embed itself when tied

	// Vocab is the number of output rows that may be sampled; rows above are padding.
	Vocab int

	ropes ropes
}

// Batch is the input of one forward pass.
type Batch struct {
	IDs       []int32
	Positions []int32 // position of each token in its sequence
	Seqs      []device.Sequence
	Cache     device.KVCache // nil in training
	// Wanted are the rows whose hidden states the caller reads; nil means all. Of the last layer, the other rows get
	// keys and values only.
	Wanted []int32
	// Lengths are, row by row, the lengths of the texts that they belong to, for rotary scalings that depend on it;
	// nil: each text ends with its part of this batch. A prompt fed in chunks has its whole length in all of them, so
	// that chunks do not change the result.
	Lengths []int32
	// DropoutSeed, when not 0, turns on the dropout of adapters.
	DropoutSeed uint64
	// Noise, when not 0, is the amplitude α of NEFTune (Jain et al. 2023): embeddings get uniform noise in
	// ±α/√(sequence length × hidden size), drawn from DropoutSeed.
	Noise float32

	// Scratch space of the forward pass. A Batch that is reused, as in decoding, allocates it once.
	model  *Model
	rope   *device.Rope
	layers []func(ops device.Ops, x *device.Tensor) *device.Tensor
	specs  []device.AttentionSpec
	ws     []device.Weight
	ys     []*device.Tensor
	gone   []*device.Tensor
}

// bind prepares the scratch space for m. Its closures hold b itself, so a Batch must not be copied after its first use.
func (b *Batch) bind(m *Model) {
	if b.model == m {
		return
	}
	b.model, b.layers, b.specs = m, nil, make([]device.AttentionSpec, len(m.Layers))
	for i := range m.Layers {
		b.layers = append(b.layers, func(ops device.Ops, x *device.Tensor) *device.Tensor { return m.layer(ops, i, x, b) })
	}
}

// release releases tensors without allocating a slice for the variadic call.
func (b *Batch) release(ops device.Ops, ts ...*device.Tensor) {
	b.gone = append(b.gone[:0], ts...)
	ops.Release(b.gone...)
}

// Forward runs the decoder and returns the hidden states after the final norm,
// [len(IDs), hidden], or [len(Wanted), hidden]. Logits are ops.Linear(h, m.Head), losses
// ops.LinearCrossEntropy.
func (m *Model) Forward(ops device.Ops, b *Batch) *device.Tensor {
	x := ops.Embed(m.Embed, b.IDs)
	if b.Noise != 0 {
		y := ops.Noise(x, noiseScales(b, m.Config.HiddenSize), b.DropoutSeed)
		ops.Release(x)
		x = y
	}
	b.bind(m)
	b.rope = m.ropes.of(b)
	for _, layer := range b.layers {
		y := ops.Segment(x, layer)
		b.release(ops, x)
		x = y
	}
	h := ops.RMSNorm(x, m.Norm, m.eps())
	b.release(ops, x)
	return h
}

// noiseScales returns NEFTune's amplitude of each row.
func noiseScales(b *Batch, hidden int) []float32 {
	scales := make([]float32, len(b.IDs))
	for _, s := range b.Seqs {
		for i := range s.Len {
			scales[s.Row+i] = b.Noise / float32(math.Sqrt(float64(s.Len*hidden)))
		}
	}
	return scales
}

func (m *Model) eps() float32 { return float32(m.Config.RMSEps) }

// layer is one decoder block: x + attention(norm(x)), then + mlp(norm(·)).
func (m *Model) layer(ops device.Ops, i int, x *device.Tensor, b *Batch) *device.Tensor {
	c, l := &m.Config, &m.Layers[i]

	qkv := m.projectNorm(ops, x, l.AttnNorm, b, &l.Q, &l.K, &l.V)
	q, k, v := qkv[0], qkv[1], qkv[2]
	device.RopePair(ops, q, k, b.rope, b.Positions)
	b.specs[i] = device.AttentionSpec{
		Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		Scale:  float32(1 / math.Sqrt(float64(c.HeadDim))),
		Window: c.SlidingWindow, Seqs: b.Seqs, Cache: b.Cache, Layer: i,
	}
	a := ops.Attention(q, k, v, &b.specs[i])
	b.release(ops, q, k, v)
	in := x
	if b.Wanted != nil && i == len(m.Layers)-1 {
		all := a
		a, in = ops.Gather(all, b.Wanted), ops.Gather(x, b.Wanted)
		b.release(ops, all)
	}
	mid := addProjected(ops, in, a, b, &l.O)
	b.release(ops, a)
	if in != x {
		b.release(ops, in)
	}
	y := m.mlp(ops, mid, l, b)
	b.release(ops, mid)
	return y
}

// mlp returns x + down(swiglu(gate(h), up(h))) with h = norm(x).
func (m *Model) mlp(ops device.Ops, x *device.Tensor, l *Layer, b *Batch) *device.Tensor {
	if f, ok := ops.(device.Fuser); ok && bare(&l.Gate, &l.Up, &l.Down) {
		return f.MLP(x, l.MLPNorm, m.eps(), l.Gate.W, l.Up.W, l.Down.W)
	}
	gu := m.projectNorm(ops, x, l.MLPNorm, b, &l.Gate, &l.Up)
	s := ops.SwiGLU(gu[0], gu[1])
	b.release(ops, gu...)
	y := addProjected(ops, x, s, b, &l.Down)
	b.release(ops, s)
	return y
}

// bare reports whether linears are products with a weight and nothing else: what a device.Fuser takes.
func bare(ls ...*Linear) bool {
	for _, l := range ls {
		if len(l.Adapters) > 0 || l.Bias != nil {
			return false
		}
	}
	return true
}

// projectNorm is project of norm(x).
func (m *Model) projectNorm(ops device.Ops, x *device.Tensor, gain device.Weight, b *Batch, ls ...*Linear) []*device.Tensor {
	if f, ok := ops.(device.Fuser); ok && bare(ls...) {
		ys := b.group(ls)
		f.NormLinear(ys, x, gain, m.eps(), b.ws...)
		return ys
	}
	h := ops.RMSNorm(x, gain, m.eps())
	ys := project(ops, h, b, ls...)
	b.release(ops, h)
	return ys
}

// addProjected returns x plus l of y.
func addProjected(ops device.Ops, x, y *device.Tensor, b *Batch, l *Linear) *device.Tensor {
	if f, ok := ops.(device.Fuser); ok && bare(l) {
		return f.LinearAdd(x, y, l.W)
	}
	z := project(ops, y, b, l)[0]
	sum := ops.Add(x, z, 1)
	b.release(ops, z)
	return sum
}

// group makes b.ws the weights of linears, and returns the slice for their results.
func (b *Batch) group(ls []*Linear) []*device.Tensor {
	b.ws = b.ws[:0]
	for _, l := range ls {
		b.ws = append(b.ws, l.W)
	}
	b.ys = slices.Grow(b.ys[:0], len(ls))[:len(ls)]
	return b.ys
}

// project applies linears to one input: the plain products as one group, then adapters and biases. The
// slice is valid until the next call.
func project(ops device.Ops, x *device.Tensor, b *Batch, ls ...*Linear) []*device.Tensor {
	ys := b.group(ls)
	ops.LinearGroup(ys, x, b.ws...)
	for i, l := range ls {
		base := ys[i]
		for n, ad := range l.Adapters {
			y := l.adapt(ops, x, base, ys[i], b, n, ad)
			if ys[i] != base {
				ops.Release(ys[i])
			}
			ys[i] = y
		}
		if ys[i] != base {
			ops.Release(base)
		}
		if l.Bias != nil {
			ys[i] = ops.AddBias(ys[i], l.Bias)
		}
	}
	return ys
}

// adapt returns y plus the change of the n-th adapter; base is W·x.
func (l *Linear) adapt(ops device.Ops, x, base, y *device.Tensor, b *Batch, n int, ad *Adapter) *device.Tensor {
	in := x
	if ad.Dropout > 0 && b.DropoutSeed != 0 {
		in = ops.Dropout(x, ad.Dropout, dropoutSeed(b.DropoutSeed, l.Name, n))
		defer func() { ops.Release(in) }()
	}
	plain := base
	if ad.DoRA != nil && in != x { // as in PEFT, the product that DoRA rescales sees the same dropout
		plain = ops.Linear(in, l.W)
		defer func() { ops.Release(plain) }()
	}
	u := ops.Linear(in, ad.A)
	v := ops.Linear(u, ad.B)
	ops.Release(u)
	defer func() { ops.Release(v) }()
	if ad.DoRA == nil {
		return ops.Add(y, v, ad.Scale)
	}
	z := ops.DoRA(plain, v, ad.DoRA)
	if plain == y && ad.Share == 0 {
		return z
	}
	share := cmp.Or(ad.Share, 1)
	with := ops.Add(y, z, share)
	out := ops.Add(with, plain, -share)
	ops.Release(z, with)
	return out
}

// dropoutSeed gives every adapter its own mask in every step (FNV-1a over the name).
func dropoutSeed(seed uint64, name string, n int) uint64 {
	h := uint64(14695981039346656037) ^ seed
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return (h ^ uint64(n)) * 1099511628211
}
