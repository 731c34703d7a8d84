package split

import (
	"fmt"
	"math"
	"slices"

	"leolm/device"
)

func sameCut(a, b Cut) bool { return slices.Equal(a, b) }

// idle reports whether no gradient reaches what this rank has of the weight.
func (w *weight) idle(rank int) bool { return w.trained(rank).Len() == 0 }

// NewParam implements device.Device: of the rows of this rank, or of its elements of a vector that is cut.
func (d *Device) NewParam(name string, rows, cols int) device.Weight {
	w := &weight{name: name, rows: rows, cols: cols}
	if rows == 1 && d.layout.Vector != nil {
		w.cut = d.layout.Vector(name, cols)
		w.vector = w.cut != nil
	}
	if rows > 1 {
		w.cut = d.layout.Rows(name, rows)
	}
	switch {
	case w.vector:
		cols = w.cut[d.rank].Len()
	case w.cut != nil:
		rows = w.cut[d.rank].Len()
	}
	w.Weight = d.Device.NewParam(name, rows, cols)
	return d.made(w)
}

// IsCut reports whether ranks have different parts of w.
func (d *Device) IsCut(w device.Weight) bool { return of(w).cut != nil }

// Part returns the weight of the device below, Below, that has this rank's part of w, and where its first value is among
// those of w. Gradients and optimizer state of it begin at FrozenRows of its own.
func (d *Device) Part(w device.Weight) (part device.Weight, from int) {
	c := of(w)
	if c.cut == nil {
		return c.Weight, 0
	}
	return c.Weight, c.cut[d.rank].From * c.unit()
}

// Below is the device that computes this rank's part.
func (d *Device) Below() device.Device { return d.Device }

// OnRead asks f to be called before a weight that is cut is read, which takes all ranks: it may tell the others to
// ReadNumbered it. Nil ends that.
func (d *Device) OnRead(f func(number int)) { d.reads = f }

// ReadNumbered takes part in another rank's ReadWeight of the weight with that number.
func (d *Device) ReadNumbered(number int) error {
	if number < 0 || number >= len(d.weights) {
		return fmt.Errorf("split: another rank reads weight %d of %d", number, len(d.weights))
	}
	w := d.weights[number]
	d.ReadWeight(w, make([]float32, w.rows*w.cols))
	return d.err
}

// WriteWeight implements device.Device. All ranks have all values.
func (d *Device) WriteWeight(w device.Weight, src []float32) error {
	c := of(w)
	if len(src) != c.rows*c.cols {
		return fmt.Errorf("weight %s is [%d, %d], got %d values", c.name, c.rows, c.cols, len(src))
	}
	if c.cut != nil {
		src = src[c.cut[d.rank].From*c.unit() : c.cut[d.rank].To*c.unit()]
	}
	return d.Device.WriteWeight(c.Weight, src)
}

// FreezeRows implements device.Device.
func (d *Device) FreezeRows(w device.Weight, n int) {
	c := of(w)
	if n < 0 || n >= c.rows {
		panic(fmt.Sprintf("split: %d rows of %s [%d, %d] cannot be frozen", n, c.name, c.rows, c.cols))
	}
	c.frozen = n
	if c.cut != nil {
		n = min(max(n-c.cut[d.rank].From, 0), c.cut[d.rank].Len())
	}
	d.Device.FreezeRows(c.Weight, n)
}

// spans are the trained values of all ranks, counted from the first trained one, as parts.
func (d *Device) spans(c *weight) {
	first := c.frozen * c.cols
	d.parts = append(d.parts[:0], 0)
	for r := range c.cut {
		d.parts = append(d.parts, max(c.trained(r).To-first, 0))
	}
}

// ReadGrad implements device.Device.
func (d *Device) ReadGrad(w device.Weight, dst []float32) {
	c := of(w)
	if c.cut == nil {
		d.Device.ReadGrad(c.Weight, dst)
		return
	}
	d.spans(c)
	d.Device.ReadGrad(c.Weight, dst[d.parts[d.rank]:d.parts[d.rank+1]])
	d.exchange(dst[:d.parts[len(d.parts)-1]])
}

// WriteGrad implements device.Device.
func (d *Device) WriteGrad(w device.Weight, src []float32) {
	c := of(w)
	if c.cut != nil {
		d.spans(c)
		src = src[d.parts[d.rank]:d.parts[d.rank+1]]
	}
	d.Device.WriteGrad(c.Weight, src)
}

// ZeroGrad implements device.Device.
func (d *Device) ZeroGrad(ws ...device.Weight) { d.Device.ZeroGrad(d.below(ws)...) }

// DropGrad implements device.Device.
func (d *Device) DropGrad(ws ...device.Weight) { d.Device.DropGrad(d.below(ws)...) }

func (d *Device) below(ws []device.Weight) []device.Weight {
	d.inner = d.inner[:0]
	for _, w := range ws {
		d.inner = append(d.inner, of(w).Weight)
	}
	return d.inner
}

// GradSquares implements device.Device: the sums over the ranks, in their order, in one exchange. Those of a weight that all
// ranks have count once.
func (d *Device) GradSquares(ws ...device.Weight) []float64 {
	size, n := d.group.Size(), len(ws)
	values := make([]float32, 2*n*size)
	mine := values[2*n*d.rank : 2*n*(d.rank+1)]
	for i, v := range d.Device.GradSquares(d.below(ws)...) {
		s := math.Float64bits(v)
		mine[2*i], mine[2*i+1] = math.Float32frombits(uint32(s)), math.Float32frombits(uint32(s>>32))
	}
	d.parts = d.parts[:0]
	for r := range size + 1 {
		d.parts = append(d.parts, 2*n*r)
	}
	d.exchange(values)
	sums := make([]float64, n)
	for i, w := range ws {
		for r := range size {
			v := values[2*(n*r+i):]
			if of(w).cut != nil || r == 0 {
				sums[i] += math.Float64frombits(uint64(math.Float32bits(v[0])) | uint64(math.Float32bits(v[1]))<<32)
			}
		}
	}
	return sums
}
