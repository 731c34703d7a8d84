// Package grad owns differentiation: a tape that implements device.Ops by
// wrapping a device, records every operation, and runs the derivatives in
// reverse order. It owns which values are kept for the backward pass and for how
// long; the derivatives themselves are the device's.
package grad

import (
	"leolm/device"
)

// Tape records one forward pass. It is not safe for concurrent use.
type Tape struct {
	dev   device.Device
	nodes []node
	// needs holds the IDs of the tensors through which a derivative must flow; grads
	// what has arrived for them so far. Most of the tensors are gone by then.
	needs map[uint64]bool
	grads map[uint64]*device.Tensor
	// recompute makes Segment forget its inside.
	recompute bool
	// onSegment, if any, is told when the derivatives of a Segment's weights are complete.
	onSegment func(i int)
	segments  int
	// heads are the LogProbs whose derivatives are not known yet.
	heads []func()
}

// node is one recorded operation: when the derivative of out is complete,
// back passes it on. It owns dout.
type node struct {
	out   uint64
	mark  func() // called when the derivatives of all that was recorded later are complete
	saved []*device.Tensor
	back  func(dout *device.Tensor)
}

// New returns an empty tape on dev. With recompute, the inside of every
// Segment is computed a second time in the backward pass instead of being kept.
func New(dev device.Device, recompute bool) *Tape {
	return &Tape{dev: dev, recompute: recompute, needs: map[uint64]bool{}, grads: map[uint64]*device.Tensor{}}
}

// OnSegment asks f to be called in the backward pass, when the gradients of the weights that only segment i uses are
// complete: those of the last segment first. Segments count from 0.
func (t *Tape) OnSegment(f func(i int)) { t.onSegment = f }

// record adds an operation whose result is out. saved are the tensors that back reads.
func (t *Tape) record(out *device.Tensor, back func(dout *device.Tensor), saved ...*device.Tensor) {
	t.needs[out.ID] = true
	for _, s := range saved {
		t.dev.Retain(s)
	}
	t.nodes = append(t.nodes, node{out: out.ID, saved: saved, back: back})
}

// give adds d to the derivative of tensor x and takes ownership of d.
func (t *Tape) give(x uint64, d *device.Tensor) {
	if d == nil {
		return
	}
	if !t.needs[x] {
		t.dev.Release(d)
		return
	}
	if g := t.grads[x]; g != nil {
		t.grads[x] = t.dev.Accumulate(g, d)
		t.dev.Release(d)
		return
	}
	t.grads[x] = d
}

// Backward runs the derivatives of everything recorded, last operation first. Every
// LinearCrossEntropy starts with derivative 1, every LogProbs with its Grad; seeds adds
// further starting points. Gradients of trainable weights are added to what they hold.
// The tape is empty afterwards.
func (t *Tape) Backward(seeds map[*device.Tensor]*device.Tensor) {
	for _, f := range t.heads {
		f()
	}
	t.heads = t.heads[:0]
	for x, d := range seeds {
		t.give(x.ID, t.dev.Retain(d))
	}
	t.play()
	for x, d := range t.grads {
		t.dev.Release(d)
		delete(t.grads, x)
	}
	clear(t.needs)
}

// play runs the recorded operations backwards and forgets them. Derivatives of inputs stay in grads.
func (t *Tape) play() {
	for i := len(t.nodes) - 1; i >= 0; i-- {
		n := t.nodes[i]
		t.nodes[i] = node{}
		if n.mark != nil {
			n.mark()
			continue
		}
		if d := t.grads[n.out]; d != nil {
			delete(t.grads, n.out)
			n.back(d)
		}
		t.dev.Release(n.saved...)
	}
	t.nodes = t.nodes[:0]
}

// Embed implements device.Ops.
func (t *Tape) Embed(table device.Weight, ids []int32) *device.Tensor {
	y := t.dev.Embed(table, ids)
	if table.Trainable() {
		t.record(y, func(dy *device.Tensor) {
			t.dev.EmbedGrad(table, ids, dy)
			t.dev.Release(dy)
		})
	}
	return y
}

// RMSNorm implements device.Ops.
func (t *Tape) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	y := t.dev.RMSNorm(x, gain, eps)
	if needX := t.needs[x.ID]; needX || gain.Trainable() {
		t.record(y, func(dy *device.Tensor) {
			t.give(x.ID, t.dev.RMSNormGrad(x, gain, eps, dy, needX))
			t.dev.Release(dy)
		}, x)
	}
	return y
}

// Linear implements device.Ops.
func (t *Tape) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	var y [1]*device.Tensor
	t.LinearGroup(y[:], x, w)
	return y[0]
}

