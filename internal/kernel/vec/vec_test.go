package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

func eachLevel(t *testing.T, f func(t *testing.T)) {
	defer use(level)
	for _, l := range cpu.Presets() {
		if l.Has(cpu.VNNI) || l.Has(cpu.BF16) || l.Has(cpu.AVXVNNI) { // nothing here differs from avx512, or from avx2
			continue
		}
		use(l)
		t.Run(l.String(), f)
	}
}

var lengths = []int{1, 2, 15, 16, 17, 31, 33, 48, 64, 100, 129, 288, 1000, 4099}

// random mixes ordinary values with zeros, outliers and tiny numbers.
func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		switch r.IntN(50) {
		case 0:
			x[i] = 0
		case 1:
			x[i] *= 20
		case 2:
			x[i] *= 1e-30
		}
	}
	return x
}

// near checks |got−want| ≤ ulps roundings of `size`.
func near(t *testing.T, what string, got float32, want, size, ulps float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= ulps*0x1p-24*size+1e-42) {
		t.Fatalf("%s = %g, want %g (±%g)", what, got, want, ulps*0x1p-24*size)
	}
}

func TestExp(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		x := []float32{0, 1, -1, 88.7, -87.3, 0.34657, -0.34657, 1e-30, float32(math.Copysign(0, -1))}
		for range 200000 {
			x = append(x, float32(r.Float64()*175-87))
		}
		y := make([]float32, len(x))
		ExpSum(y, x, 0)
		worst := 0.0
		for i, v := range x {
			want := math.Exp(float64(v))
			worst = max(worst, math.Abs(float64(y[i])-want)/(want*0x1p-23))
		}
		if worst > 2 {
			t.Errorf("worst error of exp is %.2f ulp", worst)
		}
		inf := float32(math.Inf(1))
		// What would be subnormal is 0, in whole vectors and behind them.
		for i := range 37 {
			x[i] = []float32{-87.3364, -87.3366, -95, -103.9}[i%4]
		}
		ExpSum(y[:37], x[:37], 0)
		for i, v := range y[:37] {
			if (v > 0) != (i%4 == 0) || v > 0 && v < 0x1p-126 {
				t.Errorf("exp(%g) = %g", x[i], v)
			}
		}
		x = []float32{-inf, -200, -87.34, 90, inf, float32(math.NaN())}
		y = make([]float32, len(x))
		ExpSum(y, x, 0)
		if y[0] != 0 || y[1] != 0 || y[2] != 0 || y[3] != inf || y[4] != inf || y[5] == y[5] {
			t.Errorf("exp at the edges: %v", y)
		}
	})
}

