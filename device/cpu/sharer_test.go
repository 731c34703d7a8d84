package cpu

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"leolm/device"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// Values that were taken from a weight and given to another of the same kind make it compute the same, in every layout; a
// weight without values costs no memory and still collects a gradient.
func TestStoredValuesMove(t *testing.T) {
	const rows, cols = 48, 64
	d := newDevice(t)
	var _ device.Sharer = d
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(math.Sin(float64(i)))
	}
	spec := func(dt tensor.DType, n int, use device.WeightUse, scale float32) device.WeightSpec {
		size, err := dt.RowSize(cols)
		if err != nil {
			t.Fatal(err)
		}
		return device.WeightSpec{Name: dt.String(), DType: dt, Rows: n, Cols: cols, Use: use, Row: func(i int) []byte {
			b, row := make([]byte, size), make([]float32, cols)
			for j := range row {
				row[j] = scale * values[i*cols+j]
			}
			if dt == tensor.F32 {
				for j, v := range row {
					binary.LittleEndian.PutUint32(b[4*j:], math.Float32bits(v))
				}
			} else if err := quant.Quantize(b, dt, row, nil); err != nil {
				t.Error(err)
			}
			return b
		}}
	}
	frozen := func(dt tensor.DType, n int, use device.WeightUse) func(scale float32) device.Weight {
		return func(scale float32) device.Weight {
			w, err := d.NewWeight(spec(dt, n, use, scale))
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
	}
	param := func(scale float32) device.Weight {
		w := d.NewParam("p", rows, cols)
		scaled := slices.Clone(values)
		for i := range scaled {
			scaled[i] *= scale
		}
		if err := d.WriteWeight(w, scaled); err != nil {
			t.Fatal(err)
		}
		return w
	}
	for name, made := range map[string]func(scale float32) device.Weight{
		"trainable": param,
		"vector":    frozen(tensor.F32, 1, device.WeightUseVector),
		"f32":       frozen(tensor.F32, rows, device.WeightUseMatmul),
		"f16":       frozen(tensor.F16, rows, device.WeightUseMatmul),
		"bf16":      frozen(tensor.BF16, rows, device.WeightUseMatmul),
		"q8_0":      frozen(tensor.Q8_0, rows, device.WeightUseMatmul),
	} {
		from, to := made(1), made(2)
		want := make([]float32, from.Rows()*from.Cols())
		d.ReadWeight(from, want)
		own := d.TakeStored(to)
		if len(own) != d.StoredBytes(from) || to.Bytes() != 0 || d.StoredBytes(to) != len(own) || d.TakeStored(to) != nil {
			t.Errorf("%s: %d bytes were taken of %d; %d are left", name, len(own), d.StoredBytes(from), to.Bytes())
		}
		if to.Trainable() {
			d.WriteGrad(to, want)
			if d.GradSquares(to)[0] == 0 {
				t.Errorf("%s: no gradient without values", name)
			}
			d.DropGrad(to)
		}
		lent := d.TakeStored(from)
		for _, memory := range [][]byte{nil, own} { // new memory, and what it had
			memory = d.GiveStored(to, memory)
			copy(memory, lent)
			got := make([]float32, len(want))
			d.ReadWeight(to, got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: other values than those that were lent", name)
			}
			d.TakeStored(to)
		}
	}
}
