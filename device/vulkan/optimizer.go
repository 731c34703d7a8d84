package vulkan

import (
	"fmt"
	"math"

	"leolm/device"
	"leolm/internal/codebook"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// moment is an optimizer moment on the GPU. Its bytes are those of package cpu: float32 values, or codes and then the scales
// of blocks.
type moment struct {
	d      *Device
	n      int
	values vulkan.Buffer // float32, or codes
	scales vulkan.Buffer // of codes
	coded  bool
	signed bool
}

// NewOptimizerState implements device.Device.
func (d *Device) NewOptimizerState(w device.Weight, bits int, signed bool) (device.OptimizerState, error) {
	c := of(w)
	if bits != 32 && bits != 8 {
		return nil, fmt.Errorf("optimizer state of %d bits: choose 32 or 8", bits)
	}
	m := &moment{d: d, n: c.gradients(), coded: bits == 8, signed: signed}
	what := "optimizer state of " + c.name
	if !m.coded {
		var err error
		if m.values, err = d.take(what, 4*m.n); err != nil {
			return nil, err
		}
		d.zero(m.values.Addr, m.n)
		return m, nil
	}
	if err := d.loadBooks(); err != nil {
		return nil, err
	}
	words := (m.n + 3) / 4
	var err error
	if m.values, err = d.take(what, 4*words); err == nil {
		m.scales, err = d.take(what, 4*m.blocks())
	}
	if err != nil {
		return nil, err
	}
	d.zero(m.values.Addr, words)
	d.zero(m.scales.Addr, m.blocks())
	return m, nil
}

// loadBooks copies the values of codes to the GPU, once.
func (d *Device) loadBooks() error {
	if d.books.Size > 0 {
		return nil
	}
	var err error
	if d.books, err = d.take("the values of 8-bit codes", 4*512); err != nil {
		return err
	}
	signed, unsigned := codebook.Values(true), codebook.Values(false)
	d.upload(d.books, append(signed[:], unsigned[:]...))
	return nil
}

func (m *moment) blocks() int { return (m.n + codebook.Block - 1) / codebook.Block }

// Bytes implements device.OptimizerState.
func (m *moment) Bytes() int {
	if m.coded {
		return m.n + 4*m.blocks()
	}
	return 4 * m.n
}

// Save implements device.OptimizerState.
func (m *moment) Save(dst []byte) {
	values := dst[:m.Bytes()]
	if m.coded {
		values = dst[:m.n]
	}
	err := m.d.gpu.Download(values, m.values, 0)
	if err == nil && m.coded {
		err = m.d.gpu.Download(dst[m.n:m.Bytes()], m.scales, 0)
	}
	if err != nil {
		m.d.gpu.Fail(err)
	}
}

// Load implements device.OptimizerState.
func (m *moment) Load(src []byte) error {
	if len(src) != m.Bytes() {
		return fmt.Errorf("optimizer state of %d bytes, want %d", len(src), m.Bytes())
	}
	if !m.coded {
		m.d.uploadBytes(m.values, src)
		return nil
	}
	m.d.uploadBytes(m.values, src[:m.n])
	m.d.uploadBytes(m.scales, src[m.n:])
	return nil
}

// uploadBytes copies src to the beginning of b; a last word is filled up with zeros.
func (d *Device) uploadBytes(b vulkan.Buffer, src []byte) {
	for at := 0; at < len(src); at += 4 * uploadPart {
		part := src[at:min(at+4*uploadPart, len(src))]
		d.gpu.Upload(b, int64(at), (len(part)+3)&^3, func(dst []byte) { clear(dst[copy(dst, part):]) })
	}
}

// momentOf is the GPU's own view of a moment.
func momentOf(s device.OptimizerState, signed bool) *moment {
	m, ok := s.(*moment)
	if !ok {
		panic(fmt.Sprintf("device: optimizer state of another device (%T)", s))
	}
	if m.coded && m.signed != signed {
		panic("device: optimizer state whose codes have the wrong sign")
	}
	return m
}

// update runs update.comp on n elements.
func (d *Device) update(x, g uint64, m, v *moment, muon uint32, n int, constants ...float32) {
	var p push
	coded := uint32(0)
	if m.coded {
		coded |= 1
	}
	p.addrs(x, g, m.values.Addr)
	if v != nil {
		if v.coded {
			coded |= 2
		}
		p.addrs(v.values.Addr, m.scales.Addr, v.scales.Addr, d.books.Addr)
	} else {
		p.addrs(0, m.scales.Addr, 0, d.books.Addr)
	}
	p.words(n)
	for _, c := range constants {
		p.float(c)
	}
	d.run(kernelKey{"update", [2]uint32{coded, muon}}, &p, groups(n, codebook.Block), 1, false)
}

// AdamW implements device.Device.
func (d *Device) AdamW(w device.Weight, m, v device.OptimizerState, h device.AdamW) {
	c := of(w)
	n, beta1, beta2 := float64(h.Step), float32(h.Beta1), float32(h.Beta2)
	d.update(c.trained(), d.gradient(c).Addr, momentOf(m, true), momentOf(v, false), 0, c.gradients(),
		float32(h.GradScale), float32(1-h.LR*h.WeightDecay), float32(1-float64(beta1)), beta2, float32(1-float64(beta2)),
		float32(h.LR/(1-math.Pow(float64(beta1), n))), float32(1/math.Sqrt(1-math.Pow(float64(beta2), n))), float32(h.Eps))
}

// Muon implements device.Device.
func (d *Device) Muon(w device.Weight, m device.OptimizerState, h device.Muon) {
	c := of(w)
	if c.frozen > 0 {
		panic(fmt.Sprintf("device: Muon of %s, whose first %d rows are frozen", c.name, c.frozen))
	}
	n := c.rows * c.cols
	x, sums := d.New(c.rows, c.cols), d.New(1, squareBlocks(n)+1)
	d.update(d.at(x), d.gradient(c).Addr, momentOf(m, true), nil, 1, n, float32(h.GradScale), 0, float32(1-h.Momentum), 0, 0, 0, 0, 0)
	d.squares(d.at(x), d.at(sums), n)
	length := d.at(sums) + uint64(4*(sums.Cols-1))
	var p push
	p.addrs(d.at(sums), length)
	p.words(sums.Cols - 1)
	p.float(device.MuonEps)
	d.run(kernelKey{"squares", [2]uint32{1}}, &p, 1, 1, false)
	d.derive(opScale, derivation{a: d.at(x), b: length, y: d.at(x), n: n})
	for range device.MuonRounds {
		x = d.orthogonalize(x, d.half(c))
	}
	// Moonlight's scale (Liu et al. 2025) gives the update the size that AdamW's usually has.
	step := -h.LR * 0.2 * math.Sqrt(float64(max(c.rows, c.cols)))
	d.combine(c.buf.Addr, float32(1-h.LR*h.WeightDecay), d.at(x), float32(step), n)
	d.Release(x, sums)
}

// combine makes x of s·x + t·y.
func (d *Device) combine(x uint64, s float32, y uint64, t float32, n int) {
	d.derive(opCombine, derivation{a: x, b: y, y: x, n: n, s: s, t: t})
}

// orthogonalize does one round on x and takes ownership of it: X ← a·X + (b·A + c·A²)·X with A = X·Xᵀ, or Xᵀ·X and the
// products from the other side, whichever is smaller.
func (d *Device) orthogonalize(x *device.Tensor, form uint32) *device.Tensor {
	rows, cols := x.Rows, x.Cols
	side := min(rows, cols)
	a, b, y := d.New(side, side), d.New(side, side), d.New(rows, cols)
	square := product{a: d.at(x), b: d.at(x), c: d.at(a), m: side, n: side, k: cols, form: form}
	last := product{a: d.at(b), b: d.at(x), c: d.at(y), m: rows, n: cols, k: side, form: form | formRows}
	if rows > cols {
		square.k, square.form = rows, form|formRows|formTurned
		last.a, last.b = d.at(x), d.at(b)
	}
	d.multiplyDense(square, cols, cols)
	d.multiplyDense(product{a: d.at(a), b: d.at(a), c: d.at(b), m: side, n: side, k: side, form: form | formRows}, side, side)
	d.combine(d.at(b), device.MuonC, d.at(a), device.MuonB, side*side)
	if rows <= cols {
		d.multiplyDense(last, side, cols)
	} else {
		d.multiplyDense(last, cols, side)
	}
	d.combine(d.at(y), 1, d.at(x), device.MuonA, rows*cols)
	d.Release(a, b, x)
	return y
}

// multiplyDense multiplies matrices of float32 whose stored rows have so many elements.
func (d *Device) multiplyDense(p product, colsA, colsB int) {
	p.lda, p.stride, p.kind, p.units = colsA, 2*colsB, types[tensor.F32], p.form&formHalf != 0
	d.multiply(p)
}
