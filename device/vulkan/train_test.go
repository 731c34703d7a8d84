package vulkan

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

func newCPU(t *testing.T) *cpu.Device {
	t.Helper()
	d, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func drawn(seed uint64, n int) []float32 {
	rng, v := rand.New(rand.NewPCG(seed, 1)), make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// Masks and noise are those of the processor, bit by bit.
func TestRandomNumbersOfTheCPU(t *testing.T) {
	const rows, cols = 37, 1000
	v, scales := drawn(1, rows*cols), drawn(2, rows)
	var got [2][2][]float32
	for i, d := range []device.Device{newCPU(t), newDevice(t, vulkan.Options{})} {
		x := d.FromSlice(rows, cols, v)
		for j, y := range []*device.Tensor{d.Dropout(x, 0.3, 1<<63+12345), d.Noise(x, scales, math.MaxUint64-500)} {
			got[i][j] = make([]float32, rows*cols)
			d.Read(y, got[i][j])
			d.Release(y)
		}
		d.Release(x)
	}
	if !slices.Equal(got[0][0], got[1][0]) {
		t.Error("dropout zeroes others")
	}
	for i, v := range got[0][1] {
		if d := math.Abs(float64(v - got[1][1][i])); d > 1e-6*math.Max(1, math.Abs(float64(v))) {
			t.Fatalf("noise makes %v of element %d, on the processor %v", got[1][1][i], i, v)
		}
	}
}

// Optimizers take the processor's steps, and their state, moved between the devices, goes on there.
func TestOptimizersOfTheCPU(t *testing.T) {
	for _, shape := range [][2]int{{3, 2100}, {200, 30}, {30, 200}, {1, 7}} {
		for _, bits := range []int{32, 8} {
			optimizersOfTheCPU(t, shape[0], shape[1], bits)
		}
	}
}

func optimizersOfTheCPU(t *testing.T, rows, cols, bits int) {
	t.Helper()
	n := rows * cols
	name := fmt.Sprintf("[%d, %d], %d bits", rows, cols, bits)
	v := drawn(3, n)
	var states [2][]device.OptimizerState
	var weights [2]device.Weight
	devices := []device.Device{newCPU(t), newDevice(t, vulkan.Options{})}
	for i, d := range devices {
		weights[i] = d.NewParam("w", rows, cols)
		if err := d.WriteWeight(weights[i], v); err != nil {
			t.Fatal(err)
		}
		for _, signed := range []bool{true, false, true} {
			s, err := d.NewOptimizerState(weights[i], bits, signed)
			if err != nil {
				t.Fatal(err)
			}
			states[i] = append(states[i], s)
		}
	}
	step := func(number int) {
		t.Helper()
		var values [2][]float32
		for i, d := range devices {
			d.WriteGrad(weights[i], drawn(uint64(10+number), n))
			d.AdamW(weights[i], states[i][0], states[i][1], device.AdamW{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, Step: number, GradScale: 0.5})
			if rows > 1 {
				d.Muon(weights[i], states[i][2], device.Muon{LR: 0.1, Momentum: 0.9, WeightDecay: 0.1, GradScale: 2})
			}
			values[i] = make([]float32, n)
			d.ReadWeight(weights[i], values[i])
		}
		var diff, norm float64
		for i, w := range values[0] {
			diff += float64(w-values[1][i]) * float64(w-values[1][i])
			norm += float64(w-v[i]) * float64(w-v[i])
		}
		if e := math.Sqrt(diff / norm); !(e < 2e-3) {
			t.Errorf("%s: after step %d the weights differ by %.2g of what they moved", name, number, e)
		}
	}
	step(1)
	step(2)
	for k := range states[0] {
		a, b := make([]byte, states[0][k].Bytes()), make([]byte, states[1][k].Bytes())
		states[0][k].Save(a)
		states[1][k].Save(b)
		if len(a) != len(b) {
			t.Fatalf("%s: state %d has %d bytes on the processor, %d on the GPU", name, k, len(a), len(b))
		}
		if bits == 8 {
			other := 0
			for i := range n {
				if d := int(a[i]) - int(b[i]); d != 0 {
					if other++; d > 1 || d < -1 {
						t.Fatalf("%s: code %d of state %d is %d on the processor, %d on the GPU", name, i, k, a[i], b[i])
					}
				}
			}
			if other > 1+n/100 {
				t.Errorf("%s: %d of %d codes of state %d differ", name, other, n, k)
			}
		}
		if err := errors.Join(states[0][k].Load(b), states[1][k].Load(a)); err != nil {
			t.Fatal(err)
		}
	}
	step(3)
}

// A run of a layer's derivatives gives the same bits again.
func TestDerivativesRepeat(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
		if a, b := aLayersDerivatives(t, dt), aLayersDerivatives(t, dt); !slices.Equal(a, b) {
			t.Errorf("the bits differ in %v", dt)
		}
	}
}

func aLayersDerivatives(t *testing.T, compute tensor.DType) []float32 {
	t.Helper()
	const n, heads, dim = 90, 4, 16
	d := newDevice(t, vulkan.Options{})
	if err := d.SetCompute(compute); err != nil {
		t.Fatal(err)
	}
	w := d.NewParam("w", 100, heads*dim)
	if err := d.WriteWeight(w, drawn(1, 100*heads*dim)); err != nil {
		t.Fatal(err)
	}
	ids, targets := make([]int32, n), make([]int32, n)
	for i := range ids {
		ids[i], targets[i] = int32(i%7), int32(i%31)
	}
	x := d.Embed(w, ids)
	spec := &device.AttentionSpec{Heads: heads, KVHeads: heads, HeadDim: dim, Scale: 0.25, Seqs: []device.Sequence{{Len: n}}}
	y, lse := d.AttentionTrain(x, x, x, spec)
	loss, dy := d.LinearCrossEntropyGrad(y, w, targets, nil, 0, true)
	dq, dk, dv := d.AttentionGrad(x, x, x, y, lse, dy, spec)
	for _, g := range []*device.Tensor{dq, dk, dv} {
		d.EmbedGrad(w, ids, g)
	}
	out := make([]float32, 100*heads*dim)
	d.ReadGrad(w, out)
	d.Release(x, y, lse, dy, dq, dk, dv)
	return append(append(out, float32(loss().Loss)), float32(d.GradSquares(w)[0]))
}

// Training for which there is no memory says so with numbers, in every part of it, and nothing panics.
func TestOutOfMemoryInTraining(t *testing.T) {
	const limit = 8 << 20
	d := newDevice(t, vulkan.Options{Limit: limit})
	w := d.NewParam("w", 1<<11, 1<<11)
	w2 := d.NewParam("w2", 1<<10, 1<<10)
	var full *device.MemoryError
	if err := d.Sync(); !errors.As(err, &full) || full.Needed != 1<<24 || full.What != "weight w" {
		t.Errorf("a weight of 16 MiB: %v", err)
	}
	d.ReadWeight(w, make([]float32, 1<<22))
	if d.Sync() == nil {
		t.Error("a weight without memory was read")
	}
	v := make([]float32, 1<<20)
	d.WriteGrad(w2, v) // the second 4 MiB of what may be taken
	x := d.FromSlice(1<<10, 1<<10, v)
	loss, dh := d.LinearCrossEntropyGrad(x, w2, make([]int32, 1<<10), nil, 0, true)
	if loss(); dh == nil {
		t.Error("no derivative")
	}
	if err := d.Sync(); !errors.As(err, &full) || full.Available > limit {
		t.Errorf("after all memory was taken: %v", err)
	}
	if _, err := d.NewOptimizerState(w2, 32, true); !errors.As(err, &full) || full.What != "optimizer state of w2" {
		t.Errorf("optimizer state of 4 MiB: %v", err)
	}
	d.Release(x, dh)
}
