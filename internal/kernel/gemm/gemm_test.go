package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

// eachLevel runs f once per CPU level of this machine.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	defer use(level)
	for _, l := range cpu.Presets() {
		if l.Has(cpu.VNNI) && l&(cpu.BF16|cpu.AMX) == 0 || l.Has(cpu.Wide) || l.Has(cpu.AVXVNNI) { // nothing here differs from avx512, bf16 or avx2
			continue
		}
		use(l)
		t.Run(l.String(), f)
	}
	use(cpu.Active&^cpu.BF16 | cpu.AMX)
	t.Run("amx, in the model", func(t *testing.T) {
		useModel(t)
		f(t)
	})
}

// fill mixes ordinary values with zeros, large outliers and tiny numbers.
func fill(r *rand.Rand, x []float32) {
	for i := range x {
		switch r.IntN(40) {
		case 0:
			x[i] = 0
		case 1:
			x[i] = float32(r.NormFloat64()) * 1e4
		case 2:
			x[i] = float32(r.NormFloat64()) * 1e-12
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
}

type operands struct {
	a, b     []float32 // values as the kernel sees them, a[m*k], b[k*n] (b(k,j) = b[k*n+j])
	m, n, k  int
	want     []float64
	absolute []float64 // Σ|a||b|, the scale of the error bound
}

func newOperands(r *rand.Rand, m, n, k int, round func(float32) float32) *operands {
	o := &operands{a: make([]float32, m*k), b: make([]float32, k*n), m: m, n: n, k: k, want: make([]float64, m*n), absolute: make([]float64, m*n)}
	fill(r, o.a)
	fill(r, o.b)
	for i := range o.a {
		o.a[i] = round(o.a[i])
	}
	for i := range o.b {
		o.b[i] = round(o.b[i])
	}
	for i := range m {
		for kk := range k {
			for j := range n {
				v := float64(o.a[i*k+kk]) * float64(o.b[kk*n+j])
				o.want[i*n+j] += v
				o.absolute[i*n+j] += math.Abs(v)
			}
		}
	}
	return o
}

// check holds the error bound of a chain of k roundings: |error| ≤ (k+2)·2⁻²⁴·Σ|a||b|,
// plus 2⁻¹²⁶ per term for results that VDPBF16PS flushes to zero.
func (o *operands) check(t *testing.T, what string, got []float32, ldc int) {
	t.Helper()
	for i := range o.m {
		for j := range o.n {
			g, w := float64(got[i*ldc+j]), o.want[i*o.n+j]
			bound := float64(o.k+2)*0x1p-24*o.absolute[i*o.n+j] + float64(o.k+1)*0x1p-125
			if !(math.Abs(g-w) <= bound) {
				t.Fatalf("%s %d×%d×%d: C(%d,%d) = %g, want %g ± %g", what, o.m, o.n, o.k, i, j, g, w, bound)
			}
		}
	}
}

func transpose(x []float32, rows, cols int) []float32 {
	y := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			y[j*rows+i] = x[i*cols+j]
		}
	}
	return y
}

func toBF16(x []float32) []uint16 {
	y := make([]uint16, len(x))
	for i, f := range x {
		y[i] = tensor.F32ToBF16(f)
	}
	return y
}

func toF16(x []float32) []uint16 {
	y := make([]uint16, len(x))
	for i, f := range x {
		y[i] = tensor.F32ToF16(f)
	}
	return y
}

func same(f float32) float32        { return f }
func viaBF16(f float32) float32     { return tensor.BF16ToF32(tensor.F32ToBF16(f)) }
func viaF16(f float32) float32      { return tensor.F16ToF32(tensor.F32ToF16(max(-6e4, min(6e4, f)))) }
func bits(x []float32) (b []uint32) { return append(b, asWords(x)...) }

var shapes = [][3]int{{1, 1, 1}, {1, 32, 2}, {1, 33, 7}, {2, 5, 3}, {3, 64, 64}, {4, 31, 129}, {5, 40, 16}, {6, 96, 300}, {7, 32, 31}, {8, 65, 8},
	{9, 17, 513}, {10, 70, 20}, {11, 32, 1}, {12, 34, 100}, {13, 128, 70}, {14, 100, 271}, {15, 33, 258}, {29, 48, 600}, {61, 560, 40}, {1, 70, 4600}, {3, 40, 1401}, {1, 33, 7700}}

func TestProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range shapes {
			m, n, k := s[0], s[1], s[2]
			name := fmt.Sprint(s)
			ldc := n + 3
			c := make([]float32, m*ldc)

			o := newOperands(r, m, n, k, same)
			at, bt := transpose(o.a, m, k), transpose(o.b, k, n)
			packed, packed2 := make([]float32, PackedLenF32(n, k)), make([]float32, PackedLenF32(n, k))
			PackF32(packed, o.b, n, 1, n, k, 0, Panels(n))
			PackF32(packed2, bt, 1, k, n, k, 0, Panels(n))
			if !slices.Equal(bits(packed), bits(packed2)) {
				t.Fatalf("%s: packing B and its transpose differ", name)
			}
			MulF32(c, ldc, o.a, k, 1, packed, n, k, 0, m, 0, Panels(n), false)
			o.check(t, "f32", c, ldc)
			first := bits(c)
			MulF32(c, ldc, at, 1, m, packed, n, k, 0, m, 0, Panels(n), false)
			if !slices.Equal(first, bits(c)) {
				t.Fatalf("%s: f32 product of a transposed A differs", name)
			}
			wide := (n + 15) / 16 * 16
			plain, ct := make([]float32, k*wide), make([]float32, m*wide)
			for kk := range k {
				copy(plain[kk*wide:], o.b[kk*n:(kk+1)*n])
			}
			TileF32(ct, wide, at, 1, m, plain, wide, m, wide, k, false)
			for i := range m {
				for j := range n {
					if math.Float32bits(ct[i*wide+j]) != first[i*ldc+j] {
						t.Fatalf("%s: TileF32 differs from MulF32 at %d,%d", name, i, j)
					}
				}
			}

			o = newOperands(r, m, n, k, viaBF16)
			at, bt = transpose(o.a, m, k), transpose(o.b, k, n)
			p16, q16 := make([]uint16, PackedLenBF16(n, k)), make([]uint16, PackedLenBF16(n, k))
			PackBF16(p16, toBF16(o.b), n, 1, n, k, 0, Panels(n))
			for i, pack := range []func(){
				func() { PackBF16(q16, toBF16(bt), 1, k, n, k, 0, Panels(n)) },
				func() { PackBF16FromF32(q16, o.b, n, 1, n, k, 0, Panels(n)) },
				func() { PackBF16FromF32(q16, bt, 1, k, n, k, 0, Panels(n)) },
			} {
				clear(q16)
				pack()
				if !slices.Equal(p16, q16) {
					t.Fatalf("%s: bf16 packing %d differs", name, i)
				}
			}
			MulBF16(c, ldc, toBF16(o.a), k, 1, p16, n, k, 0, m, 0, Panels(n), false)
			o.check(t, "bf16", c, ldc)
			first = bits(c)
			for i, mul := range []func(){
				func() { MulBF16(c, ldc, toBF16(at), 1, m, p16, n, k, 0, m, 0, Panels(n), false) },
				func() { MulBF16FromF32(c, ldc, o.a, k, 1, p16, n, k, 0, m, 0, Panels(n), false) },
				func() { MulBF16FromF32(c, ldc, at, 1, m, p16, n, k, 0, m, 0, Panels(n), false) },
			} {
				clear(c)
				mul()
				if !slices.Equal(first, bits(c)) {
					t.Fatalf("%s: bf16 product %d differs", name, i)
				}
			}

			steps := (k + 1) / 2
			aw, bw := make([]uint32, steps*m), make([]uint32, steps*wide)
			for kk := range k {
				for i := range m {
					aw[kk/2*m+i] |= uint32(tensor.F32ToBF16(o.a[i*k+kk])) << (kk % 2 * 16)
				}
				for j := range n {
					bw[kk/2*wide+j] |= uint32(tensor.F32ToBF16(o.b[kk*n+j])) << (kk % 2 * 16)
				}
			}
			for i := range ct {
				ct[i] = float32(math.NaN())
			}
			TileBF16(ct, wide, aw, 1, m, bw, wide, m, wide, steps, false)
			for i := range m {
				for j := range n {
					if math.Float32bits(ct[i*wide+j]) != first[i*ldc+j] {
						t.Fatalf("%s: TileBF16 differs from MulBF16 at %d,%d", name, i, j)
					}
				}
			}

			o = newOperands(r, m, n, k, viaF16)
			bt = transpose(o.b, k, n)
			p16, q16 = make([]uint16, PackedLenF16(n, k)), make([]uint16, PackedLenF16(n, k))
			PackF16(p16, toF16(o.b), n, 1, n, k, 0, Panels(n))
			PackF16(q16, toF16(bt), 1, k, n, k, 0, Panels(n))
			if !slices.Equal(p16, q16) {
				t.Fatalf("%s: f16 packing differs", name)
			}
			MulF16(c, ldc, o.a, k, 1, p16, n, k, 0, m, 0, Panels(n), false)
			o.check(t, "f16", c, ldc)
		}
	})
}

