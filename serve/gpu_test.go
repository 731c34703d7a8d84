package serve

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"leolm/device/vulkan"
	"leolm/open"
)

// TestGPU: many chats with one beginning, an adapter and a second model on a GPU that has no room for both models: each is
// evicted for the other, and what it took is given back; the adapter's memory, too, while its base stays.
func TestGPU(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	const room = 24 << 20 // for one of the models, with its adapter
	budget := vulkan.NewBudget(room)
	opt := open.Options{On: open.OnGPU, Context: 256, GPUMemory: budget}
	some := opt
	some.GPULayers = "3"
	s, url := newTest(t, Config{Parallel: 4, MaxLoaded: 1, Models: []Source{
		{Options: opt, Adapters: []AdapterSource{{AdapterSpec: randomAdapter(t)}}}, {Name: "half", Options: some},
	}})
	text := func(name string) string {
		var a testAnswer
		post(t, url+"/v1/chat/completions", fmt.Sprintf(`{%s,"model":%q,"temperature":0,"max_tokens":4}`, hello, name), &a)
		return *a.Choices[0].Message.Content
	}
	base := text("leo-mini")
	before := budget.Taken()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			body := fmt.Sprintf(`{%s,"temperature":%d,"top_k":40,"seed":%d,"max_tokens":4,"logprobs":true,"top_logprobs":2}`, hello, i%2, i)
			status, b := call(t, http.MethodPost, url+"/v1/chat/completions", body)
			if status != http.StatusOK {
				t.Errorf("chat %d: %d %s", i, status, b)
			}
		})
	}
	wg.Wait()
	tuned := text("tuned")
	with := budget.Taken()
	if tuned == base {
		t.Errorf("the adapter answers as its base: %q", tuned)
	}
	s.models.mu.Lock()
	adapter := s.models.entries[1]
	s.models.mu.Unlock()
	s.models.keepAlive(adapter, 0)
	wait(t, func() bool { return len(loads(s)) == 1 }, "the adapter is evicted")
	if after := budget.Taken(); after > with || after < before {
		t.Errorf("%d bytes before the adapter, %d with it, %d after it", before, with, after)
	}
	half := text("half")
	if got := loads(s); len(got) != 1 || got[0] != "half" {
		t.Errorf("loaded: %v", got)
	}
	if again := text("leo-mini"); again != base {
		t.Errorf("%q, after another model %q", base, again)
	}
	t.Logf("%q, with half of the layers %q; %d bytes of %d", base, half, budget.Taken(), room)
	s.models.mu.Lock()
	first := s.models.entries[0]
	s.models.mu.Unlock()
	s.models.keepAlive(first, 0)
	wait(t, func() bool { return budget.Taken() == 0 }, "all memory is given back")
}

// TestGPULost: a GPU that is lost ends the answers with an error, not the server, which loads the model again.
func TestGPULost(t *testing.T) {
	if os.Getenv("LEO_VULKAN_TESTS") == "" {
		t.Skip("LEO_VULKAN_TESTS is not set; it asks for tests that load Vulkan's drivers")
	}
	t.Setenv("LEO_VULKAN_MASK", "lost:4")
	s, url := newTest(t, Config{Models: []Source{{Options: open.Options{On: open.OnGPU, Context: 256}}}})
	body := fmt.Sprintf(`{%s,"temperature":0,"ignore_eos":true,"max_tokens":30}`, hello)
	if status, b := call(t, http.MethodPost, url+"/v1/chat/completions", body); status < 500 {
		t.Errorf("on a GPU that is lost: %d %s", status, b)
	}
	wait(t, func() bool { return len(loads(s)) == 0 }, "the model is forgotten")
	t.Setenv("LEO_VULKAN_MASK", "")
	s.models.mu.Lock()
	s.models.entries[0].retry = time.Now()
	s.models.mu.Unlock()
	if status, b := call(t, http.MethodPost, url+"/v1/chat/completions", fmt.Sprintf(`{%s,"max_tokens":2}`, hello)); status != http.StatusOK {
		t.Errorf("after a GPU was lost: %d %s", status, b)
	}
}
