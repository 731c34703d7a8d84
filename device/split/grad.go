package split

import (
	"fmt"

	"leolm/device"
)

// EmbedGrad implements device.Derivatives: a rank adds to the rows that it has, in the order of ids.
func (d *Device) EmbedGrad(table device.Weight, ids []int32, dy *device.Tensor) {
	w, all := of(table), d.whole(dy)
	if w.cut == nil {
		d.Device.EmbedGrad(w.Weight, ids, all)
		return
	}
	var rows, mine []int32
	span := w.cut[d.rank]
	for i, id := range ids {
		if int(id) >= span.From && int(id) < span.To {
			rows, mine = append(rows, int32(i)), append(mine, id-int32(span.From))
		}
	}
	if len(mine) == 0 || w.idle(d.rank) {
		return
	}
	g := d.Device.Gather(all, rows)
	d.Device.EmbedGrad(w.Weight, mine, g)
	d.release(g)
}

// RMSNormGrad implements device.Derivatives.
func (d *Device) RMSNormGrad(x *device.Tensor, gain device.Weight, eps float32, dy *device.Tensor, needX bool) *device.Tensor {
	return d.Device.RMSNormGrad(d.whole(x), of(gain).Weight, eps, d.whole(dy), needX)
}

// LinearGradInput implements device.Derivatives. Of a weight that is cut it is a sum over the ranks; what all have whole is
// added by the first.
func (d *Device) LinearGradInput(dy *device.Tensor, w device.Weight, acc *device.Tensor) *device.Tensor {
	c, p := of(w), partOfOrNil(acc)
	if p != nil && p.cut != nil {
		dx := d.LinearGradInput(dy, w, nil)
		sum := d.Accumulate(acc, dx)
		d.Release(dx)
		return sum
	}
	if c.cut == nil {
		all := d.whole(dy)
		switch {
		case p == nil:
			return d.Device.LinearGradInput(all, c.Weight, acc)
		case d.rank == 0:
			return d.sumTensor(d.Device.LinearGradInput(all, c.Weight, d.take(p)))
		}
		return acc
	}
	var sum *device.Tensor
	switch {
	case p != nil:
		sum = d.take(p)
	case acc != nil && d.rank == 0:
		sum = acc
	case acc != nil:
		d.Device.Release(acc)
	}
	d.with(dy, c.cut, func(local *device.Tensor) { sum = d.Device.LinearGradInput(local, c.Weight, sum) })
	return d.sumTensor(sum)
}

// partOfOrNil is partOf of a tensor that may be nil.
func partOfOrNil(t *device.Tensor) *part {
	if t == nil {
		return nil
	}
	return partOf(t)
}

// LinearGradWeight implements device.Derivatives.
func (d *Device) LinearGradWeight(x, dy *device.Tensor, w device.Weight) {
	c, all := of(w), d.whole(x)
	if c.cut == nil {
		d.Device.LinearGradWeight(all, d.whole(dy), c.Weight)
		return
	}
	d.with(dy, c.cut, func(local *device.Tensor) {
		if !c.idle(d.rank) {
			d.Device.LinearGradWeight(all, local, c.Weight)
		}
	})
}

// AddBiasGrad implements device.Derivatives.
func (d *Device) AddBiasGrad(b device.Weight, dy *device.Tensor) {
	c := of(b)
	if c.cut == nil {
		d.Device.AddBiasGrad(c.Weight, d.whole(dy))
		return
	}
	d.with(dy, c.cut, func(local *device.Tensor) { d.Device.AddBiasGrad(c.Weight, local) })
}

// RopeGrad implements device.Derivatives. Rotation is linear: of a sum, each rank rotates its terms.
func (d *Device) RopeGrad(dy *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	p := partOf(dy)
	if p == nil {
		return d.Device.RopeGrad(dy, r, positions)
	}
	cols, cut := dy.Cols, p.cut
	return d.cutTensor(d.Device.RopeGrad(d.take(p), r, positions), cols, cut)
}

