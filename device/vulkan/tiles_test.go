package vulkan

import (
	"math"
	"slices"
	"testing"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// Every way to cut a product for matrix units gives the same bits, near those of float64.
func TestTiles(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	if d.matrix == (vulkan.Matrix{}) {
		t.Skip("the device has no matrix units that Leo can use")
	}
	for _, dt := range []tensor.DType{tensor.BF16, tensor.Q4_0} {
		for _, in := range []int{32, 1056} { // less than a step; nine strands' worth, with a step that is not full
			tilesOf(t, d, dt, in)
		}
	}
}

func tilesOf(t *testing.T, d *Device, dt tensor.DType, in int) {
	t.Helper()
	const out, rows = 41, 37
	size, err := dt.RowSize(in)
	if err != nil {
		t.Fatal(err)
	}
	data, row, stored, x := make([]byte, out*size), make([]float32, in), make([]float32, out*in), make([]float32, rows*in)
	for i := range out {
		for k := range row {
			row[k] = float32(math.Cos(float64(i*in+3*k))) * 1e-6 // below what float16 holds
		}
		if err := quant.Quantize(data[i*size:(i+1)*size], dt, row, nil); err != nil {
			t.Fatal(err)
		}
		if err := quant.Dequantize(stored[i*in:(i+1)*in], dt, data[i*size:(i+1)*size]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range x {
		x[i] = float32(math.Sin(float64(i))) * float32(math.Pow(10, float64(i/in%8))) // up to more than float16 holds
	}
	w, err := d.NewWeight(device.WeightSpec{Name: "w", DType: dt, Rows: out, Cols: in, Use: device.WeightUseMatmul, Row: func(i int) []byte { return data[i*size : (i+1)*size] }})
	if err != nil {
		t.Fatal(err)
	}
	xs := d.FromSlice(rows, in, x)
	defer d.Release(xs)
	var want []float32
	for _, way := range []tiles{oneTile, twoTiles, someRows, manyRows} {
		y, p := d.New(rows, out), d.pack(xs)
		d.multiplyTiles(y, p, of(w), nil, way, false)
		got := make([]float32, rows*out)
		d.Read(y, got)
		d.Release(y, p.values, p.powers)
		if want == nil {
			want = got
			compare(t, dt, in, got, x, stored, out)
		} else if !slices.Equal(want, got) {
			t.Errorf("%v of %d columns: %+v gives other bits", dt, in, way)
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// compare holds got against x·wᵀ in float64: rounding to 11 bits leaves errors of half a thousandth at most.
func compare(t *testing.T, dt tensor.DType, in int, got, x, w []float32, out int) {
	t.Helper()
	for i, v := range got {
		var want, norm float64
		for k := range in {
			a, b := float64(x[i/out*in+k]), float64(w[i%out*in+k])
			want, norm = want+a*b, norm+math.Abs(a*b)
		}
		if e := math.Abs(float64(v)-want) / norm; !(e < 5e-4) {
			t.Fatalf("%v of %d columns: element %d is %v, want %v (%.2g of the sum of magnitudes)", dt, in, i, v, want, e)
		}
	}
}

func TestLimits(t *testing.T) {
	d := newDevice(t, vulkan.Options{})
	l, err := d.Limits()
	units := d.matrix != (vulkan.Matrix{})
	if err != nil || l.Read <= 0 || l.F32 <= 0 || units != (l.Matrix > 0) {
		t.Errorf("with matrix units: %v; the limits are %+v, %v", units, l, err)
	}
	if _, name := l.Peak(tensor.F32); name != "f32" {
		t.Errorf("products with float32 use %s", name)
	}
}

// Without the extension a device computes as one that never had it.
func TestWithoutMatrixUnits(t *testing.T) {
	for _, name := range []string{vulkan.FeatureMatrix, vulkan.FeatureLanes} {
		d := newDevice(t, vulkan.Options{Without: []string{name}})
		if d.matrix != (vulkan.Matrix{}) || len(d.gpu.Info().Lacks) > 0 {
			t.Errorf("without %s: matrix units %v, lacks %v", name, d.matrix, d.gpu.Info().Lacks)
		}
	}
}
