package quant

import (
	"encoding/binary"
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
