package bounded

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string, int64) ([]byte, error){
		Regular,
		func(name string, limit int64) ([]byte, error) { return File(t.Context(), name, limit) },
	} {
		if b, err := read(name, 10); err != nil || string(b) != "0123456789" {
			t.Errorf("%q, %v", b, err)
		}
		_, err := read(name, 9)
		var large *SizeError
		if !errors.As(err, &large) || *large != (SizeError{name, 9, 10}) {
			t.Errorf("a byte too many: %v", err)
		}
		if err != nil && (!strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "10 bytes") || !strings.Contains(err.Error(), "9 bytes")) {
			t.Errorf("the message lacks file, size or limit: %v", err)
		}
		var kind *KindError
		if _, err := read(filepath.Dir(name), 10); !errors.As(err, &kind) || kind.Kind != "a folder" {
			t.Errorf("a folder: %v", err)
		}
		if _, err := read(name+"x", 10); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
	}
}

// endless never ends and never gives an error.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestStreams(t *testing.T) {
	b, err := Read(t.Context(), strings.NewReader("abc"), "standard input", 3)
	if err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
	var large *SizeError
	if _, err := Read(t.Context(), endless{}, "standard input", 1<<20); !errors.As(err, &large) || large.Size != -1 || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("without end: %v", err)
	}
	if _, err := Read(t.Context(), io.MultiReader(bytes.NewReader([]byte("x")), errReader{}), "standard input", 9); err == nil || !strings.Contains(err.Error(), "standard input: broken") {
		t.Errorf("an error of the stream: %v", err)
	}
	// One that never gives a byte.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Read(ctx, r, "standard input", 9); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken") }
