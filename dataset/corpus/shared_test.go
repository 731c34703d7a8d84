package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"leolm/internal/shareddata"
)

// The fairy tales, which are not in the repository, with Llama-2's tokenizer. Grimm's tales are in
// two of the files. The token counts are sentencepiece's
// (testdata/check_tokens.py).
func TestSharedTales(t *testing.T) {
	shared := shareddata.Path(t, "data")
	dir := t.TempDir()
	recipe := filepath.Join(dir, "r.yaml")
	os.WriteFile(recipe, fmt.Appendf(nil, `
tokenizer: %[1]s/tokenizer/llama2.model
normalize: {nfc: false, whitespace: false, control: false}
inputs:
  - {name: textgrid, path: %[1]s/corpus_de/maerchen_textgrid.jsonl.gz}
  - {name: grimm, path: %[1]s/corpus_de/maerchen_grimm.jsonl.gz, split: '(?m)^[0-9]+\. (.+)$'}
  - {name: andersen, path: %[1]s/corpus_de/maerchen_andersen.jsonl.gz}
dedup: {minhash: {}}
pack: {window: 1024}
`, shared), 0o644)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 0)
	if err := Run(context.Background(), out, RunOptions{Task: -1, Workers: 2}); err != nil {
		t.Fatal(err)
	}
	rep, err := ReadReport(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("read %d, exact %d, near %d, %v", rep.Total.Read.Docs, rep.Dedup.Exact.Docs, rep.Dedup.Near.Docs, rep.Dedup.Between)
	if n := rep.Dedup.Between["grimm = textgrid"].Docs; n < 160 || n > 170 {
		t.Errorf("%d tales of Grimm found twice, want about 163 of 208", n)
	}
	for i, want := range map[int]int64{0: 811932, 2: 655997} {
		if got := rep.Inputs[i].Train.Tokens; got != want {
			t.Errorf("%s: %d tokens, sentencepiece makes %d", rep.Inputs[i].Name, got, want)
		}
	}
}
