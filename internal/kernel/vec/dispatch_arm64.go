package vec

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
)

// On arm64 the sums, products and conversions that decoding needs run on NEON, the
// rest in plain Go. Kernels take counts in multiples of lane; tails are padded
// and go through the same kernel.

func dot3(a, b, c []float32) float32 { return genericDot3(a, b, c) }
func rmsNormBackward(dx, dy, x, gain []float32, inv, c float32) {
	genericRMSNormBackward(dx, dy, x, gain, inv, c)
}
func axpyMul(y []float32, s float32, a, b []float32) { genericAxpyMul(y, s, a, b) }
func rope(lo, hi, cos, sin []float32)                { genericRope(lo, hi, cos, sin) }
func swiGLU(y, gate, up []float32)                   { genericSwiGLU(y, gate, up) }
func swiGLUBackward(dgate, dup, dy, gate, up []float32) {
	genericSwiGLUBackward(dgate, dup, dy, gate, up)
}
func maxOf(x []float32) float32                    { return genericMax(x) }
func expSum(y, x []float32, shift float32) float32 { return genericExpSum(y, x, shift) }
func sumExp(x []float32, shift float32) float32    { return genericSumExp(x, shift) }
func addConst(y, x []float32, c float32)           { genericAddConst(y, x, c) }
func gradScores(d, p []float32, delta, s float32)  { genericGradScores(d, p, delta, s) }
func zeroSum(x []float32) float32                  { return genericZeroSum(x) }
func bf16FromF32(dst []uint16, src []float32)      { genericBF16FromF32(dst, src) }
func f16FromF32(dst []uint16, src []float32)       { genericF16FromF32(dst, src) }
func quantizeQ8(dst []byte, src []float32)         { genericQuantizeQ8(dst, src) }
func dequantizeQ8(dst []float32, src []byte)       { genericDequantizeQ8(dst, src) }
func adamW(p, g, m, v []float32, k *adamConsts)    { genericAdamW(p, g, m, v, k) }
func zip16(dst, a, b []uint16)                     { genericZip16(dst, a, b) }
func zipBF16(dst []uint16, a, b []float32)         { genericZipBF16(dst, a, b) }

func transposeSide() int { return 0 }

func transposeBlocks(dst *uint32, ldd int, src *uint32, lds, blocks int) {
	genericTranspose(unsafe.Pointer(dst), ldd, unsafe.Pointer(src), lds, 0, 0)
}

func mulScaled(y, x, gain []float32, s float32) {
	if !has(cpu.NEON) {
		genericMulScaled(y, x, gain, s)
		return
	}
	n := whole(len(gain))
	if n > 0 {
		mulScaledNEON(&y[0], &x[0], &gain[0], n, s)
	}
	if n < len(gain) {
		var yT, xT, gainT [lane]float32
		copy(xT[:], x[n:])
		copy(gainT[:], gain[n:])
		mulScaledNEON(&yT[0], &xT[0], &gainT[0], lane, s)
		copy(y[n:], yT[:])
	}
}

func dot(a, b []float32) float32 {
	if !has(cpu.NEON) {
		return genericDot(a, b)
	}
	var s [lane]float32
	n := whole(len(a))
	if n > 0 {
		dotNEON(&s[0], &a[0], &b[0], n)
	}
	if n < len(a) {
		var aT, bT [lane]float32
		copy(aT[:], a[n:])
		copy(bT[:], b[n:len(a)])
		dotNEON(&s[0], &aT[0], &bT[0], lane)
	}
	return sum16(&s)
}

func add(y, a, b []float32) {
	n := 0
	if has(cpu.NEON) {
		if n = whole(len(a)); n > 0 {
			addNEON(&y[0], &a[0], &b[0], n)
		}
	}
	genericAdd(y[n:], a[n:], b[n:]) // one rounding, the same everywhere
}

func scale(y, x []float32, s float32) {
	n := 0
	if has(cpu.NEON) {
		if n = whole(len(x)); n > 0 {
			scaleNEON(&y[0], &x[0], n, s)
		}
	}
	genericScale(y[n:], x[n:], s)
}

func axpby(y, x []float32, a, b float32) {
	if !has(cpu.NEON) {
		genericAxpby(y, x, a, b)
		return
	}
	n := whole(len(x))
	if n > 0 {
		axpbyNEON(&y[0], &x[0], n, a, b)
	}
	if n < len(x) {
		var yT, xT [lane]float32
		copy(yT[:], y[n:len(x)])
		copy(xT[:], x[n:])
		axpbyNEON(&yT[0], &xT[0], lane, a, b)
		copy(y[n:len(x)], yT[:])
	}
}

func f32FromBF16(dst []float32, src []uint16) {
	n := 0
	if has(cpu.NEON) {
		if n = whole(len(src)); n > 0 {
			f32FromBF16NEON(&dst[0], &src[0], n)
		}
	}
	genericF32FromBF16(dst[n:], src[n:])
}

func f32FromF16(dst []float32, src []uint16) {
	n := 0
	if has(cpu.NEON) {
		if n = whole(len(src)); n > 0 {
			f32FromF16NEON(&dst[0], &src[0], n)
		}
	}
	genericF32FromF16(dst[n:], src[n:])
}

// mulScaledNEON writes y = (x·s)·gain.
//
//go:noescape
func mulScaledNEON(y, x, gain *float32, n int, s float32)

// dotNEON adds a·b to sixteen sums.
//
//go:noescape
func dotNEON(s, a, b *float32, n int)

//go:noescape
func addNEON(y, a, b *float32, n int)

//go:noescape
func scaleNEON(y, x *float32, n int, s float32)

// axpbyNEON writes y = x·a + (y·b), the sum with one rounding.
//
//go:noescape
func axpbyNEON(y, x *float32, n int, a, b float32)

//go:noescape
func f32FromBF16NEON(dst *float32, src *uint16, n int)

//go:noescape
func f32FromF16NEON(dst *float32, src *uint16, n int)
