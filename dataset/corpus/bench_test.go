package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"leolm/internal/shareddata"
)

// From compressed JSONL to packed tokens on one core: the German encyclopedia
// that is not in the repository, with its half a million distinct words, through the filters that
// are on by default.
func BenchmarkSharedPath(b *testing.B) {
	shared := shareddata.Path(b, "data")
	for _, dedup := range []string{"{exact: true}", "{minhash: {}}"} {
		b.Run(dedup[1:6], func(b *testing.B) {
			for b.Loop() {
				dir := b.TempDir()
				recipe := filepath.Join(dir, "r.yaml")
				if err := os.WriteFile(recipe, fmt.Appendf(nil, `
tokenizer: %[1]s/tokenizer/llama2.model
inputs:
  - {name: wikipedia, path: %[1]s/corpus_de/wikipedia_subset.jsonl.gz}
  - {name: novels, path: %[1]s/corpus_de/novels_eltec.jsonl.gz}
dedup: %[2]s
pack: {window: 1024}
`, shared, dedup), 0o644); err != nil {
					b.Fatal(err)
				}
				out := filepath.Join(dir, "o")
				mustPlan(b, recipe, out, 0)
				if err := Run(context.Background(), out, RunOptions{Task: -1, Workers: 1}); err != nil {
					b.Fatal(err)
				}
				rep, err := ReadReport(out)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(rep.Total.Read.Bytes)
			}
		})
	}
}
