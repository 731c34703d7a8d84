package train

import (
	"errors"
	"math"
	"testing"

	"leolm/device"
	"leolm/tensor"
)

// A run that no machine holds is refused before anything of it is allocated.
func TestMemoryIsCheckedFirst(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"sequence":   func(c *Config) { c.Data.SequenceLength = math.MaxInt },
		"micro":      func(c *Config) { c.Batch.Micro = 1 << 50 },
		"global":     func(c *Config) { c.Batch.Global = math.MaxInt },
		"hidden":     func(c *Config) { c.Model.Shape.HiddenSize = 1 << 40 },
		"layers":     func(c *Config) { c.Model.Shape.Layers = math.MaxInt },
		"heads":      func(c *Config) { c.Model.Shape.Heads, c.Model.Shape.HeadDim = 1<<40, 1<<40 },
		"vocabulary": func(c *Config) { c.Model.VocabSize = math.MaxInt },
		"adapters":   func(c *Config) { c.LoRA = &LoRAConfig{Rank: math.MaxInt} },
		"one adapter": func(c *Config) {
			c.LoRA = &LoRAConfig{Rank: 8, RankPattern: map[string]int{"q_proj": 1 << 55}}
		},
	} {
		cfg := workshop(t)
		change(cfg)
		_, err := New(cfg, newCPU(t, tensor.F32), Observer{})
		var short *device.MemoryError
		if !errors.As(err, &short) || short.Needed <= float64(short.Available) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkMemory(newCPU(t, tensor.F32), workshop(t), 1, 1); err != nil {
		t.Errorf("a tiny run: %v", err)
	}
}
