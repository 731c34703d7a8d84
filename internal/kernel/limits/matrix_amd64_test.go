package limits

import (
	"testing"

	"leolm/internal/kernel/amx"
)

// TestMatrixLoops: the loops of the matrix units do as many products as their rates count, of full tiles.
func TestMatrixLoops(t *testing.T) {
	p, err := amx.ParseFile("matrix_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]amx.Op{"bf16Tiles": amx.TDPBF16PS, "int8Tiles": amx.TDPBSUD} {
		m := amx.NewMachine(p)
		const n = 3
		if err := m.Run(name, m.Map(fullTiles[:]), n); err != nil {
			t.Fatal(err)
		}
		if m.Counts[op] != 4*n {
			t.Errorf("%s: %d products in %d rounds", name, m.Counts[op], n)
		}
	}
}
