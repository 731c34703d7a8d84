//go:build linux || darwin

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every argument that names a file, and standard input, is read up to a bound. A
// pipe that nobody writes to ends with the context (Ctrl-C) or is refused, and
// so is endless input.
func TestFilesWithoutEnd(t *testing.T) {
	model := "../../checkpoint/testdata/models/leolm"
	tokenizer := "../../tokenizer/testdata/bpe.model"
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.yaml")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	sparse := filepath.Join(dir, "sparse.yaml")
	if err := os.WriteFile(sparse, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 1<<42); err != nil {
		t.Skip("no sparse files here:", err)
	}
	text := filepath.Join(dir, "text.jsonl")
	if err := os.WriteFile(text, []byte("{\"text\": \"a\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	generate := func(more ...string) []string {
		return append([]string{"generate", "--max-new-tokens", "1", "-q"}, more...)
	}
	for name, args := range map[string][]string{
		"prompt":            generate("--file", "FILE"),
		"grammar":           generate("--grammar", "FILE", "x"),
		"schema":            generate("--json-schema", "FILE", "x"),
		"template":          {"chat", "-q", "--template", "FILE", "x"},
		"model":             {"inspect", "FILE"},
		"tokenizer":         {"tokenizer", "encode", "FILE", "x"},
		"converted":         {"convert", model, filepath.Join(dir, "out.gguf"), "--template", "FILE"},
		"recipe":            {"train", "FILE", "--plan"},
		"mix":               {"data", "prepare", "FILE", "--output", filepath.Join(dir, "out")},
		"corpus recipe":     {"data", "corpus", "plan", "FILE", "-o", filepath.Join(dir, "corpus")},
		"pull of a mix":     {"data", "pull", "FILE"},
		"translation":       {"data", "translate", text, "-o", filepath.Join(dir, "o.jsonl"), "--prompt", "FILE", "--field", "text", "--estimate"},
		"text of a measure": {"eval", "perplexity", "-q", "FILE"},
		"text of training":  {"tokenizer", "train", "FILE", "--output", filepath.Join(dir, "t.model"), "--vocab", "300"},
		"tokenizer texts":   {"tokenizer", "compare", tokenizer, tokenizer, "FILE"},
	} {
		for _, file := range []string{fifo, sparse} {
			if strings.Contains(name, "text") && file == sparse {
				continue // a text may be long; lines and documents have bounds of their own
			}
			t.Run(name+" "+filepath.Base(file), func(t *testing.T) {
				var these []string
				for _, a := range args {
					these = append(these, strings.ReplaceAll(a, "FILE", file))
				}
				err := runFor(t, 300*time.Millisecond, nil, these)
				if err == nil {
					t.Fatal("no error")
				}
				if file == sparse && !strings.Contains(err.Error(), "more than") && name != "model" {
					t.Errorf("does not say that the file is too large: %v", err)
				}
			})
		}
	}
	for name, args := range map[string][]string{
		"prompt":   generate(),
		"question": {"chat", "-q"},
		"encode":   {"tokenizer", "encode", tokenizer},
		"decode":   {"tokenizer", "decode", tokenizer},
	} {
		t.Run("standard input, "+name, func(t *testing.T) {
			r, w, err := os.Pipe() // nobody writes
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			if err := runFor(t, 300*time.Millisecond, r, args); err == nil {
				t.Error("a silent standard input gives no error")
			}
			if name == "encode" || name == "decode" {
				return // a text of a gigabyte may be encoded
			}
			if err := runFor(t, 30*time.Second, endless{}, args); err == nil || !strings.Contains(err.Error(), "standard input: more than the 64 MiB") {
				t.Errorf("an endless standard input: %v", err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// runFor runs a command whose context ends after d; it fails the test if the command runs on long after that.
func runFor(t *testing.T, d time.Duration, stdin io.Reader, args []string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	root := newRootCmd()
	root.SetIn(stdin)
	root.SetOut(io.Discard)
	root.SetErr(new(bytes.Buffer))
	root.SetArgs(args)
	done := make(chan error, 1)
	go func() { done <- root.ExecuteContext(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(d + 20*time.Second):
		t.Fatalf("leo %s goes on and on", strings.Join(args, " "))
		return nil
	}
}
