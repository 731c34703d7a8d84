package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The page "Your own data, your own model" is followed word by word: its YAML files are written, its commands run in their
// order, and what it shows as refused is refused in those words ("…" stands for anything).

const ownModelPage = "docs/own-model.md"

// pageStep is a file or a command of the page.
type pageStep struct {
	line    int
	file    string // name of a YAML file with text, or
	text    string // a command
	refused string // what a command must fail with; empty: it succeeds
}

// pageSteps reads the code blocks of a page: YAML whose first line names its file, shell commands, and commands after "$ "
// with what they print.
func pageSteps(page string) []pageStep {
	var steps []pageStep
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		kind, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		begin := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		body := lines[begin:min(i, len(lines))]
		switch kind {
		case "yaml":
			if name, ok := strings.CutPrefix(body[0], "# "); ok {
				steps = append(steps, pageStep{line: begin + 1, file: name, text: strings.Join(body, "\n") + "\n"})
			}
		case "sh", "":
			for j, l := range body {
				l, prompted := strings.CutPrefix(l, "$ ")
				if !prompted && kind != "sh" {
					continue
				}
				s := pageStep{line: begin + 1 + j, text: l}
				if prompted && j+1 < len(body) && strings.HasPrefix(body[j+1], "leo: ") {
					s.refused = body[j+1]
				}
				steps = append(steps, s)
			}
		}
	}
	return steps
}

func TestOwnModelPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("../..", ownModelPage))
	if err != nil {
		t.Fatal(err)
	}
	dir := ownModelFolder(t)
	ran, refused := 0, 0
	for _, s := range pageSteps(string(page)) {
		switch {
		case s.file != "":
			if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.text), 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		case !strings.HasPrefix(s.text, "leo "):
			continue
		case strings.HasSuffix(s.text, "# after an answer was corrected"):
			correctAnAnswer(t, filepath.Join(dir, "dialogues.jsonl"))
		}
		ran++
		start := time.Now()
		out, err := runShell(dir, s.text)
		t.Logf("%4d ms  %s", time.Since(start).Milliseconds(), s.text)
		switch {
		case s.refused == "" && err != nil:
			t.Fatalf("%s:%d: %s: %v\n%s", ownModelPage, s.line, s.text, err, out)
		case s.refused != "":
			refused++
			if err == nil || !matchesPage(s.refused, out) {
				t.Errorf("%s:%d: %s: %v\nthe page says %s\nit printed %s", ownModelPage, s.line, s.text, err, s.refused, out)
			}
		}
	}
	if ran < 18 || refused < 6 {
		t.Errorf("%d commands ran, %d of them refused", ran, refused)
	}
	// What the page quotes from the plan.
	if out, err := runShell(dir, "leo train chat.yaml --plan --set output=out/again"); err != nil || !planOf(string(page), out) {
		t.Errorf("the plan says otherwise: %v\n%s", err, out)
	}
}

// matchesPage reports whether printed contains a line of the page.
func matchesPage(line, printed string) bool {
	parts := strings.Split(line, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)" + strings.Join(parts, ".+")).MatchString(printed)
}

// planOf reports whether printed has the note that the page quotes from the plan.
func planOf(page, printed string) bool {
	at := strings.Index(page, "\nnote: ")
	return at >= 0 && strings.Contains(printed, strings.SplitN(page[at+1:], "\n", 2)[0])
}

func TestMatchesPage(t *testing.T) {
	for printed, want := range map[string]bool{
		"step 1\nleo: data: 7 rows (abc) are too few\n": true,
		"leo: data: 7 rows are too few":                 false,
		"leo: data: 7 rows (abc) are too many":          false,
	} {
		if got := matchesPage("leo: data: … rows (…) are too few", printed); got != want {
			t.Errorf("%q: %v", printed, got)
		}
	}
	steps := pageSteps("```yaml\n# a.yaml\nx: 1\n```\n```sh\nleo a\n```\n```\n$ leo b\nleo: no\n$ leo c\n```\n```yaml\nx: 2\n```\n")
	want := []pageStep{{line: 2, file: "a.yaml", text: "# a.yaml\nx: 1\n"}, {line: 6, text: "leo a"},
		{line: 9, text: "leo b", refused: "leo: no"}, {line: 11, text: "leo c"}}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
}

// ownModelFolder returns a folder with what the page assumes: a plain base, dialogues, and shards of another tokenizer.
func ownModelFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var texts, talk strings.Builder
	for i := range 40 {
		a, b := houseLines[i%len(houseLines)], houseLines[(i+1)%len(houseLines)]
		fmt.Fprintf(&texts, "{\"text\": %q}\n", a+" "+b)
		fmt.Fprintf(&talk, "{\"messages\": [{\"role\": \"user\", \"content\": %q}, {\"role\": \"assistant\", \"content\": \"%s Nummer %d.\"}]}\n", a, b, i)
	}
	write("texts.jsonl", texts.String())
	write("dialogues.jsonl", talk.String())
	write("corpus.yaml", "tokenizer: tokenizer.model\ninputs: [{path: texts.jsonl}]\npack: {window: 32}\n")
	write("base.yaml", `
name: base
output: run
model: {tokenizer: tokenizer.model, shape: {hidden_size: 64, intermediate_size: 128, layers: 2, heads: 4, kv_heads: 2, vocab_size: 368, max_positions: 512}}
data: {train: [{shards: corpus/out/train-00000-of-00001}], sequence_length: 32}
batch: {micro: 2}
optimizer: {lr: 5e-3}
schedule: {type: constant, steps: 4}
`)
	write("othermix.yaml", "prefix: mine\ntokenizer: other.model\nsources: [{name: mine, reader: messages, files: [dialogues.jsonl]}]\n")
	for _, line := range []string{
		"leo tokenizer train texts.jsonl --output tokenizer.model --vocab-size 368",
		"leo tokenizer train texts.jsonl --output other.model --vocab-size 340",
		"leo data corpus plan corpus.yaml -o corpus", "leo data corpus run corpus",
		"leo train base.yaml", "leo data prepare othermix.yaml -o other -q",
	} {
		if out, err := runShell(dir, line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	if err := os.Rename(filepath.Join(dir, "run", "model"), filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func correctAnAnswer(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "Nummer 7.", "Nummer 8.")), 0o666); err != nil {
		t.Fatal(err)
	}
}
