package train

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/tensor"
)

// One byte that changed in any file of a checkpoint is found out, the file and the tensor are named, and the run goes
// on from the checkpoint before to the same bytes.
func TestDamagedCheckpoint(t *testing.T) {
	cfg := workshop(t)
	runAll(t, cfg, 0)
	want := weightsOf(t, cfg)
	whole := t.TempDir()
	if err := os.CopyFS(whole, os.DirFS(cfg.Output)); err != nil {
		t.Fatal(err)
	}
	spoil := func(step, file string) {
		t.Helper()
		path := filepath.Join(cfg.Output, "checkpoints", step, file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)*3/4] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	restore := func() {
		t.Helper()
		if err := os.RemoveAll(cfg.Output); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(cfg.Output, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{weightsFile, optimizerFile, stateFile, commitMarker} {
		restore()
		spoil("step-00000012", file)
		var notes []string
		tr, err := New(cfg, newCPU(t, tensor.F32), Observer{Note: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }})
		if err != nil {
			t.Fatal(file, err)
		}
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(file, err)
		}
		tr.Close()
		said := strings.Join(notes, "\n")
		// A spoiled marker may show as a wrong checksum of any file.
		if file != commitMarker && !strings.Contains(said, file) || !strings.Contains(said, "damaged") || !strings.Contains(said, "resumed at step 9") ||
			strings.HasSuffix(file, ".safetensors") && !strings.Contains(said, "tensor ") {
			t.Errorf("%s: said\n%s", file, said)
		}
		if !bytes.Equal(weightsOf(t, cfg), want) {
			t.Errorf("%s: the run ends with other bytes", file)
		}
		if _, err := os.Stat(filepath.Join(cfg.Output, "checkpoints", "damaged-step-00000012", file)); err != nil {
			t.Errorf("%s: the damaged checkpoint is gone: %v", file, err)
		}
	}
	// All of them damaged: nothing begins anew without a word.
	restore()
	entries, err := os.ReadDir(filepath.Join(cfg.Output, "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		spoil(e.Name(), weightsFile)
	}
	_, err = New(cfg, newCPU(t, tensor.F32), Observer{})
	var damaged *DamagedError
	if !errors.As(err, &damaged) || damaged.Tensor == "" || filepath.Base(damaged.File) != weightsFile {
		t.Errorf("all checkpoints are damaged: %v", err)
	}
	// A checkpoint of the first versions has no checksums.
	restore()
	if err := os.WriteFile(filepath.Join(cfg.Output, "checkpoints", "step-00000012", commitMarker), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	runAll(t, cfg, 0)
	if !bytes.Equal(weightsOf(t, cfg), want) {
		t.Error("a checkpoint without checksums gives other bytes")
	}
}
