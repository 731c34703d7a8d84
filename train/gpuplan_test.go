package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/device/vulkan"
	"leolm/tensor"
)

// TestGPUPlannedMemory: what a plan says of a GPU is within 10 % of what two steps then take there, counted by the device as
// it gives memory out; what it has taken from the driver is not much more.
func TestGPUPlannedMemory(t *testing.T) {
	newGPU(t, tensor.F32) // or skip
	base := workshop(t)
	base.Model.Shape = &Shape{HiddenSize: 128, IntermediateSize: 352, Layers: 4, Heads: 4, KVHeads: 2, VocabSize: 4096, TieEmbeddings: true}
	base.Schedule.Steps, base.Export.DType = 1, "bf16"
	base.derive()
	runAll(t, base, 0)
	model := filepath.Join(base.Output, "model")
	long := strings.Repeat("Der Mond scheint hell über dem stillen Wald. ", 60)
	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	row := fmt.Sprintf(`{"prompt": "Was?", "chosen": %q, "rejected": %q}`, long, long+"Ja.")
	if err := os.WriteFile(pairs, []byte(strings.Repeat(row+"\n", 4)), 0o666); err != nil {
		t.Fatal(err)
	}
	onBase := func(c *Config) { c.Model = ModelConfig{Base: model} }
	for name, change := range map[string]func(*Config){
		"f32":       func(*Config) {},
		"bf16":      func(c *Config) { c.Compute.DType = "bf16" },
		"recompute": func(c *Config) { c.Compute.Recompute = true },
		"8 bits":    func(c *Config) { c.Optimizer.Bits = 8 },
		"muon":      func(c *Config) { c.Optimizer.Type = "muon" },
		"untied":    func(c *Config) { c.Model.Shape.TieEmbeddings = false },
		"few words": func(c *Config) { c.Model.Shape.VocabSize = 360 },
		"few words, recompute": func(c *Config) {
			c.Model.Shape.VocabSize, c.Compute.Recompute = 360, true
		},
		"lora":    func(c *Config) { onBase(c); c.LoRA = &LoRAConfig{Rank: 8} },
		"qlora":   func(c *Config) { onBase(c); c.LoRA = &LoRAConfig{Rank: 8, BaseType: "q4_0"} },
		"dora":    func(c *Config) { onBase(c); c.LoRA = &LoRAConfig{Rank: 8, DoRA: true, Dropout: 0.1} },
		"dpo":     func(c *Config) { onBase(c); c.DPO = &DPOConfig{Pairs: pairs} },
		"distill": func(c *Config) { onBase(c); c.Distill = &DistillConfig{Teacher: model} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, shape := *base, *base.Model.Shape
			cfg.Model.Shape = &shape
			cfg.Output = filepath.Join(t.TempDir(), "out")
			cfg.Data.SequenceLength, cfg.Data.Packing, cfg.Data.Loss = 64, true, "all"
			cfg.Batch.Micro, cfg.Batch.Global, cfg.Schedule.Steps = 2, 2, 2
			change(&cfg)
			if cfg.DPO != nil {
				cfg.Data.Train = nil
			}
			cfg.derive()
			plannedOnGPU(t, &cfg)
		})
	}
}

// plannedOnGPU takes two steps and compares.
func plannedOnGPU(t *testing.T, cfg *Config) {
	t.Helper()
	plan, err := MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	budget := vulkan.NewBudget(1 << 30)
	dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	plan.OnGPU(dev)
	compute, _ := tensor.ParseDType(cfg.Compute.DType)
	if err := dev.SetCompute(compute); err != nil {
		t.Fatal(err)
	}
	tr, err := New(cfg, dev, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tr.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	used, want, taken := float64(tr.PeakBytes()), float64(plan.Memory.Total()), float64(budget.Taken())
	t.Logf("predicted %.2f MB, used %.2f MB (%+.1f %%), taken from the driver %.2f MB", want/1e6, used/1e6, 100*(want/used-1), taken/1e6)
	if math.Abs(want/used-1) > 0.1 {
		t.Errorf("predicted %.2f MB, used %.2f MB (%+.0f %%)\n  %+v\n  tensors %d", want/1e6, used/1e6, 100*(want/used-1), plan.Memory, dev.Memory().Arena)
	}
	tr.Close()
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}
