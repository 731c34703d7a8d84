package open_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/infer"
	"leolm/open"
)

// TestGPUFaults: what is missing is named, whatever it is, and auto runs on the processor then; what only makes things
// better may be missing.
func TestGPUFaults(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	for mask, want := range map[string]string{
		"loader": "no Vulkan loader could be loaded", "devices": "no driver offers a device", "Vulkan 1.2": "it lacks Vulkan 1.2",
		"bufferDeviceAddress": "it lacks bufferDeviceAddress", "storageBuffer16BitAccess": "it lacks storageBuffer16BitAccess",
		"lost:1": "the GPU was lost", "lost:x": "LEO_VULKAN_MASK", "VK_EXT_memory_budget": "",
	} {
		t.Setenv("LEO_VULKAN_MASK", mask)
		err := once(open.OnGPU)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("without %s: %v, want %q", mask, err, want)
		}
		if err := once(open.OnAuto); err != nil {
			t.Errorf("auto without %s: %v", mask, err)
		}
	}
}

// once opens the embedded model and lets it write two tokens.
func once(on string) error {
	m, err := open.Open(context.Background(), "", open.Options{On: on, Context: 64})
	if err != nil {
		return err
	}
	_, err = m.Engine.Generate(context.Background(), m.Engine.NewSession(), m.Tokenizer.NewDecoder(false), &infer.Request{Prompt: []int32{5, 6}, MaxNewTokens: 2, TopLogProbs: -1}, nil)
	return errors.Join(err, m.Close())
}

// TestGPUFixedPrompts: leo-mini's greedy answers to the twenty prompts of bench/faithful are the processor's, wherever the
// best token is ahead of the next by more than twice the largest difference of the logits.
func TestGPUFixedPrompts(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	data, err := os.ReadFile(filepath.Join("..", "bench", "faithful", "prompts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var prompts []string
	if err := json.Unmarshal(data, &prompts); err != nil || len(prompts) != 20 {
		t.Fatalf("%d prompts, %v", len(prompts), err)
	}
	gpu, cpu := openOn(t, open.OnGPU), openOn(t, open.OnCPU)
	vocab := cpu.Engine.Model().Vocab
	const answer = 24
	total, clear, largest := 0, 0, 0.0
	for _, prompt := range prompts {
		ids := cpu.Tokenizer.AppendTokens(nil, prompt)
		s := cpu.Engine.NewSession()
		r, err := cpu.Engine.Generate(context.Background(), s, cpu.Tokenizer.NewDecoder(false), &infer.Request{Prompt: ids, MaxNewTokens: answer, TopLogProbs: -1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		all := append(slices.Clone(ids), r.IDs...)
		want := slices.Clone(logits(t, cpu.Engine, all, infer.WantAll))
		got := logits(t, gpu.Engine, all, infer.WantAll)
		for i := range r.IDs {
			at := (len(ids) - 1 + i) * vocab
			w, g := want[at:at+vocab], got[at:at+vocab]
			worst, second := 0.0, math.Inf(-1)
			for j := range w {
				worst = max(worst, math.Abs(float64(w[j]-g[j])))
				if int32(j) != r.IDs[i] {
					second = max(second, float64(w[j]))
				}
			}
			total, largest = total+1, max(largest, worst)
			if float64(w[r.IDs[i]])-second > 2*worst {
				clear++
				if top(g) != r.IDs[i] {
					t.Errorf("%q: token %d of the answer is %d on the GPU, %d on the processor", prompt, i, top(g), r.IDs[i])
				}
			}
		}
	}
	if clear < total*3/4 {
		t.Errorf("of %d tokens only %d have a clear first", total, clear)
	}
	t.Logf("%d tokens, %d of them clear; the largest difference of a logit is %.4f", total, clear, largest)
}
