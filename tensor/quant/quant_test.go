package quant

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"leolm/tensor"
)

// Every type gives the bits of the gguf Python package (testdata/make_dequant.py).
func TestDequantizeGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/dequant.golden")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for len(data) > 0 {
		n := int(data[0])
		name := string(data[1 : 1+n])
		data = data[1+n:]
		size, count := int(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:]))
		blocks, values := data[8:8+size], data[8+size:8+size+4*count]
		data = data[8+size+4*count:]
		d, err := tensor.ParseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, count)
		if err := Dequantize(got, d, blocks); err != nil {
			t.Fatal(err)
		}
		for i, g := range got {
			want := math.Float32frombits(binary.LittleEndian.Uint32(values[4*i:]))
			if math.Float32bits(g) != math.Float32bits(want) {
				t.Fatalf("%v element %d: %v (%#08x), want %v (%#08x)", d, i, g, math.Float32bits(g), want, math.Float32bits(want))
			}
		}
		seen++
	}
	if seen != 14 {
		t.Errorf("golden file holds %d types, want 14", seen)
	}
}

func TestDequantizeWrongSizes(t *testing.T) {
	for _, c := range []struct {
		d       tensor.DType
		n, size int
	}{
		{tensor.Q4_0, 33, 18}, {tensor.Q4_0, 32, 17}, {tensor.Q4_K, 256, 145}, {tensor.F32, 3, 8}, {tensor.Invalid, 1, 1}, {tensor.I32, 1, 4}, {tensor.DType(200), 1, 1},
	} {
		if err := Dequantize(make([]float32, c.n), c.d, make([]byte, c.size)); err == nil {
			t.Errorf("%v: %d elements in %d bytes: no error", c.d, c.n, c.size)
		}
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, d := range []tensor.DType{tensor.Q4_0, tensor.Q8_0, tensor.Q4_K, tensor.Q6_K} {
		b.Run(d.String(), func(b *testing.B) {
			dst := make([]float32, 4096)
			size, _ := d.RowSize(len(dst))
			src := make([]byte, size)
			b.SetBytes(int64(4 * len(dst)))
			for b.Loop() {
				if err := Dequantize(dst, d, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const caseCols = 512

// uniform repeats the whole-number generator of testdata/make_rms.py.
func uniform(n int, seed uint64) []float64 {
	out := make([]float64, n)
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = float64(seed>>40) / (1 << 24)
	}
	return out
}

func gauss(rows int, seed uint64) []float64 {
	u := uniform(rows*caseCols*4, seed)
	out := make([]float64, rows*caseCols)
	for i := range out {
		out[i] = u[4*i] + u[4*i+1] + u[4*i+2] + u[4*i+3] - 2
	}
	return out
}

func narrow(x []float64, f func(float64) float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(f(v))
	}
	return out
}

func rmsCases() (cases map[string][]float32, importance []float32) {
	cases = map[string][]float32{
		"gauss":   narrow(gauss(32, 1), func(v float64) float64 { return v * 0.02 }),
		"heavy":   narrow(gauss(32, 2), func(v float64) float64 { return v * math.Abs(v) * v * v * 0.1 }),
		"shifted": narrow(gauss(32, 3), func(v float64) float64 { return v + 1.5 }),
	}
	return cases, narrow(uniform(caseCols, 4), func(v float64) float64 { return v*v*v*4 + 0.01 })
}

// rms quantizes rows of caseCols and returns the (weighted) root mean square error.
func rms(t testing.TB, d tensor.DType, x, importance []float32) float64 {
	t.Helper()
	size, err := d.RowSize(caseCols)
	if err != nil {
		t.Fatal(err)
	}
	b, y := make([]byte, size), make([]float32, caseCols)
	var e, sw float64
	for at := 0; at < len(x); at += caseCols {
		row := x[at : at+caseCols]
		if err := Quantize(b, d, row, importance); err != nil {
			t.Fatal(err)
		}
		if err := Dequantize(y, d, b); err != nil {
			t.Fatal(err)
		}
		for i, v := range row {
			w := 1.0
			if importance != nil {
				w = float64(importance[i])
			}
			e += w * (float64(v) - float64(y[i])) * (float64(v) - float64(y[i]))
			sw += w
		}
	}
	return math.Sqrt(e / sw)
}

// checkRMS compares our error with llama.cpp's (testdata/make_rms.py).
func checkRMS(t *testing.T, name string, x, importance []float32) {
	t.Helper()
	data, err := os.ReadFile("testdata/rms.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string][2]float64
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden[name]) != 13 {
		t.Fatalf("%d types for %s, want 13", len(golden[name]), name)
	}
	for typ, want := range golden[name] {
		d, err := tensor.ParseDType(typ)
		if err != nil {
			t.Fatal(err)
		}
		plain, weighted := rms(t, d, x, nil), rms(t, d, x, importance)
		t.Logf("%-12s %-7v plain %.4f of llama.cpp's, weighted %.4f", name, d, plain/want[0], weighted/want[1])
		// Types without a search have llama.cpp's very error.
		const equal = 1 + 1e-9
		if plain > want[0]*equal {
			t.Errorf("%s %v: error %.6g, llama.cpp's is %.6g", name, d, plain, want[0])
		}
		if weighted > want[1]*equal {
			t.Errorf("%s %v with importance: error %.6g, llama.cpp's is %.6g", name, d, weighted, want[1])
		}
	}
}

func TestErrorAtMostLlamaCpp(t *testing.T) {
	cases, importance := rmsCases()
	for name, x := range cases {
		checkRMS(t, name, x, importance)
	}
}

func quantizeTypes() []tensor.DType {
	return []tensor.DType{tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0, tensor.Q2_K, tensor.Q3_K, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K, tensor.IQ4_NL, tensor.NF4}
}

// Blocks that the searches' divisions could stumble over.
func TestQuantizeCorners(t *testing.T) {
	fill := func(f func(i int) float32) []float32 {
		x := make([]float32, 256)
		for i := range x {
			x[i] = f(i)
		}
		return x
	}
	one := make([]float32, 256)
	one[77] = 3
	for name, x := range map[string][]float32{
		"zeros":     fill(func(int) float32 { return 0 }),
		"constant":  fill(func(int) float32 { return -0.75 }),
		"positive":  fill(func(i int) float32 { return 1 + float32(i)/256 }),
		"negative":  fill(func(i int) float32 { return -1 - float32(i)/256 }),
		"one":       one,
		"tiny":      fill(func(i int) float32 { return float32(i) * 1e-42 }),
		"small":     fill(func(i int) float32 { return float32(i-100) * 1e-9 }),
		"large":     fill(func(i int) float32 { return float32(i-128) * 100 }),
		"one-sided": fill(func(i int) float32 { return float32(i%16) * float32(i/16) }),
	} {
		_, abs := largest(x)
		for _, importance := range [][]float32{nil, one, fill(func(int) float32 { return 0 })} {
			for _, d := range quantizeTypes() {
				size, _ := d.RowSize(len(x))
				b, y := make([]byte, size), make([]float32, len(x))
				if err := Quantize(b, d, x, importance); err != nil {
					t.Errorf("%s %v: %v", name, d, err)
					continue
				}
				if err := Dequantize(y, d, b); err != nil {
					t.Fatal(err)
				}
				for i, v := range y {
					// Two bits keep the order of magnitude, no more; unimportant
					// elements are clipped but never leave it.
					if e := math.Abs(float64(v - x[i])); !(e <= 1.2*float64(abs)+1e-6) {
						t.Errorf("%s %v: element %d is %v, stored as %v", name, d, i, x[i], v)
						break
					}
				}
			}
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	x := make([]float32, 256)
	for _, d := range quantizeTypes() {
		size, _ := d.RowSize(len(x))
		b := make([]byte, size)
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			x[200] = bad
			if err := Quantize(b, d, x, nil); err == nil {
				t.Errorf("%v takes %v", d, bad)
			}
		}
		x[200] = 3e38
		if err := Quantize(b, d, x, nil); (err == nil) != (d == tensor.NF4) {
			t.Errorf("%v: 3e38 with an f16 scale: %v", d, err)
		}
		x[200] = 0
		if err := Quantize(b, d, x, make([]float32, 3)); err == nil {
			t.Errorf("%v takes 3 importance weights", d)
		}
		w := make([]float32, 256)
		w[3] = -1
		if err := Quantize(b, d, x, w); err == nil && d != tensor.NF4 {
			t.Errorf("%v takes a negative importance", d)
		}
	}
	if err := Quantize(make([]byte, 2), tensor.F16, []float32{65520}, nil); err == nil {
		t.Error("f16 takes 65520")
	}
}

// NF4 is bitsandbytes': exact for its own levels, earlier element in the high nibble.
func TestNF4(t *testing.T) {
	x := make([]float32, 64)
	for i := range x {
		x[i] = nf4Values[i%16] * 2.5
	}
	b, y := make([]byte, 36), make([]float32, 64)
	if err := Quantize(b, tensor.NF4, x, nil); err != nil {
		t.Fatal(err)
	}
	if b[4] != 0x01 || b[5] != 0x23 {
		t.Errorf("first codes %#02x %#02x, want 0x01 0x23", b[4], b[5])
	}
	if err := Dequantize(y, tensor.NF4, b); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if x[i] != y[i] {
			t.Errorf("level %d: %v became %v", i%16, x[i], y[i])
		}
	}
}

// What was stored once is stored again without loss worth naming.
func TestQuantizeTwice(t *testing.T) {
	cases, _ := rmsCases()
	for _, d := range quantizeTypes() {
		size, _ := d.RowSize(caseCols)
		b, y, z := make([]byte, size), make([]float32, caseCols), make([]float32, caseCols)
		x := cases["gauss"][:caseCols]
		if err := Quantize(b, d, x, nil); err != nil {
			t.Fatal(err)
		}
		if err := Dequantize(y, d, b); err != nil {
			t.Fatal(err)
		}
		if err := Quantize(b, d, y, nil); err != nil {
			t.Fatal(err)
		}
		if err := Dequantize(z, d, b); err != nil {
			t.Fatal(err)
		}
		var e, e0 float64
		for i := range x {
			e += float64(z[i]-y[i]) * float64(z[i]-y[i])
			e0 += float64(x[i]-y[i]) * float64(x[i]-y[i])
		}
		t.Logf("%v: second error %.3f of the first", d, math.Sqrt(e/e0))
		if e > e0/4 {
			t.Errorf("%v: storing again adds %.3g to an error of %.3g", d, math.Sqrt(e), math.Sqrt(e0))
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	cases, _ := rmsCases()
	x := cases["gauss"][:4096]
	for _, d := range quantizeTypes() {
		b.Run(d.String(), func(b *testing.B) {
			size, _ := d.RowSize(len(x))
			dst := make([]byte, size)
			for b.Loop() {
				if err := Quantize(dst, d, x, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(x))*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mweights/s")
		})
	}
}

// Any finite numbers and weights are stored as finite numbers, or refused.
func FuzzQuantize(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 1, 0, 0, 0, 255, 255, 127, 127}, []byte{1, 0, 0, 0})
	f.Add([]byte{95, 112, 137, 48, 95, 112, 137, 176}, []byte{0, 0, 128, 63, 0, 0, 0, 0, 255, 255, 127, 127})
	f.Fuzz(func(t *testing.T, values, weights []byte) {
		floats := func(b []byte) []float32 {
			out := make([]float32, 256)
			for i := 0; len(b) >= 4 && i < len(out); i++ {
				at := 4 * i % (len(b) / 4 * 4)
				out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[at:]))
			}
			return out
		}
		x, w := floats(values), floats(weights)
		if len(weights) < 4 {
			w = nil
		}
		for _, d := range quantizeTypes() {
			size, _ := d.RowSize(len(x))
			b, y := make([]byte, size), make([]float32, len(x))
			if Quantize(b, d, x, w) != nil {
				continue
			}
			if err := Dequantize(y, d, b); err != nil {
				t.Fatal(err)
			}
			for i, v := range y {
				if v-v != 0 {
					t.Fatalf("%v: element %d (%v) is stored as %v", d, i, x[i], v)
				}
			}
		}
	})
}
