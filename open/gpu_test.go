package open_test

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"leolm/device"
	"leolm/device/vulkan"
	"leolm/infer"
	"leolm/open"
)

func TestDeviceNames(t *testing.T) {
	for _, name := range []string{"", open.OnCPU, open.OnGPU, open.OnAuto, "gpu:0", "gpu:12"} {
		if err := open.CheckDevice(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"cuda", "gpu:", "gpu:-1", "gpu:x", "cpu:0", "auto:1", ":1"} {
		var wrong *open.DeviceNameError
		if err := open.CheckDevice(name); !errors.As(err, &wrong) || wrong.Name != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// openOn opens the embedded model on a device.
func openOn(t *testing.T, on string) *open.Model {
	t.Helper()
	m, err := open.Open(context.Background(), "", open.Options{On: on, Context: 640, Sessions: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// logits are those after every token of ids.
func logits(t *testing.T, e *infer.Engine, ids []int32, want infer.Want, cuts ...int) (out []float32) {
	t.Helper()
	s := e.NewSession()
	defer s.Close()
	lo := 0
	for _, hi := range append(cuts, len(ids)) {
		l, err := e.Step([]infer.Feed{{Session: s, IDs: ids[lo:hi], Want: want}})
		if err != nil {
			t.Fatal(err)
		}
		out, lo = append(out, l...), hi
	}
	return out
}

var texts = []string{
	"Die Hauptstadt von Deutschland ist", "Im Jahr 1990 wurde die", "Es war einmal ein König, der hatte",
	"Die Universität Heidelberg wurde", "Am Morgen ging sie in die", "Der Fluss mündet in die",
}

// TestGPUBesideCPU: the embedded model computes the same on both, within what 8-bit activations of the CPU leave open.
func TestGPUBesideCPU(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	gpu, cpu := openOn(t, open.OnGPU), openOn(t, open.OnCPU)
	vocab := cpu.Engine.Model().Vocab
	var sums [2]float64
	tokens, clear := 0, 0
	for _, text := range texts {
		ids := gpu.Tokenizer.AppendTokens(nil, text)
		for range 12 { // the greedy answer of the CPU
			l := logits(t, cpu.Engine, ids, infer.WantLast)
			next := top(l)
			g := logits(t, gpu.Engine, ids, infer.WantLast)
			var worst float64
			for i := range l {
				worst = max(worst, math.Abs(float64(l[i]-g[i])))
			}
			second := slices.Clone(l)
			second[next] = float32(math.Inf(-1))
			if gap := float64(l[next] - second[top(second)]); gap > 2*worst {
				clear++
				if top(g) != next {
					t.Errorf("%q: token %d on the GPU, %d on the CPU, though the next best is %g lower", text, top(g), next, gap)
				}
			}
			sums[0] += float64(infer.LogProb(l, next))
			sums[1] += float64(infer.LogProb(g, next))
			tokens++
			ids = append(ids, next)
		}
	}
	if clear < tokens/2 {
		t.Errorf("of %d tokens only %d have a clear first", tokens, clear)
	}
	a, b := math.Exp(-sums[0]/float64(tokens)), math.Exp(-sums[1]/float64(tokens))
	t.Logf("%d tokens, %d of them clear, perplexity %.5f on the CPU, %.5f on the GPU; vocabulary %d", tokens, clear, a, b, vocab)
}

// TestGPUBits: logits have the same bits token by token, in chunks, and beside other sequences.
func TestGPUBits(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	m := openOn(t, open.OnGPU)
	ids := m.Tokenizer.AppendTokens(nil, strings.Join(texts, ". ")+".")
	for len(ids) < 300 { // more than a page
		ids = append(ids, ids...)
	}
	ids = ids[:300]
	whole := slices.Clone(logits(t, m.Engine, ids, infer.WantAll))
	if got := logits(t, m.Engine, ids, infer.WantAll, 1, 2, 19, 255, 257, 299); !slices.Equal(got, whole) {
		t.Error("in chunks, the bits differ")
	}
	vocab := m.Engine.Model().Vocab
	var feeds []infer.Feed
	lengths := []int{40, 1, 7}
	for _, n := range lengths {
		s := m.Engine.NewSession()
		defer s.Close()
		feeds = append(feeds, infer.Feed{Session: s, IDs: ids[:n], Want: infer.WantLast})
	}
	together, err := m.Engine.Step(feeds)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range lengths {
		if !slices.Equal(together[i*vocab:(i+1)*vocab], whole[(n-1)*vocab:n*vocab]) {
			t.Errorf("beside other sequences, the bits after %d tokens differ", n)
		}
	}
}

// TestGPUMemory: a model that does not fit says so with numbers.
func TestGPUMemory(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	var full *device.MemoryError
	m, err := open.Open(context.Background(), "", open.Options{On: open.OnGPU, GPUMemory: vulkan.NewBudget(1 << 20)})
	if !errors.As(err, &full) || full.Needed == 0 || full.Available > 1<<20 {
		t.Errorf("a megabyte for the embedded model: %v, %v", m, err)
	}
}

func top(l []float32) int32 {
	best := 0
	for i, v := range l {
		if v > l[best] {
			best = i
		}
	}
	return int32(best)
}
