package train

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/device"
	"leolm/device/vulkan"
	"leolm/tensor"
)

// newGPU opens the GPU that Leo chooses; a test that needs one is skipped unless it was asked for.
func newGPU(t *testing.T, compute tensor.DType) *vulkan.Device {
	t.Helper()
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := dev.SetCompute(compute); err != nil {
		t.Fatal(err)
	}
	return dev
}

// TestGPUEqualsPyTorch: gradients and ten steps of training, within what holds on the processor.
func TestGPUEqualsPyTorch(t *testing.T) {
	for what, check := range map[string]struct {
		compute tensor.DType
		f       func(t *testing.T, name string, g *golden, dev device.Device)
	}{
		"gradients": {tensor.F32, equalGradients}, "steps": {tensor.F32, equalSteps},
		"bf16": {tensor.BF16, nearGradients}, "steps in bf16": {tensor.BF16, nearSteps},
	} {
		t.Run(what, func(t *testing.T) {
			for name, g := range goldens(t) {
				check.f(t, name, g, newGPU(t, check.compute))
			}
		})
	}
}

// nearGradients are gradients in bf16: on matrix units, operands have 11 bits instead of 8.
func nearGradients(t *testing.T, name string, g *golden, dev device.Device) {
	likeGradients(t, name, g, dev)
	loss, most := 1e-2, 3e-2
	if dev.(*vulkan.Device).MatrixUnits() {
		loss, most = 1e-3, 4e-3
	}
	m := g.model(t, dev)
	if got, want := g.backward(dev, m, true, 0, 1, 2, 3), g.values["loss"][0]; math.Abs(got-want) > loss*want {
		t.Errorf("%s: bf16 loss %v, PyTorch %v", name, got, want)
	}
	for _, p := range m.Params() {
		got := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		dev.ReadGrad(p.Weight, got)
		if rel, _ := distance(got, g.values["g."+p.Name]); rel > most && !strings.HasSuffix(p.Name, "k_proj.bias") {
			t.Errorf("%s: gradient of %s differs by %.2g", name, p.Name, rel)
		}
	}
}

// nearSteps are ten steps of AdamW in bf16.
func nearSteps(t *testing.T, name string, g *golden, dev device.Device) {
	most := 5e-2
	if dev.(*vulkan.Device).MatrixUnits() {
		most = 5e-3
	}
	for i, loss := range tenSteps(t, g, dev) {
		if want := g.values["losses"][i]; math.Abs(loss-want) > most*want {
			t.Errorf("%s: step %d: loss %.6f, PyTorch %.6f", name, i+1, loss, want)
		}
	}
}

// alike holds the steps of two runs against each other.
func alike(t *testing.T, got, want []Step, tolerance float64) {
	t.Helper()
	if len(want) == 0 || len(got) == 0 {
		t.Error("no steps")
	}
	for i, s := range got {
		w := want[len(want)-len(got)+i]
		if s.Step != w.Step || !(math.Abs(s.Loss-w.Loss) <= tolerance*w.Loss) || !(math.Abs(s.GradNorm-w.GradNorm) <= 20*tolerance*w.GradNorm) {
			t.Errorf("step %d: loss %.6f, norm %.5f on the GPU; step %d: %.6f, %.5f on the processor", s.Step, s.Loss, s.GradNorm, w.Step, w.Loss, w.GradNorm)
		}
	}
}

// TestGPUGoesOn: a run that was begun on one device goes on on the other, with nearly the losses of one on the processor.
func TestGPUGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		tolerance float64
		change    func(*Config)
	}{
		"packed": {1e-4, func(c *Config) { c.Data.Packing, c.Compute.Recompute = true, true }},
		"8 bits": {1e-2, func(c *Config) { c.Optimizer.Bits, c.Model.Shape.HiddenSize, c.Model.Shape.HeadDim = 8, 64, 32 }},
		"muon":   {1e-2, func(c *Config) { c.Optimizer.Type, c.Compute.DType, c.Compute.NEFTune = "muon", "bf16", 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			gpu := newGPU(t, tensor.F32)
			cfg := workshop(t)
			cfg.Schedule.Steps = 6
			c.change(cfg)
			_, want := runAll(t, cfg, 0)
			cfg.Output += "-to-gpu"
			runAll(t, cfg, 3)
			_, rest := runOn(t, gpu, cfg, 0)
			alike(t, rest, want, c.tolerance)
			cfg.Output += "-and-back"
			_, first := runOn(t, gpu, cfg, 3)
			alike(t, append(first, want[3:]...), want, c.tolerance)
			_, rest = runAll(t, cfg, 0)
			alike(t, rest, want, c.tolerance)
			if n := gpu.Memory().Tensors; n != 0 {
				t.Errorf("%d bytes of tensors were not given back", n)
			}
		})
	}
}

