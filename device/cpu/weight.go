package cpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"leolm/device"
	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/qmat"
	"leolm/internal/largepage"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// weight is a device.Weight of the CPU device: exactly one of the layouts is set.
type weight struct {
	name       string
	rows, cols int
	dt         tensor.DType

	vec  []float32    // a vector, or the row-major values of a trainable weight
	grad []float32    // row-major, from row frozen on; nil where nothing was added since it was made or dropped
	f32  []float32    // gemm panels
	bf16 []uint16     // gemm panels of bf16 pairs
	f16  []uint16     // gemm panels
	q    *qmat.Packed // quantized panels

	trains bool
	frozen int // leading rows of vec that no gradient reaches

	taken layout // of values that are not here (see device.Sharer),
	size  int    // and their bytes
}

func (w *weight) Rows() int           { return w.rows }
func (w *weight) Cols() int           { return w.cols }
func (w *weight) DType() tensor.DType { return w.dt }
func (w *weight) Trainable() bool     { return w.trains }
func (w *weight) FrozenRows() int     { return w.frozen }

// trained returns the values that the gradient belongs to.
func (w *weight) trained() []float32 { return w.vec[w.frozen*w.cols:] }

// gradients is the length of the gradient.
func (w *weight) gradients() int { return (w.rows - w.frozen) * w.cols }

func (w *weight) Bytes() int {
	n := 4*(len(w.vec)+len(w.grad)+len(w.f32)) + 2*(len(w.bf16)+len(w.f16))
	if w.q != nil {
		n += len(w.q.Data)
	}
	return n
}

// of returns the CPU's own view of w.
func of(w device.Weight) *weight {
	c, ok := w.(*weight)
	if !ok {
		panic(fmt.Sprintf("device: weight of type %T belongs to another device", w))
	}
	return c
}

// NewWeight implements device.Device. The values are repacked once into the layout of the products.
func (d *Device) NewWeight(s device.WeightSpec) (device.Weight, error) {
	if _, err := s.RowBytes(); err != nil {
		return nil, err
	}
	w := &weight{name: s.Name, rows: s.Rows, cols: s.Cols, dt: s.DType}
	if s.Use&device.WeightUseVector != 0 {
		w.vec = make([]float32, s.Rows*s.Cols)
		for i := range s.Rows {
			if err := quant.Dequantize(w.vec[i*s.Cols:(i+1)*s.Cols], s.DType, s.Row(i)); err != nil {
				return nil, fmt.Errorf("weight %s: %w", s.Name, err)
			}
		}
		return w, nil
	}
	switch s.DType {
	case tensor.F32, tensor.F64:
		w.f32 = largepage.Make[float32](gemm.PackedLenF32(s.Rows, s.Cols))
		return w, d.packPanels(s, func(rows []float32, lo, hi int) { w.packRowsF32(rows, lo, hi) })
	case tensor.F16, tensor.BF16:
		n, pack := gemm.PackedLenF16(s.Rows, s.Cols), gemm.PackF16
		if s.DType == tensor.BF16 {
			n, pack = gemm.PackedLenBF16(s.Rows, s.Cols), gemm.PackBF16
		}
		mem, filled, err := d.place(&s, 2*n)
		if err != nil {
			return nil, err
		}
		h := view[uint16](mem)
		if !filled {
			d.packHalves(s, h, pack)
		}
		if s.DType == tensor.BF16 {
			w.bf16 = h
		} else {
			w.f16 = h
		}
		return w, nil
	}
	if !qmat.Supported(s.DType) {
		return nil, fmt.Errorf("weight %s: products with %v are not supported", s.Name, s.DType)
	}
	size, err := qmat.PackedSize(s.DType, s.Rows, s.Cols)
	if err != nil {
		return nil, fmt.Errorf("weight %s: %w", s.Name, err)
	}
	mem, filled, err := d.place(&s, size)
	if err != nil {
		return nil, err
	}
	if w.q, err = qmat.NewPacked(s.DType, s.Rows, s.Cols, mem); err != nil {
		return nil, fmt.Errorf("weight %s: %w", s.Name, err)
	}
	if filled {
		return w, nil
	}
	panels := w.q.Panels()
	chunks := min(panels, 64)
	errs := make([]error, chunks)
	d.pool.Run(chunks, func(_, c int) { errs[c] = w.q.Pack(s.Row, c*panels/chunks, (c+1)*panels/chunks) })
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("weight %s: %w", s.Name, err)
	}
	return w, nil
}

