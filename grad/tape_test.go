package grad_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/grad"
	"leolm/llama"
)

// testbed is a small Llama with everything that has a derivative: biases,
// grouped heads, adapters with dropout, two sequences in the batch.
func testbed(t *testing.T) (*cpu.Device, *llama.Model, []llama.Param, *llama.Batch, []int32, []float32) {
	t.Helper()
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: 24, IntermediateSize: 40, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 6, VocabSize: 31, MaxPositions: 64,
		RMSEps: 1e-5, RopeTheta: 10000, AttentionBias: true, MLPBias: true, BOS: -1, PAD: -1,
	}
	m, err := llama.New(dev, cfg, 0.3, 5)
	if err != nil {
		t.Fatal(err)
	}
	params := m.Params()
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(w device.Weight, std float64) {
		v := make([]float32, w.Rows()*w.Cols())
		dev.ReadWeight(w, v)
		for i := range v {
			v[i] += float32(std * rng.NormFloat64())
		}
		if err := dev.WriteWeight(w, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range params {
		random(p.Weight, 0.1)
	}
	for _, l := range m.Linears() {
		a := dev.NewParam(l.Name+".A", 3, l.W.Cols())
		b := dev.NewParam(l.Name+".B", l.W.Rows(), 3)
		random(a, 0.3)
		random(b, 0.3)
		l.Adapters = append(l.Adapters, &llama.Adapter{A: a, B: b, Scale: 0.7, Dropout: 0.25})
		params = append(params, llama.Param{Name: l.Name + ".A", Weight: a}, llama.Param{Name: l.Name + ".B", Weight: b})
	}
	batch := &llama.Batch{Seqs: []device.Sequence{{Row: 0, Len: 9}, {Row: 9, Len: 5}}, DropoutSeed: 77}
	var targets []int32
	var weights []float32
	for i := range 14 {
		batch.IDs = append(batch.IDs, int32(rng.IntN(31)))
		batch.Positions = append(batch.Positions, int32(i%9))
		targets = append(targets, int32(rng.IntN(31)))
		weights = append(weights, float32(i%3)/14)
	}
	return dev, m, params, batch, targets, weights
}

// Along a random direction in every parameter by itself, the loss changes as the gradient says.
func TestGradientsAreTheSlopeOfTheLoss(t *testing.T) {
	dev, m, params, batch, targets, weights := testbed(t)
	loss := func() float64 {
		h := m.Forward(dev, batch)
		ce := dev.LinearCrossEntropy(h, m.Head, targets, weights, 0)
		dev.Release(h)
		return ce.Loss
	}
	tape := grad.New(dev, false)
	h := m.Forward(tape, batch)
	ce := tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
	tape.Release(h)
	tape.Backward(nil)
	if eager := loss(); eager != ce.Loss {
		t.Errorf("loss %v on the tape, %v without", ce.Loss, eager)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range params {
		n := p.Weight.Rows() * p.Weight.Cols()
		v, g, d := make([]float32, n), make([]float32, n), make([]float32, n)
		dev.ReadWeight(p.Weight, v)
		dev.ReadGrad(p.Weight, g)
		var slope, length float64
		for i := range d {
			d[i] = float32(rng.NormFloat64())
			// Mostly along the gradient, so that the slope is not lost in rounding.
			length += float64(g[i]) * float64(g[i])
		}
		length = math.Sqrt(length)
		for i := range d {
			d[i] = d[i]*0.3/float32(math.Sqrt(float64(n))) + g[i]/float32(math.Max(length, 1e-12))
			slope += float64(d[i]) * float64(g[i])
		}
		move := func(s float32) float64 {
			w := make([]float32, n)
			for i := range w {
				w[i] = v[i] + s*d[i]
			}
			if err := dev.WriteWeight(p.Weight, w); err != nil {
				t.Fatal(err)
			}
			return loss()
		}
		const eps = 3e-3
		// Fourth-order difference: the error of the plain one is visible at this step.
		got := (8*(move(eps)-move(-eps)) - (move(2*eps) - move(-2*eps))) / (12 * eps)
		move(0)
		if math.Abs(got-slope) > 2e-2*math.Abs(slope)+2e-5 {
			t.Errorf("%s: the loss changes by %.6g, the gradient says %.6g", p.Name, got, slope)
		}
	}
}

// A seed for an output gives the derivative of what was asked for, and
// recomputation gives the same bits.
func TestRecomputationGivesTheSameGradients(t *testing.T) {
	dev, m, params, batch, targets, weights := testbed(t)
	run := func(recompute bool) [][]float32 {
		tape := grad.New(dev, recompute)
		h := m.Forward(tape, batch)
		tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
		tape.Release(h)
		tape.Backward(nil)
		var out [][]float32
		for _, p := range params {
			g := make([]float32, p.Weight.Rows()*p.Weight.Cols())
			dev.ReadGrad(p.Weight, g)
			out = append(out, g)
			dev.ZeroGrad(p.Weight)
		}
		if n := dev.Memory().Tensors; n != 0 {
			t.Errorf("recompute %v: %d bytes of tensors are alive", recompute, n)
		}
		return out
	}
	a, b := run(false), run(true)
	for i := range a {
		for j := range a[i] {
			if a[i][j] != b[i][j] {
				t.Fatalf("%s[%d]: %v, recomputed %v", params[i].Name, j, a[i][j], b[i][j])
			}
		}
	}
}

// The cross-entropy written through LogProbs has the gradients of the fused one, bit for bit, though the derivatives come
// after the forward pass; and nothing is left alive, also where no derivative is asked for.
func TestLogProbsTakeTheirDerivativesLater(t *testing.T) {
	dev, m, params, batch, targets, weights := testbed(t)
	gradients := func() [][]float32 {
		var out [][]float32
		for _, p := range params {
			g := make([]float32, p.Weight.Rows()*p.Weight.Cols())
			dev.ReadGrad(p.Weight, g)
			out = append(out, g)
			dev.ZeroGrad(p.Weight)
		}
		return out
	}
	tape := grad.New(dev, true)
	h := m.Forward(tape, batch)
	ce := tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
	tape.Release(h)
	tape.Backward(nil)
	want := gradients()

	h = m.Forward(tape, batch)
	lp := tape.LogProbs(h, m.Head, targets, weights, 0)
	tape.Release(h)
	for i, w := range weights {
		if lp.Grad[i] = -w; lp.Values[i] != ce.LogProbs[i] {
			t.Errorf("log-probability %d is %v, fused %v", i, lp.Values[i], ce.LogProbs[i])
		}
	}
	tape.Backward(nil)
	for i, g := range gradients() {
		if !slices.Equal(g, want[i]) {
			t.Errorf("%s has another gradient", params[i].Name)
		}
	}
	if n := dev.Memory().Tensors; n != 0 {
		t.Errorf("%d bytes of tensors are alive", n)
	}
}

// Rows and Scale have no place in a Llama's training forward, but on the tape.
func TestRowsAndSeeds(t *testing.T) {
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := dev.NewParam("w", 2, 3)
	if err := dev.WriteWeight(w, []float32{1, 2, 3, 4, 5, 6}); err != nil {
		t.Fatal(err)
	}
	table := dev.NewParam("table", 4, 3)
	tape := grad.New(dev, false)
	x := tape.Embed(table, []int32{2, 0, 2})
	y := tape.Linear(x, w)
	picked := tape.Gather(y, []int32{2, 0})
	seed := dev.FromSlice(2, 2, []float32{1, 0, 0, 10})
	tape.Backward(map[*device.Tensor]*device.Tensor{picked: seed})
	tape.Release(x, y, picked, seed)
	g := make([]float32, 12)
	dev.ReadGrad(table, g)
	// Row 2 was used in the third place (seed 1,0) and in the first (seed 0,10): 1·w₀ + 10·w₁.
	want := []float32{0, 0, 0, 0, 0, 0, 41, 52, 63, 0, 0, 0}
	for i := range want {
		if g[i] != want[i] {
			t.Fatalf("gradient of the table %v, want %v", g, want)
		}
	}
	if n := dev.Memory().Tensors; n != 0 {
		t.Errorf("%d bytes of tensors are alive", n)
	}
}
