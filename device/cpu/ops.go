package cpu

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"leolm/device"
	"leolm/internal/kernel/vec"
	"leolm/internal/splitmix"
	"leolm/tensor"
)

func widenBF16(dst []float32, src []uint16)  { vec.F32FromBF16(dst, src) }
func narrowBF16(dst []uint16, src []float32) { vec.BF16FromF32(dst, src) }
func sumSquares(x []float32) float64         { return float64(vec.SumSquares(x)) }

// Embed implements device.Ops.
func (d *Device) Embed(table device.Weight, ids []int32) *device.Tensor {
	w := of(table)
	y := d.alloc(len(ids), w.cols)
	d.computeRows(y, operands{w: w, ids: ids}, func(o *operands, y []float32, lo, hi int) {
		n := o.w.cols
		for i, id := range o.ids[lo:hi] {
			o.w.row(y[i*n:(i+1)*n], int(id))
		}
	})
	return &y.Tensor
}

// EmbedGrad implements device.Derivatives. Rows are added in the order of ids.
func (d *Device) EmbedGrad(table device.Weight, ids []int32, dy *device.Tensor) {
	w := of(table)
	g, v := d.gradient(w), d.values(mat(dy))
	// Columns are split, not rows, so that repeated ids need no lock and the order is fixed.
	d.columns(w.cols, len(ids), func(lo, hi int) {
		for i, id := range ids {
			at := (int(id) - w.frozen) * w.cols
			if at < 0 {
				continue
			}
			vec.Add(g[at+lo:at+hi], g[at+lo:at+hi], v[i*w.cols+lo:i*w.cols+hi])
		}
	})
}

// RMSNorm implements device.Ops.
func (d *Device) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	return d.operand(x.Rows, x.Cols, operands{a: d.values(mat(x)), b: of(gain).vec, n: x.Cols, s: eps}, func(o *operands, y []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			vec.RMSNorm(y[(i-lo)*o.n:(i-lo+1)*o.n], o.a[i*o.n:(i+1)*o.n], o.b, o.s)
		}
	})
}

// RMSNormGrad implements device.Derivatives.
func (d *Device) RMSNormGrad(x *device.Tensor, gain device.Weight, eps float32, dy *device.Tensor, needX bool) *device.Tensor {
	w, v, g, n := of(gain), d.values(mat(x)), d.values(mat(dy)), x.Cols
	dx, inv := d.alloc(x.Rows, n), d.alloc(1, x.Rows)
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, at := v[i*n:(i+1)*n], dx.f32[i*n:(i+1)*n]
			inv.f32[i] = vec.RMSNorm(at, row, w.vec, eps)
			clear(at)
			vec.RMSNormBackward(at, g[i*n:(i+1)*n], row, w.vec, inv.f32[i])
		}
	})
	if w.trains {
		gain := d.gradient(w)
		// Columns are split, so that every element sums over the rows in order.
		d.columns(n, x.Rows, func(lo, hi int) {
			vec.RMSNormGainBackward(gain[lo:hi], g[lo:], v[lo:], n, inv.f32)
		})
	}
	d.free(inv)
	if !needX {
		d.free(dx)
		return nil
	}
	return &dx.Tensor
}

// AddBias implements device.Ops.
func (d *Device) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	v, bias, n := d.values(mat(x)), of(b).vec, x.Cols
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			vec.Add(v[i*n:(i+1)*n], v[i*n:(i+1)*n], bias)
		}
	})
	return x
}

// AddBiasGrad implements device.Derivatives.
func (d *Device) AddBiasGrad(b device.Weight, dy *device.Tensor) {
	g, v, n := d.gradient(of(b)), d.values(mat(dy)), dy.Cols
	for i := range dy.Rows {
		vec.Add(g, g, v[i*n:(i+1)*n])
	}
}

// rope is the CPU's part of a device.Rope. Its tables grow by being replaced, so that whoever reads them needs no lock.
type rope struct {
	grow   sync.Mutex // held by whoever makes longer tables
	tables atomic.Pointer[ropeTables]
}