// TestInvariance: a row's bits do not depend on the rows beside it, on the split
// of the panels or on how the sum is resumed by adding.
func TestInvariance(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		m, n, k := 31, 550, 520
		o := newOperands(r, m, n, k, viaBF16)
		np := Panels(n)
		p32, p16 := make([]float32, PackedLenF32(n, k)), make([]uint16, PackedLenBF16(n, k))
		h16 := make([]uint16, PackedLenF16(n, k))
		PackF32(p32, o.b, n, 1, n, k, 0, np)
		PackBF16FromF32(p16, o.b, n, 1, n, k, 0, np)
		PackF16(h16, toF16(o.b), n, 1, n, k, 0, np)
		for name, mul := range map[string]func(c []float32, mLo, mHi, pLo, pHi int, add bool){
			"f32": func(c []float32, mLo, mHi, pLo, pHi int, add bool) {
				MulF32(c, n, o.a, k, 1, p32, n, k, mLo, mHi, pLo, pHi, add)
			},
			"bf16": func(c []float32, mLo, mHi, pLo, pHi int, add bool) {
				MulBF16FromF32(c, n, o.a, k, 1, p16, n, k, mLo, mHi, pLo, pHi, add)
			},
			"f16": func(c []float32, mLo, mHi, pLo, pHi int, add bool) {
				MulF16(c, n, o.a, k, 1, h16, n, k, mLo, mHi, pLo, pHi, add)
			},
		} {
			for _, add := range []bool{false, true} {
				whole, parts := make([]float32, m*n), make([]float32, m*n)
				for i := range whole {
					whole[i], parts[i] = 1, 1
				}
				mul(whole, 0, m, 0, np, add)
				for lo := 0; lo < m; {
					hi := min(m, lo+1+r.IntN(16))
					for p := 0; p < np; {
						q := min(np, p+1+r.IntN(7))
						mul(parts, lo, hi, p, q, add)
						p = q
					}
					lo = hi
				}
				if !slices.Equal(bits(whole), bits(parts)) {
					t.Errorf("%s add=%v: parts differ from the whole", name, add)
				}
			}
		}
	})
}

func TestZeroK(t *testing.T) {
	c := []float32{1, 2, 3}
	MulF32(c, 3, nil, 0, 1, nil, 3, 0, 0, 1, 0, 1, true)
	if c[0] != 1 {
		t.Error("adding an empty product changed C")
	}
	MulF32(c, 3, nil, 0, 1, nil, 3, 0, 0, 1, 0, 1, false)
	if c[0] != 0 || c[2] != 0 {
		t.Error("an empty product is not zero")
	}
}

// FuzzMul compares any shape with float64 and with one row at a time.
func FuzzMul(f *testing.F) {
	f.Add(uint64(1), uint8(15), uint8(33), uint16(7), true)
	f.Add(uint64(2), uint8(1), uint8(100), uint16(999), false)
	f.Add(uint64(3), uint8(40), uint8(1), uint16(514), true)
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols uint8, depth uint16, flip bool) {
		m, n, k := 1+int(rows)%64, 1+int(cols)%130, 1+int(depth)%1100
		o := newOperands(rand.New(rand.NewPCG(seed, 1)), m, n, k, viaBF16)
		a, am, ak := o.a, k, 1
		if flip {
			a, am, ak = transpose(o.a, m, k), 1, m
		}
		p32, p16 := make([]float32, PackedLenF32(n, k)), make([]uint16, PackedLenBF16(n, k))
		PackF32(p32, o.b, n, 1, n, k, 0, Panels(n))
		PackBF16FromF32(p16, o.b, n, 1, n, k, 0, Panels(n))
		c, one := make([]float32, m*n), make([]float32, m*n)
		i := int(seed % uint64(m))
		MulF32(c, n, a, am, ak, p32, n, k, 0, m, 0, Panels(n), false)
		o.check(t, "f32", c, n)
		MulF32(one, n, a, am, ak, p32, n, k, i, i+1, 0, Panels(n), false)
		if !slices.Equal(c[i*n:(i+1)*n], one[i*n:(i+1)*n]) {
			t.Errorf("f32: row %d alone differs", i)
		}
		MulBF16FromF32(c, n, a, am, ak, p16, n, k, 0, m, 0, Panels(n), false)
		o.check(t, "bf16", c, n)
		MulBF16FromF32(one, n, a, am, ak, p16, n, k, i, i+1, 0, Panels(n), false)
		if !slices.Equal(c[i*n:(i+1)*n], one[i*n:(i+1)*n]) {
			t.Errorf("bf16: row %d alone differs", i)
		}
	})
}
