package split

import (
	"context"

	"leolm/device"
)

// A derivative with respect to an input is a sum over the output features of all ranks. It is a part without a cut: local
// has this rank's terms, until someone reads it.

// sumTensor makes the tensor whose values are the sums of all ranks' locals.
func (d *Device) sumTensor(local *device.Tensor) *device.Tensor {
	return d.cutTensor(local, local.Cols, nil)
}

// add adds up src over all ranks: this rank gets the elements of d.parts that are its own.
func (d *Device) add(dst, src []float32) {
	if d.err == nil && len(src) > 0 {
		d.err = d.group.(Summer).SumParts(context.Background(), dst, src, d.parts)
	}
}

// total adds up a sum and gives all ranks all of it, as a tensor of the device below.
func (d *Device) total(p *part) *device.Tensor {
	n, size := p.Rows*p.Cols, d.group.Size()
	d.blocks = room(d.blocks, n)
	d.Device.Read(p.local, d.blocks)
	d.parts = d.parts[:0]
	for r := range size + 1 {
		d.parts = append(d.parts, n/size*r+min(r, n%size))
	}
	d.add(d.blocks[d.parts[d.rank]:d.parts[d.rank+1]], d.blocks)
	d.exchange(d.blocks)
	return d.FromSlice(p.Rows, p.Cols, d.blocks)
}

// scattered adds up a sum and gives each rank its columns.
func (d *Device) scattered(p *part, cut Cut) *device.Tensor {
	n := p.Rows * p.Cols
	d.blocks, d.rowMajor = room(d.blocks, n), room(d.rowMajor, n)
	d.Device.Read(p.local, d.rowMajor)
	for _, s := range cut { // from rows to a block of each rank
		block := d.blocks[s.From*p.Rows : s.To*p.Rows]
		for row := range p.Rows {
			copy(block[row*s.Len():(row+1)*s.Len()], d.rowMajor[row*p.Cols+s.From:])
		}
	}
	d.partsOf(cut, p.Rows)
	mine := d.rowMajor[:cut[d.rank].Len()*p.Rows]
	d.add(mine, d.blocks)
	return d.FromSlice(p.Rows, cut[d.rank].Len(), mine)
}

// columns returns this rank's columns of t, and whether the caller has to release them.
func (d *Device) columns(t *device.Tensor, cut Cut) (local *device.Tensor, owned bool) {
	p := partOf(t)
	if p != nil && p.cut != nil && sameCut(p.cut, cut) {
		return p.local, false
	}
	if p != nil && p.cut == nil && p.whole == nil {
		return d.scattered(p, cut), true
	}
	all, mine := d.whole(t), cut[d.rank]
	d.rowMajor, d.blocks = room(d.rowMajor, t.Rows*t.Cols), room(d.blocks, t.Rows*mine.Len())
	d.Device.Read(all, d.rowMajor)
	for row := range t.Rows {
		copy(d.blocks[row*mine.Len():(row+1)*mine.Len()], d.rowMajor[row*t.Cols+mine.From:])
	}
	return d.FromSlice(t.Rows, mine.Len(), d.blocks), true
}

// with calls f with this rank's columns of t.
func (d *Device) with(t *device.Tensor, cut Cut, f func(local *device.Tensor)) {
	local, owned := d.columns(t, cut)
	f(local)
	if owned {
		d.release(local)
	}
}

// take takes ownership of a part and returns its local tensor, for changing in place: the device below copies it if others
// hold it.
func (d *Device) take(p *part) *device.Tensor {
	if p.refs > 1 {
		p.refs--
		return d.Device.Retain(p.local)
	}
	return d.empty(p)
}

// takeColumns takes ownership of t and returns this rank's columns.
func (d *Device) takeColumns(t *device.Tensor, cut Cut) *device.Tensor {
	if p := partOf(t); p != nil && p.cut != nil && sameCut(p.cut, cut) {
		return d.take(p)
	}
	local, _ := d.columns(t, cut)
	d.Release(t)
	return local
}

// Accumulate implements device.Derivatives.
func (d *Device) Accumulate(x, y *device.Tensor) *device.Tensor {
	p, q := partOf(x), partOf(y)
	cols := x.Cols
	switch {
	case p == nil && q == nil:
		return d.Device.Accumulate(x, y)
	case p != nil && p.cut != nil:
		return d.accumulateCut(x, y, p.cut, cols)
	case q != nil && q.cut != nil:
		return d.accumulateCut(x, y, q.cut, cols)
	case p != nil && q != nil:
		return d.sumTensor(d.Device.Accumulate(d.take(p), q.local))
	case p != nil: // one rank adds what all have
		if d.rank == 0 {
			return d.sumTensor(d.Device.Accumulate(d.take(p), y))
		}
		return x
	}
	if d.rank == 0 {
		return d.sumTensor(d.Device.Accumulate(x, q.local))
	}
	d.Device.Release(x)
	return d.sumTensor(d.Device.Retain(q.local))
}

// accumulateCut is Accumulate by columns.
func (d *Device) accumulateCut(x, y *device.Tensor, cut Cut, cols int) *device.Tensor {
	sum := d.takeColumns(x, cut)
	d.with(y, cut, func(local *device.Tensor) { sum = d.Device.Accumulate(sum, local) })
	return d.cutTensor(sum, cols, cut)
}
