package open_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/layered"
	"leolm/device/vulkan"
	"leolm/infer"
	"leolm/llama"
	"leolm/open"
)

func TestGPULayersNames(t *testing.T) {
	for _, text := range []string{"", open.AllLayers, open.AutoLayers, "0", "1", "99"} {
		if err := open.CheckGPULayers(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"-1", "some", "1.5", "1 "} {
		var wrong *open.GPULayersError
		if err := open.CheckGPULayers(text); !errors.As(err, &wrong) || wrong.Text != text {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestLayersOnTwoDevices: wherever the border is, two processors compute the bits of one; sessions can be forked and their
// pages copied.
func TestLayersOnTwoDevices(t *testing.T) {
	run := func(dev device.Runner) []float32 {
		m, err := open.Open(context.Background(), "", open.Options{Device: dev, Context: 320, Sessions: 3, PageLen: 32})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		ids := m.Tokenizer.AppendTokens(nil, strings.Join(texts, ". "))
		s := m.Engine.NewSession()
		defer s.Close()
		out, err := m.Engine.Step([]infer.Feed{{Session: s, IDs: ids[:41], Want: infer.WantLast}})
		if err != nil {
			t.Fatal(err)
		}
		out = slices.Clone(out)
		fork, err := s.Fork()
		if err != nil {
			t.Fatal(err)
		}
		defer fork.Close()
		both, err := m.Engine.Step([]infer.Feed{{Session: s, IDs: ids[41:44], Want: infer.WantAll}, {Session: fork, IDs: ids[3:5], Want: infer.WantLast}})
		if err != nil {
			t.Fatal(err)
		}
		return append(out, both...)
	}
	processor := func() device.Runner {
		dev, err := cpu.New(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return dev
	}
	want := run(processor())
	const layers = 6 // of the embedded model
	for _, first := range []int{1, 4, layers} {
		dev := layered.New(processor(), processor(), layered.Layout{Layers: layers, First: first, Layer: func(name string) int { return llama.LayerOf(name, layers) }})
		if !slices.Equal(run(dev), want) {
			t.Errorf("with %d layers on the first device, the bits differ", first)
		}
	}
}

func TestLayerOf(t *testing.T) {
	for name, want := range map[string]int{
		"model.embed_tokens.weight": -1, "model.layers.0.self_attn.q_proj.weight": 0, "model.layers.11.mlp.down_proj.weight.lora_A": 11,
		"base_model.model.model.layers.7.self_attn.q_proj.lora_magnitude_vector": 7, "model.norm.weight": 12, "lm_head.weight": 12,
	} {
		if got := llama.LayerOf(name, 12); got != want {
			t.Errorf("%s is in layer %d, want %d", name, got, want)
		}
	}
}

// TestGPULayers: with some layers on the GPU, the answer is the processor's, and bits do not depend on chunks. What a budget
// leaves room for is found out; where nothing fits, the processor runs all of it.
func TestGPULayers(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	answer := func(opt open.Options) (string, *open.Model) {
		t.Helper()
		opt.Context = 128
		m, err := open.Open(context.Background(), "", opt)
		if err != nil {
			t.Fatalf("%+v: %v", opt, err)
		}
		ids := m.Tokenizer.AppendTokens(nil, texts[2])
		s := m.Engine.NewSession()
		r, err := m.Engine.Generate(context.Background(), s, m.Tokenizer.NewDecoder(false), &infer.Request{Prompt: ids, MaxNewTokens: 4, TopLogProbs: -1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if opt.On == open.OnGPU && opt.GPULayers == "3" {
			whole := slices.Clone(logits(t, m.Engine, ids, infer.WantAll))
			if got := logits(t, m.Engine, ids, infer.WantAll, 1, 5); !slices.Equal(got, whole) {
				t.Error("in chunks, the bits differ")
			}
		}
		return r.Text, m
	}
	want, m := answer(open.Options{})
	m.Close()
	for _, layers := range []string{"0", "1", "3"} {
		got, m := answer(open.Options{On: open.OnGPU, GPULayers: layers})
		note := strings.Join(m.Notes, "\n")
		if got != want || layers != "0" && !strings.Contains(note, layers+" of 7 layers") {
			t.Errorf("%s layers on the GPU: %q, want %q; notes: %s", layers, got, want, note)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	budgets := map[int]int64{0: 100 << 10, 7: 200 << 20}
	for n, bytes := range budgets {
		budget := vulkan.NewBudget(bytes)
		got, m := answer(open.Options{On: open.OnGPU, GPULayers: open.AutoLayers, GPUMemory: budget})
		note := fmt.Sprint(m.Notes)
		if got != want || m.OnGPU() != (n > 0) || strings.Contains(note, "No layer fits") != (n == 0) || budget.Taken() > bytes || strings.Contains(note, "of 7 layers") {
			t.Errorf("a budget of %d bytes: %q, %d taken, notes %q", bytes, got, budget.Taken(), m.Notes)
		}
		if err := m.Close(); err != nil || budget.Taken() != 0 {
			t.Errorf("after Close, %d bytes are taken, %v", budget.Taken(), err)
		}
	}
	tight := vulkan.NewBudget(8 << 20)
	got, m := answer(open.Options{On: open.OnGPU, GPULayers: open.AutoLayers, GPUMemory: tight})
	if !m.OnGPU() || !strings.Contains(fmt.Sprint(m.Notes), "of 7 layers") || got != want {
		t.Errorf("some layers fit into %d bytes: %q, notes %q", 8<<20, got, m.Notes)
	}
	if err := m.Close(); err != nil || tight.Taken() != 0 {
		t.Errorf("after Close, %d bytes are taken, %v", tight.Taken(), err)
	}
	var short *device.MemoryError
	if _, err := open.Open(context.Background(), "", open.Options{On: open.OnGPU, GPULayers: "6", GPUMemory: vulkan.NewBudget(1 << 20)}); !errors.As(err, &short) || short.On == "" {
		t.Errorf("six layers in a megabyte: %v", err)
	}
}
