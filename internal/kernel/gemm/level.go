package gemm

import "leolm/internal/kernel/cpu"

// level is the CPU level of the kernels in use.
var level = cpu.Active

// use switches the level: for tests over all levels.
func use(l cpu.Level) { level = l }