// LinearGroup implements device.Ops.
func (t *Tape) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	t.dev.LinearGroup(ys, x, ws...)
	id, kept := x.ID, false
	needX := t.needs[id]
	for i, w := range ws {
		y := ys[i]
		switch {
		case w.Trainable():
			t.record(y, func(dy *device.Tensor) {
				t.dev.LinearGradWeight(x, dy, w)
				t.backLinear(id, w, dy, needX)
			}, x)
		case needX:
			t.record(y, func(dy *device.Tensor) { t.backLinear(id, w, dy, needX) })
		default:
			continue
		}
		kept = kept || w.Trainable()
	}
	if kept {
		t.dev.DowncastSaved(x)
	}
}

func (t *Tape) backLinear(x uint64, w device.Weight, dy *device.Tensor, needX bool) {
	if needX {
		t.grads[x] = t.dev.LinearGradInput(dy, w, t.grads[x])
	}
	t.dev.Release(dy)
}

// AddBias implements device.Ops.
func (t *Tape) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	x = t.dev.AddBias(x, b)
	if b.Trainable() {
		t.inPlace(x, func(dx *device.Tensor) *device.Tensor {
			t.dev.AddBiasGrad(b, dx)
			return dx
		})
	}
	return x
}

// Rope implements device.Ops.
func (t *Tape) Rope(x *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	x = t.dev.Rope(x, r, positions)
	if t.needs[x.ID] {
		t.inPlace(x, func(dx *device.Tensor) *device.Tensor { return t.dev.RopeGrad(dx, r, positions) })
	}
	return x
}

// inPlace records an operation that changed x itself: back turns the
// derivative with respect to the new x into that with respect to the old one.
func (t *Tape) inPlace(x *device.Tensor, back func(dx *device.Tensor) *device.Tensor) {
	id := x.ID
	t.record(x, func(dx *device.Tensor) { t.grads[id] = back(dx) })
}

// Attention implements device.Ops, without a cache.
func (t *Tape) Attention(q, k, v *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	if spec.Cache != nil {
		panic("grad: attention through a cache has no derivative")
	}
	if !t.needs[q.ID] && !t.needs[k.ID] && !t.needs[v.ID] {
		return t.dev.Attention(q, k, v, spec)
	}
	out, lse := t.dev.AttentionTrain(q, k, v, spec)
	t.record(out, func(dout *device.Tensor) {
		dq, dk, dv := t.dev.AttentionGrad(q, k, v, out, lse, dout, spec)
		t.dev.Release(dout)
		t.give(q.ID, dq)
		t.give(k.ID, dk)
		t.give(v.ID, dv)
	}, q, k, v, out, lse)
	t.dev.Release(lse)
	t.dev.DowncastSaved(q)
	t.dev.DowncastSaved(k)
	t.dev.DowncastSaved(v)
	return out
}

// SwiGLU implements device.Ops.
func (t *Tape) SwiGLU(gate, up *device.Tensor) *device.Tensor {
	y := t.dev.SwiGLU(gate, up)
	if t.needs[gate.ID] || t.needs[up.ID] {
		t.record(y, func(dy *device.Tensor) {
			dg, du := t.dev.SwiGLUGrad(gate, up, dy)
			t.dev.Release(dy)
			t.give(gate.ID, dg)
			t.give(up.ID, du)
		}, gate, up)
		t.dev.DowncastSaved(gate)
		t.dev.DowncastSaved(up)
	}
	return y
}

// Add implements device.Ops.
func (t *Tape) Add(x, y *device.Tensor, s float32) *device.Tensor {
	z := t.dev.Add(x, y, s)
	if ofX, ofY := x.ID, y.ID; t.needs[ofX] || t.needs[ofY] {
		t.record(z, func(dz *device.Tensor) {
			dy := t.dev.Retain(dz)
			if s != 1 && t.needs[ofY] {
				t.dev.Release(dy)
				dy = t.dev.Add(dz, dz, s-1)
			}
			t.give(ofY, dy)
			t.give(ofX, dz)
		})
	}
	return z
}

// DoRA implements device.Ops.
func (t *Tape) DoRA(base, low *device.Tensor, d *device.DoRA) *device.Tensor {
	if !t.needs[base.ID] && !t.needs[low.ID] && !d.Magnitude.Trainable() {
		return t.dev.DoRA(base, low, d)
	}
	y, lengths := t.dev.DoRATrain(base, low, d)
	t.record(y, func(dy *device.Tensor) {
		db, dl := t.dev.DoRAGrad(base, low, lengths, d, dy)
		t.dev.Release(dy)
		t.give(base.ID, db)
		t.give(low.ID, dl)
	}, base, low, lengths)
	t.dev.Release(lengths)
	return y
}

