package cpu

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// cpuid returns what the instruction says of a leaf.
//
//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)

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

func detect() (has, unused Features) {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return Generic, Generic
	}
	f := AVX2
	// What extends AVX-512 is of use only with it.
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ {
		f |= AVX512
		if x.HasAVX512VNNI {
			f |= VNNI
		}
		if x.HasAVX512BF16 {
			f |= BF16
		}
		if wide(cpuid) {
			f |= Wide
		}
	}
	return f, f & slow(cpuid)
}
