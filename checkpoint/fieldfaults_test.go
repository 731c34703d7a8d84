package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rewriteSafetensors copies the model "small" with its safetensors header changed;
// more is added behind the data.
func rewriteSafetensors(t *testing.T, change func(header map[string]map[string]any, size int), more int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	if err := os.CopyFS(dir, os.DirFS("testdata/models/small")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]map[string]any
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	body := data[8+n:]
	change(header, len(body))
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	out := cat(u64(uint64(len(text))), text, body, make([]byte, more))
	if err := os.WriteFile(path, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Names that torch.compile, FSDP and DataParallel leave in a file are read as the
// modules' own.
func TestWrappedNames(t *testing.T) {
	want := mustOpen(t, "testdata/models/small")
	for _, wrap := range []func(string) string{
		func(s string) string { return "_orig_mod." + s },
		func(s string) string { return "module._orig_mod." + s },
		func(s string) string {
			return strings.Replace(s, "layers.0.", "layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.", 1)
		},
		func(s string) string { return strings.Replace(s, "model.", "model._orig_mod.", 1) },
	} {
		dir := rewriteSafetensors(t, func(h map[string]map[string]any, _ int) {
			for name, v := range maps.Clone(h) {
				if name != "__metadata__" {
					delete(h, name)
					h[wrap(name)] = v
				}
			}
		}, 0)
		c := mustOpen(t, dir)
		if len(c.Tensors()) != len(want.Tensors()) || len(c.Notes) != len(want.Notes) {
			t.Errorf("%d tensors, notes %q", len(c.Tensors()), c.Notes)
		}
		for _, x := range want.Tensors() {
			y, ok := c.Tensor(x.Name)
			if !ok || !bytes.Equal(x.data, y.data) {
				t.Errorf("%s is missing or other", x.Name)
			}
		}
	}
}

// A tensor in a type that Leo doesn't read is in nobody's way unless it is a weight.
func TestForeignTensors(t *testing.T) {
	dir := rewriteSafetensors(t, func(h map[string]map[string]any, size int) {
		for i := range 20 {
			h[fmt.Sprintf("model.layers.0.extra.%d", i)] = map[string]any{"dtype": "F8_E4M3", "shape": []int{1}, "data_offsets": []int{size + i, size + i + 1}}
		}
	}, 20)
	c := mustOpen(t, dir)
	notes := strings.Join(c.Notes, "\n")
	if !strings.Contains(notes, "extra") || !strings.Contains(notes, "12 more tensors") || len(c.Notes) > 10 {
		t.Errorf("notes: %q", c.Notes)
	}
	dir = rewriteSafetensors(t, func(h map[string]map[string]any, size int) {
		h["model.norm.weight"]["dtype"] = "F8_E5M2"
	}, 0)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), `"model.norm.weight"`) || !strings.Contains(err.Error(), `stored as "F8_E5M2"`) {
		t.Errorf("%v", err)
	}
}

// Keys that aren't there mean what transformers takes them for, and Python's JSON is read.
func TestConfigDefaults(t *testing.T) {
	const shape = `"hidden_size":64,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":16,"vocab_size":4`
	for _, c := range []struct {
		more                     string
		kv, window, maxPositions int
	}{
		{`"model_type":"mistral"`, 8, 4096, 131072},
		{`"model_type":"mistral","sliding_window":null,"num_key_value_heads":null`, 16, 0, 131072},
		{`"model_type":"mistral","sliding_window":128,"num_key_value_heads":4,"max_position_embeddings":512`, 4, 128, 512},
		{`"model_type":"llama","sliding_window":128`, 16, 0, 2048},
		{`"model_type":"llama","max_position_embeddings":Infinity,"x":[NaN,-Infinity,"NaN"]`, 16, 0, 1<<31 - 1},
		{`"model_type":"llama","hidden_act":"swish"`, 16, 0, 2048},
	} {
		got, err := ParseConfig([]byte(`{` + shape + `,` + c.more + `}`))
		if err != nil || got.KVHeads != c.kv || got.SlidingWindow != c.window || got.MaxPositions != c.maxPositions {
			t.Errorf("%s: %d heads, window %d, %d positions, %v", c.more, got.KVHeads, got.SlidingWindow, got.MaxPositions, err)
		}
	}
	for _, more := range []string{`"rms_norm_eps":NaN`, `"rms_norm_eps":Infinity`, `"rope_theta":NaN`} {
		if _, err := ParseConfig([]byte(`{` + shape + `,"model_type":"llama",` + more + `}`)); err == nil {
			t.Errorf("%s is taken", more)
		}
	}
	if _, err := ParseGeneration([]byte(`{"temperature":0.5,"max_length":Infinity,"other":NaN}`)); err != nil {
		t.Error(err)
	}
}

