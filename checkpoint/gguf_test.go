package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/internal/shareddata"
	"leolm/tensor"
)

func TestRealStories260K(t *testing.T) {
	c := mustOpen(t, shareddata.Path(t, "data/models/stories260K.gguf"))
	cfg := c.Config
	if cfg.HiddenSize != 64 || cfg.IntermediateSize != 172 || cfg.Layers != 5 || cfg.Heads != 8 || cfg.KVHeads != 4 || cfg.HeadDim != 8 || cfg.VocabSize != 512 ||
		cfg.RMSEps != 1e-5 || cfg.TieEmbeddings || cfg.BOS != 1 || cfg.PAD != -1 || len(c.Notes) != 0 || !slices.Equal(c.StopIDs(), []int{2}) {
		t.Errorf("%+v %q %v", cfg, c.Notes, c.StopIDs())
	}
	if len(c.Tensors()) != 48 || c.Vocab.Model != "llama" || c.Vocab.Tokens[2] != "</s>" || !c.Vocab.AddBOS || !c.Vocab.AddSpacePrefix {
		t.Errorf("%d tensors, %+v", len(c.Tensors()), c.Vocab.Model)
	}
}

func TestRealSmolLM2(t *testing.T) {
	c := mustOpen(t, shareddata.SmolLM2(t))
	cfg := c.Config
	if !cfg.TieEmbeddings || cfg.RopeTheta != 100000 || cfg.KVHeads != 3 || cfg.VocabSize != 49152 || cfg.PAD != 2 || !slices.Equal(c.StopIDs(), []int{2, 0}) {
		t.Errorf("%+v %v", cfg, c.StopIDs())
	}
	if v := c.Vocab; v.Model != "gpt2" || v.Pre != "smollm" || v.AddBOS || v.AddSpacePrefix || len(v.Merges) == 0 || !strings.Contains(c.ChatTemplate, "SmolLM") {
		t.Errorf("%s %s %d merges, template %q", v.Model, v.Pre, len(v.Merges), c.ChatTemplate)
	}
	q, _ := c.Tensor("model.layers.0.self_attn.q_proj.weight")
	if q.DType != tensor.Q4_1 || q.RowSize() != 576/32*20 {
		t.Errorf("%v, rows of %d bytes", q.DType, q.RowSize())
	}
}

func TestRealVocabularies(t *testing.T) {
	gpt2 := mustOpen(t, shareddata.Path(t, "data/tokenizer/gpt2-vocab.gguf"))
	if gpt2.HasWeights() || gpt2.Config.Architecture != "gpt2" || len(gpt2.Vocab.Tokens) != 50257 || gpt2.Vocab.EOS != 50256 || len(gpt2.Notes) != 1 {
		t.Errorf("%+v %q", gpt2.Config, gpt2.Notes)
	}
	llama := mustOpen(t, shareddata.Path(t, "data/tokenizer/llama-spm-vocab.gguf"))
	if llama.HasWeights() || llama.Config.VocabSize != 32000 || len(llama.Vocab.Scores) != 32000 || !llama.Vocab.AddBOS {
		t.Errorf("%+v", llama.Config)
	}
}

// A LeoLM chat model with Llama-2's tokenizer and LeoLM's added tokens: every
// peculiarity of docs/leolm.md#model-files on the way to GGUF and back.
func TestRealLeoLMVocabulary(t *testing.T) {
	model := shareddata.Path(t, "data/tokenizer/llama2.model")
	dir := filepath.Join(t.TempDir(), "leo")
	cfg := Config{Architecture: "llama", HiddenSize: 32, IntermediateSize: 32, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 16, VocabSize: 32128, MaxPositions: 8192, RMSEps: 1e-5, RopeTheta: 10000,
		RopeScaling: RopeScaling{Type: "linear", Factor: 2}, BOS: 1, EOS: []int{2}, PAD: 0}
	var sources []Source
	for _, s := range cfg.TensorShapes() {
		n, _ := s.Shape.Elements()
		sources = append(sources, Source{Name: s.Name, Shape: s.Shape, From: F32Rows{make([]float32, n), s.Shape.Cols()}})
	}
	sp, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"tokenizer.model":         sp,
		"added_tokens.json":       []byte(`{"<CLS>":32000,"<EOD>":32001,"<EOD>":32002,"<MASK>":32003,"<PAD>":32004,"<|im_start|>":32005,"<|im_end|>":32006}`),
		"special_tokens_map.json": []byte(`{"bos_token":"<|im_start|>","eos_token":"<|im_end|>","pad_token":"<PAD>"}`),
	}
	if err := WriteHF(dir, cfg, sources, HFOptions{Files: files}); err != nil {
		t.Fatal(err)
	}
	c := mustOpen(t, dir)
	if !slices.Equal(c.StopIDs(), []int{2, 32006}) {
		t.Errorf("stops %v", c.StopIDs())
	}
	meta, _, err := c.TokenizerMetadata()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "leo.gguf")
	f16, _ := ParseFileType("f16")
	if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: f16, Metadata: meta}); err != nil {
		t.Fatal(err)
	}
	g := mustOpen(t, path)
	v := g.Vocab
	for id, want := range map[int]struct {
		text string
		typ  int32
	}{0: {"<unk>", 2}, 1: {"<s>", 3}, 2: {"</s>", 3}, 13: {"<0x0A>", 6}, 32001: {"<SEP>", 4}, 32002: {"<EOD>", 4}, 32004: {"<PAD>", 3},
		32005: {"<|im_start|>", 3}, 32006: {"<|im_end|>", 3}, 32007: {"[PAD32007]", 5}, 32127: {"[PAD32127]", 5}} {
		if v.Tokens[id] != want.text || v.Types[id] != want.typ {
			t.Errorf("token %d is %q of type %d, want %q of type %d", id, v.Tokens[id], v.Types[id], want.text, want.typ)
		}
	}
	if v.BOS != 1 || v.EOS != 32006 || v.AddBOS || g.Config.RopeScaling.Factor != 2 || !slices.Equal(g.StopIDs(), []int{32006, 2}) {
		t.Errorf("bos %d, eos %d, add bos %v, stops %v, %+v", v.BOS, v.EOS, v.AddBOS, g.StopIDs(), g.Config.RopeScaling)
	}
	// An old converter's damage to the two names is reported, and mended in a folder.
	for i, e := range meta {
		if e.Key == "tokenizer.ggml.tokens" {
			tokens := slices.Clone(e.Value.([]string))
			tokens[32005], tokens[32006] = "<dummy32005>", "<dummy32006>"
			meta[i].Value = tokens
		}
	}
	if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: f16, Metadata: meta}); err != nil {
		t.Fatal(err)
	}
	old := mustOpen(t, path)
	if n := strings.Join(old.Notes, "\n"); !strings.Contains(n, "<dummy32005>") || !strings.Contains(n, "<dummy32006>") || !slices.Contains(old.StopIDs(), 32006) {
		t.Errorf("notes %q, stops %v", n, old.StopIDs())
	}
	back, err := old.TokenizerFiles()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sentencePiece(back["tokenizer.model"])
	if err != nil || raw.tokens[32005] != "<|im_start|>" || raw.tokens[32006] != "<|im_end|>" || raw.scores[300] != v.Scores[300] {
		t.Errorf("%v", err)
	}
}
