// Package cpu owns the one global fact of the process: which instruction sets
// the kernels use. It is read once at start-up; kernels choose their
// implementation from it and nothing else.
//
// A processor is a set of features. LEO_CPU names a set that the machine must
// have (generic, avx2, avxvnni, avx512, vnni, bf16, wide, amx; neon on arm64; or one of them and
// single features, as in amx+bf16), so that tests can run
// all of them on one machine. Asking for more than the machine has is an error
// that Check reports; the process then uses what it would without.
package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Features is a set of the instruction set extensions that kernels are written for.
type Features uint32

// The features. Each is tested for by itself; presets say which of them come together.
const (
	AVX2    Features = 1 << iota // with FMA and F16C
	AVX512                       // F, BW, VL and DQ
	VNNI                         // VPDPBUSD on AVX-512
	BF16                         // VDPBF16PS on AVX-512
	Wide                         // data paths of 512 bits on AMD: Zen 5 and later
	AMX                          // matrix units: tiles, with products of int8 and of bf16
	AVXVNNI                      // VPDPBUSD on 256 bits, where there is no AVX-512; VNNI is more than that
	NEON                         // arm64 with the dot product extension

	Generic Features = 0 // plain Go
)

// features are the names of single features.
var features = []named{{"avx2", AVX2}, {"avxvnni", AVXVNNI}, {"avx512", AVX512}, {"vnni", VNNI}, {"bf16", BF16}, {"wide", Wide}, {"amx", AMX}, {"neon", NEON}}

// presets are the sets that LEO_CPU can name, those of one architecture in the order of their speed.
var presets = []named{
	{"generic", Generic},
	{"avx2", AVX2},
	{"avxvnni", AVX2 | AVXVNNI},
	{"avx512", AVX2 | AVX512},
	{"vnni", AVX2 | AVX512 | VNNI},
	{"bf16", AVX2 | AVX512 | VNNI | BF16},
	{"wide", AVX2 | AVX512 | VNNI | BF16 | Wide},
	{"amx", AVX2 | AVX512 | VNNI | AMX}, // its bf16 products are those of the matrix units
	{"neon", NEON},
}

type named struct {
	name string
	set  Features
}

// Has reports whether f holds all of g.
func (f Features) Has(g Features) bool { return f&g == g }

// String is the name of the largest preset in f, with what goes beyond it: "vnni", "avx512+bf16".
func (f Features) String() string {
	f = f.whole()
	best := presets[0]
	for _, p := range presets {
		if f.Has(p.set) {
			best = p
		}
	}
	text := best.name
	for _, x := range features {
		if f&^best.set&x.set != 0 {
			text += "+" + x.name
		}
	}
	return text
}

// whole is f without what a larger feature of it replaces.
func (f Features) whole() Features {
	if f.Has(VNNI) {
		f &^= AVXVNNI
	}
	return f
}

// Detected is what this machine has and the system lets a process use, Slow what of it is slower than doing without, and
// Active what is in use: all that is neither slow nor Untried, unless LEO_CPU says otherwise. Withheld says what the processor has and the
// system keeps back, and why; it is empty where there is nothing of the kind.
var (
	Detected Features
	Slow     Features
	Active   Features
	Withheld string
	forceErr error
)

// Intel reports whether the processor is Intel's. On its cores with AVX-512 every operation on 512 bits goes through one of
// two ports. That is no feature, but says which kernels for a feature are the faster ones.
var Intel bool

// Untried are features whose kernels have run in a model and on no processor: they are there for those who ask, until it is
// measured where they are faster.
const Untried = AMX

func init() {
	Detected, Slow, Withheld = detect()
	Intel = isIntel()
	Active, forceErr = choose(os.Getenv("LEO_CPU"), Detected, Slow)
}

// Check returns an error if LEO_CPU names no preset or one that this machine lacks.
func Check() error { return forceErr }

// Has reports whether f is in use.
func Has(f Features) bool { return Active.Has(f) }

// Presets lists the presets that this machine can run, generic first, and what it has last: for tests over all of them.
func Presets() []Features {
	var sets []Features
	for _, p := range presets {
		if Detected.Has(p.set) {
			sets = append(sets, p.set)
		}
	}
	if all := Detected.whole(); sets[len(sets)-1] != all {
		sets = append(sets, all)
	}
	return sets
}

func choose(name string, detected, slow Features) (Features, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	fast := detected.whole() &^ (slow | Untried)
	if name == "" {
		return fast, nil
	}
	set, ok := parse(name)
	switch {
	case !ok:
		var known []string
		for _, p := range presets {
			known = append(known, p.name)
		}
		last := len(known) - 1
		return fast, fmt.Errorf("LEO_CPU=%q is not a level: use %s or %s", name, strings.Join(known[:last], ", "), known[last])
	case !detected.Has(set):
		why := ""
		if Withheld != "" && set.Has(AMX) {
			why = " (" + Withheld + ")"
		}
		return fast, fmt.Errorf("LEO_CPU=%s: this machine (%s) has only %v%s; unset it or choose a lower level", name, runtime.GOARCH, detected, why)
	}
	return set, nil
}

// parse reads what String writes: a preset, and features that it does not hold.
func parse(text string) (Features, bool) {
	find := func(list []named, name string) (Features, bool) {
		for _, x := range list {
			if x.name == name {
				return x.set, true
			}
		}
		return 0, false
	}
	first, more, ok := strings.Cut(text, "+")
	set, known := find(presets, first)
	for ok && known {
		var f Features
		first, more, ok = strings.Cut(more, "+")
		f, known = find(features, first)
		set |= f
	}
	return set, known
}
