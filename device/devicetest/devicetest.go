// Package devicetest is the compliance suite of devices: what any implementation of
// device.Runner and of device.Device must do, whatever it computes with. Operations are compared with
// their definitions in float64, derivatives with differences of the operations
// themselves, on odd shapes; besides numbers it tests what callers rely on: arguments may
// be used again at once, rows do not depend on their neighbors, pages of a cache are
// interchangeable, and nothing leaks.
package devicetest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/device"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// Tolerances of products, relative to the norm of the result, by the type that weights are stored in. A device
// may round the other operand to the weight's precision, and to 8 bits next to block-quantized weights.
var tolerances = map[tensor.DType]float64{
	tensor.F32: 1e-5, tensor.F16: 2e-3, tensor.BF16: 1e-2,
	tensor.Q8_0: 2e-2, tensor.Q4_0: 2e-2, tensor.Q4_1: 2e-2, tensor.Q5_0: 2e-2, tensor.Q5_1: 2e-2, tensor.IQ4_NL: 2e-2, tensor.NF4: 2e-2,
	tensor.Q2_K: 2e-2, tensor.Q3_K: 2e-2, tensor.Q4_K: 2e-2, tensor.Q5_K: 2e-2, tensor.Q6_K: 2e-2,
}

// stored is the tolerance of values read back: none, but the levels of NF4 may be rounded for products in 8 bits.
func stored(dt tensor.DType) float64 {
	if dt == tensor.NF4 {
		return 1e-3
	}
	return 1e-6
}

// exact is the tolerance of operations in float32.
const exact = 1e-5

// suite is one run: a device, with what the tests need.
type suite struct {
	*testing.T
	dev     device.Runner
	trainer device.Device // dev, if it trains; nil if it does not
	rng     *rand.Rand
}

// part is a part of the suite.
type part struct {
	name string
	run  func(s *suite)
}

// inference are the parts for devices that run models; the rest is for those that train.
var (
	inference = []part{
		{"Elementwise", elementwise}, {"Linear", linear}, {"Embed", embed}, {"Rope", rope}, {"Attention", attention},
		{"CachedAttention", cachedAttention}, {"CrossEntropy", crossEntropy}, {"TopLogits", topLogits}, {"Random", random}, {"DoRA", dora},
		{"Fused", fused}, {"Arguments", arguments}, {"Rows", rows}, {"Weights", weights}, {"Cache", cache}, {"Memory", memory},
	}
	training = []part{{"Lending", lending}, {"Derivatives", derivatives}, {"Tiles", tiles}, {"Gradients", gradients}, {"Optimizers", optimizers}}
)

// Run runs the suite for a device that trains. Each part gets a device of its own from newDevice.
func Run(t *testing.T, newDevice func(t *testing.T) device.Device) {
	for _, p := range slices.Concat(inference, training) {
		t.Run(p.name, func(t *testing.T) {
			d := newDevice(t)
			p.on(t, &suite{dev: d, trainer: d})
		})
	}
}

// RunInference runs the parts of the suite that need no training.
func RunInference(t *testing.T, newDevice func(t *testing.T) device.Runner) {
	for _, p := range inference {
		t.Run(p.name, func(t *testing.T) { p.on(t, &suite{dev: newDevice(t)}) })
	}
}

// on runs the part.
func (p part) on(t *testing.T, s *suite) {
	s.T, s.rng = t, rand.New(rand.NewPCG(1, 2))
	p.run(s)
	if err := s.dev.Sync(); err != nil {
		t.Error(err)
	}
	if n := s.dev.Memory().Tensors; n != 0 && !t.Failed() {
		t.Errorf("%d bytes of tensors were not given back", n)
	}
}

// values draws n numbers around 0, some of them large and some zero.
func (s *suite) values(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		switch v[i] = float32(s.rng.NormFloat64()); s.rng.IntN(50) {
		case 0:
			v[i] *= 30
		case 1:
			v[i] = 0
		}
	}
	return v
}

func (s *suite) tensor(rows, cols int, v []float32) *device.Tensor {
	return s.dev.FromSlice(rows, cols, v)
}

// take reads x and releases it.
func (s *suite) take(x *device.Tensor) []float32 {
	v := make([]float32, x.Rows*x.Cols)
	s.dev.Read(x, v)
	s.dev.Release(x)
	return v
}

// weight stores values as dt and returns the weight with the values that it stands for.
func (s *suite) weight(dt tensor.DType, rows, cols int, use device.WeightUse, v []float32) (device.Weight, []float32) {
	s.Helper()
	size, err := dt.RowSize(cols)
	if err != nil {
		s.Fatal(err)
	}
	data, stored := make([]byte, rows*size), make([]float32, rows*cols)
	for i := range rows {
		if err := quant.Quantize(data[i*size:(i+1)*size], dt, v[i*cols:(i+1)*cols], nil); err != nil {
			s.Fatal(err)
		}
		if err := quant.Dequantize(stored[i*cols:(i+1)*cols], dt, data[i*size:(i+1)*size]); err != nil {
			s.Fatal(err)
		}
	}
	w, err := s.dev.NewWeight(device.WeightSpec{Name: "w", DType: dt, Rows: rows, Cols: cols, Use: use, Row: func(i int) []byte { return data[i*size : (i+1)*size] }})
	if err != nil {
		s.Fatal(err)
	}
	return w, stored
}

// param makes a trainable weight, or a frozen one in float32 where the device does not train.
func (s *suite) param(rows, cols int, v []float32) device.Weight {
	s.Helper()
	if s.trainer == nil {
		use := device.WeightUseMatmul | device.WeightUseEmbedding
		if rows == 1 {
			use = device.WeightUseVector
		}
		w, _ := s.weight(tensor.F32, rows, cols, use, v)
		return w
	}
	w := s.trainer.NewParam("w", rows, cols)
	if err := s.trainer.WriteWeight(w, v); err != nil {
		s.Fatal(err)
	}
	return w
}

// near compares by the norm of the difference relative to that of want.
func (s *suite) near(what string, got []float32, want []float64, tolerance float64) {
	s.Helper()
	var diff, norm float64
	for i, w := range want {
		diff += (float64(got[i]) - w) * (float64(got[i]) - w)
		norm += w * w
	}
	if e := math.Sqrt(diff / max(norm, 1e-30)); !(e <= tolerance) {
		s.Errorf("%s: relative error %.3g, at most %g is allowed", what, e, tolerance)
	}
}

func (s *suite) same(what string, got, want []float32) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("%s: the bits differ", what)
	}
}

// product is x·wᵀ.
func product(x, w []float32, rows, out, in int) []float64 {
	y := make([]float64, rows*out)
	for i := range rows {
		for j := range out {
			for k := range in {
				y[i*out+j] += float64(x[i*in+k]) * float64(w[j*in+k])
			}
		}
	}
	return y
}
