//go:build !nomodel

package catalog

import (
	"errors"
	"testing"

	"leolm/chat"
)

func TestEmbeddedModel(t *testing.T) {
	for _, name := range []string{"", DefaultName} {
		m, err := Open(name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != DefaultName {
			t.Errorf("Open(%q) is %q", name, m.Name)
		}
		ids, _, err := m.Template.Encode(m.Tokenizer, []chat.Message{{Role: chat.User, Content: "Wer bist du?"}}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			t.Fatal(err)
		}
		start, ok := m.Tokenizer.ID("<|im_start|>")
		if !ok || len(ids) == 0 || ids[0] != start {
			t.Errorf("a question begins with %v, want <|im_start|> (%d)", ids, start)
		}
		if end, ok := m.Tokenizer.ID("<|im_end|>"); !ok || len(m.StopIDs) == 0 || m.StopIDs[len(m.StopIDs)-1] != end {
			t.Errorf("stops at %v, want <|im_end|> (%d)", m.StopIDs, end)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open("leo-maxi", Options{}); err == nil || errors.Is(err, ErrNoModel) {
		t.Errorf("an unknown name: %v", err)
	}
}