func TestRows(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 2))
		for _, n := range lengths {
			a, b, c := random(r, n), random(r, n), random(r, n)
			y, z := make([]float32, n), make([]float32, n)
			k := float64(n/16 + 8)
			abs := func(f float32) float64 { return math.Abs(float64(f)) }
			var dot, dot3, size, size3, ss float64
			for i := range a {
				p := float64(a[i]) * float64(b[i])
				dot += p
				size += math.Abs(p)
				dot3 += p * float64(c[i])
				size3 += math.Abs(p) * abs(c[i])
				ss += float64(a[i]) * float64(a[i])
			}
			near(t, "Dot", Dot(a, b), dot, size, k)
			near(t, "SumSquares", SumSquares(a), ss, ss, k)

			inv := RMSNorm(y, a, b, 1e-5)
			winv := 1 / math.Sqrt(ss/float64(n)+1e-5)
			near(t, "inv", inv, winv, winv, k)
			for i := range y {
				w := float64(a[i]) * winv * float64(b[i])
				near(t, "RMSNorm", y[i], w, math.Abs(w), k+4)
			}
			dx := slices.Clone(c)
			RMSNormBackward(dx, c, a, b, inv)
			cc := winv * winv * winv / float64(n)
			for i := range dx {
				t1, t2 := winv*float64(c[i])*float64(b[i]), cc*dot3*float64(a[i])
				near(t, "RMSNormBackward", dx[i], float64(c[i])+t1-t2, math.Abs(t1)+abs(c[i])+abs(a[i])*cc*size3, 4*k)
			}
			g := make([]float32, n)
			RMSNormGainBackward(g, c, a, n, []float32{inv})
			for i := range g {
				w := float64(c[i]) * float64(a[i]) * float64(inv)
				near(t, "RMSNormGainBackward", g[i], w, math.Abs(w), 4)
			}

			SwiGLU(y, a, b)
			SwiGLUBackward(z, g, c, a, b)
			for i := range y {
				s := 1 / (1 + math.Exp(-float64(a[i])))
				silu := float64(a[i]) * s
				d := float64(c[i]) * float64(b[i])
				near(t, "SwiGLU", y[i], silu*float64(b[i]), math.Abs(silu*float64(b[i])), 12)
				near(t, "dup", g[i], silu*float64(c[i]), math.Abs(silu*float64(c[i])), 12)
				near(t, "dgate", z[i], d*(s+silu*(1-s)), math.Abs(d)*(s+math.Abs(silu)), 24)
			}

			top := slices.Max(a)
			if Max(a) != top || slices.Index(a, top) != ArgMax(a) {
				t.Fatalf("Max of %d", n)
			}
			var sum float64
			for _, v := range a {
				sum += math.Exp(float64(v) - float64(top))
			}
			lse := float64(top) + math.Log(sum)
			near(t, "LogSumExp", LogSumExp(a), lse, math.Abs(lse)+1, k+8)
			Softmax(y, a)
			LogSoftmax(z, a)
			for i, v := range a {
				p := math.Exp(float64(v) - lse)
				near(t, "Softmax", y[i], p, p, k+16+4*math.Abs(float64(v)-float64(top)))
				near(t, "LogSoftmax", z[i], float64(v)-lse, abs(v)+math.Abs(lse)+1, k+16)
			}
			CrossEntropyBackward(y, a, float32(lse), n/2, 0.5)
			for i, v := range a {
				p := math.Exp(float64(v) - float64(float32(lse)))
				if i == n/2 {
					p--
				}
				near(t, "CrossEntropyBackward", y[i], p/2, 1, 64)
			}

			Add(y, a, b)
			Mul(z, a, b)
			w, d, e := slices.Clone(c), slices.Clone(c), slices.Clone(c)
			Axpy(w, 0.3, a)
			MulShifted(d, a, 0.7, 0.5)
			Axpby(e, a, 0.3, -2)
			const s3, s7 = float64(float32(0.3)), float64(float32(0.7))
			for i := range y {
				if y[i] != a[i]+b[i] || z[i] != a[i]*b[i] {
					t.Fatalf("Add or Mul at %d of %d", i, n)
				}
				near(t, "Axpy", w[i], float64(c[i])+s3*float64(a[i]), abs(c[i])+abs(a[i]), 3)
				near(t, "Axpby", e[i], -2*float64(c[i])+s3*float64(a[i]), 2*abs(c[i])+abs(a[i]), 3)
				near(t, "MulShifted", d[i], (float64(c[i])-s7)*float64(a[i])*0.5, (abs(c[i])+1)*abs(a[i]), 4)
			}
			Scale(y, a, 3)
			AddConst(z, a, 3)
			for i := range y {
				if y[i] != a[i]*3 || z[i] != a[i]+3 {
					t.Fatalf("Scale or AddConst at %d of %d", i, n)
				}
			}

			cos, sin, x := random(r, n), make([]float32, n), random(r, 2*n)
			for i := range cos {
				s, c := math.Sincos(float64(cos[i]))
				cos[i], sin[i] = float32(c), float32(s)
			}
			turned := slices.Clone(x)
			Rope(turned, cos, sin)
			for i := range n {
				p, q := float64(x[i]), float64(x[i+n])
				near(t, "Rope", turned[i], p*float64(cos[i])-q*float64(sin[i]), math.Abs(p)+math.Abs(q), 4)
				near(t, "Rope", turned[i+n], q*float64(cos[i])+p*float64(sin[i]), math.Abs(p)+math.Abs(q), 4)
			}
			RopeBackward(turned, cos, sin)
			for i := range x {
				near(t, "RopeBackward", turned[i], float64(x[i]), abs(x[i%n])+abs(x[i%n+n]), 12)
			}

			if FirstNonFinite(a) != -1 {
				t.Fatal("a finite slice is not")
			}
			for i := 0; i < n; i += 97 {
				old := a[i]
				for _, bad := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
					a[i] = float32(bad)
					if got := FirstNonFinite(a); got != i {
						t.Fatalf("FirstNonFinite = %d, want %d", got, i)
					}
				}
				a[i] = old
			}
		}
	})
}

