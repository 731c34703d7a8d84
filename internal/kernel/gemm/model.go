package gemm

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
)

// Model runs a kernel of the matrix units instead of the processor: its name in matrix_amd64.s, its argument (type
// tile), and all other memory that it may reach.
type Model func(kernel string, argument []byte, operands [][]byte)

// UseModel makes products of bf16 run at level amx in a model, until restore is called. It is for tests on processors
// without matrix units, in package amx. Operands of products must not lie on a stack meanwhile.
func UseModel(run Model) (restore func()) {
	saved, savedLevel := matrixModel, level
	level |= cpu.AMX
	matrixModel = func(k matrixKernel, raw rawTile) {
		t := new(rawTile) // on the heap, where the model may write to it
		*t = raw
		run(matrixNames[k], unsafe.Slice((*byte)(unsafe.Pointer(t)), unsafe.Sizeof(*t)), operandsOf(k, (*tile)(unsafe.Pointer(t))))
	}
	return func() { matrixModel, level = saved, savedLevel }
}

// rawTile is a tile as numbers: operands of products may then stay on the stack, where they are only if no model is set.
type rawTile [unsafe.Sizeof(tile{}) / 8]uintptr

// matrixModel runs the kernels of the matrix units if it is set.
var matrixModel func(k matrixKernel, t rawTile)

var matrixNames = [...]string{matrix16x16: "matrix16x16AMX", matrix16x32: "matrix16x32AMX", matrix32x16: "matrix32x16AMX", matrix32x32: "matrix32x32AMX"}

// operandsOf lists the memory of a tile's operands, row by row.
func operandsOf(k matrixKernel, t *tile) [][]byte {
	width := PanelWidth * 4
	if k == matrix16x16 || k == matrix32x16 {
		width /= 2
	}
	config := unsafe.Slice((*byte)(t.config), 64)
	all := [][]byte{config}
	add := func(p unsafe.Pointer, n int) { all = append(all, unsafe.Slice((*byte)(p), n)) }
	pairs := int(config[48+6]) // rows of B's tiles
	for i := range t.m {
		for p := range t.panels {
			add(unsafe.Add(t.c, i*t.ldc+p*t.cPanel), width)
		}
		add(unsafe.Add(t.a, i*t.am), 4*((t.steps-1)*matrixSteps+pairs))
	}
	for p := range t.panels {
		for s := range t.steps * pairs {
			add(unsafe.Add(t.b, p*t.bPanel+s*t.bk), width)
		}
	}
	return all
}
