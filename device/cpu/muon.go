package cpu

import (
	"math"

	"leolm/device"
	"leolm/internal/kernel/vec"
)

// Muon implements device.Device.
func (d *Device) Muon(w device.Weight, m device.OptimizerState, h device.Muon) {
	c := of(w)
	rows, cols, n := c.rows, c.cols, len(c.vec)
	x := d.alloc(rows, cols)
	blocks := (n + MomentBlock - 1) / MomentBlock
	state, grad := m.(stateBlock), d.gradient(c)
	mu, scale := float32(h.Momentum), float32(h.GradScale)
	squares := make([]float64, blocks)
	d.pool.Run(blocks, func(worker, b int) {
		lo, hi := b*MomentBlock, min((b+1)*MomentBlock, n)
		buf := state.open(d.worker(worker, MomentBlock), lo, hi)
		var sum float64
		for i, g := range grad[lo:hi] {
			g *= scale
			buf[i] += (1 - mu) * (g - buf[i])
			u := g + mu*(buf[i]-g)
			x.f32[lo+i] = u
			sum += float64(u) * float64(u)
		}
		state.close(buf, lo, hi)
		squares[b] = sum
	})
	var sum float64
	for _, s := range squares {
		sum += s
	}
	vec.Scale(x.f32, x.f32, float32(1/max(math.Sqrt(sum), device.MuonEps)))
	for range device.MuonRounds {
		x = d.orthogonalize(x)
	}
	decay := float32(1 - h.LR*h.WeightDecay)
	// Moonlight's scale (Liu et al. 2025) gives the update the size that AdamW's usually has.
	step := float32(-h.LR * 0.2 * math.Sqrt(float64(max(rows, cols))))
	d.rows(rows, cols, func(lo, hi int) {
		vec.Axpby(c.vec[lo*cols:hi*cols], x.f32[lo*cols:hi*cols], step, decay)
	})
	d.free(x)
}

// orthogonalize does one round on x and takes ownership of it. The square matrix A is
// formed on the shorter side: x·xᵀ, or xᵀ·x with the products from the other side.
func (d *Device) orthogonalize(x *matrix) *matrix {
	rows, cols := x.Rows, x.Cols
	side := min(rows, cols)
	a, b := d.alloc(side, side), d.alloc(side, side)
	if rows <= cols {
		d.pack(&d.packed, side, cols, x.f32, nil, 1, cols)
		d.multiply(a.f32, side, x, cols, 1, &d.packed, false)
	} else {
		d.pack(&d.packed, side, rows, x.f32, nil, cols, 1)
		d.multiply(a.f32, side, x, 1, cols, &d.packed, false)
	}
	d.pack(&d.packed, side, side, a.f32, nil, side, 1)
	d.multiply(b.f32, side, a, side, 1, &d.packed, false)
	d.rows(side, side, func(lo, hi int) {
		vec.Axpby(b.f32[lo*side:hi*side], a.f32[lo*side:hi*side], device.MuonB, device.MuonC)
	})
	y := d.alloc(rows, cols)
	if rows <= cols {
		d.pack(&d.packed, cols, side, x.f32, nil, cols, 1)
		d.multiply(y.f32, rows, b, side, 1, &d.packed, false)
	} else {
		d.pack(&d.packed, side, side, b.f32, nil, side, 1)
		d.multiply(y.f32, rows, x, cols, 1, &d.packed, false)
	}
	d.rows(rows, cols, func(lo, hi int) {
		vec.Axpy(y.f32[lo*cols:hi*cols], device.MuonA, x.f32[lo*cols:hi*cols])
	})
	d.free(a)
	d.free(b)
	d.free(x)
	return y
}
