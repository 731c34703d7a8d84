package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/llama"
	"leolm/tensor"
)

// peftRecipe makes the adapters of testdata/make_peft_goldens.py.
func peftRecipe(name string) *LoRAConfig {
	l := &LoRAConfig{
		Rank: 3, Alpha: 7, Targets: Projections, RSLoRA: strings.Contains(name, "rslora"), DoRA: strings.Contains(name, "dora"),
		RankPattern: map[string]int{"layers.0.mlp.(gate|up)_proj": 5}, AlphaPattern: map[string]float64{"v_proj": 11},
	}
	if strings.Contains(name, "dropout") {
		l.Dropout = 0.25
	}
	return l
}

// withAdapters makes the golden's model with its adapters.
func withAdapters(t *testing.T, g *golden, name string, dev device.Device) *subject {
	t.Helper()
	s := &subject{model: g.model(t, dev)}
	if err := addAdapters(dev, s.model, peftRecipe(name), 1); err != nil {
		t.Fatal(err)
	}
	s.collect()
	var adapters []llama.Param
	for _, p := range s.params {
		if !strings.Contains(p.Name, ".lora_") {
			continue
		}
		v, ok := g.values["a."+p.Name]
		if !ok {
			t.Fatalf("the golden file has no %s", p.Name)
		}
		if err := dev.WriteWeight(p.Weight, narrow(v)); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		adapters = append(adapters, p)
	}
	s.params = adapters
	return s
}

// The one Linear computes what PEFT computes, forward and backward: LoRA, rsLoRA and DoRA, with dropout and
// without, ranks and alphas by pattern, biases left alone.
func TestAdapterGradientsEqualPEFT(t *testing.T) {
	paths, err := filepath.Glob("testdata/peft-*.safetensors")
	if err != nil || len(paths) != 4 {
		t.Fatal("golden files", paths, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "peft-"), ".safetensors")
		g := loadGolden(t, path)
		for _, c := range []struct {
			compute   tensor.DType
			recompute bool
		}{{tensor.F32, false}, {tensor.F32, true}, {tensor.BF16, false}} {
			dev := newCPU(t, c.compute)
			s := withAdapters(t, g, name, dev)
			loss := g.backwardWith(dev, s.model, c.recompute, 77)
			tol, least := 1e-6, 0.9999999
			if c.compute == tensor.BF16 {
				tol, least = 2e-2, 0.998
			}
			if want := g.values["loss"][0]; math.Abs(loss-want) > tol*want {
				t.Errorf("%s %v: loss %v, PEFT %v", name, c.compute, loss, want)
			}
			for _, p := range s.params {
				got := make([]float32, p.Weight.Rows()*p.Weight.Cols())
				dev.ReadGrad(p.Weight, got)
				rel, cos := distance(got, g.values["g."+p.Name])
				if cos < least || c.compute == tensor.F32 && rel > 1e-5 {
					t.Errorf("%s %v (recompute %v): gradient of %s differs by %.2g, cosine %.6f", name, c.compute, c.recompute, p.Name, rel, cos)
				}
			}
			if n := dev.Memory().Tensors; n != 0 {
				t.Errorf("%s: %d bytes of tensors were not released", name, n)
			}
		}
	}
}

// Trained, merged, written as a PEFT folder and put beside the frozen weights again, DoRA is one model; resumed it is
// the same run.
func TestDoRATrainsMergesAndLoads(t *testing.T) {
	base := workshop(t)
	base.Model.Shape.HiddenSize, base.Model.Shape.HeadDim, base.Model.Shape.IntermediateSize = 64, 32, 128
	runAll(t, base, 0)
	from := filepath.Join(base.Output, "model")
	cfg := *base
	cfg.Output += "-dora"
	cfg.Model = ModelConfig{Base: from}
	cfg.LoRA = &LoRAConfig{
		Rank: 4, Alpha: 8, Dropout: 0.1, Merge: true, DoRA: true, Targets: []string{"q_proj", "v_proj", "o_proj", "up_proj", "down_proj"},
		RankPattern: map[string]int{"v_proj": 2}, AlphaPattern: map[string]float64{"layers.1.mlp.down_proj": 3},
	}
	cfg.Schedule.Steps, cfg.Optimizer.WeightDecay, cfg.Checkpoint.Every = 80, 0, 0
	cfg.derive()
	res, steps := runAll(t, &cfg, 0)
	if res.Loss > steps[0].Loss-0.2 {
		t.Errorf("the loss went from %v to %v", steps[0].Loss, res.Loss)
	}
	a, err := checkpoint.OpenAdapter(filepath.Join(cfg.Output, "adapter"), checkpoint.Config{
		HiddenSize: 64, IntermediateSize: 128, Layers: 2, Heads: 2, KVHeads: 2, HeadDim: 32, VocabSize: 360, TieEmbeddings: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.Targets) != 10 {
		t.Errorf("%d targets, want 10", len(a.Targets))
	}
	for _, l := range a.Targets {
		rank, alpha := 4, 8.0
		if strings.Contains(l.Name, "v_proj") {
			rank = 2
		}
		if strings.Contains(l.Name, "layers.1.mlp.down") {
			alpha = 3
		}
		if l.Rank != rank || l.Alpha != alpha || l.Magnitude == nil {
			t.Errorf("%s: rank %d, alpha %v, magnitude %v", l.Name, l.Rank, l.Alpha, l.Magnitude != nil)
		}
	}
	plain := logitsOf(t, from, "")
	merged := logitsOf(t, filepath.Join(cfg.Output, "model"), "")
	beside := logitsOf(t, from, filepath.Join(cfg.Output, "adapter"))
	// The merged weights are rounded to bf16.
	if d := farthest(beside, merged); d > 0.03 {
		t.Errorf("merged and beside differ by %.3f", d)
	}
	if d := farthest(plain, merged); d < 0.1 {
		t.Errorf("the adapter changed only %.3f", d)
	}
	want := weightsOf(t, &cfg)
	cfg.Output += "-again"
	runAll(t, &cfg, 17)
	runAll(t, &cfg, 0)
	if string(weightsOf(t, &cfg)) != string(want) {
		t.Error("a resumed DoRA run ends with other adapters")
	}
}
