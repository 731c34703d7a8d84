package vulkan

import (
	"fmt"

	"leolm/device"
	"leolm/tensor"
)

// product is c = a·b of [m, k] and [k, n], or c += a·b. a and c hold float32; b is stored as kind, in rows that are columns
// of b unless form says otherwise.
type product struct {
	a, b, c uint64
	m, n, k int
	lda     int // elements between stored rows of a
	stride  int // 16-bit words between stored rows of b
	kind    uint32
	form    uint32
	add     bool
	units   bool // on matrix units, if there are any: operands have 11 bits there
}

// Forms of products, as in product.comp.
const (
	formRows   = 1 << iota // a stored row of b is a row of b
	formTurned             // a is stored [k, m]
	formHalf               // operands are rounded to bf16
)

// forward is y = x·wᵀ as a product of training.
func (d *Device) forward(y, x *device.Tensor, w *weight) product {
	return product{
		a: d.at(x), b: w.buf.Addr, c: d.at(y), m: x.Rows, n: w.rows, k: w.cols, lda: w.cols, stride: w.stride, kind: w.kind,
		form: d.half(w), units: d.half(w) != 0,
	}
}

// multiply computes a product of training. Sums have one order, given by k.
func (d *Device) multiply(p product) {
	if !d.packs(&p) {
		d.multiplyPlain(p)
		return
	}
	a := d.packA(&p)
	d.multiplyPacked(&p, a)
	d.Release(a.values, a.powers)
}

// multiplyPlain computes a product in float32.
func (d *Device) multiplyPlain(p product) {
	const tile = 64
	var args push
	add := 0
	if p.add {
		add = 1
	}
	args.addrs(p.a, p.b, p.c)
	args.words(p.m, p.n, p.k, p.lda, p.stride, add)
	d.run(kernelKey{"product", [2]uint32{p.kind, p.form}}, &args, (p.n+tile-1)/tile, (p.m+tile-1)/tile, false)
}

// onUnits reports whether derivatives through w are computed on matrix units where there are any: those of frozen weights
// that are stored in fewer bits, too.
func (d *Device) onUnits(w *weight) bool {
	return d.compute == tensor.BF16 && (w.trains || w.kind != types[tensor.F32])
}

// half is formHalf if products of w are computed in bf16.
func (d *Device) half(w *weight) uint32 {
	if w.trains && d.compute == tensor.BF16 {
		return formHalf
	}
	return 0
}

// SetCompute implements device.Device.
func (d *Device) SetCompute(dt tensor.DType) error {
	if dt != tensor.F32 && dt != tensor.BF16 {
		return fmt.Errorf("compute type %v: GPUs train in f32 or bf16", dt)
	}
	d.compute = dt
	return nil
}

// LinearGradInput implements device.Derivatives, through weights of every stored type.
func (d *Device) LinearGradInput(dy *device.Tensor, w device.Weight, acc *device.Tensor) *device.Tensor {
	c := of(w)
	if dy.Cols != c.rows {
		panic(fmt.Sprintf("device: %v times %s [%d, %d]", dy, c.name, c.rows, c.cols))
	}
	add := acc != nil
	if add {
		acc = d.own(acc)
	} else {
		acc = d.New(dy.Rows, c.cols)
	}
	d.multiply(product{
		a: d.at(dy), b: c.buf.Addr, c: d.at(acc), m: dy.Rows, n: c.cols, k: c.rows, lda: dy.Cols, stride: c.stride,
		kind: c.kind, form: formRows | d.half(c), add: add, units: d.onUnits(c),
	})
	return acc
}

// LinearGradWeight implements device.Derivatives.
func (d *Device) LinearGradWeight(x, dy *device.Tensor, w device.Weight) {
	c := of(w)
	if x.Cols != c.cols || dy.Cols != c.rows || x.Rows != dy.Rows {
		panic(fmt.Sprintf("device: the gradient of %s [%d, %d] from %v and %v", c.name, c.rows, c.cols, x, dy))
	}
	grad := d.gradient(c)
	d.multiply(product{
		a: d.at(dy) + uint64(4*c.frozen), b: d.at(x), c: grad.Addr, m: c.rows - c.frozen, n: c.cols, k: x.Rows,
		lda: dy.Cols, stride: 2 * x.Cols, kind: types[tensor.F32], form: formRows | formTurned | d.half(c), add: true, units: d.onUnits(c),
	})
}

// own returns t for changing in place: t itself if the caller is its only holder, else a copy. It takes ownership of t.
func (d *Device) own(t *device.Tensor) *device.Tensor {
	if mat(t).refs == 1 {
		return t
	}
	c := d.New(t.Rows, t.Cols)
	d.copy(c, t)
	d.Release(t)
	return c
}

// copy copies the values of src.
func (d *Device) copy(dst, src *device.Tensor) {
	if d.at(dst) != 0 && d.at(src) != 0 {
		d.gpu.Copy(mat(dst).buf, 0, mat(src).buf, 0, 4*int64(src.Rows)*int64(src.Cols))
	}
}
