package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// shared returns the path of a file of ../shared, or skips the test.
func shared(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("LEO_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs the project's shared data: %v", err)
	}
	return path
}

func sharedLlama2(t testing.TB, opt Options) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(shared(t, "data", "tokenizer", "llama2.model"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromSentencePiece(data, opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// The German lines with Llama-2's ids that two other implementations confirmed,
// through the model file and through the same vocabulary in GGUF.
func TestSharedReferenceVectors(t *testing.T) {
	f, err := os.Open(shared(t, "data", "tokenizer", "reference_vectors_de.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gguf, err := FromGGUF(readGGUFVocab(t, shared(t, "data", "tokenizer", "llama-spm-vocab.gguf")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	toks := map[string]*Tokenizer{"model": sharedLlama2(t, Options{}), "gguf": gguf}
	lines := 0
	for sc := bufio.NewScanner(f); sc.Scan(); lines++ {
		var v struct {
			Text string  `json:"text"`
			IDs  []int32 `json:"llama2_ids"`
		}
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		for name, tok := range toks {
			got := tok.AppendTokens(nil, v.Text)
			if !slices.Equal(got, v.IDs) {
				t.Errorf("%s: %q\n got %v\nwant %v", name, v.Text, got, v.IDs)
			}
			if back := tok.Decode(got, true); back != v.Text {
				t.Errorf("%s: decoded %q, want %q", name, back, v.Text)
			}
		}
	}
	if lines != 615 {
		t.Errorf("%d lines, want 615", lines)
	}
}
