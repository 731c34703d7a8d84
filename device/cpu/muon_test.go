package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"leolm/device"
	"leolm/tensor"
)

// Two steps of torch.optim.Muon (2.15; lr 0.05, weight_decay 0.1, momentum 0.95, nesterov, match_rms_adamw) on a
// 2×3 matrix and on its transpose, which PyTorch treats alike. PyTorch orthogonalizes in bf16.
func TestMuonEqualsPyTorch(t *testing.T) {
	w := []float32{0.5, -1.0, 0.25, 1.5, 0.75, -0.5}
	grads := [][]float32{{0.1, 0.2, -0.3, 0.4, -0.5, 0.6}, {-0.2, 0.1, 0.3, 0.05, 0.4, -0.1}}
	want := []float32{0.49268946, -1.0035714, 0.24655615, 1.4649839, 0.73984635, -0.5122618}
	for _, turn := range []bool{false, true} {
		d := newDevice(t)
		rows, cols := 2, 3
		as := func(v []float32) []float32 { return v }
		if turn {
			rows, cols = 3, 2
			as = func(v []float32) []float32 { return []float32{v[0], v[3], v[1], v[4], v[2], v[5]} }
		}
		p := muonParam(t, d, rows, cols, as(w))
		m, err := d.NewOptimizerState(p, 32, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range grads {
			d.WriteGrad(p, as(g))
			d.Muon(p, m, device.Muon{LR: 0.05, Momentum: 0.95, WeightDecay: 0.1, GradScale: 1})
		}
		got := make([]float32, 6)
		d.ReadWeight(p, got)
		for i, x := range as(want) {
			if math.Abs(float64(got[i]-x)) > 5e-4 {
				t.Errorf("%d×%d: element %d is %v, PyTorch %v", rows, cols, i, got[i], x)
			}
		}
		if n := d.Memory().Tensors; n != 0 {
			t.Errorf("%d bytes of tensors are left", n)
		}
	}
}

// A step on a random matrix is the same rotation that the reference in float64 finds, in both compute types.
func TestMuonStep(t *testing.T) {
	for _, c := range []struct {
		rows, cols int
		compute    tensor.DType
		tolerance  float64
	}{{33, 70, tensor.F32, 1e-4}, {70, 33, tensor.F32, 1e-4}, {64, 64, tensor.F32, 1e-4}, {1, 8, tensor.F32, 1e-4}, {96, 40, tensor.BF16, 0.05}} {
		t.Run(fmt.Sprintf("%dx%d %v", c.rows, c.cols, c.compute), func(t *testing.T) {
			d := newDevice(t)
			if err := d.SetCompute(c.compute); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			g := make([]float32, c.rows*c.cols)
			for i := range g {
				g[i] = float32(rng.NormFloat64())
			}
			p := muonParam(t, d, c.rows, c.cols, make([]float32, len(g)))
			m, err := d.NewOptimizerState(p, 32, true)
			if err != nil {
				t.Fatal(err)
			}
			d.WriteGrad(p, g)
			d.Muon(p, m, device.Muon{LR: 1, Momentum: 0.9, GradScale: 0.25})
			got := make([]float32, len(g))
			d.ReadWeight(p, got)
			var diff, norm float64
			for i, u := range rotation(g, c.rows, c.cols) {
				want := -0.2 * math.Sqrt(float64(max(c.rows, c.cols))) * u
				diff += (float64(got[i]) - want) * (float64(got[i]) - want)
				norm += want * want
			}
			if rel := math.Sqrt(diff / norm); rel > c.tolerance {
				t.Errorf("relative error %.2g, want at most %g", rel, c.tolerance)
			}
		})
	}
}

// rotation is Muon's five rounds, plainly, in float64.
func rotation(g []float32, rows, cols int) []float64 {
	x := make([]float64, len(g))
	var norm float64
	for _, v := range g {
		norm += float64(v) * float64(v)
	}
	for i, v := range g {
		x[i] = float64(v) / math.Sqrt(norm)
	}
	for range 5 {
		a := product(x, transposed(x, rows, cols), rows, cols, rows)
		b := product(a, a, rows, rows, rows)
		for i := range b {
			b[i] = -4.7750*a[i] + 2.0315*b[i]
		}
		y := product(b, x, rows, rows, cols)
		for i := range y {
			y[i] += 3.4445 * x[i]
		}
		x = y
	}
	return x
}

func product(a, b []float64, m, k, n int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				c[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	return c
}

func transposed(a []float64, rows, cols int) []float64 {
	b := make([]float64, len(a))
	for i := range rows {
		for j := range cols {
			b[j*rows+i] = a[i*cols+j]
		}
	}
	return b
}

func muonParam(t *testing.T, d *Device, rows, cols int, v []float32) device.Weight {
	t.Helper()
	w := d.NewParam("w", rows, cols)
	if err := d.WriteWeight(w, v); err != nil {
		t.Fatal(err)
	}
	return w
}
