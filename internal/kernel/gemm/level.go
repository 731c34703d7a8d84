package gemm

import "leolm/internal/kernel/cpu"

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
