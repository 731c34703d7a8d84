package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"leolm/internal/shareddata"
)

// corpus reads about n bytes of shared German texts.
func corpus(b *testing.B, name string, n int) []string {
	b.Helper()
	f, err := os.Open(shareddata.Path(b, "data", "corpus_de", name))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	var texts []string
	sc := bufio.NewScanner(z)
	for sc.Buffer(nil, 1<<26); n > 0 && sc.Scan(); {
		var row struct{ Text string }
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			b.Fatal(err)
		}
		texts = append(texts, row.Text)
		n -= len(row.Text)
	}
	return texts
}

// Encoding with a cold cache at the start of each pass, as for text seen once.
func BenchmarkSharedEncode(b *testing.B) {
	texts := corpus(b, "wikipedia_subset.jsonl.gz", 30<<20)
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	gpt2, err := FromGGUF(readGGUFVocab(b, shareddata.Path(b, "data", "tokenizer", "gpt2-vocab.gguf")), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for name, tok := range map[string]*Tokenizer{"llama2": sharedLlama2(b, Options{}), "gpt2": gpt2, "unigram": openGolden(b, "unigram", Options{})} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			var ids []int32
			for b.Loop() {
				tok.pool.free = nil
				for _, t := range texts {
					ids = tok.AppendTokens(ids[:0], t)
				}
			}
		})
	}
}
