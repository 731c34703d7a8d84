package qmat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
	"leolm/tensor/quant"
)

var allTypes = []tensor.DType{
	tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0, tensor.IQ4_NL,
	tensor.Q2_K, tensor.Q3_K, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K, tensor.NF4,
}

// scaleOffsets are where a block of each type holds f16 scales.
var scaleOffsets = map[tensor.DType][]int{
	tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_0: {0}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0}, tensor.IQ4_NL: {0},
	tensor.Q2_K: {80, 82}, tensor.Q3_K: {108}, tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208},
}

// namedLevel is a level with the features that it needs.
type namedLevel struct {
	name     string
	features cpu.Features
	*level
}

// otherMakers are the levels that processors of other makers would take for the features of this one.
var otherMakers []namedLevel

// everyLevel lists all that this machine can run.
func everyLevel() []namedLevel {
	var ls []namedLevel
	for _, f := range cpu.Presets() {
		ls = append(ls, namedLevel{f.String(), f, choose(f)})
	}
	return append(ls, otherMakers...)
}

// forLevels runs f at each level of this machine.
func forLevels(t *testing.T, f func(t *testing.T, l cpu.Features)) {
	t.Helper()
	saved := active
	defer func() { active = saved }()
	for _, l := range everyLevel() {
		active = l.level
		t.Run(l.name, func(t *testing.T) { f(t, l.features) })
	}
}

// randomWeights returns rows of random blocks. Codes are any bits; wild scales
// are any finite f16, others near 0.01.
func randomWeights(rng *rand.Rand, d tensor.DType, rows, cols int, wild bool) [][]byte {
	out := make([][]byte, rows)
	for i := range out {
		size, err := d.RowSize(cols)
		if err != nil {
			panic(err)
		}
		row := make([]byte, size)
		for j := range row {
			row[j] = byte(rng.Uint32())
		}
		for b := 0; b < size; b += d.BlockSize() {
			for _, o := range scaleOffsets[d] {
				h := tensor.F32ToF16(float32(rng.NormFloat64()) * 0.01)
				for wild {
					if h = uint16(rng.Uint32()); h&0x7c00 != 0x7c00 {
						break
					}
				}
				binary.LittleEndian.PutUint16(row[b+o:], h)
			}
			if d == tensor.NF4 {
				v := float32(math.Abs(rng.NormFloat64())) * 0.1
				if wild {
					v = float32(math.Exp(rng.Float64()*120 - 70))
				}
				binary.LittleEndian.PutUint32(row[b:], math.Float32bits(v))
			}
		}
		out[i] = row
	}
	return out
}

