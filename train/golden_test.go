package train

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
	"leolm/grad"
	"leolm/internal/kernel/amx/amxtest"
	"leolm/llama"
	"leolm/tensor"
)

// golden is one file of testdata, see make_goldens.py.
type golden struct {
	cfg     checkpoint.Config
	values  map[string][]float64
	seqs    [][]int32
	weights [][]float32
}

func loadGolden(t *testing.T, path string) *golden {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	body := data[8+n:]
	g := &golden{values: map[string][]float64{}}
	for name, raw := range header {
		if name == "__metadata__" {
			var m map[string]string
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			if g.cfg, err = checkpoint.ParseConfig([]byte(m["config"])); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var info struct {
			DType       string `json:"dtype"`
			DataOffsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &info); err != nil {
			t.Fatal(err)
		}
		b := body[info.DataOffsets[0]:info.DataOffsets[1]]
		var v []float64
		for len(b) > 0 {
			switch info.DType {
			case "F32":
				v, b = append(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), b[4:]
			case "F64":
				v, b = append(v, math.Float64frombits(binary.LittleEndian.Uint64(b))), b[8:]
			case "I32":
				v, b = append(v, float64(int32(binary.LittleEndian.Uint32(b)))), b[4:]
			default:
				t.Fatalf("%s: dtype %s", name, info.DType)
			}
		}
		g.values[name] = v
	}
	for i := 0; ; i++ {
		ids, ok := g.values["ids."+string(rune('0'+i))]
		if !ok {
			break
		}
		s := make([]int32, len(ids))
		for j, v := range ids {
			s[j] = int32(v)
		}
		g.seqs = append(g.seqs, s)
		g.weights = append(g.weights, narrow(g.values["weights."+string(rune('0'+i))]))
	}
	return g
}

func narrow(v []float64) []float32 {
	f := make([]float32, len(v))
	for i, x := range v {
		f[i] = float32(x)
	}
	return f
}

func (g *golden) model(t *testing.T, dev device.Device) *llama.Model {
	t.Helper()
	m, err := llama.New(dev, g.cfg, 0.02, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Params() {
		v, ok := g.values["w."+p.Name]
		if !ok {
			t.Fatalf("the golden file has no %s", p.Name)
		}
		if err := dev.WriteWeight(p.Weight, narrow(v)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func newCPU(t *testing.T, compute tensor.DType) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.SetCompute(compute); err != nil {
		t.Fatal(err)
	}
	return dev
}

// total is the sum of the loss weights: the last token of a sequence predicts nothing.
func (g *golden) total() float32 {
	var s float32
	for _, w := range g.weights {
		for _, x := range w[:len(w)-1] {
			s += x
		}
	}
	return s
}

// batch makes the unpadded batch of some of the sequences, with targets and normalized weights.
func (g *golden) batch(which ...int) (*llama.Batch, []int32, []float32) {
	b := &llama.Batch{}
	var targets []int32
	var weights []float32
	for _, i := range which {
		s := g.seqs[i]
		b.Seqs = append(b.Seqs, device.Sequence{Row: len(b.IDs), Len: len(s)})
		for j, id := range s {
			b.IDs = append(b.IDs, id)
			b.Positions = append(b.Positions, int32(j))
			if j+1 < len(s) {
				targets = append(targets, s[j+1])
				weights = append(weights, g.weights[i][j]/g.total())
			} else {
				targets = append(targets, 0)
				weights = append(weights, 0)
			}
		}
	}
	return b, targets, weights
}

func (g *golden) backward(dev device.Device, m *llama.Model, recompute bool, which ...int) float64 {
	return g.backwardWith(dev, m, recompute, 0, which...)
}

// backwardWith is backward with dropout by a seed, on the first sequence if none is named.
func (g *golden) backwardWith(dev device.Device, m *llama.Model, recompute bool, seed uint64, which ...int) float64 {
	if len(which) == 0 {
		which = []int{0}
	}
	b, targets, weights := g.batch(which...)
	b.DropoutSeed = seed
	tape := grad.New(dev, recompute)
	h := m.Forward(tape, b)
	ce := tape.LinearCrossEntropy(h, m.Head, targets, weights, 0)
	tape.Release(h)
	tape.Backward(nil)
	return ce.Loss
}

func goldens(t *testing.T) map[string]*golden {
	t.Helper()
	paths, err := filepath.Glob("testdata/golden-*.safetensors")
	if err != nil || len(paths) == 0 {
		t.Fatal("no golden files", err)
	}
	gs := map[string]*golden{}
	for _, p := range paths {
		gs[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(p), "golden-"), ".safetensors")] = loadGolden(t, p)
	}
	return gs
}

// distance returns ‖a−b‖/‖b‖ and the cosine of a and b.
func distance(a []float32, b []float64) (rel, cos float64) {
	var d, aa, bb, ab float64
	for i := range b {
		x := float64(a[i])
		d += (x - b[i]) * (x - b[i])
		aa, bb, ab = aa+x*x, bb+b[i]*b[i], ab+x*b[i]
	}
	return math.Sqrt(d / bb), ab / math.Sqrt(aa*bb)
}

// onCPU runs f for each golden file on the processor.
func onCPU(t *testing.T, compute tensor.DType, f func(t *testing.T, name string, g *golden, dev device.Device)) {
	t.Helper()
	for name, g := range goldens(t) {
		f(t, name, g, newCPU(t, compute))
	}
}

func TestLogitsLossAndGradientsEqualPyTorch(t *testing.T) { onCPU(t, tensor.F32, equalGradients) }

func TestBF16GradientsPointWherePyTorchPoints(t *testing.T) { onCPU(t, tensor.BF16, likeGradients) }

// TestMatrixUnits is the test above with products on matrix units.
func TestMatrixUnits(t *testing.T) { amxtest.Run(t, TestBF16GradientsPointWherePyTorchPoints) }

func TestTenAdamWStepsEqualPyTorch(t *testing.T) { onCPU(t, tensor.F32, equalSteps) }

func equalGradients(t *testing.T, name string, g *golden, dev device.Device) {
	for _, recompute := range []bool{false, true} {
		m := g.model(t, dev)
		b, _, _ := g.batch(0)
		h := m.Forward(dev, b)
		y := dev.Linear(h, m.Head)
		logits := make([]float32, y.Rows*y.Cols)
		dev.Read(y, logits)
		dev.Release(h, y)
		if rel, _ := distance(logits, g.values["logits"]); rel > 1e-5 {
			t.Errorf("%s: logits differ by %.2g", name, rel)
		}
		loss := g.backward(dev, m, recompute, 0, 1, 2, 3)
		if want := g.values["loss"][0]; math.Abs(loss-want) > 1e-6*want {
			t.Errorf("%s: loss %v, PyTorch %v", name, loss, want)
		}
		for _, p := range m.Params() {
			got := make([]float32, p.Weight.Rows()*p.Weight.Cols())
			dev.ReadGrad(p.Weight, got)
			rel, _ := distance(got, g.values["g."+p.Name])
			// A key bias shifts all scores of a query alike, so its true gradient is zero
			// and a relative error says nothing.
			if rel > 1e-5 && !strings.HasSuffix(p.Name, "k_proj.bias") {
				t.Errorf("%s (recompute %v): gradient of %s differs by %.2g", name, recompute, p.Name, rel)
			}
		}
		if n := dev.Memory().Tensors; n != 0 {
			t.Errorf("%s (recompute %v): %d bytes of tensors were not released", name, recompute, n)
		}
	}
}

func likeGradients(t *testing.T, name string, g *golden, dev device.Device) {
	m := g.model(t, dev)
	loss := g.backward(dev, m, false, 0, 1, 2, 3)
	if want := g.values["loss"][0]; math.Abs(loss-want) > 1e-2*want {
		t.Errorf("%s: bf16 loss %v, PyTorch %v", name, loss, want)
	}
	for _, p := range m.Params() {
		got := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		dev.ReadGrad(p.Weight, got)
		if _, cos := distance(got, g.values["g."+p.Name]); cos < 0.999 && !strings.HasSuffix(p.Name, "k_proj.bias") {
			t.Errorf("%s: gradient of %s has cosine %.5f", name, p.Name, cos)
		}
	}
}

func equalSteps(t *testing.T, name string, g *golden, dev device.Device) {
	for i, loss := range tenSteps(t, g, dev) {
		if want := g.values["losses"][i]; math.Abs(loss-want) > 1e-5 {
			t.Errorf("%s: step %d: loss %.8f, PyTorch %.8f (PyTorch in float32 %.8f)", name, i+1, loss, want, g.values["losses_f32"][i])
		}
	}
}

// tenSteps are the losses of ten steps of AdamW.
func tenSteps(t *testing.T, g *golden, dev device.Device) (losses []float64) {
	t.Helper()
	m := g.model(t, dev)
	opt, err := NewOptimizer(dev, OptimizerConfig{Betas: []float64{0.9, 0.95}, Eps: 1e-8, WeightDecay: 0.1, Clip: 0.5, Bits: 32}, m.Params())
	if err != nil {
		t.Fatal(err)
	}
	s := ScheduleConfig{Type: "cosine", WarmupSteps: 3, MinLR: 0.001}
	for step := 1; step <= 10; step++ {
		loss := g.backward(dev, m, false, 0, 1) + g.backward(dev, m, false, 2, 3)
		losses = append(losses, loss)
		norm, bad := opt.GradNorm()
		if bad != "" {
			t.Fatal(bad)
		}
		opt.Update(s.LR(0.01, step, 10), norm)
	}
	return losses
}