// UseStore places weights made from now on in s; nil ends that.
func (d *Device) UseStore(s *Store) { d.store = s }

// place returns memory for a packed weight, from the store if there is one.
func (d *Device) place(s *device.WeightSpec, size int) (mem []byte, filled bool, err error) {
	if d.store != nil {
		return d.store.place(s.Name, s.DType, s.Rows, s.Cols, size)
	}
	// float32 memory, so that every element type is aligned.
	words := largepage.Make[float32]((size + 3) / 4)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size), false, nil
}

// packPanels reads the rows of every panel as float32 and hands them to pack.
func (d *Device) packPanels(s device.WeightSpec, pack func(rows []float32, lo, hi int)) error {
	panels := gemm.Panels(s.Rows)
	errs := make([]error, panels)
	d.pool.Run(panels, func(worker, p int) {
		lo, hi := p*gemm.PanelWidth, min((p+1)*gemm.PanelWidth, s.Rows)
		buf := d.worker(worker, (hi-lo)*s.Cols)
		for i := lo; i < hi; i++ {
			if err := quant.Dequantize(buf[(i-lo)*s.Cols:(i-lo+1)*s.Cols], s.DType, s.Row(i)); err != nil {
				errs[p] = fmt.Errorf("weight %s, row %d: %w", s.Name, i, err)
				return
			}
		}
		pack(buf, lo, hi)
	})
	return errors.Join(errs...)
}

// packRowsF32 packs rows [lo, hi) of the weight, which are one panel, from row-major values.
func (w *weight) packRowsF32(rows []float32, lo, hi int) {
	at := lo * w.cols
	gemm.PackF32(w.f32[at:at+gemm.PackedLenF32(hi-lo, w.cols)], rows, 1, w.cols, hi-lo, w.cols, 0, 1)
}

// packHalves packs 16-bit rows panel by panel.
func (d *Device) packHalves(s device.WeightSpec, dst []uint16, pack func(dst, src []uint16, ks, js, n, k, panelLo, panelHi int)) {
	panels := gemm.Panels(s.Rows)
	panelLen := len(dst) / panels
	d.pool.Run(panels, func(worker, p int) {
		lo, hi := p*gemm.PanelWidth, min((p+1)*gemm.PanelWidth, s.Rows)
		buf := halves(d.worker(worker, (hi-lo)*s.Cols))[:(hi-lo)*s.Cols]
		for i := lo; i < hi; i++ {
			row := s.Row(i)
			for j := range s.Cols {
				buf[(i-lo)*s.Cols+j] = binary.LittleEndian.Uint16(row[2*j:])
			}
		}
		pack(dst[p*panelLen:(p+1)*panelLen], buf, 1, s.Cols, hi-lo, s.Cols, 0, 1)
	})
}

// halves views float32 memory as twice as many 16-bit words.
func halves(f []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(f))), 2*len(f))
}

// NewParam implements device.Device.
func (d *Device) NewParam(name string, rows, cols int) device.Weight {
	return &weight{name: name, rows: rows, cols: cols, dt: tensor.F32, vec: largepage.Make[float32](rows * cols), trains: true}
}