func pack(t testing.TB, d tensor.DType, rows [][]byte, cols int) *Packed {
	t.Helper()
	size, err := PackedSize(d, len(rows), cols)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewPacked(d, len(rows), cols, make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Pack(func(i int) []byte { return rows[i] }, 0, w.Panels()); err != nil {
		t.Fatal(err)
	}
	return w
}

func dequantize(t testing.TB, d tensor.DType, row []byte, cols int) []float32 {
	t.Helper()
	out := make([]float32, cols)
	if err := quant.Dequantize(out, d, row); err != nil {
		t.Fatal(err)
	}
	return out
}

// activations of several characters, one per row.
func activations(rng *rand.Rand, m, k int) []float32 {
	x := make([]float32, m*k)
	for r := range m {
		row := x[r*k:][:k]
		for i := range row {
			row[i] = float32(rng.NormFloat64())
		}
		switch r % 7 {
		case 1: // outliers
			for range 1 + k/100 {
				row[rng.IntN(k)] *= 1000
			}
		case 2: // zeros and denormals
			for i := range row {
				switch i / 32 % 3 {
				case 0:
					row[i] = 0
				case 1:
					row[i] = math.Float32frombits(uint32(rng.IntN(1 << 23)))
				}
			}
		case 3: // all at the limit of the range: the largest integer sums
			for i := range row {
				row[i] = 3
			}
		case 4:
			for i := range row {
				row[i] = -3
			}
		case 5:
			for i := range row {
				row[i] *= 1e15
			}
		}
	}
	return x
}

// checkProduct compares got with the product in f64. The bound is what the format
// promises: half a step of the activations per weight, plus rounding.
func checkProduct(t *testing.T, d tensor.DType, rows [][]byte, x []float32, m, k int, got []float32) {
	t.Helper()
	for n, row := range rows {
		w := dequantize(t, d, row, k)
		for r := range m {
			var want, bound float64
			for b := 0; b < k; b += 32 {
				var top, sum, prod, wmax float64
				for i := b; i < b+32; i++ {
					xv, wv := float64(x[r*k+i]), float64(w[i])
					want += xv * wv
					top = max(top, math.Abs(xv))
					wmax = max(wmax, math.Abs(wv))
					sum += math.Abs(wv)
					prod += math.Abs(xv * wv)
				}
				bound += step(x[r*k+b:][:32])/2*sum*1.0001 + tinyMax*sum
				// f32 rounding of the terms; those of types with a minimum are
				// larger than their difference.
				bound += 32 * top * wmax * 3e-6
				if d == tensor.NF4 {
					bound += 3.2e-5 * top * 32 * math.Abs(float64(math.Float32frombits(binary.LittleEndian.Uint32(row[b/64*36:]))))
				}
			}
			for b := 0; b < k; b += 32 {
				top := 0.0
				for i := b; i < b+32; i++ {
					top = max(top, math.Abs(float64(x[r*k+i])))
				}
				bound += top * minTerm(d, row, b) * 32 * 3e-7
			}
			g := float64(got[r*len(rows)+n])
			if math.IsNaN(g) || math.Abs(g-want) > bound+1e-37 {
				t.Fatalf("row %d, output %d: got %g, want %g ± %g", r, n, g, want, bound)
			}
		}
	}
}

// step is the scale of a block of activations: by the largest of its groups of four but
// the largest one of each half, or 16 times finer than the largest of all if that is more,
// rounded up to three bits.
func step(x []float32) float64 {
	var group [8]float64
	for i, v := range x {
		group[i/4] = max(group[i/4], math.Abs(float64(v)))
	}
	slices.Sort(group[:4])
	slices.Sort(group[4:])
	d := max(group[2]/127, group[6]/127, group[3]/(127*16), group[7]/(127*16))
	fraction, exp := math.Frexp(d)
	return math.Ldexp(math.Ceil(8*fraction), exp-3)
}

// minTerm bounds |offset or minimum| of the block at element b.
func minTerm(d tensor.DType, row []byte, b int) float64 {
	blk := row[b/d.BlockLen()*d.BlockSize():]
	worst := 0.0
	for _, o := range scaleOffsets[d] {
		worst = max(worst, math.Abs(float64(tensor.F16ToF32(binary.LittleEndian.Uint16(blk[o:])))))
	}
	if d.BlockLen() == 256 {
		worst *= 64
	}
	return worst * 128
}

func product(w *Packed, x []float32, m int) []float32 {
	var a Acts
	a.Quantize(x, m, w.Cols)
	out := make([]float32, m*w.Rows)
	Mul(out, w.Rows, w, &a, 0, w.Panels(), 0, a.Tiles(), false)
	return out
}

func TestProductAgainstF64(t *testing.T) {
	forLevels(t, func(t *testing.T, _ cpu.Features) {
		for _, d := range allTypes {
			t.Run(d.String(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(d)))
				for _, s := range []struct{ m, n, blocks int }{{1, 16, 1}, {1, 37, 3}, {7, 33, 2}, {23, 20, 2}, {16, 16, 5}, {3, 1, 1}} {
					k := s.blocks * max(32, d.BlockLen())
					for _, wild := range []bool{false, true} {
						rows := randomWeights(rng, d, s.n, k, wild)
						x := activations(rng, s.m, k)
						checkProduct(t, d, rows, x, s.m, k, product(pack(t, d, rows, k), x, s.m))
					}
				}
			})
		}
	})
}

