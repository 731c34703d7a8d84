//go:build linux || darwin

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A model file that another process truncates while it is used ends the program with a message that names it.
func TestTruncatedWhileUsed(t *testing.T) {
	dir := t.TempDir()
	packed := filepath.Join(dir, "weights.leopack")
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("Ein Vulkan ist ein Berg. ", 4000)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"eval", "perplexity", "--packed", packed, text}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLeoItself$", "--")
	cmd.Env = append(os.Environ(), "LEO_ARGS="+strings.Join(args, "\x1f"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for { // until the weights are packed
		if _, err := os.Stat(packed); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("ended before its weights were packed: %v\n%s", err, out.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := os.Truncate(packed, 4096); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatal("goes on without its weights")
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "leo: "+packed) || !strings.Contains(out.String(), "truncated") || strings.Contains(out.String(), "goroutine") {
		t.Errorf("exit status %d:\n%.2000s", code, out.String())
	}
}

// TestLeoItself is the program, for tests that need it as a process of its own.
func TestLeoItself(t *testing.T) {
	args, ok := os.LookupEnv("LEO_ARGS")
	if !ok {
		t.Skip("runs as a child of other tests")
	}
	os.Args = append([]string{"leo"}, strings.Split(args, "\x1f")...)
	os.Exit(run())
}
