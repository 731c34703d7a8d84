package cpu

import "golang.org/x/sys/cpu"

func detect() Level {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return Generic
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512VL || !x.HasAVX512DQ:
		return AVX2
	case !x.HasAVX512VNNI:
		return AVX512
	case !x.HasAVX512BF16:
		return VNNI
	}
	return BF16
}