// Metadata of GGUF that changes what a model computes is honored or refused.
func TestGGUFAttentionMetadata(t *testing.T) {
	c := mustOpen(t, "testdata/models/leolm")
	f16, _ := ParseFileType("f16")
	open := func(kv ...KV) (*Checkpoint, error) {
		path := filepath.Join(t.TempDir(), "m.gguf")
		cfg := c.Config
		cfg.RopeScaling = RopeScaling{}
		if err := WriteGGUF(path, cfg, c.Sources(), GGUFOptions{Type: f16, Metadata: kv}); err != nil {
			t.Fatal(err)
		}
		m, err := Open(path)
		if err == nil {
			t.Cleanup(func() { _ = m.Close() })
		}
		return m, err
	}
	key := func(name string, v any) KV { return KV{"llama." + name, v} }
	if _, err := open(key("attention.causal", false)); err == nil || !strings.Contains(err.Error(), "attention.causal") {
		t.Errorf("a model without causal attention: %v", err)
	}
	if _, err := open(key("attention.causal", true)); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		kv   []KV
		want RopeScaling
	}{
		{[]KV{key("rope.scaling.attn_factor", float32(1.5))}, RopeScaling{AttentionFactor: 1.5}},
		{[]KV{key("rope.scaling.attn_factor", float32(0.5)), key("rope.scaling.type", "linear"), key("rope.scaling.factor", float32(2))},
			RopeScaling{Type: "linear", Factor: 2, AttentionFactor: 0.5}},
		{[]KV{key("rope.scaling.type", "yarn"), key("rope.scaling.factor", float32(1)), key("rope.scaling.original_context_length", uint32(32))},
			RopeScaling{Type: "yarn", Factor: 1, OriginalMaxPositions: 32, BetaFast: 32, BetaSlow: 1, AttentionFactor: 1}},
		{[]KV{key("rope.scaling.type", "yarn"), key("rope.scaling.factor", float32(4)), key("rope.scaling.yarn_beta_fast", float32(16)), key("rope.scaling.yarn_beta_slow", float32(2)),
			key("rope.scaling.yarn_attn_factor", float32(0.75)), key("rope.scaling.attn_factor", float32(2)), key("rope.scaling.original_context_length", uint32(32))},
			RopeScaling{Type: "yarn", Factor: 4, OriginalMaxPositions: 32, BetaFast: 16, BetaSlow: 2, AttentionFactor: 1.5}},
		{[]KV{key("rope.scaling.type", "yarn"), key("rope.scaling.factor", float32(4)), key("rope.scaling.yarn_ext_factor", float32(0))}, RopeScaling{Type: "linear", Factor: 4}},
		{[]KV{key("rope.scaling.type", "none"), key("rope.scaling.factor", float32(4))}, RopeScaling{}},
	} {
		m, err := open(x.kv...)
		if err != nil {
			t.Errorf("%v: %v", x.kv, err)
		} else if got, want := fmt.Sprintf("%+v", m.Config.RopeScaling), fmt.Sprintf("%+v", x.want); got != want {
			t.Errorf("%v:\n got %s\nwant %s", x.kv, got, want)
		}
	}
	for _, kv := range [][]KV{
		{key("rope.scaling.type", "yarn"), key("rope.scaling.yarn_ext_factor", float32(0.5))},
		{key("rope.scaling.type", "longrope")}, // without its tensors
		{key("rope.scaling.type", "su")},
	} {
		if m, err := open(kv...); err == nil {
			t.Errorf("%v is taken for %+v", kv, m.Config.RopeScaling)
		}
	}
	// What config.json can't state is an error, not a loss.
	cfg := c.Config
	cfg.RopeScaling = RopeScaling{Type: "linear", Factor: 2, AttentionFactor: 1.5}
	if b, err := cfg.ConfigJSON(); err == nil {
		t.Errorf("%s", b)
	}
}

// add_prefix_space of tokenizer_config.json goes to GGUF and back.
func TestAddPrefixSpaceThroughGGUF(t *testing.T) {
	model := (&rawVocab{tokens: []string{"<unk>", "<s>", "</s>", "a"}, scores: make([]float32, 4), types: []int32{2, 3, 3, 1}, bos: 1, eos: 2, unk: 0, pad: -1, dummyPrefix: true}).sentencePieceModel()
	for config, want := range map[string]bool{
		`{"tokenizer_class":"LlamaTokenizer","add_prefix_space":false}`:          false,
		`{"add_prefix_space":false}`:                                             false,
		`{"tokenizer_class":"LlamaTokenizer","add_prefix_space":true}`:           true,
		`{"tokenizer_class":"LlamaTokenizer","add_prefix_space":null}`:           true,
		`{"tokenizer_class":"PreTrainedTokenizerFast","add_prefix_space":false}`: true,
	} {
		dir := rewriteSafetensors(t, func(map[string]map[string]any, int) {}, 0)
		for name, data := range map[string][]byte{"tokenizer.model": model, "tokenizer_config.json": []byte(config)} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c := mustOpen(t, dir)
		kv, _, err := c.TokenizerMetadata()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		f16, _ := ParseFileType("f16")
		if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: f16, Metadata: kv}); err != nil {
			t.Fatal(err)
		}
		g := mustOpen(t, path)
		if g.Vocab.AddSpacePrefix != want {
			t.Errorf("%s: add_space_prefix %v", config, g.Vocab.AddSpacePrefix)
		}
		files, err := g.TokenizerFiles()
		if err != nil {
			t.Fatal(err)
		}
		if has := bytes.Contains(files["tokenizer_config.json"], []byte(`"add_prefix_space": false`)); has == want {
			t.Errorf("%s: came back as %s", config, files["tokenizer_config.json"])
		}
	}
}
