package cpu

import "golang.org/x/sys/cpu"

// cpuid returns what the instruction says of a leaf.
//
//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)

// wide reports whether this is an AMD processor of family 26 (Zen 5) or later that does not say that its data paths
// are 256 bits wide, as those of some laptops are. A virtual machine often says nothing of them.
func wide(cpuid func(leaf uint32) (a, b, c, d uint32)) bool {
	const zen5, fp256, fp512 = 26, 1 << 2, 1 << 3
	if _, b, c, d := cpuid(0); b != 0x68747541 || d != 0x69746e65 || c != 0x444d4163 { // AuthenticAMD
		return false
	}
	id, _, _, _ := cpuid(1)
	if family := id>>8&15 + id>>20&0xff; family < zen5 {
		return false
	}
	const paths = 0x8000001a
	if last, _, _, _ := cpuid(0x80000000); last < paths {
		return true
	}
	a, _, _, _ := cpuid(paths)
	return a&(fp256|fp512) != fp256
}

func detect() (f Features) {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return Generic
	}
	f = AVX2
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
	return f
}
