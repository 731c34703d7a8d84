package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/tokenizer"
)

// What a GGUF file says but llama.cpp doesn't heed, and what it can't say, is said by whoever writes it.
func TestGGUFNotes(t *testing.T) {
	c := Config{MaxPositions: 32768, SlidingWindow: 4096}
	if n := c.GGUFNotes(); len(n) != 1 || !strings.Contains(n[0], "4096") {
		t.Errorf("sliding window: %q", n)
	}
	p, k, no := 0.9, 100, false
	g := Generation{TypicalP: &p, MaxNewTokens: &k}
	if n := g.GGUFNotes(); len(n) != 1 || !strings.Contains(n[0], "max_new_tokens, typical_p") {
		t.Errorf("sampling: %q", n)
	}
	g = Generation{Temperature: &p, DoSample: &no}
	if kv := g.Replace([]KV{{"general.sampling.temp", float32(2)}}); len(kv) != 0 {
		t.Errorf("a model that doesn't draw recommends %v", kv)
	}
	if d := (Generation{Temperature: &p}).Drawing(); d.DoSample == nil || !*d.DoSample {
		t.Error("a temperature without do_sample is ignored by transformers")
	}
}

// LeoLM's layout behind a SentencePiece vocabulary; in every file, with the same ids; and nothing where nothing is missing.
func TestGrowAddsLeoLMsTokens(t *testing.T) {
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 280})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("der die das und der Mond am Abend über dem Wald in der Nacht")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(plain, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, "../tokenizer/testdata/hf_gpt2.json"} {
		files, err := ReadTokenizerFiles(path)
		if err != nil {
			t.Fatal(err)
		}
		before, err := files.Open(path, tokenizer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		grown, added, err := files.WithChatTokens(path)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>", "<|im_start|>", "<|im_end|>"}
		if !files.SentencePiece() {
			want = []string{"<|im_start|>"} // the file has the other
		}
		if !slices.Equal(added, want) {
			t.Errorf("%s: added %q, want %q", path, added, want)
		}
		after, err := grown.Open(path, tokenizer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range added {
			id, ok := after.ID(text)
			if !ok || int(id) != before.Vocab()+i || after.Kind(id) != tokenizer.Control {
				t.Errorf("%s: %s is %d of kind %v, want %d", path, text, id, after.Kind(id), before.Vocab()+i)
			}
			ids := after.AppendTokens(nil, "a "+text+" b")
			if slices.Contains(ids, id) {
				t.Errorf("%s: a text with %s becomes the token", path, text)
			}
		}
		if ok, why := after.Extends(before); !ok {
			t.Errorf("%s: the grown tokenizer gives other ids: %s", path, why)
		}
		if ok, _ := before.Extends(after); ok || before.Fingerprint() == after.Fingerprint() {
			t.Errorf("%s: the fingerprint says nothing of the new tokens", path)
		}
		if _, again, err := grown.WithChatTokens(path); err != nil || len(again) != 0 {
			t.Errorf("%s: grown twice: %q, %v", path, again, err)
		}
		if model := grown[fileSentencePiece]; model != nil {
			alone, err := tokenizer.FromSentencePiece(model, tokenizer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if id, _ := alone.ID("<|im_end|>"); int(id) != before.Vocab()+len(added)-1 || alone.Fingerprint() != after.Fingerprint() {
				t.Errorf("tokenizer.model alone: <|im_end|> is %d, fingerprints %s and %s", id, alone.Fingerprint(), after.Fingerprint())
			}
		}
	}
}