// ropeTables are cosines and sines, [positions, HeadDim/2].
type ropeTables struct{ cos, sin []float32 }

// ropeStart is how many positions the first tables have.
const ropeStart = 512

// NewRope implements device.Device.
func (d *Device) NewRope(headDim int, invFreq []float32) *device.Rope {
	if headDim < 2 || len(invFreq) != headDim/2 {
		panic(fmt.Sprintf("device: %d frequencies for heads of %d", len(invFreq), headDim))
	}
	r := &rope{}
	r.tables.Store(&ropeTables{})
	return &device.Rope{HeadDim: headDim, InvFreq: slices.Clone(invFreq), Impl: r}
}

// ropeFor returns tables of r that cover the positions.
func ropeFor(r *device.Rope, positions []int32) *ropeTables {
	own, ok := r.Impl.(*rope)
	if !ok {
		panic(fmt.Sprintf("device: a rotary embedding of another device (%T)", r.Impl))
	}
	need, half := 0, len(r.InvFreq)
	for _, p := range positions {
		need = max(need, int(p)+1)
	}
	if t := own.tables.Load(); len(t.cos) >= need*half {
		return t
	}
	own.grow.Lock()
	defer own.grow.Unlock()
	old := own.tables.Load()
	have := len(old.cos) / half
	if have >= need { // by another goroutine
		return old
	}
	total := max(need, 2*have, ropeStart)
	t := &ropeTables{cos: make([]float32, total*half), sin: make([]float32, total*half)}
	at := copy(t.cos, old.cos)
	copy(t.sin, old.sin)
	for p := have; p < total; p++ {
		for _, f := range r.InvFreq {
			t.cos[at], t.sin[at] = turn(int32(p), f, r.Scale)
			at++
		}
	}
	own.tables.Store(t)
	return t
}

// turn returns cosine and sine of a position for one frequency.
func turn(position int32, freq, scale float32) (cos, sin float32) {
	// The angle is rounded to float32 first, as Hugging Face's tables are.
	s, c := math.Sincos(float64(float32(position) * freq))
	cos, sin = float32(c), float32(s)
	if scale != 0 {
		cos, sin = cos*scale, sin*scale
	}
	return cos, sin
}

// Rope implements device.Ops.
func (d *Device) Rope(x *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	d.rotate(mat(x), r, positions, vec.Rope)
	return x
}

// RopeGrad implements device.Derivatives.
func (d *Device) RopeGrad(dy *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	own := d.own(mat(dy))
	d.rotate(own, r, positions, vec.RopeBackward)
	return &own.Tensor
}

func (d *Device) rotate(x *matrix, r *device.Rope, positions []int32, f func(x, cos, sin []float32)) {
	if len(positions) != x.Rows {
		panic(fmt.Sprintf("device: %d positions for %d rows", len(positions), x.Rows))
	}
	d.values(x)
	if r.Rows != nil {
		d.rotateRows(x, r, positions, f)
		return
	}
	o := operands{n: x.Cols, ids: positions, half: len(r.InvFreq), tables: ropeFor(r, positions), rotate: f}
	d.computeRows(x, o, func(o *operands, y []float32, lo, hi int) {
		for i, p := range o.ids[lo:hi] {
			at := int(p) * o.half
			cos, sin := o.tables.cos[at:at+o.half], o.tables.sin[at:at+o.half]
			row := y[i*o.n : (i+1)*o.n]
			for h := 0; h < o.n; h += 2 * o.half {
				o.rotate(row[h:h+2*o.half], cos, sin)
			}
		}
	})
}

