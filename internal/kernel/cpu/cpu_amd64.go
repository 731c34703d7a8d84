package cpu

import "golang.org/x/sys/cpu"

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
	}
	return f
}
