package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestHistoryIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "leo", "h.jsonl")
	open := func() *history {
		t.Helper()
		h, err := openHistory(path)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	a, b := open(), open()
	a.add("eins")
	b.add("zwei\nZeilen \"<ä>\" \x1b")
	a.add("eins") // the last of a's own
	a.add("  ")
	a.off = true
	a.add("geheim")
	if got, want := open().lines, []string{"eins", "zwei\nZeilen \"<ä>\" \x1b"}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	// A torn line, or one that is not text, is skipped; the others are kept.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\"halb\n{\"a\": 1}\n\xff\n\"drei\"\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := open().lines; len(got) != 3 || got[2] != "drei" {
		t.Errorf("kept %q", got)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open().add("vier")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode of the folder %v, %v", st.Mode(), err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, err := openHistory(filepath.Join(dir, "many"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2*historyLines + 10 {
		h.add(fmt.Sprint("Frage ", i))
	}
	h.add(strings.Repeat("x", historyEntry+1)) // too long to be kept
	if h, err = openHistory(h.path); err != nil || len(h.lines) != historyLines || h.lines[historyLines-1] != fmt.Sprint("Frage ", 2*historyLines+9) {
		t.Errorf("%d lines, %v", len(h.lines), err)
	}
	data, err := os.ReadFile(h.path)
	if n := strings.Count(string(data), "\n"); err != nil || n != historyLines {
		t.Errorf("the file has %d lines, want %d; %v", n, historyLines, err)
	}

	// Of a file that something else made huge, only the end is read and kept.
	path := filepath.Join(dir, "huge")
	if err := os.WriteFile(path, []byte(strings.Repeat("\"alt alt alt alt\"\n", 400000)+"\"neu\"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if h, err = openHistory(path); err != nil || len(h.lines) != historyLines || h.lines[historyLines-1] != "neu" {
		t.Errorf("%d lines, %v", len(h.lines), err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() > historyBytes || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := openHistory(dir); err == nil {
		t.Error("a folder was taken for a history")
	}
}

func TestConversationFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, want := range map[string]string{
		`{"model": "m", "messages": [{"role": "user", "content": "x"}]}`:          "1",
		` [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]`: "2",
		`{"model": "m", "messages": []}`:                                          "0",
		`{"architectures": ["LlamaForCausalLM"]}`:                                 "has no messages",
		`{"messages": [{"role": "king", "content": ""}]}`:                         "not a conversation",
		`{"messages": [`: "not a conversation",
		"GGUF\x03":       errNoConversation.Error(),
		"":               errNoConversation.Error(),
	} {
		path := filepath.Join(dir, "c")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := readConversation(path)
		got := fmt.Sprint(len(c.Messages))
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if _, err := readConversation(dir); err != errNoConversation {
		t.Errorf("a folder: %v", err)
	}
}
