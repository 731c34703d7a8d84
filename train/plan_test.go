package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/tensor"
)

// The predicted memory is within 10 % of what a step then holds.
func TestPlannedMemory(t *testing.T) {
	for _, c := range []struct{ dtype, optimizer string }{{"f32", "adamw"}, {"bf16", "adamw"}, {"f32", "muon"}, {"bf16", "muon"}} {
		dtype, optimizer := c.dtype, c.optimizer
		for _, recompute := range []bool{false, true} {
			for _, s := range []Shape{
				{HiddenSize: 64, IntermediateSize: 176, Layers: 6, Heads: 4, VocabSize: 360},
				{HiddenSize: 128, IntermediateSize: 352, Layers: 3, Heads: 4, KVHeads: 2, VocabSize: 8192, TieEmbeddings: true},
			} {
				cfg := workshop(t)
				cfg.Optimizer.Type = optimizer
				cfg.Model.Shape, cfg.Compute = &s, ComputeConfig{DType: dtype, Recompute: recompute}
				cfg.Data.SequenceLength, cfg.Data.Packing, cfg.Data.Loss = 256, true, "all"
				cfg.Batch.Micro, cfg.Batch.Global, cfg.Schedule.Steps = 2, 2, 2
				cfg.derive()
				compute, _ := tensor.ParseDType(dtype)
				dev := newCPU(t, compute)
				tr, err := New(cfg, dev, Observer{})
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				for range 2 {
					if _, err := tr.step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				got, want := float64(tr.PeakBytes()), float64(tr.plan.Memory.tensors()-tr.plan.room())
				name := fmt.Sprintf("%s %s recompute %v hidden %d", dtype, optimizer, recompute, s.HiddenSize)
				if math.Abs(want/got-1) > 0.1 {
					t.Errorf("%s: predicted %.2f MB, used %.2f MB (%+.0f %%)\n  %+v\n  arena %d", name, want/1e6, got/1e6, 100*(want/got-1), tr.plan.Memory, dev.Memory().Arena)
				}
			}
		}
	}
}

// The tape of a run holds nothing back.
func TestTapeReleasesEverything(t *testing.T) {
	cfg := workshop(t)
	dev := newCPU(t, tensor.F32)
	tr, err := New(cfg, dev, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := dev.Memory().Tensors; n != 0 {
		t.Errorf("%d bytes of tensors are alive after a step", n)
	}
}

// The same for frozen weights with adapters beside them, and for new rows alone.
func TestPlannedMemoryOfFrozenWeights(t *testing.T) {
	base := workshop(t)
	base.Model.Shape = &Shape{HiddenSize: 128, IntermediateSize: 352, Layers: 4, Heads: 4, KVHeads: 2, VocabSize: 8192, TieEmbeddings: true}
	base.Schedule.Steps, base.Export.DType = 1, "bf16"
	base.derive()
	runAll(t, base, 0)
	for name, change := range map[string]func(*Config){
		"lora":     func(c *Config) { c.LoRA = &LoRAConfig{Rank: 8} },
		"dora":     func(c *Config) { c.LoRA = &LoRAConfig{Rank: 8, DoRA: true, Dropout: 0.1} },
		"new rows": func(c *Config) { c.Model.VocabSize, c.Model.Train = 8192+64, []string{newRows} },
	} {
		for _, dtype := range []string{"f32", "bf16"} {
			cfg := *base
			cfg.Output += name + dtype
			cfg.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
			change(&cfg)
			cfg.Compute.DType = dtype
			cfg.Data.SequenceLength, cfg.Data.Packing, cfg.Data.Loss = 256, true, "all"
			cfg.Batch.Micro, cfg.Batch.Global, cfg.Schedule.Steps = 2, 2, 2
			cfg.derive()
			compute, _ := tensor.ParseDType(dtype)
			dev := newCPU(t, compute)
			tr, err := New(&cfg, dev, Observer{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			for range 2 {
				if _, err := tr.step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			got, want := float64(tr.PeakBytes()), float64(tr.plan.Memory.tensors()-tr.plan.room())
			if math.Abs(want/got-1) > 0.1 {
				t.Errorf("%s %s: predicted %.2f MB, used %.2f MB (%+.0f %%)\n  %+v\n  arena %d, weights %d", name, dtype, want/1e6, got/1e6, 100*(want/got-1), tr.plan.Memory, dev.Memory().Arena, tr.sub.model.WeightBytes())
			}
		}
	}
}

// The same for objectives that hold more sequences or another model beside the trained one. The texts are longer than a
// sequence, so that every batch is full.
func TestPlannedMemoryOfObjectives(t *testing.T) {
	base := workshop(t)
	base.Model.Shape = &Shape{HiddenSize: 128, IntermediateSize: 352, Layers: 4, Heads: 4, KVHeads: 2, VocabSize: 4096, TieEmbeddings: true}
	base.Schedule.Steps, base.Export.DType = 1, "bf16"
	base.derive()
	runAll(t, base, 0)
	model := filepath.Join(base.Output, "model")
	long := strings.Repeat("Der Mond scheint hell über dem stillen Wald. ", 60)
	file := func(name, row string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(strings.Repeat(row+"\n", 4)), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pairs := file("pairs.jsonl", fmt.Sprintf(`{"prompt": "Was?", "chosen": %q, "rejected": %q}`, long, long+"Ja."))
	judged := file("judged.jsonl", fmt.Sprintf(`{"prompt": "Was?", "completion": %q, "label": true}`, long))
	for name, change := range map[string]func(*Config){
		"dpo":      func(c *Config) { c.DPO = &DPOConfig{Pairs: pairs} },
		"dpo lora": func(c *Config) { c.DPO, c.LoRA = &DPOConfig{Pairs: pairs}, &LoRAConfig{Rank: 8} },
		"orpo":     func(c *Config) { c.ORPO = &ORPOConfig{Pairs: pairs} },
		"kto":      func(c *Config) { c.KTO = &KTOConfig{Examples: judged} },
		"distill":  func(c *Config) { c.Distill = &DistillConfig{Teacher: model} },
	} {
		for _, dtype := range []string{"f32", "bf16"} {
			cfg := *base
			cfg.Output += name + dtype
			cfg.Model = ModelConfig{Base: model}
			cfg.Compute.DType = dtype
			cfg.Data.SequenceLength, cfg.Data.Packing, cfg.Data.Loss = 128, true, "all"
			cfg.Batch.Micro, cfg.Batch.Global, cfg.Schedule.Steps = 2, 2, 2
			change(&cfg)
			cfg.derive()
			plan, err := MakePlan(&cfg)
			if err != nil {
				t.Fatal(err)
			}
			compute, _ := tensor.ParseDType(dtype)
			dev := newCPU(t, compute)
			tr, err := New(&cfg, dev, Observer{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			var st *Step
			for range 2 {
				if st, err = tr.step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if plan.Memory != tr.plan.Memory || plan.FLOPs != tr.plan.FLOPs || int64(st.Tokens) > plan.TokensPerStep || 2*int64(st.Tokens) < plan.TokensPerStep {
				t.Errorf("%s: planned %+v before the run, %+v in it; a step had %d tokens", name, plan, tr.plan, st.Tokens)
			}
			got, want := float64(tr.PeakBytes()), float64(plan.Memory.tensors()-plan.room())
			if math.Abs(want/got-1) > 0.1 {
				t.Errorf("%s %s: predicted %.2f MB, used %.2f MB (%+.0f %%)\n  %+v\n  arena %d, weights %d", name, dtype, want/1e6, got/1e6, 100*(want/got-1), plan.Memory, dev.Memory().Arena, tr.sub.model.WeightBytes())
			}
		}
	}
}
