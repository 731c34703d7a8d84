package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/device"
	"leolm/open"
)

// twice is the embedded model under two names.
var twice = []Source{{Name: "a"}, {Name: "b"}}

// chatWith asks a model and returns the status and the text.
func chatWith(t *testing.T, url, model, more string) (int, string) {
	t.Helper()
	r, body := ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"model":"`+model+`","temperature":0`+more+`}`)
	var a testAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || len(a.Choices) == 0 {
		return r.StatusCode, body
	}
	return r.StatusCode, *a.Choices[0].Message.Content
}

// Eight requests for a model that is not loaded load it once, and all are answered.
func TestColdRequestsLoadOnce(t *testing.T) {
	var log logBuffer
	_, url := newTest(t, Config{Log: log.logger()})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, text := chatWith(t, url, "leo-mini", ""); status != 200 || text == "" {
				t.Errorf("%d %q", status, text)
			}
		})
	}
	wg.Wait()
	if n := len(log.records(t, "loaded a model")); n != 1 {
		t.Errorf("loaded %d times", n)
	}
}

// With room for one model, a busy one is not taken away: who asks for the other waits until its answers have ended, and
// those who come later wait behind him.
func TestBusyModelsStay(t *testing.T) {
	var log logBuffer
	s, url := newTest(t, Config{Models: twice, MaxLoaded: 1, Log: log.logger()})
	rest := startStream(t, url)
	other := make(chan int, 1)
	go func() {
		status, _ := chatWith(t, url, "b", "")
		other <- status
	}()
	wait(t, func() bool {
		s.models.mu.Lock()
		defer s.models.mu.Unlock()
		return s.models.turns == 1
	}, "b waits for its turn")
	if text := rest(); !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("a's stream ends with %q", text[max(0, len(text)-200):])
	}
	if status := <-other; status != 200 {
		t.Errorf("b: %d", status)
	}
	// There and back, many at once: no deadlock, no error.
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if status, text := chatWith(t, url, twice[i%2].Name, `,"max_tokens":4`); status != 200 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	wg.Wait()
	if n := len(log.records(t, "loaded a model")); n > 12 {
		t.Errorf("%d loads for 26 requests", n)
	}
	if r, m := ask(t, "GET", url+"/metrics", ""); r.StatusCode != 200 || strings.Count(m, "\nleo_model_loaded{model=\"a\"} 1")+strings.Count(m, "\nleo_model_loaded{model=\"b\"} 1") != 1 {
		t.Errorf("not one model is loaded: %d, %q", r.StatusCode, regexp.MustCompile(`leo_model_loaded.*`).FindAllString(m, -1))
	}
	counts := scrape(t, url)
	if counts["leo_passes_total{model=a}"] < 10 || counts["leo_passes_total{model=b}"] < 10 {
		t.Errorf("what unloaded models have done is forgotten: %v, %v", counts["leo_passes_total{model=a}"], counts["leo_passes_total{model=b}"])
	}
}

// Options of a request never load a model anew, and an idle model goes after its time.
func TestReloads(t *testing.T) {
	var log logBuffer
	s, url := newTest(t, Config{KeepAlive: 50 * time.Millisecond, Log: log.logger()})
	e := s.models.entries[0]
	keep := func(pinned bool) {
		s.models.mu.Lock()
		defer s.models.mu.Unlock()
		e.keep, e.keepSet = -1, pinned
		s.models.broadcast()
	}
	keep(true)
	for _, more := range []string{``, `,"max_tokens":3`, `,"stop":"x"`, `,"top_k":3`, `,"logprobs":true`, `,"response_format":{"type":"json_object"},"max_tokens":5`} {
		if status, text := chatWith(t, url, "leo-mini", more); status != 200 {
			t.Errorf("%s: %d %s", more, status, text)
		}
	}
	if n := len(log.records(t, "loaded a model")); n != 1 {
		t.Errorf("loaded %d times", n)
	}
	keep(false)
	wait(t, func() bool { return len(log.records(t, "unloaded a model")) == 1 }, "the idle model goes")
	keep(true)
	if status, _ := chatWith(t, url, "leo-mini", ""); status != 200 {
		t.Errorf("after that: %d", status)
	}
	time.Sleep(300 * time.Millisecond)
	if n := len(log.records(t, "unloaded a model")); n != 1 {
		t.Errorf("a pinned model was unloaded: %d", n)
	}
}

// A model whose file is broken is an error with its reason, is not tried again for each request, and comes back when the
// file is whole again.
func TestBrokenFiles(t *testing.T) {
	var log logBuffer
	path := filepath.Join(t.TempDir(), "m.gguf")
	whole, err := os.ReadFile("../models/leo-mini/leo-mini.gguf")
	if err != nil {
		t.Skip("needs the embedded model's file:", err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, url := newTest(t, Config{Models: []Source{{}, {Arg: path}}, Log: log.logger()})
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		status, body := chatWith(t, url, "m", "")
		if status != 503 || errorCode(body) != "model_failed" {
			t.Errorf("%d %s", status, body)
		}
	}
	if n := len(log.records(t, "a model cannot be loaded")); n != 1 {
		t.Errorf("tried %d times", n)
	}
	if status, _ := chatWith(t, url, "leo-mini", ""); status != 200 {
		t.Errorf("the other model: %d", status)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.models.mu.Lock()
	s.models.entries[1].retry = time.Time{}
	s.models.mu.Unlock()
	if status, text := chatWith(t, url, "m", ""); status != 200 {
		t.Errorf("mended: %d %s", status, text)
	}
}

// A cache that does not fit into memory is refused with both numbers, and the server goes on.
func TestTooLargeForMemory(t *testing.T) {
	_, url := newTest(t, Config{Models: []Source{{}, {Name: "huge", Options: open.Options{CacheBytes: 1 << 50}}}})
	status, body := chatWith(t, url, "huge", "")
	if status != 503 || errorCode(body) != "out_of_memory" || !strings.Contains(body, "are available") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := chatWith(t, url, "leo-mini", ""); status != 200 {
		t.Errorf("the other model: %d", status)
	}
	e := asError(fmt.Errorf("loading: %w", &device.MemoryError{What: "x", Needed: 1, Available: 0}))
	if e.Status != 503 || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
}

// While a model loads, the server is alive and not ready; its first answer waits and is whole.
func TestNotReadyWhileLoading(t *testing.T) {
	s, url := newTest(t, Config{})
	s.turn.Lock() // the token that warms it up is not written yet
	loaded := make(chan error, 1)
	go func() {
		_, err := s.Load(t.Context())
		loaded <- err
	}()
	for range 20 {
		for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK, "/v1/models": http.StatusOK} {
			if r, _ := ask(t, "GET", url+path, ""); r.StatusCode != want {
				t.Errorf("%s: %d", path, r.StatusCode)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.turn.Unlock()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if r, _ := ask(t, "GET", url+"/readyz", ""); r.StatusCode != 200 {
		t.Errorf("loaded: %d", r.StatusCode)
	}
}