// row writes row i as float32.
func (w *weight) row(dst []float32, i int) {
	const pw = gemm.PanelWidth
	p, lane := i/pw, i%pw
	switch {
	case w.vec != nil:
		copy(dst, w.vec[i*w.cols:(i+1)*w.cols])
	case w.f32 != nil:
		src := w.f32[p*pw*w.cols+lane:]
		for k := range dst {
			dst[k] = src[k*pw]
		}
	case w.f16 != nil:
		src := w.f16[p*pw*w.cols+lane:]
		for k := range dst {
			dst[k] = tensor.F16ToF32(src[k*pw])
		}
	case w.bf16 != nil:
		src := w.bf16[p*pw*(w.cols+w.cols&1)+2*lane:]
		for k := range dst {
			dst[k] = tensor.BF16ToF32(src[k>>1*2*pw+k&1])
		}
	default:
		w.q.DequantizeRow(dst, i)
	}
}

// ReadWeight implements device.Device.
func (d *Device) ReadWeight(w device.Weight, dst []float32) {
	c := of(w)
	if c.q != nil {
		d.pool.Run(c.q.Panels(), func(worker, p int) {
			lo, hi := p*qmat.PanelRows, min((p+1)*qmat.PanelRows, c.rows)
			panel := d.worker(worker, qmat.PanelRows*c.cols)
			c.q.DequantizePanel(panel, p)
			copy(dst[lo*c.cols:hi*c.cols], panel)
		})
		return
	}
	d.rows(c.rows, c.cols, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			c.row(dst[i*c.cols:(i+1)*c.cols], i)
		}
	})
}

// WriteWeight implements device.Device.
func (d *Device) WriteWeight(w device.Weight, src []float32) error {
	c := of(w)
	if len(src) != c.rows*c.cols {
		return fmt.Errorf("weight %s is [%d, %d], got %d values", c.name, c.rows, c.cols, len(src))
	}
	if c.vec == nil {
		return fmt.Errorf("weight %s is frozen and cannot be written", c.name)
	}
	copy(c.vec, src)
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

// gradient returns what derivatives are added to.
func (d *Device) gradient(c *weight) []float32 {
	if c.grad != nil || !c.trains {
		return c.grad
	}
	n := c.gradients()
	if list := d.spare[n]; len(list) > 0 {
		c.grad, d.spare[n] = list[len(list)-1], list[:len(list)-1]
	} else {
		c.grad = largepage.Make[float32](n)
	}
	return c.grad
}

// DropGrad implements device.Device.
func (d *Device) DropGrad(ws ...device.Weight) {
	d.ZeroGrad(ws...)
	for _, w := range ws {
		c := of(w)
		if c.grad == nil {
			continue
		}
		if d.spare == nil {
			d.spare = map[int][][]float32{}
		}
		d.spare[len(c.grad)] = append(d.spare[len(c.grad)], c.grad)
		c.grad = nil
	}
}

// ReadGrad implements device.Device.
func (d *Device) ReadGrad(w device.Weight, dst []float32) {
	c := of(w)
	if c.grad == nil {
		clear(dst[:c.gradients()])
		return
	}
	copy(dst, c.grad)
}

// WriteGrad implements device.Device.
func (d *Device) WriteGrad(w device.Weight, src []float32) { copy(d.gradient(of(w)), src) }

// ZeroGrad implements device.Device.
func (d *Device) ZeroGrad(ws ...device.Weight) {
	for _, w := range ws {
		g := of(w).grad
		d.rows(len(g), 1, func(lo, hi int) { clear(g[lo:hi]) })
	}
}

// gradBlock is the run of gradient elements that is summed by itself, so that the sum
// does not depend on the number of workers.
const gradBlock = 1 << 16

// GradSquares implements device.Device.
func (d *Device) GradSquares(ws ...device.Weight) []float64 {
	out := make([]float64, len(ws))
	for i, w := range ws {
		out[i] = d.squares(of(w).grad)
	}
	return out
}

// squares is Σg².
func (d *Device) squares(g []float32) float64 {
	n := (len(g) + gradBlock - 1) / gradBlock
	sums := make([]float64, n)
	d.pool.Run(n, func(_, b int) { sums[b] = sumSquares(g[b*gradBlock : min((b+1)*gradBlock, len(g))]) })
	var s float64
	for _, x := range sums {
		s += x
	}
	return s
}
