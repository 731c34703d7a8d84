package device

import (
	"fmt"
	"math"

	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

func widenBF16(dst []float32, src []uint16)  { vec.F32FromBF16(dst, src) }
func narrowBF16(dst []uint16, src []float32) { vec.BF16FromF32(dst, src) }
func sumSquares(x []float32) float64         { return float64(vec.SumSquares(x)) }

// Embed implements Ops.
func (d *CPU) Embed(table Weight, ids []int32) *Tensor {
	w := of(table)
	y := d.New(len(ids), w.cols)
	d.computeRows(y, operands{w: w, ids: ids}, func(o *operands, y []float32, lo, hi int) {
		n := o.w.cols
		for i, id := range o.ids[lo:hi] {
			o.w.row(y[i*n:(i+1)*n], int(id))
		}
	})
	return y
}

// EmbedGrad implements Derivatives. Rows are added in the order of ids.
func (d *CPU) EmbedGrad(table Weight, ids []int32, dy *Tensor) {
	w := of(table)
	g, v := w.grad, d.values(dy)
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

// RMSNorm implements Ops.
func (d *CPU) RMSNorm(x *Tensor, gain Weight, eps float32) *Tensor {
	return d.operand(x.Rows, x.Cols, operands{a: d.values(x), b: of(gain).vec, n: x.Cols, s: eps}, func(o *operands, y []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			vec.RMSNorm(y[(i-lo)*o.n:(i-lo+1)*o.n], o.a[i*o.n:(i+1)*o.n], o.b, o.s)
		}
	})
}

// RMSNormGrad implements Derivatives.
func (d *CPU) RMSNormGrad(x *Tensor, gain Weight, eps float32, dy *Tensor, needX bool) *Tensor {
	w, v, g, n := of(gain), d.values(x), d.values(dy), x.Cols
	dx, inv := d.New(x.Rows, n), d.New(1, x.Rows)
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row, at := v[i*n:(i+1)*n], dx.f32[i*n:(i+1)*n]
			inv.f32[i] = vec.RMSNorm(at, row, w.vec, eps)
			clear(at)
			vec.RMSNormBackward(at, g[i*n:(i+1)*n], row, w.vec, inv.f32[i])
		}
	})
	if w.grad != nil {
		// Columns are split, so that every element sums over the rows in order.
		d.columns(n, x.Rows, func(lo, hi int) {
			vec.RMSNormGainBackward(w.grad[lo:hi], g[lo:], v[lo:], n, inv.f32)
		})
	}
	d.Release(inv)
	if !needX {
		d.Release(dx)
		return nil
	}
	return dx
}

// AddBias implements Ops.
func (d *CPU) AddBias(x *Tensor, b Weight) *Tensor {
	v, bias, n := d.values(x), of(b).vec, x.Cols
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			vec.Add(v[i*n:(i+1)*n], v[i*n:(i+1)*n], bias)
		}
	})
	return x
}

// AddBiasGrad implements Derivatives.
func (d *CPU) AddBiasGrad(b Weight, dy *Tensor) {
	g, v, n := of(b).grad, d.values(dy), dy.Cols
	for i := range dy.Rows {
		vec.Add(g, g, v[i*n:(i+1)*n])
	}
}

// tables makes sure that r covers the positions.
func (r *Rope) tables(positions []int32) {
	half := len(r.InvFreq)
	top := int32(-1)
	for _, p := range positions {
		top = max(top, p)
	}
	if have := len(r.cos) / half; int(top) >= have {
		for p := have; p < max(int(top)+1, 2*have, 512); p++ {
			for _, f := range r.InvFreq {
				// The angle is rounded to float32 first, as Hugging Face's tables are.
				s, c := math.Sincos(float64(float32(p) * f))
				r.cos = append(r.cos, float32(c))
				r.sin = append(r.sin, float32(s))
			}
		}
	}
}

// Rope implements Ops.
func (d *CPU) Rope(x *Tensor, r *Rope, positions []int32) *Tensor {
	d.rotate(x, r, positions, vec.Rope)
	return x
}

// RopeGrad implements Derivatives.
func (d *CPU) RopeGrad(dy *Tensor, r *Rope, positions []int32) *Tensor {
	dy = d.own(dy)
	d.rotate(dy, r, positions, vec.RopeBackward)
	return dy
}

func (d *CPU) rotate(x *Tensor, r *Rope, positions []int32, f func(x, cos, sin []float32)) {
	if len(positions) != x.Rows {
		panic(fmt.Sprintf("device: %d positions for %d rows", len(positions), x.Rows))
	}
	r.tables(positions)
	d.values(x)
	d.computeRows(x, operands{n: x.Cols, ids: positions, rope: r, rotate: f}, func(o *operands, y []float32, lo, hi int) {
		r, half := o.rope, len(o.rope.InvFreq)
		for i, p := range o.ids[lo:hi] {
			at := int(p) * half
			cos, sin := r.cos[at:at+half], r.sin[at:at+half]
			row := y[i*o.n : (i+1)*o.n]
			for h := 0; h < o.n; h += r.HeadDim {
				o.rotate(row[h:h+r.HeadDim], cos, sin)
			}
		}
	})
}

// SwiGLU implements Ops.
func (d *CPU) SwiGLU(gate, up *Tensor) *Tensor {
	return d.operand(gate.Rows, gate.Cols, operands{a: d.values(gate), b: d.values(up), n: gate.Cols}, func(o *operands, y []float32, lo, hi int) {
		vec.SwiGLU(y, o.a[lo*o.n:hi*o.n], o.b[lo*o.n:hi*o.n])
	})
}

