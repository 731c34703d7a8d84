package catalog

import (
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/tokenizer"
)

// A tokenizer with one more control token than the model has rows is accepted, as in transformers; one with more text
// pieces is not. A tokenizer other than the one that the weights were trained with is refused.
func TestTokenizersThatDontFit(t *testing.T) {
	files, err := checkpoint.ReadTokenizerFiles("../tokenizer/testdata/bpe.model")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := files.Open("bpe", tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(rows int, f checkpoint.TokenizerFiles) string {
		t.Helper()
		cfg := checkpoint.Config{Architecture: "llama", HiddenSize: 8, IntermediateSize: 8, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 8, VocabSize: rows, MaxPositions: 64, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, PAD: -1}
		var sources []checkpoint.Source
		for _, s := range cfg.TensorShapes() {
			n, _ := s.Shape.Elements()
			sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: make([]float32, n), Cols: s.Shape.Cols()}})
		}
		dir := filepath.Join(t.TempDir(), "model")
		if err := checkpoint.WriteHF(dir, cfg, sources, checkpoint.HFOptions{Files: f}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	grown, err := files.Grow("bpe", []string{"<pad>"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(write(tok.Vocab(), grown), Options{})
	if err != nil {
		t.Fatalf("one control token without a row: %v", err)
	}
	defer m.Close()
	if !strings.Contains(strings.Join(m.Notes, "\n"), "<pad>") {
		t.Errorf("notes %q", m.Notes)
	}
	kv, notes, err := m.Checkpoint.GGUFMetadata()
	if err != nil || !strings.Contains(strings.Join(notes, "\n"), `"<pad>" is left out`) {
		t.Errorf("to GGUF: %v, %q", err, notes)
	}
	for _, e := range kv {
		if e.Key == "tokenizer.ggml.tokens" && len(e.Value.([]string)) != tok.Vocab() {
			t.Errorf("%d tokens for %d rows", len(e.Value.([]string)), tok.Vocab())
		}
	}
	if _, err := Open(write(tok.Vocab()-1, files), Options{}); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("a piece without a row: %v", err)
	}
	signed, err := files.WithFingerprint("t1-of-another")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(tok.Vocab(), signed)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "t1-of-another") || !strings.Contains(err.Error(), tok.Fingerprint()) {
		t.Errorf("another tokenizer: %v", err)
	}
	if m, err := Open(dir, Options{Tokenizer: "../tokenizer/testdata/bpe.model"}); err != nil || len(m.Notes) == 0 {
		t.Errorf("a tokenizer that the user names: %v", err)
	}
}
