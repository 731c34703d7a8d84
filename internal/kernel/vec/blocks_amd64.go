package vec

import "leolm/internal/kernel/cpu"

//go:generate sh -c "cd _asm && go run . -out ../vec_amd64.s -stubs ../vec_amd64.go -pkg vec -dispatch ../dispatch_amd64.go"

// The kernels of whole blocks have no tails; those with tails are called in dispatch_amd64.go.

func quantizeQ8(dst []byte, src []float32) {
	if !has(cpu.AVX2) {
		genericQuantizeQ8(dst, src)
		return
	}
	n := len(src) / 32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		quantizeQ8AVX512(&dst[0], &src[0], n)
	default:
		quantizeQ8AVX2(&dst[0], &src[0], n)
	}
}

func dequantizeQ8(dst []float32, src []byte) {
	if !has(cpu.AVX2) {
		genericDequantizeQ8(dst, src)
		return
	}
	n := len(dst) / 32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		dequantizeQ8AVX512(&dst[0], &src[0], n)
	default:
		dequantizeQ8AVX2(&dst[0], &src[0], n)
	}
}

func transposeSide() int {
	switch {
	case has(cpu.AVX512):
		return 16
	case has(cpu.AVX2):
		return 8
	}
	return 0
}

func transposeBlocks(dst *uint32, ldd int, src *uint32, lds, blocks int) {
	if has(cpu.AVX512) {
		transpose16AVX512(dst, ldd, src, lds, blocks)
		return
	}
	transpose8AVX2(dst, ldd, src, lds, blocks)
}
