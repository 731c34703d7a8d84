package checkpoint

import (
	"path/filepath"
	"slices"
	"testing"

	"leolm/tokenizer"
)

// A vocabulary with any pre-tokenizer becomes a tokenizer.json, which becomes
// GGUF metadata of the same name again.
func TestPreTokenizersBothWays(t *testing.T) {
	tokens := []string{"a", "b", "ab", "<|end|>"}
	types := []int32{tokenNormal, tokenNormal, tokenNormal, tokenControl}
	for _, p := range tokenizer.PreTokenizers() {
		for _, name := range p.Names {
			data, err := byteLevelJSON(tokens, types, []string{"a b"}, name, false)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			v, err := tokenizerJSON(data, 4)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			q, err := tokenizer.PreTokenizerByName(v.pre)
			if err != nil {
				t.Fatal(err)
			}
			if string(q.JSON) != string(p.JSON) || q.IgnoreMerges != p.IgnoreMerges || v.model != "gpt2" || v.dummyPrefix || !slices.Equal(v.tokens, tokens) {
				t.Errorf("%s comes back as %s: %+v", name, v.pre, v)
			}
		}
	}
	data, err := byteLevelJSON(tokens, types, []string{"a b"}, "gpt-2", true)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := tokenizerJSON(data, 4); err != nil || !v.dummyPrefix {
		t.Errorf("the space in front is lost: %+v, %v", v, err)
	}
	if _, err := byteLevelJSON(tokens, types, nil, "gemma4", false); err == nil {
		t.Error("gemma4 is taken")
	}
	odd := []byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated"},{"type":"ByteLevel","add_prefix_space":false}]}}`)
	if v, err := tokenizerJSON(odd, 1); err == nil {
		t.Errorf("an expression without a name is taken for %q", v.pre)
	}
}

// written writes metadata to a GGUF file and opens it.
func written(t *testing.T, kv []KV) *GGUF {
	t.Helper()
	path := filepath.Join(t.TempDir(), "v.gguf")
	if err := writeGGUF(path, kv, nil); err != nil {
		t.Fatal(err)
	}
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// Numbers of any type are scores and token types.
func TestGGUFVocabTypes(t *testing.T) {
	for _, scores := range []any{[]float32{0, -1, -2}, []int32{0, -1, -2}, []int8{0, -1, -2}, []int64{0, -1, -2}, []float64{0, -1, -2}} {
		for _, types := range []any{[]int32{2, 1, 6}, []uint8{2, 1, 6}, []uint64{2, 1, 6}} {
			g := written(t, []KV{{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.tokens", []string{"<unk>", "a", "<0x0A>"}},
				{"tokenizer.ggml.scores", scores}, {"tokenizer.ggml.token_type", types}})
			v, err := g.vocab()
			if err != nil || !slices.Equal(v.Scores, []float32{0, -1, -2}) || !slices.Equal(v.Types, []int32{2, 1, 6}) {
				t.Errorf("%T, %T: %+v, %v", scores, types, v, err)
			}
		}
	}
	g := written(t, []KV{{"tokenizer.ggml.tokens", []string{"a"}}, {"tokenizer.ggml.scores", []string{"1"}}})
	if v, err := g.vocab(); err == nil {
		t.Errorf("texts are scores: %+v", v)
	}
}

// A file that doesn't say whether text begins with BOS is read as llama.cpp reads it.
func TestGGUFDefaultBOS(t *testing.T) {
	for pre, want := range map[string]bool{"llama-bpe": true, "tekken": true, "qwen2": false, "": false} {
		kv := []KV{{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}, {"tokenizer.ggml.tokens", []string{"a"}}}
		if v, err := written(t, kv).vocab(); err != nil || v.AddBOS != want {
			t.Errorf("%q: %v, %v", pre, v.AddBOS, err)
		}
		kv = append(kv, KV{"tokenizer.ggml.add_bos_token", !want})
		if v, err := written(t, kv).vocab(); err != nil || v.AddBOS == want {
			t.Errorf("%q: add_bos_token %v is overruled", pre, !want)
		}
	}
}