// SwiGLUGrad implements Derivatives.
func (d *CPU) SwiGLUGrad(gate, up, dy *Tensor) (dgate, dup *Tensor) {
	n := gate.Cols
	if d.compute == tensor.BF16 {
		return d.swiGLUGradHalf(d.half(gate), d.half(up), d.values(dy), gate.Rows, n)
	}
	g, u, v := d.values(gate), d.values(up), d.values(dy)
	dgate, dup = d.New(gate.Rows, n), d.New(gate.Rows, n)
	d.rows(gate.Rows, n, func(lo, hi int) {
		vec.SwiGLUBackward(dgate.f32[lo*n:hi*n], dup.f32[lo*n:hi*n], v[lo*n:hi*n], g[lo*n:hi*n], u[lo*n:hi*n])
	})
	return dgate, dup
}

// swiGLUGradHalf is SwiGLUGrad of values saved in bf16, for products that will read bf16: f32 exists only in parts that
// are near.
func (d *CPU) swiGLUGradHalf(gate, up []uint16, dy []float32, rows, n int) (dgate, dup *Tensor) {
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

// Add implements Ops.
func (d *CPU) Add(x, y *Tensor, s float32) *Tensor {
	z := d.New(x.Rows, x.Cols)
	d.computeRows(z, operands{a: d.values(x), b: d.values(y), n: x.Cols, s: s}, func(o *operands, z []float32, lo, hi int) {
		a, b := o.a[lo*o.n:hi*o.n], o.b[lo*o.n:hi*o.n]
		if o.s == 1 {
			vec.Add(z, a, b)
			return
		}
		copy(z, a)
		vec.Axpy(z, o.s, b)
	})
	return z
}

// Accumulate implements Derivatives.
func (d *CPU) Accumulate(x, y *Tensor) *Tensor {
	x = d.own(x)
	a, b, n := d.values(x), d.values(y), x.Cols
	d.rows(x.Rows, n, func(lo, hi int) { vec.Add(a[lo*n:hi*n], a[lo*n:hi*n], b[lo*n:hi*n]) })
	return x
}

// Dropout implements Ops. Element i is kept by a hash of (seed, i), so the mask
// does not depend on how the work is split.
func (d *CPU) Dropout(x *Tensor, p float32, seed uint64) *Tensor {
	y, v, n := d.New(x.Rows, x.Cols), d.values(x), x.Cols
	limit := uint64(float64(p) * (1 << 32))
	scale := 1 / (1 - p)
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo * n; i < hi*n; i++ {
			if mix(seed+uint64(i))>>32 < limit {
				y.f32[i] = 0
			} else {
				y.f32[i] = v[i] * scale
			}
		}
	})
	return y
}

// Noise implements Ops.
func (d *CPU) Noise(x *Tensor, scales []float32, seed uint64) *Tensor {
	y, v, n := d.New(x.Rows, x.Cols), d.values(x), x.Cols
	d.rows(x.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := i * n; j < (i+1)*n; j++ {
				u := float32(int32(mix(seed+uint64(j))>>32)) / (1 << 31) // in [-1, 1)
				y.f32[j] = v[j] + scales[i]*u
			}
		}
	})
	return y
}

// mix is the finaliser of SplitMix64 (Steele et al. 2014) over its golden-ratio sequence.
func mix(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Rows implements Ops.
func (d *CPU) Rows(x *Tensor, rows []int32) *Tensor {
	if x.f32 == nil {
		y, n := d.newHalf(len(rows), x.Cols), x.Cols
		for i, r := range rows {
			copy(y.h[i*n:(i+1)*n], x.h[int(r)*n:(int(r)+1)*n])
		}
		return y
	}
	y, v, n := d.New(len(rows), x.Cols), d.values(x), x.Cols
	for i, r := range rows {
		copy(y.f32[i*n:(i+1)*n], v[int(r)*n:(int(r)+1)*n])
	}
	return y
}

// RowsGrad implements Derivatives.
func (d *CPU) RowsGrad(dy *Tensor, rows []int32, total int) *Tensor {
	dx, v, n := d.New(total, dy.Cols), d.values(dy), dy.Cols
	clear(dx.f32)
	for i, r := range rows {
		at := dx.f32[int(r)*n : (int(r)+1)*n]
		vec.Add(at, at, v[i*n:(i+1)*n])
	}
	return dx
}

// AdamW implements Device.
func (d *CPU) AdamW(w Weight, m, v Moment, h AdamW) {
	c := of(w)
	p := vec.AdamParams{
		LR: float32(h.LR), Beta1: float32(h.Beta1), Beta2: float32(h.Beta2), Eps: float32(h.Eps),
		WeightDecay: float32(h.WeightDecay), Step: h.Step, GradScale: float32(h.GradScale),
	}
	mm, vv := m.(stateBlock), v.(stateBlock)
	x, n := c.trained(), len(c.grad)
	blocks := (n + momentBlock - 1) / momentBlock
	d.pool.Run(blocks, func(worker, b int) {
		lo, hi := b*momentBlock, min((b+1)*momentBlock, n)
		buf := d.worker(worker, 2*momentBlock)
		m, v := mm.open(buf[:momentBlock], lo, hi), vv.open(buf[momentBlock:], lo, hi)
		vec.AdamW(x[lo:hi], c.grad[lo:hi], m, v, nil, p)
		mm.close(m, lo, hi)
		vv.close(v, lo, hi)
	})
}

// Segment implements Ops: running at once, there is nothing to forget.
func (d *CPU) Segment(x *Tensor, f func(ops Ops, x *Tensor) *Tensor) *Tensor { return f(d, x) }