// Dropout implements device.Ops.
func (t *Tape) Dropout(x *device.Tensor, p float32, seed uint64) *device.Tensor {
	y := t.dev.Dropout(x, p, seed)
	if id := x.ID; t.needs[id] {
		t.record(y, func(dy *device.Tensor) {
			t.give(id, t.dev.Dropout(dy, p, seed))
			t.dev.Release(dy)
		})
	}
	return y
}

// Noise implements device.Ops.
func (t *Tape) Noise(x *device.Tensor, scales []float32, seed uint64) *device.Tensor {
	y := t.dev.Noise(x, scales, seed)
	if id := x.ID; t.needs[id] {
		t.record(y, func(dy *device.Tensor) { t.give(id, dy) })
	}
	return y
}

// Gather implements device.Ops.
func (t *Tape) Gather(x *device.Tensor, rows []int32) *device.Tensor {
	y := t.dev.Gather(x, rows)
	if id := x.ID; t.needs[id] {
		total := x.Rows
		t.record(y, func(dy *device.Tensor) {
			t.give(id, t.dev.GatherGrad(dy, rows, total))
			t.dev.Release(dy)
		})
	}
	return y
}

// LinearCrossEntropy implements device.Ops. Its derivative with respect to hidden and w is
// computed here, in the same sweep, as if the loss were added to the total
// with factor 1; whoever needs another factor puts it into weights.
func (t *Tape) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	needH := t.needs[hidden.ID]
	if !needH && !w.Trainable() {
		return t.dev.LinearCrossEntropy(hidden, w, targets, weights, vocab)
	}
	return t.CrossEntropy(hidden, w, targets, weights, vocab)()
}

// CrossEntropy is LinearCrossEntropy whose values are waited for when they are asked for, so that a device that computes
// later can go on. Hidden or w must have a derivative.
func (t *Tape) CrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) func() device.CrossEntropy {
	loss, dh := t.dev.LinearCrossEntropyGrad(hidden, w, targets, weights, vocab, t.needs[hidden.ID])
	t.give(hidden.ID, dh)
	return loss
}

// LinearDistill is LinearCrossEntropy of a student that is also held against a teacher: see device.Derivatives. The teacher
// is a constant. The derivative is computed here, of the whole loss with factor 1; the values are waited for when they are asked for.
func (t *Tape) LinearDistill(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher) func() device.Distillation {
	loss, dh := t.dev.LinearDistillGrad(hidden, w, targets, weights, vocab, teacher, t.needs[hidden.ID])
	t.give(hidden.ID, dh)
	return loss
}

// LogProbs are log-probabilities of targets whose derivatives depend on them, as in losses over whole answers.
type LogProbs struct {
	// Values has log p(targets[i]) for every row that counts, 0 for the others.
	Values []float32
	// Grad is the derivative of the loss with respect to Values; the caller fills it in before Backward. Rows with 0 cost
	// nothing.
	Grad []float32
}

// LogProbs computes log p(targets[i]) of the rows of hidden [rows, hidden size] under the LM head w, for the rows whose
// mask is not 0. The model runs forward once, whatever becomes of the values; only the head's logits are computed again
// in Backward.
func (t *Tape) LogProbs(hidden *device.Tensor, w device.Weight, targets []int32, mask []float32, vocab int) *LogProbs {
	l := &LogProbs{Values: t.dev.LinearCrossEntropy(hidden, w, targets, mask, vocab).LogProbs, Grad: make([]float32, len(targets))}
	needH := t.needs[hidden.ID]
	if !needH && !w.Trainable() {
		return l
	}
	t.dev.Retain(hidden)
	t.heads = append(t.heads, func() {
		weights := make([]float32, len(l.Grad))
		for i, g := range l.Grad {
			weights[i] = -g // the cross-entropy is −Σ weight·log p
		}
		_, dh := t.dev.LinearCrossEntropyGrad(hidden, w, targets, weights, vocab, needH)
		t.give(hidden.ID, dh)
		t.dev.Release(hidden)
	})
	return l
}

// Segment implements device.Ops.
func (t *Tape) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	if t.onSegment != nil {
		i := t.segments
		t.nodes = append(t.nodes, node{mark: func() { t.onSegment(i) }})
		t.segments++
	}
	if !t.recompute {
		return f(t, x)
	}
	y := f(t.dev, x)
	t.record(y, func(dy *device.Tensor) {
		inner := New(t.dev, false)
		if t.needs[x.ID] {
			inner.needs[x.ID] = true
		}
		again := f(inner, x)
		inner.grads[again.ID] = dy
		inner.play()
		t.dev.Release(again)
		t.give(x.ID, inner.grads[x.ID])
	}, x)
	return y
}

// Release implements device.Ops: what the tape still needs stays alive.
func (t *Tape) Release(ts ...*device.Tensor) { t.dev.Release(ts...) }