// TestSplit: an element-wise result does not depend on where its slice starts.
func TestSplit(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 3))
		n := 333
		a, b, c, y, z := random(r, n), random(r, n), random(r, n), make([]float32, n), make([]float32, n)
		for name, f := range map[string]func(y []float32, lo, hi int){
			"SwiGLU": func(y []float32, lo, hi int) { SwiGLU(y[lo:hi], a[lo:hi], b[lo:hi]) },
			"ExpSum": func(y []float32, lo, hi int) { ExpSum(y[lo:hi], a[lo:hi], 1) },
			"Axpby":  func(y []float32, lo, hi int) { copy(y[lo:hi], c[lo:hi]); Axpby(y[lo:hi], a[lo:hi], 0.1, 0.7) },
			"backward": func(y []float32, lo, hi int) {
				SwiGLUBackward(y[lo:hi], make([]float32, hi-lo), c[lo:hi], a[lo:hi], b[lo:hi])
			},
			"AdamW": func(y []float32, lo, hi int) {
				copy(y[lo:hi], c[lo:hi])
				m, v := slices.Clone(a[lo:hi]), slices.Clone(b[lo:hi])
				Mul(v, v, v)
				AdamW(y[lo:hi], b[lo:hi], m, v, nil, AdamParams{LR: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Step: 3, GradScale: 1})
			},
		} {
			f(y, 0, n)
			for lo := 0; lo < n; {
				hi := min(n, lo+1+r.IntN(40))
				f(z, lo, hi)
				lo = hi
			}
			if !slices.Equal(y, z) {
				t.Errorf("%s depends on the slice's start", name)
			}
		}
		// A gain's gradient does not depend on the split of its columns.
		rows, inv := 5, []float32{1, 0.5, 2, 0.1, 3}
		dy, x := random(r, rows*n), random(r, rows*n)
		clear(y)
		clear(z)
		RMSNormGainBackward(y, dy, x, n, inv)
		for lo := 0; lo < n; {
			hi := min(n, lo+1+r.IntN(40))
			RMSNormGainBackward(z[lo:hi], dy[lo:], x[lo:], n, inv)
			lo = hi
		}
		if !slices.Equal(y, z) {
			t.Error("RMSNormGainBackward depends on the split of the columns")
		}
		// Zeros after a row leave its sums alone.
		p, q := append(slices.Clone(a[:320]), make([]float32, 160)...), append(slices.Clone(b[:320]), make([]float32, 160)...)
		for k := 320; k <= 480; k += 16 {
			if Dot(p[:k], q[:k]) != Dot(a[:320], b[:320]) {
				t.Errorf("Dot changes with %d zeros", k-320)
			}
		}
	})
}

func TestHalves(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		f, g := make([]float32, len(all)), make([]float32, len(all))
		F32FromBF16(f, all)
		F32FromF16(g, all)
		for i := range all {
			if a, b := math.Float32bits(f[i]), math.Float32bits(tensor.BF16ToF32(all[i])); a != b {
				t.Fatalf("bf16 %04x widens to %08x, want %08x", i, a, b)
			}
			a, b := math.Float32bits(g[i]), math.Float32bits(tensor.F16ToF32(all[i]))
			if a != b && g[i] == g[i] {
				t.Fatalf("f16 %04x widens to %08x, want %08x", i, a, b)
			}
		}
		r := rand.New(rand.NewPCG(4, 4))
		x := []float32{0, 65504, 65519, 65520, 1e30, -1e-8, 5.9604645e-08, 2.9802322e-08, 2.98023e-08, float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0x7f800001), math.Float32frombits(0xff7fffff), 1e-40, math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000)}
		for range 100001 {
			x = append(x, math.Float32frombits(r.Uint32()), float32(r.NormFloat64()))
		}
		h := make([]uint16, len(x))
		BF16FromF32(h, x)
		for i, v := range x {
			if h[i] != tensor.F32ToBF16(v) {
				t.Fatalf("%g (%08x) rounds to bf16 %04x, want %04x", v, math.Float32bits(v), h[i], tensor.F32ToBF16(v))
			}
		}
		z := make([]uint16, 2*len(x))
		ZipBF16(z, x, x)
		for i := range z {
			if z[i] != h[i/2] {
				t.Fatalf("ZipBF16 at %d", i)
			}
		}
		Zip16(z, h, h)
		for i := range z {
			if z[i] != h[i/2] {
				t.Fatalf("Zip16 at %d", i)
			}
		}
		F16FromF32(h, x)
		for i, v := range x {
			if h[i] != tensor.F32ToF16(v) && v == v {
				t.Fatalf("%g rounds to f16 %04x, want %04x", v, h[i], tensor.F32ToF16(v))
			}
		}
	})
}

