package gemm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"leolm/internal/kernel/amx"
	"leolm/internal/kernel/cpu"
)

// matrixProgram is the committed assembly of the kernels on the matrix units.
var matrixProgram = sync.OnceValues(func() (*amx.Program, error) {
	text, err := os.ReadFile("matrix_amd64.s")
	if err != nil {
		return nil, err
	}
	return amx.Parse(string(text))
})

var matrixNames = map[matrixKernel]string{matrix16x16: "matrix16x16AMX", matrix16x32: "matrix16x32AMX", matrix32x16: "matrix32x16AMX", matrix32x32: "matrix32x32AMX"}

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

// useModel runs the kernels on the matrix units in the model for the time of a test. The model reaches a tile's operands
// and nothing else.
func useModel(t *testing.T) {
	p, err := matrixProgram()
	if err != nil {
		t.Fatal(err)
	}
	saved := matrixModel
	t.Cleanup(func() { matrixModel = saved })
	matrixModel = func(k matrixKernel, raw [unsafe.Sizeof(tile{}) / 8]uintptr) {
		u := new([unsafe.Sizeof(tile{}) / 8]uintptr)
		*u = raw
		mt := (*tile)(unsafe.Pointer(u))
		m := amx.NewMachine(p)
		width := PanelWidth * 4
		if k == matrix16x16 || k == matrix32x16 {
			width /= 2
		}
		config := unsafe.Slice((*byte)(mt.config), 64)
		pairs := int(config[48+6]) // rows of B
		for i := range mt.m {
			for panel := range mt.panels {
				m.Map(unsafe.Slice((*byte)(unsafe.Add(mt.c, i*mt.ldc+panel*mt.cPanel)), width))
			}
			m.Map(unsafe.Slice((*byte)(unsafe.Add(mt.a, i*mt.am)), (mt.steps-1)*64+4*pairs))
		}
		for panel := range mt.panels {
			for s := range mt.steps * pairs {
				m.Map(unsafe.Slice((*byte)(unsafe.Add(mt.b, panel*mt.bPanel+s*mt.bk)), width))
			}
		}
		m.Map(config)
		at := m.Map(unsafe.Slice((*byte)(unsafe.Pointer(mt)), unsafe.Sizeof(tile{})))
		if err := m.Run(matrixNames[k], at); err != nil {
			t.Fatalf("%d×%d×%d: %v", mt.m, mt.panels*width/4, mt.steps*pairs*2, err)
		}
	}
}
