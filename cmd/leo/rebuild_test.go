package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// leo-mini's own recipes, scaled down and on made-up text, give the same bytes in every file that the next step reads
// if they run again in another folder, and other bytes with another seed.
func TestLeoMiniRebuildsToTheSameBytes(t *testing.T) {
	first, again := rebuildLeoMini(t, "7"), rebuildLeoMini(t, "7")
	if len(first) < 12 {
		t.Fatalf("only %d files: %v", len(first), first)
	}
	for name, data := range first {
		if !bytes.Equal(again[name], data) {
			t.Errorf("%s differs", name)
		}
	}
	if other := rebuildLeoMini(t, "8"); bytes.Equal(other["mini.gguf"], first["mini.gguf"]) {
		t.Error("another seed gave the same model")
	}
}

// rebuildLeoMini runs the steps from the vocabulary to the quantized file and returns what they wrote.
func rebuildLeoMini(t *testing.T, seed string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	recipes := filepath.Join(dir, "recipes", "leo-mini")
	work := filepath.Join(dir, "out", "leo-mini")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(recipes, 0o777))
	must(os.MkdirAll(work, 0o777))
	files, err := filepath.Glob("../../recipes/leo-mini/*.yaml")
	must(err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		must(err)
		must(os.WriteFile(filepath.Join(recipes, filepath.Base(f)), data, 0o666))
	}
	animals := []string{"Igel", "Fuchs", "Dachs", "Hase", "Specht", "Luchs", "Otter"}
	places := []string{"Wald", "Garten", "Moor", "Feld", "Tal"}
	for _, side := range []string{"train", "valid"} {
		var texts, dialogues strings.Builder
		for i := range 300 {
			a, p := animals[i%len(animals)], places[i/7%len(places)]
			fmt.Fprintf(&texts, "{\"title\": %q, \"text\": \"Der %s Nummer %d lebt im %s. Abends sucht er %d Käfer, und morgens schläft er.\"}\n", a, a, i, p, i%13)
			fmt.Fprintf(&dialogues, "{\"messages\": [{\"role\": \"user\", \"content\": \"Wo lebt der %s Nummer %d?\"}, {\"role\": \"assistant\", \"content\": \"Er lebt im %s.\"}]}\n", a, i, p)
		}
		must(os.WriteFile(filepath.Join(work, "dialogues."+side+".jsonl"), []byte(dialogues.String()), 0o666))
		for _, source := range leoMiniSources {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, err := z.Write([]byte(texts.String()))
			must(err)
			must(z.Close())
			must(os.WriteFile(filepath.Join(work, source+"."+side+".jsonl.gz"), packed.Bytes(), 0o666))
		}
	}
	leo := func(args ...string) {
		t.Helper()
		cmd := exec.Command("leo", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("leo %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	leo("tokenizer", "train", "out/leo-mini/klexikon.train.jsonl.gz", "--output", "out/leo-mini/tokenizer.model", "--vocab-size", "400", "--control", "<|im_start|>,<|im_end|>")
	for _, source := range leoMiniSources {
		for side, folder := range map[string]string{"train": source, "valid": source + "-valid"} {
			folder = "out/leo-mini/corpus/" + folder
			leo("data", "corpus", "plan", "recipes/leo-mini/corpus.yaml", "-o", folder, "--set", "inputs.0.name="+source, "--set", "inputs.0.path=out/leo-mini/"+source+"."+side+".jsonl.gz", "--set", "pack.window=64")
			leo("data", "corpus", "run", folder)
		}
	}
	for _, d := range []string{"dialogues", "dialogues-valid"} {
		leo("data", "prepare", "recipes/leo-mini/"+d+".yaml", "-o", "out/leo-mini/"+d)
	}
	small := []string{"--set", "seed=" + seed, "--set", "data.sequence_length=64", "--set", "schedule.warmup_steps=2", "--set", "eval.every=5", "--set", "checkpoint.every=4"}
	leo(append([]string{"train", "recipes/leo-mini/pretrain.yaml", "--set", "schedule.steps=12", "--set", "model.shape.hidden_size=64", "--set", "model.shape.intermediate_size=128",
		"--set", "model.shape.layers=2", "--set", "model.shape.heads=1", "--set", "model.shape.vocab_size=400"}, small...)...)
	leo(append([]string{"train", "recipes/leo-mini/chat.yaml", "--set", "schedule.steps=9"}, small...)...)
	leo(append([]string{"train", "recipes/leo-mini/again.yaml", "--set", "schedule.steps=5"}, small...)...)
	leo("quantize", "out/leo-mini/again/model", "out/leo-mini/mini.gguf", "--type", "q8_0")

	out := map[string][]byte{}
	must(filepath.WalkDir(work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(work, path)
		switch filepath.Ext(name) {
		case ".model", ".bin", ".idx", ".docs", ".safetensors", ".gguf":
			if out[name], err = os.ReadFile(path); err != nil {
				return err
			}
		}
		return err
	}))
	return out
}

// leoMiniSources are the names that pretrain.yaml reads.
var leoMiniSources = []string{"klexikon", "wikipedia", "tales", "sentences", "novels"}
