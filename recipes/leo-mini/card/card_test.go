package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCard(t *testing.T) {
	work, out := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	metrics := `{"step":1,"time":1,"loss":9,"tokens_seen":1000000}
{"step":2,"time":2,"loss":8,"tokens_seen":2000000}
{"step":2,"time":3,"valid_loss":8.5}
`
	write(work, "pretrain/metrics.jsonl", metrics)
	write(work, "chat/metrics.jsonl", metrics)
	write(work, "again/metrics.jsonl", metrics)
	for _, f := range []string{"base", "chat", "q8_0"} {
		write(work, f+".json", `[{"source":"klexikon.valid.jsonl.gz","bits_per_byte":1.25},{"source":"total","bits_per_byte":1.5}]`)
	}
	write(work, "baselines.json", `{"results":[{"method":"xz","bits_per_byte":{"klexikon":2.5,"wikipedia":2.25}}]}`)
	write(out, "answers.json", `[{"name":"greedy","answers":[{"question":"Was ist | ein Igel?","text":"Ein Tier.\nMit Stacheln."}]}]`)
	write(out, "README.md", "# x\n<!-- card:bits -->\nold\n<!-- /card -->\nkept\n<!-- card:answers -->\n<!-- /card -->\n<!-- card:sizes -->\n<!-- /card -->\nend\n")
	write(out, "sizes.md", "| size |\n")
	if err := run(work, out, filepath.Join(work, "baselines.json")); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := "# x\n<!-- card:bits -->\n" +
		"| bits per byte of held-out text | klexikon |\n|---|---|\n| leo-mini after pretraining | 1.250 |\n| after fine-tuning | 1.250 |\n" +
		"| the embedded file (q8_0) | 1.250 |\n| xz -9e | 2.500 |\n<!-- /card -->\nkept\n<!-- card:answers -->\n" +
		"| question | answer |\n|---|---|\n| Was ist \\| ein Igel? | Ein Tier.<br>Mit Stacheln. |\n<!-- /card -->\n<!-- card:sizes -->\n| size |\n<!-- /card -->\nend\n"
	if string(got) != want {
		t.Errorf("README.md is\n%s\nwant\n%s", got, want)
	}
	curve, err := os.ReadFile(filepath.Join(out, "loss.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(curve), "fine-tuning, held out") {
		t.Error("loss.svg has no key")
	}
	for d := xml.NewDecoder(bytes.NewReader(curve)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("loss.svg: %v", err)
		}
	}

	write(out, "README.md", "no marks")
	if err := run(work, out, filepath.Join(work, "baselines.json")); err == nil {
		t.Error("a card without marks is accepted")
	}
}