// Every output has the same bits alone, in any batch, and however the ranges are cut.
func TestBatchInvariance(t *testing.T) {
	forLevels(t, func(t *testing.T, l cpu.Features) {
		for _, d := range allTypes {
			t.Run(d.String(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(2, uint64(d)))
				m, n, k := 67, 45, 512
				if l == cpu.Generic {
					m = 35
				}
				rows := randomWeights(rng, d, n, k, false)
				w := pack(t, d, rows, k)
				x := activations(rng, m, k)
				want := make([]float32, 0, m*n)
				for r := range m {
					want = append(want, product(w, x[r*k:][:k], 1)...)
				}
				for batch := 1; batch <= m; batch += 1 + batch/20*7 {
					same(t, fmt.Sprint("batch ", batch), product(w, x[:batch*k], batch), want[:batch*n])
				}
				var a Acts
				a.Quantize(x, m, k)
				for range 5 {
					out := make([]float32, m*n)
					p := rng.IntN(w.Panels() + 1)
					q := rng.IntN(a.Tiles() + 1)
					Mul(out, n, w, &a, p, w.Panels(), q, a.Tiles(), false)
					Mul(out, n, w, &a, 0, p, 0, q, false)
					Mul(out, n, w, &a, p, w.Panels(), 0, q, false)
					Mul(out, n, w, &a, 0, p, q, a.Tiles(), false)
					same(t, fmt.Sprint("cut at ", p, q), out, want)
				}
				// Adding.
				out := make([]float32, m*n)
				sum := make([]float32, m*n)
				for i := range out {
					out[i] = float32(rng.NormFloat64())
					sum[i] = want[i] + out[i]
				}
				Mul(out, n, w, &a, 0, w.Panels(), 0, a.Tiles(), true)
				same(t, "add", out, sum)
			})
		}
	})
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g (%#x), want %g (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// Levels differ from the generic one in rare last bits only, and not among each other.
func TestLevelsAgree(t *testing.T) {
	saved := active
	defer func() { active = saved }()
	for _, d := range allTypes {
		rng := rand.New(rand.NewPCG(3, uint64(d)))
		m, n, k := 9, 40, 1024
		w := pack(t, d, randomWeights(rng, d, n, k, false), k)
		x := activations(rng, m, k)
		active = &generic
		ref := product(w, x, m)
		var first []float32
		for _, l := range everyLevel()[1:] {
			active = l.level
			got := product(w, x, m)
			if first == nil {
				first = got
			}
			same(t, fmt.Sprint(d, l.name), got, first)
			differ := 0
			for i, v := range got {
				if v != ref[i] {
					differ++
				}
			}
			if differ > len(got)/20 {
				t.Errorf("%v %s: %d of %d elements differ from the generic level", d, l.name, differ, len(got))
			}
		}
	}
}

func TestDequantize(t *testing.T) {
	forLevels(t, func(t *testing.T, _ cpu.Features) {
		for _, d := range allTypes {
			rng := rand.New(rand.NewPCG(4, uint64(d)))
			n, k := 21, 512
			rows := randomWeights(rng, d, n, k, false)
			w := pack(t, d, rows, k)
			panel := make([]float32, PanelRows*k)
			got := make([]float32, k)
			for i, row := range rows {
				want := dequantize(t, d, row, k)
				w.DequantizeRow(got, i)
				if i%PanelRows == 0 {
					w.DequantizePanel(panel, i/PanelRows)
				}
				for j, v := range want {
					tol := 1e-6 * math.Abs(float64(v))
					if d == tensor.NF4 {
						tol = 3.2e-5 * 2
					}
					if math.Abs(float64(got[j]-v)) > tol {
						t.Fatalf("%v row %d element %d: %g, want %g", d, i, j, got[j], v)
					}
				}
				same(t, fmt.Sprint(d, " panel"), panel[i%PanelRows*k:][:k], got)
			}
		}
	})
}

// TestQuantizeLevelsAgree rounds blocks of all kinds, side by side in rows that the kernels take together.
func TestQuantizeLevelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	saved := active
	defer func() { active = saved }()
	for round := range 200 {
		m, k := 1+rng.IntN(40), 32*(1+rng.IntN(4))
		stride := k + rng.IntN(3)*8
		x := make([]float32, m*stride)
		for r := range m {
			for b := 0; b < k; b += 32 {
				block := x[r*stride+b:][:32]
				size := []float32{1, 1, 1, 0, 1e-31, 1e-29, 1e-42, 1e20, 1e37}[rng.IntN(9)]
				for i := range block {
					block[i] = float32(rng.NormFloat64()) * size
				}
				at := rng.IntN(32)
				switch rng.IntN(12) {
				case 0:
					block[at] *= 1000
				case 1: // ties between groups
					for i := range block {
						block[i] = float32(i&1*2-1) * size
					}
				case 2:
					block[at] = math.MaxFloat32
				case 3:
					if round%2 == 0 {
						block[at] = []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}[rng.IntN(3)]
					}
				}
			}
		}
		quantized := func(l *level) []byte {
			active = l
			a := Acts{data: slices.Repeat([]byte{0xee}, 1<<16)[:0]} // what a kernel leaves out shows
			a.Reset(m, k)
			for lo := 0; lo < m; lo += TileRows {
				mid := min(lo+1+rng.IntN(TileRows), m) // not always whole tiles
				a.Rows(x, stride, lo, mid)
				a.Rows(x, stride, mid, max(mid, min(lo+TileRows, m)))
			}
			return a.data
		}
		want := quantized(&generic)
		for _, l := range everyLevel() {
			for i, v := range quantized(l.level) {
				if v != want[i] {
					t.Fatalf("round %d, %d rows of %d, %s: record %d byte %d is %#x, want %#x", round, m, k, l.name, i/recordSize, i%recordSize, v, want[i])
				}
			}
		}
	}
}

