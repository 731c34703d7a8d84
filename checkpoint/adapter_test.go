package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/tensor"
)

func openAdapter(t *testing.T, path string, base Config) *Adapter {
	t.Helper()
	a, err := OpenAdapter(path, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// checkMerged compares every weight that the adapter changes with PEFT's merge.
func checkMerged(t *testing.T, c *Checkpoint, a *Adapter, golden map[string][3]float64) {
	t.Helper()
	_, sources, err := c.WithAdapter(a)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range sources {
		want, ok := golden[s.Name]
		if !ok {
			if _, plain := s.From.(*Tensor); !plain {
				t.Errorf("%s is changed, PEFT leaves it", s.Name)
			}
			continue
		}
		seen++
		rows, cols := s.Shape.Rows(), s.Shape.Cols()
		all := make([]float32, rows*cols)
		for i := range rows {
			if err := s.From.ReadRow(all[i*cols:(i+1)*cols], i); err != nil {
				t.Fatal(err)
			}
		}
		for i, at := range []int{0, len(all) / 2, len(all) - 1} {
			if math.Abs(float64(all[at])-want[i]) > 1e-6 {
				t.Errorf("%s element %d is %v, PEFT has %v", s.Name, at, all[at], want[i])
			}
		}
	}
	if seen != len(golden) {
		t.Errorf("%d weights of %d were compared", seen, len(golden))
	}
}

func readAdapterGolden(t *testing.T) map[string]map[string][3]float64 {
	t.Helper()
	data, err := os.ReadFile("testdata/adapters/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string][3]float64
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}

// What PEFT saved (testdata/make_adapters.py) merges to PEFT's own weights,
// directly, written by us, and through a GGUF adapter.
func TestAdapters(t *testing.T) {
	c := mustOpen(t, "testdata/models/leolm")
	for name, golden := range readAdapterGolden(t) {
		t.Run(name, func(t *testing.T) {
			a := openAdapter(t, filepath.Join("testdata/adapters", name), c.Config)
			if a.BaseModel != "leolm" || a.Targets[0].Rank != 2 || a.Targets[0].Alpha != 3 || a.Targets[0].RSLoRA != (name == "rs") || (a.Targets[0].Magnitude != nil) != (name == "dora") {
				t.Errorf("%+v", a.Targets[0])
			}
			checkMerged(t, c, a, golden)
			if name == "dora" {
				return
			}
			dir := filepath.Join(t.TempDir(), "peft")
			var targets []LoRAWeights
			for _, l := range a.Targets {
				targets = append(targets, LoRAWeights{Name: l.Name, A: l.A, B: l.B, In: l.A.Cols(), Out: l.B.Rows()})
			}
			opt := PEFTOptions{BaseModel: "leolm", Rank: 2, Alpha: 3, RSLoRA: name == "rs"}
			for _, s := range a.Saved {
				opt.Saved = append(opt.Saved, Source{Name: s.Name, Shape: s.Shape, From: s})
			}
			if err := WritePEFT(dir, targets, opt); err != nil {
				t.Fatal(err)
			}
			checkMerged(t, c, openAdapter(t, dir, c.Config), golden)
			if name != "plain" {
				return
			}
			path := filepath.Join(t.TempDir(), "a.gguf")
			writeGGUFAdapter(t, path, &c.Config, a)
			checkMerged(t, c, openAdapter(t, path, c.Config), golden)
			// Without the base model the same is known of both, but for its name.
			for _, p := range []string{path, filepath.Join("testdata/adapters", name)} {
				seen, err := InspectAdapter(p)
				if err != nil || !IsAdapter(p) {
					t.Fatalf("%s: %v, adapter %v", p, err, IsAdapter(p))
				}
				defer seen.Close()
				if len(seen.Targets) != len(a.Targets) {
					t.Fatalf("%s: %d targets, want %d", p, len(seen.Targets), len(a.Targets))
				}
				for i, l := range seen.Targets {
					if w := a.Targets[i]; l.Name != w.Name || l.Rank != w.Rank || l.Scale != w.Scale || !l.B.Shape.Equal(w.B.Shape) {
						t.Errorf("%s: %s of rank %d, want %s of rank %d", p, l.Name, l.Rank, w.Name, w.Rank)
					}
				}
			}
		})
	}
}

// writeGGUFAdapter writes what llama.cpp's convert_lora_to_gguf.py would.
func writeGGUFAdapter(t *testing.T, path string, base *Config, a *Adapter) {
	t.Helper()
	var out []Output
	for _, l := range a.Targets {
		name, _ := ggufName(l.Name)
		for suffix, x := range map[string]*Tensor{".lora_a": l.A, ".lora_b": l.B} {
			heads := 0
			if suffix == ".lora_b" {
				heads = base.rotaryHeads(l.Name)
			}
			s := Source{Name: x.Name, Shape: x.Shape, From: x}
			out = append(out, Output{Name: name + suffix, DType: tensor.F32, Shape: x.Shape, Write: func(w io.Writer) error { return s.writeAs(w, tensor.F32, heads) }})
		}
	}
	kv := []KV{{"general.architecture", "llama"}, {"general.type", "adapter"}, {"adapter.type", "lora"}, {"adapter.lora.alpha", float32(3)}}
	if err := writeGGUF(path, kv, out); err != nil {
		t.Fatal(err)
	}
}

func TestAdapterRefusals(t *testing.T) {
	leo := mustOpen(t, "testdata/models/leolm")
	other := mustOpen(t, "testdata/models/llama3")
	if _, err := OpenAdapter("testdata/adapters/plain", other.Config); err == nil || !strings.Contains(err.Error(), `made for another model (its author names "leolm")`) {
		t.Errorf("an adapter of another model: %v", err)
	}
	if _, err := Open("testdata/adapters/plain"); err == nil || !strings.Contains(err.Error(), "LoRA adapter") {
		t.Errorf("an adapter as a model: %v", err)
	}
	for _, p := range []string{"testdata/models/leolm", "testdata/models/leolm/config.json", "testdata/nowhere"} {
		if IsAdapter(p) {
			t.Errorf("%s is taken for an adapter", p)
		}
	}
	floats := func(n int) func(io.Writer) error {
		return func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, make([]float32, n)) }
	}
	const q = "base_model.model.model.layers.0.self_attn.q_proj."
	for want, x := range map[string]struct {
		config string
		out    []Output
	}{
		"other half":        {`{"peft_type":"LORA","r":2,"lora_alpha":3}`, []Output{{Name: q + "lora_A.weight", DType: tensor.F32, Shape: tensor.Shape{2, 16}, Write: floats(32)}}},
		"no low-rank pair":  {`{"peft_type":"LORA","r":2,"lora_alpha":3}`, []Output{{Name: q + "lora_A.weight", DType: tensor.F32, Shape: tensor.Shape{2, 16}, Write: floats(32)}, {Name: q + "lora_B.weight", DType: tensor.F32, Shape: tensor.Shape{16, 3}, Write: floats(48)}}},
		`peft_type "IA3"`:   {`{"peft_type":"IA3","r":2,"lora_alpha":3}`, nil},
		"embedding is not":  {`{"peft_type":"LORA","r":2,"lora_alpha":3}`, []Output{{Name: "base_model.model.model.embed_tokens.lora_embedding_A", DType: tensor.F32, Shape: tensor.Shape{2, 64}, Write: floats(128)}}},
		`"r": "x" is not a`: {`{"peft_type":"LORA","r":"x","lora_alpha":3}`, nil},
		"changes nothing":   {`{"peft_type":"LORA","r":2,"lora_alpha":3}`, nil},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(x.config), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := WriteSafetensors(filepath.Join(dir, "adapter_model.safetensors"), nil, x.out); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAdapter(dir, leo.Config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := InspectAdapter(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without the base model: %v, want %q", err, want)
		}
	}
}
