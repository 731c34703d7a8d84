package dataset

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"leolm/chat"
	"leolm/dataset/shard"
	"leolm/tokenizer"
)

// A template of one's own, as text, as a file and as a tokenizer's JSON: the
// same ids, and a role for each.
func TestOwnTemplate(t *testing.T) {
	const source = "{{ bos_token }}{% for m in messages %}{% if m.content == 'verboten' %}{{ raise_exception('Das geht nicht.') }}{% endif %}" +
		"{{ '\n# ' + m.role + '\n' + m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
	config, err := json.Marshal(map[string]any{"chat_template": []map[string]string{{"name": "tool_use", "template": "x"}, {"name": "default", "template": source}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(source)
	if err != nil {
		t.Fatal(err)
	}
	rows := `{"question": "Wie?", "answer": "Gut </s>"}` + "\n" + `{"question": "verboten", "answer": "ja"}` + "\n" + `{"question": "Wer?", "answer": "Ich"}` + "\n"
	const sources = "\njsonl: true\nsources:\n  - {name: A, reader: qa, files: [a.jsonl]}\n"
	var first string
	for _, template := range []string{string(text), "t.jinja", "tokenizer_config.json"} {
		files := map[string]string{"a.jsonl": rows, "t.jinja": source, "tokenizer_config.json": string(config)}
		m := writeMix(t, "template: "+template+sources, files)
		out := t.TempDir()
		if _, err := Prepare(context.Background(), m, out, PrepareOptions{}); err == nil || !strings.Contains(err.Error(), "row 2") || !strings.Contains(err.Error(), "Das geht nicht.") {
			t.Fatalf("%s: %v, want the template's error with its row", template, err)
		}
		m.OnError = "skip"
		if _, err := Prepare(context.Background(), m, out, PrepareOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := shard.Open(filepath.Join(out, "x-train"))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Open(filepath.Join(m.dir, "tiny.model"), tokenizer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != 2 {
			t.Fatalf("%s: %d samples, want 2", template, s.Len())
		}
		var b strings.Builder
		for i := range s.Len() {
			sample := s.Sample(i)
			for k, id := range sample.IDs {
				if k == 0 || sample.Roles[k] != sample.Roles[k-1] {
					b.WriteString("⟨" + chat.Role(sample.Roles[k]).String() + "⟩")
				}
				b.WriteString(strings.ReplaceAll(tok.Piece(id), "<0x0A>", "⏎"))
			}
			b.WriteString("\n")
		}
		s.Close()
		if first == "" {
			first = b.String()
		}
		if b.String() != first {
			t.Errorf("%s gives\n%s\nwant\n%s", template, b.String(), first)
		}
	}
	t.Log(first)
	// What a user types stays text: one </s> for each sample, at its end.
	for line := range strings.Lines(first) {
		if strings.Count(line, "</s>") != 1 || !strings.HasSuffix(strings.TrimSpace(line), "</s>") || !strings.Contains(line, "⟨user⟩") || !strings.Contains(line, "⟨assistant⟩") {
			t.Errorf("sample %q", line)
		}
	}
	for template, want := range map[string]string{
		"lama3":     "is neither a file",
		"'{% for'":  "template",
		"none.json": "is neither a file",
	} {
		m := writeMix(t, "template: "+template+sources, map[string]string{"a.jsonl": rows})
		if _, err := Prepare(context.Background(), m, t.TempDir(), PrepareOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("template %s: %v, want %q", template, err, want)
		}
	}
}
