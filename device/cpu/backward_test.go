package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/device"
	"leolm/tensor"
)

// The derivative through a frozen bf16 weight, unpacked from its panels, is that through a trainable weight of the
// same values, bit for bit.
func TestGradInputOfFrozenWeights(t *testing.T) {
	d := newDevice(t)
	if err := d.SetCompute(tensor.BF16); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range [][3]int{{5, 32, 64}, {3, 33, 7}, {17, 100, 48}, {1, 1, 2}, {40, 70, 31}} {
		tokens, rows, cols := s[0], s[1], s[2]
		stored, values := make([]byte, 2*rows*cols), make([]float32, rows*cols)
		for i := range values {
			h := tensor.F32ToBF16(float32(r.NormFloat64()))
			stored[2*i], stored[2*i+1], values[i] = byte(h), byte(h>>8), tensor.BF16ToF32(h)
		}
		frozen, err := d.NewWeight(device.WeightSpec{Name: "w", DType: tensor.BF16, Rows: rows, Cols: cols, Use: device.WeightUseMatmul,
			Row: func(i int) []byte { return stored[2*i*cols : 2*(i+1)*cols] }})
		if err != nil {
			t.Fatal(err)
		}
		free := d.NewParam("w", rows, cols)
		if err := d.WriteWeight(free, values); err != nil {
			t.Fatal(err)
		}
		dy := make([]float32, tokens*rows)
		for i := range dy {
			dy[i] = float32(r.NormFloat64())
		}
		var got [2][]float32
		for i, w := range []device.Weight{frozen, free} {
			x := d.LinearGradInput(d.FromSlice(tokens, rows, dy), w, nil)
			got[i] = make([]float32, tokens*cols)
			d.Read(x, got[i])
		}
		if !slices.Equal(got[0], got[1]) {
			t.Errorf("%v: the derivatives differ", s)
		}
	}
}
