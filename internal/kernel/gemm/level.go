package gemm

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
)

// level holds the CPU features of the kernels in use.
var level = cpu.Active

// use switches the level: for tests over all levels.
func use(l cpu.Features) { level = l }

// matrixKernel names a kernel of the matrix units by the most rows and columns that it takes.
type matrixKernel uint8

const (
	matrix16x16 matrixKernel = iota
	matrix16x32
	matrix32x16
	matrix32x32
)

// matrixModel, where a test sets it, runs the kernels of the matrix units instead of the processor. It gets a tile as
// numbers: operands of products may then stay on the stack, where they are only if no model is set.
var matrixModel func(k matrixKernel, t [unsafe.Sizeof(tile{}) / 8]uintptr)