func TestNonFiniteActivations(t *testing.T) {
	forLevels(t, func(t *testing.T, _ cpu.Features) {
		for _, d := range allTypes {
			rng := rand.New(rand.NewPCG(6, uint64(d)))
			k := 512
			w := pack(t, d, randomWeights(rng, d, 16, k, false), k)
			for _, bad := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
				x := make([]float32, k)
				x[300] = float32(bad)
				for i, v := range product(w, x, 1) {
					if v == v {
						t.Fatalf("%v: output %d of an input with %v is %g", d, i, bad, v)
					}
				}
			}
		}
	})
}

func TestPackedSize(t *testing.T) {
	for _, d := range allTypes {
		size, err := PackedSize(d, 64, 512)
		if err != nil {
			t.Fatal(err)
		}
		src, _ := d.RowSize(64 * 512)
		if over := float64(size)/float64(src) - 1; over > 0.037 || d != tensor.Q3_K && over > 0.03 {
			t.Errorf("%v: packed is %.1f %% larger than the source", d, over*100)
		}
	}
	for _, c := range []struct {
		d          tensor.DType
		rows, cols int
	}{{tensor.F32, 1, 32}, {tensor.Q4_0, 1, 33}, {tensor.Q4_0, -1, 32}, {tensor.Q4_K, 16, 128}, {tensor.Q8_0, math.MaxInt, 1 << 40 * 32}} {
		if _, err := PackedSize(c.d, c.rows, c.cols); err == nil {
			t.Errorf("PackedSize(%v, %d, %d) gives no error", c.d, c.rows, c.cols)
		}
	}
	if _, err := NewPacked(tensor.Q4_0, 16, 32, make([]byte, 287)); err == nil {
		t.Error("NewPacked takes too few bytes")
	}
	w, _ := NewPacked(tensor.Q4_0, 16, 32, make([]byte, 288))
	if err := w.Pack(func(int) []byte { return make([]byte, 17) }, 0, 1); err == nil {
		t.Error("Pack takes a short row")
	}
}

// Any block bits and any activations stay within the bound, at every level.
func FuzzProduct(f *testing.F) {
	for i := range allTypes {
		f.Add(uint8(i), uint64(i), uint8(1+i), uint8(5), true)
	}
	saved := active
	f.Cleanup(func() { active = saved })
	f.Fuzz(func(t *testing.T, typ uint8, seed uint64, m, n uint8, wild bool) {
		d := allTypes[int(typ)%len(allTypes)]
		rng := rand.New(rand.NewPCG(seed, 1))
		rows := randomWeights(rng, d, int(n%40)+1, 256, wild)
		w := pack(t, d, rows, 256)
		x := activations(rng, int(m%40)+1, 256)
		for _, l := range everyLevel() {
			active = l.level
			checkProduct(t, d, rows, x, int(m%40)+1, 256, product(w, x, int(m%40)+1))
		}
	})
}

// The largest codes times the largest activations: no integer sum overflows.
func TestExtremes(t *testing.T) {
	forLevels(t, func(t *testing.T, _ cpu.Features) {
		for _, d := range allTypes {
			rng := rand.New(rand.NewPCG(10, uint64(d)))
			k := 256
			rows := randomWeights(rng, d, 16, k, false)
			for i, row := range rows {
				for b := 0; b < len(row); b += d.BlockSize() {
					blk := row[b : b+d.BlockSize()]
					for j := range blk {
						blk[j] = [4]byte{0x00, 0xff, 0x7f, 0x80}[i%4]
					}
					for _, o := range scaleOffsets[d] {
						binary.LittleEndian.PutUint16(blk[o:], tensor.F32ToF16(1))
					}
					if d == tensor.NF4 {
						binary.LittleEndian.PutUint32(blk, math.Float32bits(1))
					}
				}
			}
			x := make([]float32, 3*k)
			for i := range x {
				x[i] = 127
				if i%16 < 4 {
					x[i] = 127 * 16
				}
				if i >= k && (i >= 2*k || i%2 == 0) {
					x[i] = -x[i]
				}
			}
			checkProduct(t, d, rows, x, 3, k, product(pack(t, d, rows, k), x, 3))
		}
	})
}

// Packed bytes are the same at every level: a packed file serves all machines.
func TestPackLevelsAgree(t *testing.T) {
	for _, d := range allTypes {
		rng := rand.New(rand.NewPCG(11, uint64(d)))
		n, k := 37, 512
		rows := randomWeights(rng, d, n, k, true)
		var want []byte
		forLevels(t, func(t *testing.T, l cpu.Features) {
			w := pack(t, d, rows, k)
			if want == nil {
				want = w.Data
			}
			if !bytes.Equal(w.Data, want) {
				t.Errorf("%v: packed bytes differ from the generic level's", d)
			}
		})
	}
}