// rotateRows is rotate where each row has frequencies of its own: rare, so that no tables are kept.
func (d *Device) rotateRows(x *matrix, r *device.Rope, positions []int32, f func(x, cos, sin []float32)) {
	if len(r.Rows) != x.Rows {
		panic(fmt.Sprintf("device: frequencies of %d rows for %d rows", len(r.Rows), x.Rows))
	}
	d.computeRows(x, operands{n: x.Cols, ids: positions, half: r.HeadDim / 2, rotate: f}, func(o *operands, y []float32, lo, hi int) {
		table := make([]float32, 2*o.half)
		cos, sin := table[:o.half], table[o.half:]
		for i, p := range o.ids[lo:hi] {
			for k, freq := range r.Rows[lo+i] {
				cos[k], sin[k] = turn(p, freq, r.Scale)
			}
			row := y[i*o.n : (i+1)*o.n]
			for h := 0; h < o.n; h += 2 * o.half {
				o.rotate(row[h:h+2*o.half], cos, sin)
			}
		}
	})
}

// SwiGLU implements device.Ops.
func (d *Device) SwiGLU(gate, up *device.Tensor) *device.Tensor {
	return d.operand(gate.Rows, gate.Cols, operands{a: d.values(mat(gate)), b: d.values(mat(up)), n: gate.Cols}, func(o *operands, y []float32, lo, hi int) {
		vec.SwiGLU(y, o.a[lo*o.n:hi*o.n], o.b[lo*o.n:hi*o.n])
	})
}

// SwiGLUGrad implements device.Derivatives.
func (d *Device) SwiGLUGrad(gate, up, dy *device.Tensor) (dgate, dup *device.Tensor) {
	n := gate.Cols
	if d.compute == tensor.BF16 {
		dg, du := d.swiGLUGradHalf(d.half(mat(gate)), d.half(mat(up)), d.values(mat(dy)), gate.Rows, n)
		return &dg.Tensor, &du.Tensor
	}
	g, u, v := d.values(mat(gate)), d.values(mat(up)), d.values(mat(dy))
	dg, du := d.alloc(gate.Rows, n), d.alloc(gate.Rows, n)
	d.rows(gate.Rows, n, func(lo, hi int) {
		vec.SwiGLUBackward(dg.f32[lo*n:hi*n], du.f32[lo*n:hi*n], v[lo*n:hi*n], g[lo*n:hi*n], u[lo*n:hi*n])
	})
	return &dg.Tensor, &du.Tensor
}

// swiGLUGradHalf is SwiGLUGrad of values saved in bf16, for products that will read bf16: f32 exists only in blocks
// that fit the cache.
func (d *Device) swiGLUGradHalf(gate, up []uint16, dy []float32, rows, n int) (dgate, dup *matrix) {
	dgate, dup = d.newHalf(rows, n), d.newHalf(rows, n)
	d.rowsOn(rows, n, func(worker, lo, hi int) {
		buf := d.worker(worker, 4*nearBlock)
		for at := lo * n; at < hi*n; at += nearBlock {
			end := min(at+nearBlock, hi*n)
			part := func(i int) []float32 { return buf[i*nearBlock : i*nearBlock+end-at] }
			g, u, dg, du := part(0), part(1), part(2), part(3)
			widenBF16(g, gate[at:end])
			widenBF16(u, up[at:end])
			vec.SwiGLUBackward(dg, du, dy[at:end], g, u)
			narrowBF16(dgate.h[at:end], dg)
			narrowBF16(dup.h[at:end], du)
		}
	})
	return dgate, dup
}

// Add implements device.Ops.
func (d *Device) Add(x, y *device.Tensor, s float32) *device.Tensor {
	z := d.alloc(x.Rows, x.Cols)
	d.computeRows(z, operands{a: d.values(mat(x)), b: d.values(mat(y)), n: x.Cols, s: s}, func(o *operands, z []float32, lo, hi int) {
		a, b := o.a[lo*o.n:hi*o.n], o.b[lo*o.n:hi*o.n]
		if o.s == 1 {
			vec.Add(z, a, b)
			return
		}
		copy(z, a)
		vec.Axpy(z, o.s, b)
	})
	return &z.Tensor
}

// Accumulate implements device.Derivatives.
func (d *Device) Accumulate(x, y *device.Tensor) *device.Tensor {
	sum := d.own(mat(x))
	a, b, n := d.values(sum), d.values(mat(y)), sum.Cols
	d.rows(sum.Rows, n, func(lo, hi int) { vec.Add(a[lo*n:hi*n], a[lo*n:hi*n], b[lo*n:hi*n]) })
	return &sum.Tensor
}

