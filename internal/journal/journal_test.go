package journal

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestJournalGoesOnBehindItsLastWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.jsonl")
	open := func() (*Journal, []string) {
		t.Helper()
		var got []string
		j, err := Open(path, func(line []byte) error {
			var s string
			err := json.Unmarshal(line, &s)
			got = append(got, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return j, got
	}
	j, _ := open()
	want := []string{"a", "<b & \n c>", strings.Repeat("ä", 1<<17)}
	for _, s := range want {
		if err := j.Append(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever is left of the next line, it is gone, and what is appended follows the last whole one.
	for _, torn := range []string{"", `"`, `"half`, strings.Repeat("x", 1<<17)} {
		if err := os.WriteFile(path, append(slices.Clone(whole), torn...), 0o666); err != nil {
			t.Fatal(err)
		}
		j, got := open()
		if !slices.Equal(got, want) {
			t.Fatalf("behind %d torn bytes: %d lines", len(torn), len(got))
		}
		if err := j.Append("next"); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if j, got = open(); len(got) != 4 || got[3] != "next" {
			t.Errorf("behind %d torn bytes: %d lines afterward", len(torn), len(got))
		}
		j.Close()
	}
	if err := os.WriteFile(path, []byte("only half a line"), 0o666); err != nil {
		t.Fatal(err)
	}
	j, got := open()
	if j.Close(); len(got) != 0 {
		t.Errorf("half a line was read: %q", got)
	}
}

func TestDamagedLinesAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.jsonl")
	if err := os.WriteFile(path, []byte("\"a\"\nnonsense\n\"c\"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, func(line []byte) error { return json.Unmarshal(line, new(string)) })
	var bad *LineError
	if !errors.As(err, &bad) || bad.Line != 2 || bad.Path != path {
		t.Errorf("%v", err)
	}
	if err := Read(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
