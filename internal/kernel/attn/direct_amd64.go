package attn

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

//go:generate sh -c "cd _asm && go run . -out ../attn_amd64.s -stubs ../attn_amd64.go -pkg attn"

func hasDirect() bool { return cpu.Has(cpu.AVX512) }

// scoreKernel runs the kernel for m = 1 to 4 queries.
func scoreKernel(ty tensor.DType, m int, d *direct) {
	a := (*byte)(unsafe.Pointer(d))
	switch ty {
	case tensor.F32:
		switch m {
		case 1:
			scoresF32x1(a)
		case 2:
			scoresF32x2(a)
		case 3:
			scoresF32x3(a)
		default:
			scoresF32x4(a)
		}
	case tensor.BF16:
		switch m {
		case 1:
			scoresBF16x1(a)
		case 2:
			scoresBF16x2(a)
		case 3:
			scoresBF16x3(a)
		default:
			scoresBF16x4(a)
		}
	case tensor.F16:
		switch m {
		case 1:
			scoresF16x1(a)
		case 2:
			scoresF16x2(a)
		case 3:
			scoresF16x3(a)
		default:
			scoresF16x4(a)
		}
	case tensor.Q8_0:
		switch m {
		case 1:
			scoresQ8x1(a)
		case 2:
			scoresQ8x2(a)
		case 3:
			scoresQ8x3(a)
		default:
			scoresQ8x4(a)
		}
	}
}