// Dropout implements device.Ops. Element i is kept by a hash of (seed, i), so the mask
// does not depend on how the work is split.
func (d *Device) Dropout(x *device.Tensor, p float32, seed uint64) *device.Tensor {
	y, v, n := d.alloc(x.Rows, x.Cols), d.values(mat(x)), x.Cols
	limit := uint64(float64(p) * (1 << 32))
	scale := 1 / (1 - p)
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo * n; i < hi*n; i++ {
			if noise(seed+uint64(i))>>32 < limit {
				y.f32[i] = 0
			} else {
				y.f32[i] = v[i] * scale
			}
		}
	})
	return &y.Tensor
}

// Noise implements device.Ops.
func (d *Device) Noise(x *device.Tensor, scales []float32, seed uint64) *device.Tensor {
	y, v, n := d.alloc(x.Rows, x.Cols), d.values(mat(x)), x.Cols
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := i * n; j < (i+1)*n; j++ {
				u := float32(int32(noise(seed+uint64(j))>>32)) / (1 << 31) // in [-1, 1)
				y.f32[j] = v[j] + scales[i]*u
			}
		}
	})
	return &y.Tensor
}

// noise is the random number of a place.
func noise(place uint64) uint64 { return splitmix.Mix(place * splitmix.Gamma) }

// Gather implements device.Ops.
func (d *Device) Gather(x *device.Tensor, rows []int32) *device.Tensor {
	return &d.gather(mat(x), rows).Tensor
}

func (d *Device) gather(x *matrix, rows []int32) *matrix {
	if x.f32 == nil {
		y, n := d.newHalf(len(rows), x.Cols), x.Cols
		for i, r := range rows {
			copy(y.h[i*n:(i+1)*n], x.h[int(r)*n:(int(r)+1)*n])
		}
		return y
	}
	y, v, n := d.alloc(len(rows), x.Cols), d.values(x), x.Cols
	for i, r := range rows {
		copy(y.f32[i*n:(i+1)*n], v[int(r)*n:(int(r)+1)*n])
	}
	return y
}

// GatherGrad implements device.Derivatives.
func (d *Device) GatherGrad(dy *device.Tensor, rows []int32, total int) *device.Tensor {
	dx, v, n := d.alloc(total, dy.Cols), d.values(mat(dy)), dy.Cols
	clear(dx.f32)
	for i, r := range rows {
		at := dx.f32[int(r)*n : (int(r)+1)*n]
		vec.Add(at, at, v[i*n:(i+1)*n])
	}
	return &dx.Tensor
}

// AdamW implements device.Device.
func (d *Device) AdamW(w device.Weight, m, v device.OptimizerState, h device.AdamW) {
	c := of(w)
	p := vec.AdamParams{
		LR: float32(h.LR), Beta1: float32(h.Beta1), Beta2: float32(h.Beta2), Eps: float32(h.Eps),
		WeightDecay: float32(h.WeightDecay), Step: h.Step, GradScale: float32(h.GradScale),
	}
	mm, vv := m.(stateBlock), v.(stateBlock)
	x, g := c.trained(), d.gradient(c)
	n := len(g)
	blocks := (n + MomentBlock - 1) / MomentBlock
	d.pool.Run(blocks, func(worker, b int) {
		lo, hi := b*MomentBlock, min((b+1)*MomentBlock, n)
		buf := d.worker(worker, 2*MomentBlock)
		m, v := mm.open(buf[:MomentBlock], lo, hi), vv.open(buf[MomentBlock:], lo, hi)
		vec.AdamW(x[lo:hi], g[lo:hi], m, v, nil, p)
		mm.close(m, lo, hi)
		vv.close(v, lo, hi)
	})
}

// Segment implements device.Ops: running at once, there is nothing to forget.
func (d *Device) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(d, x)
}
