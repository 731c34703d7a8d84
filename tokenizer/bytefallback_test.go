package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// With byte_fallback a character without a piece is spelled where the vocabulary has all of
// its bytes, else it is the unknown token or vanishes, as in Hugging Face's tokenizers
// (testdata/make_bytefallback.py).
func TestByteFallbackWithoutBytes(t *testing.T) {
	data, err := os.ReadFile("testdata/bytefallback.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]struct {
		File json.RawMessage
		IDs  map[string][]int32
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 12 {
		t.Errorf("%d cases", len(cases))
	}
	for name, c := range cases {
		tok, err := FromJSON(c.File, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for text, want := range c.IDs {
			if got := tok.AppendTokens(nil, text); !slices.Equal(got, want) {
				t.Errorf("%s: %q is %v, want %v", name, text, got, want)
			}
		}
	}
}
