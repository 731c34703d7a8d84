package gemm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/internal/kernel/amx"
	"leolm/internal/kernel/cpu"
)

// TestMatrixUnits: the processor's units give the bits of the model.
func TestMatrixUnits(t *testing.T) {
	if !cpu.Detected.Has(cpu.AMX) {
		t.Skip("needs a processor with matrix units and leave to use them (leo version says which)")
	}
	defer use(level)
	use(cpu.Active | cpu.AMX)
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range append([][3]int{{32, 64, 64}, {33, 48, 95}, {1, 40, 700}}, shapes...) {
		m, n, k := s[0], s[1], s[2]
		o := newOperands(r, m, n, k, viaBF16)
		b := make([]uint16, PackedLenBF16(n, k))
		PackBF16FromF32(b, o.b, n, 1, n, k, 0, Panels(n))
		c, want := make([]float32, m*n), make([]float32, m*n)
		MulBF16FromF32(c, n, o.a, k, 1, b, n, k, 0, m, 0, Panels(n), false)
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			useModel(t)
			MulBF16FromF32(want, n, o.a, k, 1, b, n, k, 0, m, 0, Panels(n), false)
		})
		if !slices.Equal(bits(c), bits(want)) {
			t.Errorf("%v: the processor and the model differ", s)
		}
	}
}

// useModel runs products of bf16 on matrix units in the model for the time of a test.
func useModel(t *testing.T) {
	p, err := amx.ParseFile("matrix_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(UseModel(func(kernel string, argument []byte, operands [][]byte) {
		if err := p.Call(kernel, argument, operands); err != nil {
			panic(err)
		}
	}))
}