// TestGPUAdapters: adapters on a frozen base, stored in 4 bits too, learn as on the processor; so do answers and students.
func TestGPUAdapters(t *testing.T) {
	newGPU(t, tensor.F32) // or skip
	base, file := workshopOf(t, pairRows)
	for name, change := range map[string]func(*Config){
		"lora": func(c *Config) { c.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, Dropout: 0.1, BaseType: "q8_0"} },
		"dora": func(c *Config) { c.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, DoRA: true, Merge: true} },
		"dpo":  func(c *Config) { c.DPO, c.LoRA = &DPOConfig{Pairs: file}, &LoRAConfig{Rank: 4, Alpha: 8} },
		"distill": func(c *Config) {
			c.Distill, c.Compute.DType = &DistillConfig{Teacher: c.Model.Base, Temperature: 2}, "bf16"
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := *base
			cfg.Output, cfg.Schedule.Steps = filepath.Join(t.TempDir(), "out"), 4
			if change(&cfg); cfg.DPO != nil {
				cfg.Data.Train = nil
			}
			cfg.derive()
			_, want := runAll(t, &cfg, 0)
			cfg.Output += "-gpu"
			_, got := runOn(t, newGPU(t, tensor.F32), &cfg, 0)
			alike(t, got, want, 1e-2)
		})
	}
}

// TestGPUTooSmall: a run that does not fit is refused with numbers before its first step, and one that runs out of memory
// ends with them.
func TestGPUTooSmall(t *testing.T) {
	newGPU(t, tensor.F32) // or skip
	cfg := workshop(t)
	for _, limit := range []int64{1 << 20, 64 << 20} {
		dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best, Budget: vulkan.NewBudget(limit)})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := New(cfg, dev, Observer{})
		if small := limit == 1<<20; (err == nil) == small {
			t.Errorf("with %d bytes: %v before the first step", limit, err)
		}
		if err == nil {
			free, _ := dev.Available()
			hold := dev.New(1, int(free/4)) // all that is left, as another program might take it
			_, err = tr.Run(t.Context())
			dev.Release(hold)
			tr.Close()
		}
		var full *device.MemoryError
		if !errors.As(err, &full) || full.Needed <= 0 || full.Available > limit {
			t.Errorf("with %d bytes: %v", limit, err)
		}
		_ = dev.Close() // tensors of the pass that failed are left
	}
}

// TestGPULost: a GPU that is lost in a step ends the run, and a run on the processor goes on from the last checkpoint to
// what it would have become.
func TestGPULost(t *testing.T) {
	newGPU(t, tensor.F32) // or skip
	cfg := workshop(t)
	cfg.Schedule.Steps = 6
	_, want := runAll(t, cfg, 0)
	cfg.Output += "-lost"
	_, first := runOn(t, newGPU(t, tensor.F32), cfg, 3)
	alike(t, append(first, want[3:]...), want, 1e-4)
	t.Setenv("LEO_VULKAN_MASK", "lost:8")
	dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(cfg, dev, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the GPU was lost") {
		t.Errorf("on a GPU that is lost: %v", err)
	}
	tr.Close()
	_ = dev.Close() // tensors of the step are left
	_, rest := runAll(t, cfg, 0)
	alike(t, rest, want, 1e-4)
	if rest[0].Step != 4 {
		t.Errorf("the run goes on with step %d, want 4", rest[0].Step)
	}
}

// TestGPUSamplesLeaveNothing: the keys and values of samples are given back.
func TestGPUSamplesLeaveNothing(t *testing.T) {
	newGPU(t, tensor.F32) // or skip
	cfg := workshop(t)
	cfg.Eval.Prompts = []string{"Es war"}
	budget := vulkan.NewBudget(256 << 20)
	dev, err := vulkan.New(vulkan.Options{Index: vulkan.Best, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(cfg, dev, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	var free [3]int64
	for i := range free {
		if _, err := tr.samples(t.Context()); err != nil {
			t.Fatal(err)
		}
		free[i], _ = dev.Available()
	}
	if free[1] != free[2] {
		t.Errorf("bytes free on the GPU after one, two and three samples: %v", free)
	}
	tr.Close()
	_ = dev.Close()
}