func TestQ8(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	x := random(r, 32*200)
	clear(x[:32])
	for i := 32; i < 64; i++ {
		x[i] = 1e-20
	}
	active := level
	use(cpu.Generic)
	want, wide := make([]byte, len(x)/32*Q8Block), make([]float32, len(x))
	QuantizeQ8(want, x)
	DequantizeQ8(wide, want)
	use(active)
	for b := 0; b < len(x); b += 32 {
		top := float64(0)
		for _, v := range x[b : b+32] {
			top = max(top, math.Abs(float64(v)))
		}
		for i, v := range x[b : b+32] {
			// Half a step, plus the f16 rounding of the scale (2⁻¹¹ relative; 2⁻²⁵ absolute when subnormal) times a code of 127.
			if e := math.Abs(float64(v - wide[b+i])); e > top/127*0.501+top/1024+127*0x1p-25 {
				t.Fatalf("q8_0 error %g in a block up to %g", e, top)
			}
		}
	}
	eachLevel(t, func(t *testing.T) {
		got, y := make([]byte, len(want)), make([]float32, len(x))
		QuantizeQ8(got, x)
		DequantizeQ8(y, got)
		if !slices.Equal(got, want) || !slices.Equal(y, wide) {
			t.Error("q8_0 differs from the reference")
		}
	})
}

func TestAdamW(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 6))
		n := 2099
		p, m, v := random(r, n), make([]float32, n), make([]float32, n)
		half := make([]uint16, n)
		wp, wm, wv := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range p {
			wp[i] = float64(p[i])
		}
		h := AdamParams{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.5}
		for h.Step = 1; h.Step <= 5; h.Step++ {
			g := random(r, n)
			AdamW(p, g, m, v, half, h)
			for i := range wp {
				gi := float64(g[i]) * float64(h.GradScale)
				lr, b1, b2 := float64(h.LR), float64(h.Beta1), float64(h.Beta2)
				wp[i] -= lr * float64(h.WeightDecay) * wp[i]
				wm[i] += (1 - b1) * (gi - wm[i])
				wv[i] = b2*wv[i] + (1-b2)*gi*gi
				bc1, bc2 := 1-math.Pow(b1, float64(h.Step)), 1-math.Pow(b2, float64(h.Step))
				wp[i] -= lr / bc1 * wm[i] / (math.Sqrt(wv[i])/math.Sqrt(bc2) + float64(h.Eps))
			}
		}
		for i := range p {
			near(t, "AdamW", p[i], wp[i], math.Abs(wp[i])+0.1, 32)
			if half[i] != tensor.F32ToBF16(p[i]) {
				t.Fatalf("bf16 copy differs at %d", i)
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 7))
		for range 60 {
			rows, cols := 1+r.IntN(70), 1+r.IntN(70)
			lds, ldd := cols+r.IntN(5), rows+r.IntN(5)
			x, y := random(r, rows*lds), make([]float32, cols*ldd)
			Transpose(y, ldd, x, lds, rows, cols)
			for i := range rows {
				for j := range cols {
					if y[j*ldd+i] != x[i*lds+j] {
						t.Fatalf("%d×%d: element %d,%d", rows, cols, i, j)
					}
				}
			}
		}
	})
}

func BenchmarkRows(b *testing.B) {
	defer use(level)
	n := 4096
	r := rand.New(rand.NewPCG(1, 1))
	x, y, z, w, g := random(r, n), random(r, n), random(r, n), make([]float32, n), make([]float32, n)
	h, q := make([]uint16, n), make([]byte, n/32*Q8Block)
	for _, l := range []cpu.Features{cpu.Generic, cpu.AVX2, cpu.AVX2 | cpu.AVX512} {
		if !cpu.Detected.Has(l) {
			continue
		}
		use(l)
		for _, k := range []struct {
			name string
			f    func()
		}{
			{"RMSNorm", func() { RMSNorm(w, x, y, 1e-5) }},
			{"RMSNormBackward", func() { RMSNormBackward(w, x, y, z, 0.5) }},
			{"SwiGLU", func() { SwiGLU(w, x, y) }},
			{"SwiGLUBackward", func() { SwiGLUBackward(w, g, x, y, z) }},
			{"ExpSum", func() { ExpSum(w, x, 3) }},
			{"LogSumExp", func() { LogSumExp(x) }},
			{"ArgMax", func() { ArgMax(x) }},
			{"Dot", func() { Dot(x, y) }},
			{"Axpy", func() { Axpy(w, 1e-9, x) }},
			{"BF16FromF32", func() { BF16FromF32(h, x) }},
			{"QuantizeQ8", func() { QuantizeQ8(q, x) }},
			{"DequantizeQ8", func() { DequantizeQ8(w, q) }},
			{"AdamW", func() { AdamW(w, x, g, z, nil, AdamParams{LR: 1e-9, Step: 1, GradScale: 1, Eps: 1}) }},
		} {
			b.Run(fmt.Sprintf("%s/%v", k.name, l), func(b *testing.B) {
				for b.Loop() {
					k.f()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
