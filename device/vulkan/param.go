package vulkan

import (
	"fmt"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// NewParam implements device.Device. Where there is no memory, Sync says so.
func (d *Device) NewParam(name string, rows, cols int) device.Weight {
	w := &weight{name: name, rows: rows, cols: cols, dt: tensor.F32, kind: types[tensor.F32], stride: 2 * cols, trains: true}
	var err error
	if w.buf, err = d.take("weight "+name, 4*rows*cols); err != nil {
		d.gpu.Fail(err)
		return w
	}
	d.zero(w.buf.Addr, rows*cols)
	return w
}

// zero clears n elements.
func (d *Device) zero(addr uint64, n int) { d.elements(opZero, 0, 0, addr, 0, n, 1, 0) }

// WriteWeight implements device.Device.
func (d *Device) WriteWeight(w device.Weight, src []float32) error {
	c := of(w)
	if len(src) != c.rows*c.cols {
		return fmt.Errorf("weight %s is [%d, %d], got %d values", c.name, c.rows, c.cols, len(src))
	}
	if !c.trains {
		return fmt.Errorf("weight %s is frozen and cannot be written", c.name)
	}
	if c.buf.Size > 0 {
		d.upload(c.buf, src)
	}
	return nil
}

// FreezeRows implements device.Device.
func (d *Device) FreezeRows(w device.Weight, n int) {
	c := of(w)
	if !c.trains || n < 0 || n >= c.rows {
		panic(fmt.Sprintf("device: %d rows of %s [%d, %d] cannot be frozen", n, c.name, c.rows, c.cols))
	}
	d.DropGrad(w)
	c.frozen = n
}

// trained is where the values are that the gradient belongs to.
func (w *weight) trained() uint64 { return w.buf.Addr + uint64(4*w.frozen*w.cols) }

// gradients is the length of the gradient.
func (w *weight) gradients() int { return (w.rows - w.frozen) * w.cols }

// gradient returns what derivatives are added to.
func (d *Device) gradient(w *weight) vulkan.Buffer {
	if !w.trains {
		panic(fmt.Sprintf("device: the gradient of %s, which is frozen", w.name))
	}
	if w.grad.Size == 0 {
		var err error
		if w.grad, err = d.take("the gradient of "+w.name, 4*w.gradients()); err != nil {
			d.gpu.Fail(err)
			return w.grad
		}
		d.zero(w.grad.Addr, w.gradients())
	}
	return w.grad
}

// DropGrad implements device.Device.
func (d *Device) DropGrad(ws ...device.Weight) {
	for _, w := range ws {
		c := of(w)
		d.drop(c.grad)
		c.grad = vulkan.Buffer{}
	}
}

// ReadGrad implements device.Device.
func (d *Device) ReadGrad(w device.Weight, dst []float32) {
	c := of(w)
	if c.grad.Size == 0 {
		clear(dst[:c.gradients()])
		return
	}
	d.download(dst[:c.gradients()], c.grad)
}

// WriteGrad implements device.Device.
func (d *Device) WriteGrad(w device.Weight, src []float32) {
	if g := d.gradient(of(w)); g.Size > 0 {
		d.upload(g, src)
	}
}

// ZeroGrad implements device.Device.
func (d *Device) ZeroGrad(ws ...device.Weight) {
	for _, w := range ws {
		if c := of(w); c.grad.Size > 0 {
			d.zero(c.grad.Addr, c.gradients())
		}
	}
}

// squareBlock is how many elements a work group of squares.comp sums up.
const squareBlock = 1 << 16

// GradSquares implements device.Device: blocks are summed up on the GPU, and their sums here.
func (d *Device) GradSquares(ws ...device.Weight) []float64 {
	total := 0
	for _, w := range ws {
		total += squareBlocks(of(w).gradients())
	}
	out := make([]float64, len(ws))
	if total == 0 {
		return out
	}
	sums, at := d.New(1, total), 0
	for _, w := range ws {
		c := of(w)
		if c.grad.Size > 0 {
			d.squares(c.grad.Addr, d.at(sums)+uint64(4*at), c.gradients())
		}
		at += squareBlocks(c.gradients())
	}
	values := make([]float32, total)
	d.Read(sums, values)
	d.Release(sums)
	for i, w := range ws {
		c := of(w)
		n := squareBlocks(c.gradients())
		if c.grad.Size > 0 {
			for _, s := range values[:n] {
				out[i] += float64(s)
			}
		}
		values = values[n:]
	}
	return out
}

func squareBlocks(n int) int { return (n + squareBlock - 1) / squareBlock }

// squares sums up the squares of n elements, block by block.
func (d *Device) squares(from, to uint64, n int) {
	for lo := 0; lo < n; lo += squareBlock * mostGroups {
		part := min(n-lo, squareBlock*mostGroups)
		var p push
		p.addrs(from+uint64(4*lo), to+uint64(4*(lo/squareBlock)))
		p.words(part)
		p.float(0)
		d.run(kernelKey{shader: "squares"}, &p, squareBlocks(part), 1, false)
	}
}
