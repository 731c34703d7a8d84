package layered

import (
	"fmt"

	"leolm/device"
)

var _ device.Fuser = (*Device)(nil)

// Embed implements device.Ops.
func (d *Device) Embed(table device.Weight, ids []int32) *device.Tensor {
	w, side := of(table), first
	if w.at[first] == nil {
		side = second
	}
	return d.wrap(side, d.sides[side].Embed(w.at[side], ids))
}

// RMSNorm implements device.Ops.
func (d *Device) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	side, g := operand(gain)
	return d.wrap(side, d.sides[side].RMSNorm(d.on(side, x), g, eps))
}

// Linear implements device.Ops.
func (d *Device) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	side, own := operand(w)
	return d.wrap(side, d.sides[side].Linear(d.on(side, x), own))
}

// LinearGroup implements device.Ops. The weights are of one layer.
func (d *Device) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	group := d.group(ws)
	d.sides[group].LinearGroup(ys, d.on(group, x), d.ws...)
	for i := range ws {
		ys[i] = d.wrap(group, ys[i])
	}
}

// group makes d.ws the weights of the device below that weights of one layer stand for, and returns where they are.
func (d *Device) group(ws []device.Weight) int {
	d.ws = d.ws[:0]
	group, _ := operand(ws[0])
	for _, w := range ws {
		side, own := operand(w)
		if side != group {
			panic("layered: a group of weights on two devices")
		}
		d.ws = append(d.ws, own)
	}
	return group
}

// AddBias implements device.Ops.
func (d *Device) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	side, own := operand(b)
	d.sides[side].AddBias(d.change(side, x), own)
	return x
}

// NewRope implements device.Runner.
func (d *Device) NewRope(headDim int, invFreq []float32) *device.Rope {
	a, b := d.sides[first].NewRope(headDim, invFreq), d.sides[second].NewRope(headDim, invFreq)
	return &device.Rope{HeadDim: headDim, InvFreq: a.InvFreq, Impl: [2]any{a.Impl, b.Impl}}
}

// Rope implements device.Ops.
func (d *Device) Rope(x *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	side := where(x)
	d.sides[side].Rope(d.change(side, x), ropeOn(side, r), positions)
	return x
}

// ropeOn is what r stands for on a device below.
func ropeOn(side int, r *device.Rope) *device.Rope {
	impl, ok := r.Impl.([2]any)
	if !ok {
		panic(fmt.Sprintf("layered: a rotary embedding of another device (%T)", r.Impl))
	}
	own := *r
	own.Impl = impl[side]
	return &own
}

// SwiGLU implements device.Ops.
func (d *Device) SwiGLU(gate, up *device.Tensor) *device.Tensor {
	side := d.meet(gate, up)
	return d.wrap(side, d.sides[side].SwiGLU(d.on(side, gate), d.on(side, up)))
}

// meet is where an operation on two tensors runs: on the second device if one of them is there, since a pass goes on there.
func (d *Device) meet(x, y *device.Tensor) int { return max(where(x), where(y)) }

// Add implements device.Ops.
func (d *Device) Add(x, y *device.Tensor, s float32) *device.Tensor {
	side := d.meet(x, y)
	return d.wrap(side, d.sides[side].Add(d.on(side, x), d.on(side, y), s))
}

// NewDoRA implements device.Runner.
func (d *Device) NewDoRA(w, a, b, magnitude device.Weight, scale float32) *device.DoRA {
	side, m := operand(magnitude)
	inner := d.sides[side].NewDoRA(of(w).at[side], of(a).at[side], of(b).at[side], m, scale)
	return &device.DoRA{W: w, A: a, B: b, Magnitude: magnitude, Scale: scale, Impl: inner}
}

// innerDoRA is what the device below has made of c, and where.
func innerDoRA(c *device.DoRA) (int, *device.DoRA) {
	inner, ok := c.Impl.(*device.DoRA)
	if !ok {
		panic(fmt.Sprintf("layered: a DoRA of another device (%T)", c.Impl))
	}
	side, _ := operand(c.Magnitude)
	return side, inner
}

