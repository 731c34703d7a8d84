package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Words from the cache must fall as they do when the scores of the whole text
// are added up, which is how sentencepiece does it: near ties depend on what
// came before.
func TestUnigramSums(t *testing.T) {
	for _, name := range []string{"unigram", "unigram_bytes"} {
		tok := openGolden(t, name, Options{})
		whole := *tok
		engine := *tok.engine.(*spEngine)
		if engine.split != splitBefore {
			t.Fatalf("%s: words aren't independent", name)
		}
		engine.split = splitNever
		whole.engine, whole.pool = &engine, new(scratches)
		r := rand.New(rand.NewPCG(1, 2))
		for range 60 {
			var b strings.Builder
			for range 1 + r.IntN(300) {
				for range 1 + r.IntN(14) {
					b.WriteString([]string{"f", "f", "t", "s", "e", "n", "r", "ö", "!", "ch", "我"}[r.IntN(11)])
				}
				b.WriteByte(' ')
			}
			text := b.String()
			got, want := tok.AppendTokens(nil, text), whole.AppendTokens(nil, text)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %.200q…: words give %d tokens, the whole text %d", name, text, len(got), len(want))
			}
		}
	}
}
