package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"leolm/checkpoint"
	"leolm/tensor"
)

// Every layer has the bytes of the first, in the type that was asked for.
func TestLayersAreCopies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	for typ, want := range map[string]tensor.DType{"q4_0": tensor.Q4_0, "q8_0": tensor.Q8_0, "bf16": tensor.BF16} {
		if err := run([]string{path, "tiny", typ}); err != nil {
			t.Fatal(err)
		}
		m, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
			t.Errorf("%s left %q", typ, left)
		}
		for _, name := range []string{"self_attn.q_proj", "mlp.down_proj"} {
			a, _ := m.Tensor("model.layers.0." + name + ".weight")
			b, _ := m.Tensor("model.layers.1." + name + ".weight")
			if a.DType != want || !bytes.Equal(a.Row(5), b.Row(5)) || bytes.Equal(a.Row(5), a.Row(6)) {
				t.Errorf("%s %s: %v, rows %x and %x", typ, name, a.DType, a.Row(5)[:4], b.Row(5)[:4])
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, args := range [][]string{nil, {path, "70b", "q4_0"}, {path, "tiny", "q17"}} {
		if run(args) == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
