package gemm

import "leolm/internal/kernel/cpu"

// level holds the CPU features of the kernels in use.
var level = cpu.Active

// use switches the level: for tests over all levels.
func use(l cpu.Features) { level = l }
