package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/open"
)

// askModel sends a question to a model and returns status and the model that answered.
func askModel(t *testing.T, url, name, extra string) (int, string) {
	status, b := call(t, http.MethodPost, url+"/v1/chat/completions", fmt.Sprintf(`{%s,"model":%q,"temperature":0,"max_tokens":4%s}`, hello, name, extra))
	var a testAnswer
	if status == http.StatusOK {
		if err := json.Unmarshal(b, &a); err != nil || *a.Choices[0].Message.Content == "" {
			t.Errorf("%v: %s", err, b)
		}
	}
	return status, a.Model
}

func loads(s *Server) (names []string) {
	s.models.mu.Lock()
	defer s.models.mu.Unlock()
	for _, e := range s.models.entries {
		if e.m != nil {
			names = append(names, e.name)
		}
	}
	return names
}

// Many cold requests load a model once, and every one of them gets an answer.
func TestColdRequestsShareOneLoad(t *testing.T) {
	s, url := newTest(t, Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, name := askModel(t, url, "", ""); status != 200 || name != "leo-mini" {
				t.Errorf("%d from %q", status, name)
			}
		})
	}
	wg.Wait()
	if got := loads(s); len(got) != 1 {
		t.Errorf("loaded: %v", got)
	}
}

// With room for one model, a request for another waits until the first is idle, and is not overtaken for ever by requests
// for the first.
func TestModelsTakeTurnsInMemory(t *testing.T) {
	s, url := newTest(t, Config{Models: []Source{{Name: "a"}, {Name: "b"}}, MaxLoaded: 1})
	if status, name := askModel(t, url, "a", ""); status != 200 || name != "a" {
		t.Fatalf("%d from %q", status, name)
	}
	m, release, err := s.models.get(t.Context(), "a") // a is busy
	if err != nil || m.card.name != "a" {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		_, name := askModel(t, url, "b", "")
		answered <- name
	}()
	wait(t, func() bool { s.models.mu.Lock(); defer s.models.mu.Unlock(); return s.models.turns > 0 }, "b waits")
	select {
	case name := <-answered:
		t.Fatalf("%s answered although a is in use", name)
	case <-time.After(50 * time.Millisecond):
	}
	late := make(chan string, 1)
	go func() {
		_, name := askModel(t, url, "a", "")
		late <- name
	}()
	release()
	if name := <-answered; name != "b" {
		t.Errorf("%q answered", name)
	}
	if name := <-late; name != "a" {
		t.Errorf("%q answered", name)
	}
}

func TestIdleModelsAreUnloaded(t *testing.T) {
	s, url := newTest(t, Config{KeepAlive: 200 * time.Millisecond})
	askModel(t, url, "", "")
	if got := loads(s); len(got) != 1 {
		t.Fatalf("loaded: %v", got)
	}
	wait(t, func() bool { return len(loads(s)) == 0 }, "the model is unloaded")
	if status, _ := askModel(t, url, "", ""); status != 200 {
		t.Errorf("after unloading: %d", status)
	}
}

// A model that cannot be loaded says so at once and again, without another attempt for each request; the others work.
func TestFailedLoad(t *testing.T) {
	data, err := os.ReadFile("../models/leo-mini/leo-mini.gguf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	_, url := newTest(t, Config{Models: []Source{{}, {Arg: path}}})
	if err := os.WriteFile(path, data[:1000], 0o666); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		status, b := call(t, http.MethodPost, url+"/v1/chat/completions", `{`+hello+`,"model":"broken"}`)
		if status != http.StatusServiceUnavailable || !strings.Contains(string(b), "cannot be loaded") {
			t.Errorf("%d %s", status, b)
		}
	}
	if status, _ := askModel(t, url, "leo-mini", ""); status != 200 {
		t.Errorf("the other model: %d", status)
	}
	if _, err := New(t.Context(), Config{Models: []Source{{Arg: filepath.Join(t.TempDir(), "none.gguf")}}}); err == nil {
		t.Error("a model that is not there is served")
	}
}

// Who runs the server learns the kind of a failure, for advice.
func TestFailedLoadHasACause(t *testing.T) {
	cause := &open.DeviceNameError{Name: "cuda"}
	var got *open.DeviceNameError
	if err := (&entry{card: card{name: "m"}, err: cause}).failed(); !errors.As(err, &got) || got != cause {
		t.Errorf("%v does not lead to its cause", err)
	}
}

// An adapter is a model of its own that shares the weights below it, and answers what a model with the adapter answers;
// neither finds prefixes of the other.
func TestAdaptersAreModels(t *testing.T) {
	spec := randomAdapter(t)
	_, url := newTest(t, Config{Models: []Source{
		{Adapters: []AdapterSource{{AdapterSpec: spec}}},
		{Name: "whole", Options: open.Options{Adapters: []catalog.AdapterSpec{spec}}},
	}})
	text := func(name string) string {
		var a testAnswer
		post(t, url+"/v1/chat/completions", fmt.Sprintf(`{%s,"model":%q,"temperature":0,"max_tokens":30}`, hello, name), &a)
		if a.Model != name {
			t.Errorf("%q answered for %q", a.Model, name)
		}
		return *a.Choices[0].Message.Content
	}
	base, tuned, whole := text("leo-mini"), text("tuned"), text("whole")
	if tuned != whole || tuned == base {
		t.Errorf("base %q, adapter %q, opened with it %q", base, tuned, whole)
	}
	if again := text("leo-mini"); again != base {
		t.Errorf("base %q, after the adapter %q", base, again)
	}
	var list struct{ Data []modelObject }
	_, b := call(t, http.MethodGet, url+"/v1/models", "")
	if err := json.Unmarshal(b, &list); err != nil || len(list.Data) != 3 || list.Data[1].ID != "tuned" || list.Data[1].Root != "leo-mini" {
		t.Errorf("%s", b)
	}
}

// randomAdapter writes an adapter of the embedded model that changes its answers.
func randomAdapter(t *testing.T) catalog.AdapterSpec {
	t.Helper()
	m, err := catalog.Open("", catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := m.Config()
	m.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	noise := func(rows, cols int) checkpoint.F32Rows {
		r := checkpoint.F32Rows{Data: make([]float32, rows*cols), Cols: cols}
		for i := range r.Data {
			r.Data[i] = float32(rng.NormFloat64()) / 10
		}
		return r
	}
	var targets []checkpoint.LoRAWeights
	for layer := range cfg.Layers {
		targets = append(targets, checkpoint.LoRAWeights{
			Name: fmt.Sprintf("model.layers.%d.mlp.down_proj.weight", layer), A: noise(4, cfg.IntermediateSize), B: noise(cfg.HiddenSize, 4),
			In: cfg.IntermediateSize, Out: cfg.HiddenSize,
		})
	}
	dir := filepath.Join(t.TempDir(), "tuned")
	if err := checkpoint.WritePEFT(dir, targets, checkpoint.PEFTOptions{Rank: 4, Alpha: 8}); err != nil {
		t.Fatal(err)
	}
	return catalog.AdapterSpec{Path: dir, Strength: 1}
}
