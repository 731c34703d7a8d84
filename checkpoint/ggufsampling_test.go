package checkpoint

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"
)

// What generation_config.json says about drawing tokens comes back from GGUF to the digit, and takes the place of what was there.
func TestGenerationInGGUF(t *testing.T) {
	const text = `{"temperature":0.3,"top_p":0.95,"top_k":40,"min_p":0.05,"repetition_penalty":1.1}`
	g, err := ParseGeneration([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	kv := g.Replace([]KV{{"general.name", "x"}, {"general.sampling.temp", float32(2)}, {"general.sampling.mirostat", int32(2)}})
	if len(kv) != 6 || kv[0].Key != "general.name" {
		t.Fatalf("metadata %v", kv)
	}
	written := func(kv []KV) Generation {
		t.Helper()
		path := filepath.Join(t.TempDir(), "x.gguf")
		if err := writeGGUF(path, kv, nil); err != nil {
			t.Fatal(err)
		}
		file, err := OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		return file.generation()
	}
	back := written(kv)
	if got, _ := json.Marshal(back); string(got) != text {
		t.Errorf("came back as %s, want %s", got, text)
	}
	bad := []KV{{"general.sampling.temp", float32(math.Inf(1))}, {"general.sampling.top_p", "much"}, {"general.sampling.min_p", float32(-1)}, {"general.sampling.top_k", int32(-3)}, {"general.sampling.penalty_repeat", float32(math.NaN())}}
	if got, _ := json.Marshal(written(bad)); string(got) != "{}" {
		t.Errorf("nonsense was read as %s", got)
	}
}
