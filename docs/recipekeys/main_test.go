package main

import (
	"os"
	"strings"
	"testing"
)

// The page says what the code says; `go generate ./docs/recipekeys` writes it anew.
func TestPageIsWhatTheCodeSays(t *testing.T) {
	want, err := page("../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(string(got), "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("docs/recipe-keys.md:%d is not what the code says; run go generate ./docs/recipekeys\nhave %s\nwant %s", i+1, at(a, i), at(b, i))
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end of file)"
}

// A key that says nothing of itself needs a comment on its field.
func TestEveryKeyHasAMeaning(t *testing.T) {
	text, err := page("../..")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		keys++
		if strings.HasSuffix(line, "|  |") {
			t.Errorf("no meaning: %s", line)
		}
	}
	if keys < 100 {
		t.Errorf("only %d keys", keys)
	}
	for _, row := range []string{
		"| `optimizer.betas` | list: number | `[0.9, 0.95]` |",
		"| `lora.rank` | whole number | `16` |",
		"| `data.train[].shards` | text | required |",
		"| `dedup.minhash.bands` | whole number ≥ 1, ≤ 256 | `14` |",
		"| `on_error` | `stop`, `skip` | `stop` |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("the page lacks %s", row)
		}
	}
}
