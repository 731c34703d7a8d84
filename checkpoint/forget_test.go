package checkpoint

import (
	"bytes"
	"path/filepath"
	"testing"
)

// A forgotten tensor reads as before, from a file and from plain memory.
func TestForgottenTensorsAreStillThere(t *testing.T) {
	dir := filepath.Join("testdata", "models", "small")
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range c.Tensors() {
		before := bytes.Clone(x.data)
		c.Forget(x)
		if !bytes.Equal(x.data, before) {
			t.Errorf("%s changed", x.Name)
		}
	}
	memory := make([]byte, 1<<20)
	for i := range memory {
		memory[i] = byte(i * 7)
	}
	plain := &Checkpoint{GGUF: &GGUF{maps: []*mapping{{data: memory}}}}
	x := &Tensor{Name: "x", data: memory}
	plain.byName = map[string]*Tensor{"x": x}
	plain.Forget(x)
	for i := range memory {
		if memory[i] != byte(i*7) {
			t.Fatalf("byte %d of plain memory is gone", i)
		}
	}
}
