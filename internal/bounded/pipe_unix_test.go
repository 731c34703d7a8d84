//go:build linux || darwin

package bounded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPipes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes here:", err)
	}
	var kind *KindError
	if _, err := Regular(name, 10); !errors.As(err, &kind) || kind.Kind != "a pipe" {
		t.Errorf("a pipe where a file is wanted: %v", err)
	}
	// Nobody writes.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := File(ctx, name, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pipe without a writer: %v", err)
	}
	// Somebody has it open and says nothing.
	silent, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx2, cancel2 := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel2()
	if _, err := File(ctx2, name, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent pipe: %v", err)
	}
	silent.Close()
	for text, fits := range map[string]bool{"0123456789": true, "0123456789x": false} {
		go func() { _ = os.WriteFile(name, []byte(text), 0) }()
		b, err := File(t.Context(), name, 10)
		var large *SizeError
		if fits && (err != nil || string(b) != text) || !fits && !errors.As(err, &large) {
			t.Errorf("%q through a pipe: %q, %v", text, b, err)
		}
	}
	// What never ends.
	if _, err := os.Stat("/dev/zero"); err == nil {
		if _, err := Regular("/dev/zero", 10); !errors.As(err, &kind) {
			t.Errorf("a device where a file is wanted: %v", err)
		}
		var large *SizeError
		if _, err := File(t.Context(), "/dev/zero", 1<<20); !errors.As(err, &large) {
			t.Errorf("/dev/zero: %v", err)
		}
	}
}
