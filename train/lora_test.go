package train

import (
	"math"
	"path/filepath"
	"testing"

	"leolm/catalog"
	"leolm/device"
	"leolm/llama"
	"leolm/open"
	"leolm/tensor"
)

// logitsOf runs a fixed prompt through a model folder, with an adapter if one is named.
func logitsOf(t *testing.T, dir, adapter string) []float32 {
	t.Helper()
	dev := newCPU(t, tensor.F32)
	opt := open.Options{Device: dev}
	if adapter != "" {
		opt.Adapters = []catalog.AdapterSpec{{Path: adapter, Strength: 1}}
	}
	c, err := open.Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := c.Engine.Model()
	ids := c.Tokenizer.AppendTokens([]int32{1}, lines[2])
	b := llama.Batch{IDs: ids, Seqs: []device.Sequence{{Len: len(ids)}}}
	for i := range ids {
		b.Positions = append(b.Positions, int32(i))
	}
	h := m.Forward(dev, &b)
	y := dev.Linear(h, m.Head)
	out := make([]float32, y.Rows*y.Cols)
	dev.Read(y, out)
	return out
}

func farthest(a, b []float32) float64 {
	var d, top float64
	for i := range a {
		d = math.Max(d, math.Abs(float64(a[i]-b[i])))
		top = math.Max(top, math.Abs(float64(a[i])))
	}
	return d / top
}

// An adapter trained beside frozen weights, used beside them or merged, is one model.
func TestLoRAAdaptersTrainMergeAndLoad(t *testing.T) {
	base := workshop(t)
	base.Model.Shape.HiddenSize, base.Model.Shape.HeadDim, base.Model.Shape.IntermediateSize = 64, 32, 128
	runAll(t, base, 0)
	from := filepath.Join(base.Output, "model")
	for _, baseType := range []string{"", "nf4"} {
		cfg := *base
		cfg.Output += "-lora" + baseType
		cfg.Model = ModelConfig{Base: from}
		cfg.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, Dropout: 0.1, Merge: true, BaseType: baseType}
		cfg.Schedule.Steps, cfg.Optimizer.WeightDecay, cfg.Checkpoint.Every = 100, 0, 50
		cfg.derive()
		res, steps := runAll(t, &cfg, 0)
		if res.Loss > steps[0].Loss-0.3 {
			t.Errorf("base %q: the loss went from %v to %v", baseType, steps[0].Loss, res.Loss)
		}
		model, adapter := filepath.Join(cfg.Output, "model"), filepath.Join(cfg.Output, "adapter")
		merged := logitsOf(t, model, "")
		if d := farthest(merged, logitsOf(t, from, "")); d < 0.02 {
			t.Errorf("base %q: training changed the logits by %v only", baseType, d)
		}
		if baseType != "" {
			continue // the merged weights include what quantization cost
		}
		if d := farthest(merged, logitsOf(t, from, adapter)); d > 0.02 {
			t.Errorf("merged model and adapter differ by %v of the largest logit", d)
		}
		// Resumed, it is the same run.
		want := weightsOf(t, &cfg)
		cfg.Output += "-again"
		runAll(t, &cfg, 17)
		runAll(t, &cfg, 0)
		if string(weightsOf(t, &cfg)) != string(want) {
			t.Error("a resumed LoRA run ends with other adapters")
		}
	}
}
