package cpu

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/cpu"
)

// cpuid returns what the instruction says of a leaf, of its first part where it has parts.
//
//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)

// xcr0 is which registers the system saves for a process. It may be read only where cpuid says that the system uses it.
//
//go:noescape
func xcr0() uint64

// processor is who made the processor, its family and its model.
func processor(cpuid func(leaf uint32) (a, b, c, d uint32)) (vendor string, family, model uint32) {
	_, b, c, d := cpuid(0)
	var name []byte
	for _, part := range []uint32{b, d, c} {
		name = binary.LittleEndian.AppendUint32(name, part)
	}
	id, _, _, _ := cpuid(1)
	return string(name), id>>8&15 + id>>20&0xff, id>>4&15 | id>>12&0xf0
}

// wide reports whether this is an AMD processor of family 26 (Zen 5) or later that does not say that its data paths
// are 256 bits wide, as those of some laptops are. A virtual machine often says nothing of them.
func wide(cpuid func(leaf uint32) (a, b, c, d uint32)) bool {
	const zen5, fp256, fp512 = 26, 1 << 2, 1 << 3
	if vendor, family, _ := processor(cpuid); vendor != "AuthenticAMD" || family < zen5 {
		return false
	}
	const paths = 0x8000001a
	if last, _, _, _ := cpuid(0x80000000); last < paths {
		return true
	}
	a, _, _, _ := cpuid(paths)
	return a&(fp256|fp512) != fp256
}

// slow are the features that this processor has and is faster without. On Intel's Emerald Rapids VDPBF16PS multiplies at
// half the rate of float32 (152–171 against 320–340 GFLOP/s on two cores); Sapphire Rapids has the same core.
func slow(cpuid func(leaf uint32) (a, b, c, d uint32)) Features {
	const sapphireRapids, emeraldRapids = 143, 207
	vendor, family, model := processor(cpuid)
	if vendor == "GenuineIntel" && family == 6 && (model == sapphireRapids || model == emeraldRapids) {
		return BF16
	}
	return Generic
}

// matrix reports whether the processor has matrix units with products of int8 and bf16 and the system saves their
// registers. withheld says why not, where only the system is in the way.
func matrix(cpuid func(leaf uint32) (a, b, c, d uint32), xcr0 func() uint64, permit func() error) (has bool, withheld string) {
	const (
		saved         = 1 << 27               // leaf 1, c: XGETBV may be used
		units         = 1<<22 | 1<<24 | 1<<25 // leaf 7, d: bf16, tiles, int8
		configAndData = 1<<17 | 1<<18         // XCR0
		lacks         = "amx: the system does not save the registers of the matrix units"
	)
	last, _, _, _ := cpuid(0)
	if last < 7 {
		return false, ""
	}
	if _, _, _, d := cpuid(7); d&units != units {
		return false, ""
	}
	if _, _, c, _ := cpuid(1); c&saved == 0 || xcr0()&configAndData != configAndData {
		return false, lacks
	}
	if err := permit(); err != nil {
		return false, fmt.Sprintf("amx: the system refuses the matrix units: %v", err)
	}
	return true, ""
}

func isIntel() bool {
	vendor, _, _ := processor(cpuid)
	return vendor == "GenuineIntel"
}

func detect() (has, unused Features, withheld string) {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return Generic, Generic, ""
	}
	f := AVX2
	if x.HasAVXVNNI {
		f |= AVXVNNI
	}
	// What extends AVX-512 is of use only with it.
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ {
		f |= AVX512
		if x.HasAVX512VNNI {
			f |= VNNI
			var ok bool
			if ok, withheld = matrix(cpuid, xcr0, permitMatrix); ok {
				f |= AMX
			}
		}
		if x.HasAVX512BF16 {
			f |= BF16
		}
		if wide(cpuid) {
			f |= Wide
		}
	}
	return f, f & slow(cpuid), withheld
}
