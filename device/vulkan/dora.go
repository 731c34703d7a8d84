package vulkan

import (
	"fmt"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// dora is the GPU's part of a device.DoRA.
type dora struct {
	squares vulkan.Buffer // ‖W row j‖², once measured, if W is frozen
	// lengths are ‖(W + Scale·B·A) row j‖ and gains Magnitude[j] divided by them; measured for good if nothing of them is
	// trainable.
	lengths, gains vulkan.Buffer
	measured       bool
}

// The parts of lengths.comp.
const (
	lengthsSquares = iota
	lengthsTotal
)

// NewDoRA implements device.Runner.
func (d *Device) NewDoRA(w, a, b, magnitude device.Weight, scale float32) *device.DoRA {
	return device.NewDoRA(w, a, b, magnitude, scale, &dora{})
}

// DoRA implements device.Ops.
func (d *Device) DoRA(base, low *device.Tensor, c *device.DoRA) *device.Tensor {
	sameShape("DoRA", base, low)
	own := d.measure(c)
	y := d.New(base.Rows, base.Cols)
	d.elements(opDoRA, d.at(base), d.at(low), d.at(y), own.gains.Addr, y.Rows*y.Cols, y.Cols, c.Scale)
	return y
}

// DoRATrain implements device.Derivatives.
func (d *Device) DoRATrain(base, low *device.Tensor, c *device.DoRA) (y, lengths *device.Tensor) {
	y = d.DoRA(base, low, c)
	own, n := c.Impl.(*dora), c.W.Rows()
	lengths = d.New(1, n)
	if d.at(lengths) != 0 && own.lengths.Size > 0 {
		d.gpu.Copy(mat(lengths).buf, 0, own.lengths, 0, 4*int64(n))
	}
	return y, lengths
}

// DoRAGrad implements device.Derivatives.
func (d *Device) DoRAGrad(base, low, lengths *device.Tensor, c *device.DoRA, dy *device.Tensor) (dbase, dlow *device.Tensor) {
	sameShape("the derivative of DoRA", base, dy)
	m, n := of(c.Magnitude), dy.Cols
	// Magnitudes may have changed since: gains of the lengths that were measured then.
	gains := d.New(1, n)
	d.elements(opDivide, m.buf.Addr, d.at(lengths), d.at(gains), 0, n, n, 0)
	dbase, dlow = d.New(dy.Rows, n), d.New(dy.Rows, n)
	d.derive(opDoRAGrad, derivation{a: d.at(dy), b: d.at(gains), y: d.at(dbase), z: d.at(dlow), n: dy.Rows * n, cols: n, s: c.Scale})
	d.Release(gains)
	if m.trains {
		d.columns(columnsDoRA, columnSums{
			dy: d.at(dy), a: d.at(base), b: d.at(low), y: d.gradient(m).Addr, lengths: d.at(lengths), rows: dy.Rows, cols: n, s: c.Scale,
		})
	}
	return dbase, dlow
}

// measure computes lengths and gains of the rows. What cannot change any more is measured once.
func (d *Device) measure(c *device.DoRA) *dora {
	own, ok := c.Impl.(*dora)
	if !ok {
		panic(fmt.Sprintf("device: a DoRA of another device (%T)", c.Impl))
	}
	w, m := of(c.W), of(c.Magnitude)
	fixed := !w.trains && !c.A.Trainable() && !c.B.Trainable() && !m.trains
	if own.measured && fixed {
		return own
	}
	fresh := own.squares.Size == 0
	for _, b := range []*vulkan.Buffer{&own.squares, &own.lengths, &own.gains} {
		if b.Size == 0 {
			var err error
			if *b, err = d.take("magnitudes of an adapter", 4*w.rows); err != nil {
				d.gpu.Fail(err)
				return own
			}
		}
	}
	a, b := d.dense(c.A), d.dense(c.B)
	u, gram := d.Linear(a, c.W), d.New(a.Rows, a.Rows)
	d.multiply(product{
		a: d.at(a), b: d.at(a), c: d.at(gram), m: a.Rows, n: a.Rows, k: a.Cols, lda: a.Cols, stride: 2 * a.Cols, kind: types[tensor.F32],
	})
	if fresh || w.trains {
		d.lengths(lengthsSquares, own, c, 0, 0, 0, min(w.rows, mostGroups))
	}
	d.lengths(lengthsTotal, own, c, d.at(b), d.at(u), d.at(gram), groups(w.rows, 64))
	d.Release(a, b, u, gram)
	own.measured = true
	return own
}

// lengths runs a part of lengths.comp.
func (d *Device) lengths(part uint32, own *dora, c *device.DoRA, b, u, gram uint64, n int) {
	w := of(c.W)
	var p push
	p.addrs(w.buf.Addr, own.squares.Addr, b, u, gram, of(c.Magnitude).buf.Addr, own.lengths.Addr, own.gains.Addr)
	p.words(w.rows, w.cols, w.stride, c.A.Rows())
	p.float(c.Scale)
	d.run(kernelKey{"lengths", [2]uint32{w.kind, part}}, &p, n, 1, false)
}

// dense returns the values of a weight.
func (d *Device) dense(w device.Weight) *device.Tensor {
	ids := make([]int32, w.Rows())
	for i := range ids {
		ids[i] = int32(i)
	}
	return d.Embed(w, ids)
}