// DoRA implements device.Ops.
func (d *Device) DoRA(base, low *device.Tensor, c *device.DoRA) *device.Tensor {
	side, inner := innerDoRA(c)
	return d.wrap(side, d.sides[side].DoRA(d.on(side, base), d.on(side, low), inner))
}

// FreeDoRA implements device.Freer.
func (d *Device) FreeDoRA(c *device.DoRA) {
	side, inner := innerDoRA(c)
	if f, ok := d.sides[side].(device.Freer); ok {
		f.FreeDoRA(inner)
	}
}

// Dropout implements device.Ops.
func (d *Device) Dropout(x *device.Tensor, p float32, seed uint64) *device.Tensor {
	side := where(x)
	return d.wrap(side, d.sides[side].Dropout(d.on(side, x), p, seed))
}

// Noise implements device.Ops.
func (d *Device) Noise(x *device.Tensor, scales []float32, seed uint64) *device.Tensor {
	side := where(x)
	return d.wrap(side, d.sides[side].Noise(d.on(side, x), scales, seed))
}

// Gather implements device.Ops.
func (d *Device) Gather(x *device.Tensor, rows []int32) *device.Tensor {
	side := where(x)
	return d.wrap(side, d.sides[side].Gather(d.on(side, x), rows))
}

// LinearCrossEntropy implements device.Ops.
func (d *Device) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	side, own := operand(w)
	return d.sides[side].LinearCrossEntropy(d.on(side, hidden), own, targets, weights, vocab)
}

// Segment implements device.Ops: there is nothing to forget.
func (d *Device) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(d, x)
}

// TopLogits implements device.TopFinder: where the logits are, if that device can.
func (d *Device) TopLogits(logits *device.Tensor, vocab, k int) []device.TopLogits {
	side := where(logits)
	own := d.on(side, logits)
	if f, ok := d.sides[side].(device.TopFinder); ok {
		return f.TopLogits(own, vocab, k)
	}
	values := make([]float32, own.Rows*own.Cols)
	d.sides[side].Read(own, values)
	out := make([]device.TopLogits, own.Rows)
	for i := range out {
		out[i] = device.TopOf(values[i*own.Cols:i*own.Cols+vocab], k)
	}
	return out
}

// NormLinear implements device.Fuser: what the device below makes of it.
func (d *Device) NormLinear(ys []*device.Tensor, x *device.Tensor, gain device.Weight, eps float32, ws ...device.Weight) {
	side := d.group(ws)
	norm, g := operand(gain)
	if norm != side {
		panic("layered: a norm and its products on two devices")
	}
	device.NormLinear(d.sides[side], ys, d.on(side, x), g, eps, d.ws...)
	for i := range ws {
		ys[i] = d.wrap(side, ys[i])
	}
}

// LinearAdd implements device.Fuser.
func (d *Device) LinearAdd(x, y *device.Tensor, w device.Weight) *device.Tensor {
	side := d.group([]device.Weight{w})
	return d.wrap(side, device.LinearAdd(d.sides[side], d.on(side, x), d.on(side, y), d.ws[0]))
}

// RopePair implements device.Fuser.
func (d *Device) RopePair(q, k *device.Tensor, r *device.Rope, positions []int32) {
	side := where(q)
	if where(k) != side {
		panic("layered: queries and keys on two devices")
	}
	device.RopePair(d.sides[side], d.change(side, q), d.change(side, k), ropeOn(side, r), positions)
}

// MLP implements device.Fuser. The weights are of one layer.
func (d *Device) MLP(x *device.Tensor, gain device.Weight, eps float32, gate, up, down device.Weight) *device.Tensor {
	side := d.group([]device.Weight{gain, gate, up, down})
	own := d.ws
	return d.wrap(side, device.MLP(d.sides[side], d.on(side, x), own[0], eps, own[1], own[2], own[3]))
}