// AttentionTrain implements device.Derivatives.
func (d *Device) AttentionTrain(q, k, v *device.Tensor, spec *device.AttentionSpec) (out, lse *device.Tensor) {
	p, pk, pv := d.headsOf(q, k, v, spec)
	heads := make(Cut, len(p.cut))
	for r, s := range p.cut {
		heads[r] = Span{s.From / spec.HeadDim, s.To / spec.HeadDim}
	}
	out, lse = d.Device.AttentionTrain(p.local, pk.local, pv.local, &d.spec)
	return d.cutTensor(out, q.Cols, p.cut), d.cutTensor(lse, spec.Heads, heads)
}

// AttentionGrad implements device.Derivatives.
func (d *Device) AttentionGrad(q, k, v, out, lse, dout *device.Tensor, spec *device.AttentionSpec) (dq, dk, dv *device.Tensor) {
	d.with(dout, partOf(q).cut, func(local *device.Tensor) {
		p, pk, pv := d.headsOf(q, k, v, spec)
		dq, dk, dv = d.Device.AttentionGrad(p.local, pk.local, pv.local, partOf(out).local, partOf(lse).local, local, &d.spec)
		dq, dk, dv = d.cutTensor(dq, q.Cols, p.cut), d.cutTensor(dk, k.Cols, pk.cut), d.cutTensor(dv, v.Cols, pv.cut)
	})
	return dq, dk, dv
}

// SwiGLUGrad implements device.Derivatives.
func (d *Device) SwiGLUGrad(gate, up, dy *device.Tensor) (dgate, dup *device.Tensor) {
	p, q := partOf(gate), partOf(up)
	if p == nil || q == nil || !sameCut(p.cut, q.cut) {
		return d.Device.SwiGLUGrad(d.whole(gate), d.whole(up), d.whole(dy))
	}
	d.with(dy, p.cut, func(local *device.Tensor) {
		g, u := d.Device.SwiGLUGrad(p.local, q.local, local)
		dgate, dup = d.cutTensor(g, gate.Cols, p.cut), d.cutTensor(u, up.Cols, q.cut)
	})
	return dgate, dup
}

// GatherGrad implements device.Derivatives.
func (d *Device) GatherGrad(dy *device.Tensor, rows []int32, total int) *device.Tensor {
	p := partOf(dy)
	if p == nil {
		return d.Device.GatherGrad(dy, rows, total)
	}
	return d.cutTensor(d.Device.GatherGrad(p.local, rows, total), dy.Cols, p.cut)
}

// DoRATrain implements device.Derivatives.
func (d *Device) DoRATrain(base, low *device.Tensor, c *device.DoRA) (y, lengths *device.Tensor) {
	inner, p, q := doraOf(c), partOf(base), partOf(low)
	if p == nil || q == nil || !sameCut(p.cut, q.cut) {
		return d.Device.DoRATrain(d.whole(base), d.whole(low), inner)
	}
	y, lengths = d.Device.DoRATrain(p.local, q.local, inner)
	return d.cutTensor(y, base.Cols, p.cut), d.cutTensor(lengths, base.Cols, p.cut)
}

// DoRAGrad implements device.Derivatives.
func (d *Device) DoRAGrad(base, low, lengths *device.Tensor, c *device.DoRA, dy *device.Tensor) (dbase, dlow *device.Tensor) {
	inner, p, q := doraOf(c), partOf(base), partOf(low)
	if p == nil || q == nil || !sameCut(p.cut, q.cut) {
		return d.Device.DoRAGrad(d.whole(base), d.whole(low), d.whole(lengths), inner, d.whole(dy))
	}
	d.with(dy, p.cut, func(local *device.Tensor) {
		b, l := d.Device.DoRAGrad(p.local, q.local, partOf(lengths).local, inner, local)
		dbase, dlow = d.cutTensor(b, base.Cols, p.cut), d.cutTensor(l, low.Cols, q.cut)
	})
	return dbase, dlow
}

// doraOf is the change on the device below.
func doraOf(c *device.DoRA) *device.DoRA {
	inner, ok := c.Impl.(*device.DoRA)
	if !ok {
		panic(fmt.Sprintf("split: a DoRA of another device (%T)", c.Impl))
	}
	return inner
}

// DowncastSaved implements device.Derivatives. What was gathered of x is given back: it is gathered again in the backward
// pass.
func (d *Device) DowncastSaved(x *device.Tensor) {
	p := partOf(x)
	if p == nil {
		d.Device.DowncastSaved(x)
		return
	}
	d.changed(p)
	d.Device.DowncastSaved(p.local)
}
