package split

import (
	"fmt"
	"slices"

	"leolm/device"
)

// Embed implements device.Ops: rows come from the ranks that have them.
func (d *Device) Embed(table device.Weight, ids []int32) *device.Tensor {
	w := of(table)
	if w.cut == nil {
		return d.Device.Embed(w.Weight, ids)
	}
	cols := w.Cols()
	owner := func(id int32) int {
		return slices.IndexFunc(w.cut, func(s Span) bool { return int(id) >= s.From && int(id) < s.To })
	}
	d.parts = append(d.parts[:0], make([]int, len(w.cut)+1)...)
	for _, id := range ids {
		d.parts[owner(id)+1] += cols
	}
	for r := range w.cut {
		d.parts[r+1] += d.parts[r]
	}
	var mine []int32
	from := w.cut[d.rank].From
	for _, id := range ids {
		if owner(id) == d.rank {
			mine = append(mine, id-int32(from))
		}
	}
	n := len(ids) * cols
	d.blocks, d.rowMajor = room(d.blocks, n), room(d.rowMajor, n)
	if len(mine) > 0 {
		x := d.Device.Embed(w.Weight, mine)
		d.Device.Read(x, d.blocks[d.parts[d.rank]:])
		d.release(x)
	}
	d.exchange(d.blocks)
	for i, id := range ids { // parts become the place of each rank's next row
		at := &d.parts[owner(id)]
		copy(d.rowMajor[i*cols:(i+1)*cols], d.blocks[*at:])
		*at += cols
	}
	return d.FromSlice(len(ids), cols, d.rowMajor)
}

// RMSNorm implements device.Ops.
func (d *Device) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	return d.Device.RMSNorm(d.whole(x), of(gain).Weight, eps)
}

// Linear implements device.Ops.
func (d *Device) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	c := of(w)
	y := d.Device.Linear(d.whole(x), c.Weight)
	if c.cut == nil {
		return y
	}
	return d.cutTensor(y, c.rows, c.cut)
}

// LinearGroup implements device.Ops.
func (d *Device) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	d.inner = d.inner[:0]
	for _, w := range ws {
		d.inner = append(d.inner, of(w).Weight)
	}
	d.Device.LinearGroup(ys, d.whole(x), d.inner...)
	for i, w := range ws {
		if c := of(w); c.cut != nil {
			ys[i] = d.cutTensor(ys[i], c.rows, c.cut)
		}
	}
}

// AddBias implements device.Ops.
func (d *Device) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	p := partOf(x)
	if p == nil {
		return d.Device.AddBias(x, of(b).Weight)
	}
	d.changed(p)
	d.Device.AddBias(p.local, d.vector(of(b), p.cut))
	return x
}

// Rope implements device.Ops.
func (d *Device) Rope(x *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	p := partOf(x)
	if p == nil {
		return d.Device.Rope(x, r, positions)
	}
	if mine := p.cut[d.rank]; mine.From%r.HeadDim != 0 || mine.Len()%r.HeadDim != 0 {
		panic(fmt.Sprintf("split: columns %v are no heads of %d", mine, r.HeadDim))
	}
	d.changed(p)
	d.Device.Rope(p.local, r, positions)
	return x
}

// Attention implements device.Ops: each rank attends with its heads.
func (d *Device) Attention(q, k, v *device.Tensor, spec *device.AttentionSpec) *device.Tensor {
	p, pk, pv := d.headsOf(q, k, v, spec)
	return d.cutTensor(d.Device.Attention(p.local, pk.local, pv.local, &d.spec), q.Cols, p.cut)
}

// headsOf returns this rank's heads, and makes d.spec that of them.
func (d *Device) headsOf(q, k, v *device.Tensor, spec *device.AttentionSpec) (pq, pk, pv *part) {
	pq, pk, pv = partOf(q), partOf(k), partOf(v)
	if pq == nil || pk == nil || pv == nil {
		panic("split: attention of tensors that are not cut")
	}
	d.spec = *spec
	d.spec.Heads, d.spec.KVHeads = pq.local.Cols/spec.HeadDim, pk.local.Cols/spec.HeadDim
	return pq, pk, pv
}

// pair calls f with what this rank has of two tensors: the same columns of both where they are cut alike, else all.
func (d *Device) pair(x, y *device.Tensor, f func(x, y *device.Tensor) *device.Tensor) *device.Tensor {
	p, q := partOf(x), partOf(y)
	if p != nil && q != nil && sameCut(p.cut, q.cut) {
		return d.cutTensor(f(p.local, q.local), x.Cols, p.cut)
	}
	return f(d.whole(x), d.whole(y))
}

// SwiGLU implements device.Ops.
func (d *Device) SwiGLU(gate, up *device.Tensor) *device.Tensor {
	return d.pair(gate, up, d.Device.SwiGLU)
}

// Add implements device.Ops.
func (d *Device) Add(x, y *device.Tensor, s float32) *device.Tensor {
	return d.pair(x, y, func(x, y *device.Tensor) *device.Tensor { return d.Device.Add(x, y, s) })
}

// NewDoRA implements device.Device.
func (d *Device) NewDoRA(w, a, b, magnitude device.Weight, scale float32) *device.DoRA {
	base, low, m := of(w), of(b), of(magnitude)
	if !sameCut(base.cut, low.cut) {
		panic("split: a change that is not cut as its weight")
	}
	gains := m.Weight
	if base.cut != nil {
		gains = d.vector(m, base.cut)
	}
	return &device.DoRA{
		W: w, A: a, B: b, Magnitude: magnitude, Scale: scale,
		Impl: d.Device.NewDoRA(base.Weight, of(a).Weight, low.Weight, gains, scale),
	}
}

// DoRA implements device.Ops.
func (d *Device) DoRA(base, low *device.Tensor, c *device.DoRA) *device.Tensor {
	inner := doraOf(c)
	return d.pair(base, low, func(x, y *device.Tensor) *device.Tensor { return d.Device.DoRA(x, y, inner) })
}

// Dropout implements device.Ops. Which elements it zeroes depends on the whole tensor.
func (d *Device) Dropout(x *device.Tensor, p float32, seed uint64) *device.Tensor {
	return d.Device.Dropout(d.whole(x), p, seed)
}

// Noise implements device.Ops.
func (d *Device) Noise(x *device.Tensor, scales []float32, seed uint64) *device.Tensor {
	return d.Device.Noise(d.whole(x), scales, seed)
}

// Gather implements device.Ops.
func (d *Device) Gather(x *device.Tensor, rows []int32) *device.Tensor {
	if p := partOf(x); p != nil && p.cut != nil {
		return d.cutTensor(d.Device.Gather(p.local, rows), x.Cols, p.cut)
	}
	return d.Device.Gather(d.whole(x), rows)
}

// Segment implements device.Ops: f gets this device, not the one below.
func (d *Device) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(d, x)
}
