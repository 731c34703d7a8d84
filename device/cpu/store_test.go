//go:build linux || darwin

package cpu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"leolm/device"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// specs are a weight of every kind that a store keeps, and one that it does not.
func specs(t *testing.T) []device.WeightSpec {
	t.Helper()
	var out []device.WeightSpec
	for _, dt := range []tensor.DType{tensor.Q4_0, tensor.Q8_0, tensor.BF16, tensor.F16, tensor.F32} {
		const rows, cols = 45, 64
		values := make([]float32, cols)
		size, err := dt.RowSize(cols)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, rows*size)
		for i := range rows {
			for j := range values {
				values[j] = float32((i*31+j*17)%101-50) / 50
			}
			if dt == tensor.F32 {
				for j, v := range values {
					binary.LittleEndian.PutUint16(data[i*size+4*j+2:], tensor.F32ToBF16(v))
				}
			} else if err := quant.Quantize(data[i*size:(i+1)*size], dt, values, nil); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, device.WeightSpec{Name: "w." + dt.String(), DType: dt, Rows: rows, Cols: cols, Use: device.WeightUseMatmul, Row: func(i int) []byte { return data[i*size : (i+1)*size] }})
	}
	return out
}

// load makes the weights in a store and returns products with them.
func load(t *testing.T, path, fingerprint string) (products [][]float32, written bool) {
	t.Helper()
	dev := newDevice(t)
	s, err := OpenStore(path, fingerprint, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	written = s.file != nil
	dev.UseStore(s)
	var ws []device.Weight
	for _, spec := range specs(t) {
		w, err := dev.NewWeight(spec)
		if err != nil {
			t.Fatal(err)
		}
		ws = append(ws, w)
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	x := dev.alloc(3, 64)
	for i := range x.f32 {
		x.f32[i] = float32(i%13) - 6
	}
	for _, w := range ws {
		y := dev.Linear(&x.Tensor, w)
		products = append(products, slices.Clone(mat(y).f32))
		dev.Release(y)
	}
	return products, written
}

func TestPackedWeightsAreKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.leopack")
	dev := newDevice(t)
	var want [][]float32
	for _, spec := range specs(t) {
		w, err := dev.NewWeight(spec)
		if err != nil {
			t.Fatal(err)
		}
		x := dev.alloc(3, 64)
		for i := range x.f32 {
			x.f32[i] = float32(i%13) - 6
		}
		want = append(want, slices.Clone(mat(dev.Linear(&x.Tensor, w)).f32))
	}
	for i, expectWritten := range []bool{true, false} {
		got, written := load(t, path, "abc")
		if written != expectWritten {
			t.Errorf("start %d: written %v", i, written)
		}
		for k := range want {
			if !slices.Equal(got[k], want[k]) {
				t.Errorf("start %d: product %d differs from the one in plain memory", i, k)
			}
		}
	}
	// Another model, or a damaged file, is written anew.
	if _, written := load(t, path, "other"); !written {
		t.Error("the weights of another model were used")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 7, len(data) / 2, len(data) - 1} {
		if err := os.WriteFile(path, data[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if got, written := load(t, path, "other"); !written || !slices.Equal(got[0], want[0]) {
			t.Errorf("the first %d bytes of a file were used", n)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

// A byte that changed anywhere in the file is found out before a weight is used; the file is made anew.
func TestDamagedStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.leopack")
	want, _ := load(t, path, "abc")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	step := len(whole) / 150
	for at := 0; at < len(whole); at += step {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(path, "abc", 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if s.file == nil {
			t.Errorf("byte %d changed, and the file is used", at)
		}
		// The last bytes say that it is one of our files at all.
		if s.Damage() == nil && at < len(whole)-len(storeMagic) {
			t.Errorf("byte %d changed, and no damage is reported", at)
		}
		s.Close()
		if at == step*75 {
			got, written := load(t, path, "abc")
			if !written || !slices.EqualFunc(got, want, slices.Equal) {
				t.Error("the damaged file was not made anew")
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("files left behind: %v", left)
	}
}

var touched byte

// BenchmarkOpenStore is what the checksums cost at a start: a file in the page cache.
func BenchmarkOpenStore(b *testing.B) {
	path := filepath.Join(b.TempDir(), "big")
	const size = 1 << 30
	if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func([]byte){
		"checksums": func(data []byte) {
			if _, err := blockSums(data); err != nil {
				b.Fatal(err)
			}
		},
		"first touch of the pages": func(data []byte) {
			x := byte(0)
			for i := 0; i < len(data); i += 4096 {
				x ^= data[i]
			}
			touched = x
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				data, err := mapFile(path)
				if err != nil {
					b.Fatal(err)
				}
				f(data)
				unmap(data)
			}
		})
	}
}
