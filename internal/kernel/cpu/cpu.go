// Package cpu owns the one global fact of the process: which instruction set
// level the kernels use. It is read once at start-up; kernels choose their
// implementation from it and nothing else.
//
// The environment variable LEO_CPU forces a level at or below what the machine
// has (generic, avx2, avx512, vnni, bf16; neon on arm64), so that tests can run all of them
// on one machine. Asking for more than the machine has is an error that
// Check reports; the process then runs at the detected level.
package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Level is an instruction set level. Each level on amd64 includes those below it.
type Level uint8

// The levels. AVX2 stands for AVX2+FMA+F16C, AVX512 for F+BW+VL+DQ, VNNI adds
// VPDPBUSD and BF16 adds VDPBF16PS. NEON stands for arm64 with the dot product extension.
const (
	Generic Level = iota
	AVX2
	AVX512
	VNNI
	BF16
	NEON
)

var names = map[Level]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", VNNI: "vnni", BF16: "bf16", NEON: "neon"}

func (l Level) String() string { return names[l] }

// Detected is the best level of this machine, Active the one in use.
var (
	Detected Level
	Active   Level
	forceErr error
)

func init() {
	Detected = detect()
	Active, forceErr = choose(os.Getenv("LEO_CPU"), Detected)
}

// Check returns an error if LEO_CPU names no level or one that this machine lacks.
func Check() error { return forceErr }

// Has tells whether the active level includes l.
func Has(l Level) bool {
	if l == NEON || Active == NEON {
		return l == Active || l == Generic
	}
	return Active >= l
}

// Levels lists what this machine can run, generic first: for tests over all levels.
func Levels() []Level {
	if Detected == NEON {
		return []Level{Generic, NEON}
	}
	var ls []Level
	for l := Generic; l <= Detected; l++ {
		ls = append(ls, l)
	}
	return ls
}

func choose(name string, best Level) (Level, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return best, nil
	}
	for l, n := range names {
		if n != name {
			continue
		}
		if l == Generic || l == best || (best != NEON && l != NEON && l < best) {
			return l, nil
		}
		return best, fmt.Errorf("LEO_CPU=%s: this machine (%s) has only %s; unset it or choose a lower level", name, runtime.GOARCH, best)
	}
	return best, fmt.Errorf("LEO_CPU=%q is not a level: use generic, avx2, avx512, vnni, bf16 or neon", name)
}
