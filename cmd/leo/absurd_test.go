package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leolm/device"
	"leolm/internal/bounded/boundtest"
)

// Absurd sizes are refused with both numbers before memory is taken, or do no harm.
func TestAbsurdSizes(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte("Ein Vulkan ist ein Berg.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(rec, []byte("name: x\noutput: "+filepath.Join(dir, "run")+`
model: {tokenizer: ../../tokenizer/testdata/bpe.model, shape: {hidden_size: 32, intermediate_size: 64, layers: 2, heads: 2, vocab_size: 360, max_positions: 64}}
data: {train: [{shards: nothing}], sequence_length: 32}
optimizer: {lr: 1e-3}
schedule: {steps: 2}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	generate := func(more ...string) []string {
		return append([]string{"generate", "-q", "--preset", "greedy", "-n", "1", "Ein"}, more...)
	}
	train := func(set string) []string { return []string{"train", rec, "--set", set} }
	const max = "9223372036854775807"
	for _, c := range []struct {
		args []string
		want string // of the error; "short" for a *device.MemoryError; "" if none is needed
	}{
		{generate("--context", "1000000000000"), "short"},
		{generate("--context", max), "short"},
		{generate("--beams", "100000000"), "short"},
		{generate("--beams", max), "no machine has memory"},
		{generate("--threads", "1000000000"), "at most 4096"},
		{generate("--threads", max), "at most 4096"},
		{generate("--device", "cuda"), "want auto, cpu, gpu or gpu:N"},
		{generate("--device", "gpu:-1"), "want auto, cpu, gpu or gpu:N"},
		{generate("--device", "cpu", "--gpu-layers", "3"), "say --device gpu"},
		{generate("--device", "cpu", "--gpu-memory", "1GiB"), "say --device gpu"},
		{[]string{"serve", "--gpu-memory", "1GiB"}, "needs device: gpu"},
		{generate("--lookup", max), ""},
		{generate("--json", "--logprobs", max), ""},
		{generate("--top-k", max), ""},
		{generate("--penalty-window", max), ""},
		{generate("--no-repeat-ngram", max), ""},
		{generate("--dry-allowed-length", max, "--dry-multiplier", "1"), ""},
		{generate("--min-new-tokens", max), ""},
		{[]string{"chat", "-q", "--preset", "greedy", "--context", max, "Was?"}, "short"},
		{[]string{"eval", "perplexity", "-q", "--window", max, text}, ""},
		{[]string{"eval", "imatrix", "-q", "--chunk", max, "--output", filepath.Join(dir, "i.gguf"), text}, ""},
		{[]string{"inspect", "../../checkpoint/testdata/models/small", "--context", max}, ""},
		{[]string{"tokenizer", "train", text, "--output", filepath.Join(dir, "t.model"), "--vocab-size", max}, "any"},
		{[]string{"tokenizer", "train", text, "--output", filepath.Join(dir, "t.model"), "--vocab-size", "2000000000"}, "any"},
		{[]string{"tokenizer", "train", text, "--output", filepath.Join(dir, "t.model"), "--vocab-size", "300", "--max-piece-length", max}, ""},
		{[]string{"tokenizer", "train", text, "--output", filepath.Join(dir, "t.model"), "--vocab-size", "300", "--workers", "1000000000"}, "at most 4096"},
		{[]string{"data", "prepare", "mix.yaml", "-o", dir, "--workers", max}, "at most 4096"},
		{train("data.sequence_length=1000000000000"), "short"},
		{train("batch.micro=1000000000000"), "short"},
		{train("batch.global=1000000000000000"), "short"},
		{train("model.shape.hidden_size=1000000000000"), "short"},
		{train("model.shape.layers=1000000000000000"), "short"},
		{train("model.shape.intermediate_size=" + max), "short"},
		{train("model.shape.vocab_size=1000000000000000"), "short"},
		{train("model.vocab_size=1000000000000000"), "short"},
		{[]string{"train", rec, "--threads", max}, "at most 4096"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var err error
			boundtest.Run(t, 2<<30, 30*time.Second, func() {
				root := newRootCmd()
				root.SetIn(strings.NewReader(""))
				root.SetOut(io.Discard)
				root.SetErr(new(bytes.Buffer))
				root.SetArgs(c.args)
				err = root.ExecuteContext(t.Context())
			})
			var short *device.MemoryError
			switch {
			case c.want == "":
			case err == nil:
				t.Error("no error")
			case c.want == "short":
				if !errors.As(err, &short) || short.Needed <= float64(short.Available) {
					t.Errorf("%v", err)
				}
			case c.want != "any" && !strings.Contains(err.Error(), c.want):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
