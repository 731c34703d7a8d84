package llama_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"leolm/device/cpu"
	"leolm/infer"
	"leolm/llama"
	"leolm/tensor"
)

// Logits with every rotary scaling equal transformers', for a text that is fed at once and for one that is decoded
// token by token; the chunks of a prompt make no difference.
func TestRopeLogitsAreThoseOfTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		Config          json.RawMessage
		IDs             []int32
		Logits, Decoded []float64
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, c := range cases {
		dev, err := cpu.New(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g := golden{Config: c.Config, Live: 96}
		m, err := llama.Load(t.Context(), dev, g.open(t, tensor.F32), llama.LoadOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, err := infer.NewEngine(dev, m, infer.Options{CacheType: tensor.F32, PrefillChunk: 7, Sessions: 4, Context: 64})
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, got []float32, want []float64) {
			t.Helper()
			largest, worst := 0.0, 0.0
			for i, w := range want {
				largest, worst = max(largest, math.Abs(w)), max(worst, math.Abs(float64(got[i])-w))
			}
			if len(got) != len(want) || !(worst <= 1e-4*largest) {
				t.Errorf("%s, %s: off by %g, the largest is %g", name, what, worst, largest)
			}
		}
		s := e.NewSession()
		whole, err := e.Step([]infer.Feed{{Session: s, IDs: c.IDs, Want: infer.WantLast}})
		if err != nil {
			t.Fatal(err)
		}
		check("at once", whole, c.Logits)
		whole = slices.Clone(whole)
		s.Close()
		chunks, err := e.Prefill(ctx, s, c.IDs, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(chunks, whole) {
			t.Errorf("%s: chunks change the logits", name)
		}
		s.Close()
		got, err := e.Prefill(ctx, s, c.IDs[:20], nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range c.IDs[20:] {
			if got, err = e.Step([]infer.Feed{{Session: s, IDs: []int32{id}, Want: infer.WantLast}}); err != nil {
				t.Fatal(err)
			}
		}
		check("decoded", got, c.Decoded)
		s.Close()
	}
}
