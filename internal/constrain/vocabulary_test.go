package constrain

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"leolm/internal/shareddata"
	"leolm/tokenizer"
)

// checkVocabulary checks the bytes of tokens against encoding and decoding,
// and drives a schema with the ids of a text.
func checkVocabulary(t *testing.T, tok *tokenizer.Tokenizer) {
	t.Helper()
	v := FromTokenizer(tok, []int32{tok.EOS()})
	have := map[byte]bool{}
	for _, b := range v.byID {
		if len(b) == 1 {
			have[b[0]] = true
		}
	}
	for b := range 256 {
		if !have[byte(b)] {
			t.Errorf("no token writes the byte %#x alone", b)
		}
	}
	// The first token of a text may carry a blank that decoding drops.
	for _, text := range []string{`{"name": "Jürgen Größ-Çelik 😀 日本\n", "alter": 42, "tags": ["rot", null]}`, "{\n  \"name\": \"\"\n}"} {
		g, err := Schema([]byte(person))
		if err != nil {
			t.Fatal(err)
		}
		ids := tok.AppendTokens(nil, text)
		var b []byte
		for _, id := range ids {
			b = append(b, v.byID[id]...)
		}
		// A tokenizer may add blanks of its own; its decoder is the measure.
		if want := tok.Decode(ids, true); strings.TrimPrefix(string(b), " ") != strings.TrimPrefix(want, " ") {
			t.Errorf("bytes of the tokens of %q are %q, decoded they are %q", text, b, want)
		}
		c := mustBind(t, g, v).Start()
		for i, id := range ids {
			text := v.byID[id]
			if i == 0 {
				text = []byte(strings.TrimPrefix(string(text), " "))
			}
			mask, err := c.Mask()
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && mask[id>>6]>>(uint(id)&63)&1 == 0 {
				t.Errorf("token %d %q is not in the mask", id, text)
			}
			if err := c.AcceptBytes(text); err != nil {
				t.Fatal(err)
			}
		}
		if !c.CanStop() {
			t.Errorf("%q is not complete", text)
		}
	}
	broken := 0
	for _, b := range v.byID {
		if !utf8.Valid(b) {
			broken++
		}
	}
	t.Logf("%d tokens, %d with text, %d of them end or begin inside a character", v.size, len(v.ids), broken)
}

func TestLlama2Vocabulary(t *testing.T) {
	tok, err := tokenizer.Open(shareddata.Path(t, "data/tokenizer/llama2.model"), tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkVocabulary(t, tok)
}

// TestSmallVocabularies uses the small tokenizers that package tokenizer
// keeps: byte-level ones and one with byte fallback.
func TestSmallVocabularies(t *testing.T) {
	for _, name := range []string{"hf_smollm.json", "hf_llama3.json", "hf_llama_legacy.json"} {
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.Open(filepath.Join("..", "..", "tokenizer", "testdata", name), tokenizer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkVocabulary(t, tok)
		})
	}
}
