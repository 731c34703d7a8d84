package vulkan

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// newTrainer is a device that trains in bf16 and has matrix units.
func newTrainer(t *testing.T) *Device {
	t.Helper()
	d := newDevice(t, vulkan.Options{})
	if d.matrix == (vulkan.Matrix{}) {
		t.Skip("the device has no matrix units that Leo can use")
	}
	if err := d.SetCompute(tensor.BF16); err != nil {
		t.Fatal(err)
	}
	return d
}

// scaled draws a matrix whose rows or columns have magnitudes from 1e-25 to 1e4: far below and beyond what float16 holds.
func scaled(seed uint64, rows, cols int, byRow bool) []float32 {
	v := drawn(seed, rows*cols)
	for i := range v {
		at := i % cols
		if byRow {
			at = i / cols
		}
		v[i] *= float32(math.Pow(10, float64(at*7%30)-25))
	}
	return v
}

// TestTrainedProducts: the three products of a trained weight on matrix units, whose rows and columns have magnitudes that
// float16 does not, are near those of float64, and adding to a sum adds the same.
func TestTrainedProducts(t *testing.T) {
	d := newTrainer(t)
	for _, s := range [][3]int{{1, 41, 32}, {40, 70, 100}, {130, 7, 1056}, {2100, 40, 50}, {300, 1, 5}} {
		rows, out, in := s[0], s[1], s[2]
		name := fmt.Sprintf("%d rows, [%d, %d]", rows, out, in)
		w := d.NewParam("w", out, in)
		product := func(what string, n, m, k int, a, b func(i, k int) float32, got []float32) {
			t.Helper()
			for i := range n * m {
				var want, norm float64
				for k := range k {
					p := float64(a(i/m, k)) * float64(b(i%m, k))
					want, norm = want+p, norm+math.Abs(p)
				}
				// Half a thousandth of the magnitudes; what float32 does not hold is lost.
				if e := math.Abs(float64(got[i]) - want); !(e <= 1e-3*norm+1e-37) {
					t.Fatalf("%s, %s: element %d is %v, want %v (%.2g of the sum of magnitudes)", what, name, i, got[i], want, e/norm)
				}
			}
		}
		read := func(y *device.Tensor) []float32 {
			v := make([]float32, y.Rows*y.Cols)
			d.Read(y, v)
			d.Release(y)
			return v
		}
		write := func(v []float32) {
			if err := d.WriteWeight(w, v); err != nil {
				t.Fatal(err)
			}
		}

		xv, wv := scaled(1, rows, in, true), scaled(2, out, in, true)
		write(wv)
		x := d.FromSlice(rows, in, xv)
		product("Linear", rows, out, in, func(i, k int) float32 { return xv[i*in+k] }, func(j, k int) float32 { return wv[j*in+k] }, read(d.Linear(x, w)))
		d.Release(x)

		yv, wv := scaled(3, rows, out, true), scaled(4, out, in, false)
		write(wv)
		dy := d.FromSlice(rows, out, yv)
		dx := read(d.LinearGradInput(dy, w, nil))
		product("LinearGradInput", rows, in, out, func(i, k int) float32 { return yv[i*out+k] }, func(j, k int) float32 { return wv[k*in+j] }, dx)
		twice := read(d.LinearGradInput(dy, w, d.FromSlice(rows, in, dx)))
		for i := range dx {
			if twice[i] != 2*dx[i] {
				t.Fatalf("%s: element %d added to itself is %v, want %v", name, i, twice[i], 2*dx[i])
			}
		}
		d.Release(dy)

		xv, yv = scaled(5, rows, in, false), scaled(6, rows, out, false)
		x, dy = d.FromSlice(rows, in, xv), d.FromSlice(rows, out, yv)
		frozen := out / 3
		if frozen > 0 {
			d.FreezeRows(w, frozen)
		}
		d.LinearGradWeight(x, dy, w)
		got := make([]float32, (out-frozen)*in)
		d.ReadGrad(w, got)
		product("LinearGradWeight", out-frozen, in, rows, func(i, k int) float32 { return yv[k*out+frozen+i] }, func(j, k int) float32 { return xv[k*in+j] }, got)
		d.Release(x, dy)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// TestTrainedRows: a row has the same bits alone and among others, whichever way its batch is cut.
func TestTrainedRows(t *testing.T) {
	d := newTrainer(t)
	const out, in, most = 70, 200, 40
	w := d.NewParam("w", out, in)
	if err := d.WriteWeight(w, drawn(1, out*in)); err != nil {
		t.Fatal(err)
	}
	v := drawn(2, most*in)
	var want []float32
	for _, n := range []int{most, 17, 9, 1} {
		x := d.FromSlice(n, in, v[:n*in])
		y := d.Linear(x, w)
		got := make([]float32, n*out)
		d.Read(y, got)
		d.Release(x, y)
		if want == nil {
			want = got
		} else if !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%d rows have other bits than among %d", n, most)
		}
	}
}

// TestSplitStrands: strands with work groups of their own give the bits of those that have none, on top of what there was.
func TestSplitStrands(t *testing.T) {
	d := newTrainer(t)
	const m, n, k = 70, 50, 2100 // the last strand is short, and there is a step that is not full
	x, y := d.FromSlice(k, m, drawn(1, k*m)), d.FromSlice(k, n, drawn(2, k*n))
	a, b := d.packColumns(d.at(x), k, m, 2*m, types[tensor.F32]), d.packColumns(d.at(y), k, n, 2*n, types[tensor.F32])
	for _, add := range []bool{false, true} {
		var want []float32
		for _, split := range []bool{false, true} {
			c := d.FromSlice(m, n, drawn(3, m*n))
			p := &product{m: m, n: n, k: k, c: d.at(c), add: add}
			if !someRows.splits(d.matrix, p) {
				t.Error("the product is not split")
			}
			if split {
				d.multiplySplit(p, a, b, someRows)
			} else {
				d.packedTiles(p, a, b, p.c, someRows, formScaled)
			}
			got := make([]float32, m*n)
			d.Read(c, got)
			d.Release(c)
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("added %v: the bits differ", add)
			}
		}
	}
	d.Release(x, y, a.values, a.powers, b.values, b.powers)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// TestBadGradients: what is not finite stays so, and does not reach other rows.
func TestBadGradients(t *testing.T) {
	d := newTrainer(t)
	const rows, out, in = 5, 20, 12
	w := d.NewParam("w", out, in)
	if err := d.WriteWeight(w, drawn(1, out*in)); err != nil {
		t.Fatal(err)
	}
	v := drawn(2, rows*out)
	v[2*out+3], v[4*out+1] = float32(math.NaN()), float32(math.Inf(1))
	dy, x := d.FromSlice(rows, out, v), d.FromSlice(rows, in, drawn(3, rows*in))
	dx := d.LinearGradInput(dy, w, nil)
	d.LinearGradWeight(x, dy, w)
	got, grad := make([]float32, rows*in), make([]float32, out*in)
	d.Read(dx, got)
	d.ReadGrad(w, grad)
	d.Release(dy, x, dx)
	finite := func(f float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }
	for i, f := range got {
		if r := i / in; finite(f) == (r == 2 || r == 4) {
			t.Errorf("row %d of the input's derivative has a %v", r, f)
		}
	}
	for i, f := range grad {
		if r := i / in; finite(f) == (r == 3 || r == 1) {
			t.Errorf("row %d of the weight's gradient has a %v", r, f)
		}
	}
}
