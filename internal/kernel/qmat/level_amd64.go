package qmat

import "leolm/internal/kernel/cpu"

//go:generate sh -c "cd _asm && go run . -level vnni -pkg qmat -out ../vnni_amd64.s -calls ../vnni_amd64.go"

var vnni = newLevel(cpu.VNNI, vnniSizes)

func choose(l cpu.Level) *level {
	switch {
	case l >= cpu.VNNI && l != cpu.NEON:
		return vnni
	}
	return &generic
}

// call runs a kernel of the level. It names them directly: through a function
// value the arguments would have to live on the heap.
func call(l *level, k kernelID, a *args) {
	switch l.isa {
	case cpu.VNNI:
		vnniCall(k, a)
	}
}

func quantise(dst []byte, step int, x []float32) { quantiseGeneric(dst, step, x) }
