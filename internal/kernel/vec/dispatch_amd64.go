package vec

import (
	"math"
	"unsafe"

	"leolm/internal/kernel/cpu"
)

//go:generate sh -c "cd _asm && go run . -out ../vec_amd64.s -stubs ../vec_amd64.go -pkg vec"

// The kernels take counts in multiples of lane. A tail is padded into buffers
// and goes through the same kernel, so that an element gives the same bits
// wherever it lies.

func mulScaled(y, x, gain []float32, s float32) {
	if !has(cpu.AVX2) {
		genericMulScaled(y, x, gain, s)
		return
	}
	n := whole(len(gain))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		mulScaledAVX512(&y[0], &x[0], &gain[0], n, s)
	default:
		mulScaledAVX2(&y[0], &x[0], &gain[0], n, s)
	}
	if n == len(gain) {
		return
	}
	var (
		yT, xT, gainT [lane]float32
	)
	copy(xT[:], x[n:])
	copy(gainT[:], gain[n:])
	mulScaled(yT[:], xT[:], gainT[:], s)
	copy(y[n:], yT[:])
}

func dot(a, b []float32) float32 {
	if !has(cpu.AVX2) {
		return genericDot(a, b)
	}
	n := whole(len(b))
	var sum float32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		sum = dotAVX512(&a[0], &b[0], n)
	default:
		sum = dotAVX2(&a[0], &b[0], n)
	}
	if n == len(b) {
		return sum
	}
	var (
		aT, bT [lane]float32
	)
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	sum += dot(aT[:], bT[:])
	return sum
}

func dot3(a, b, c []float32) float32 {
	if !has(cpu.AVX2) {
		return genericDot3(a, b, c)
	}
	n := whole(len(c))
	var sum float32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		sum = dot3AVX512(&a[0], &b[0], &c[0], n)
	default:
		sum = dot3AVX2(&a[0], &b[0], &c[0], n)
	}
	if n == len(c) {
		return sum
	}
	var (
		aT, bT, cT [lane]float32
	)
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	copy(cT[:], c[n:])
	sum += dot3(aT[:], bT[:], cT[:])
	return sum
}

func rmsNormBackward(dx, dy, x, gain []float32, inv, c float32) {
	if !has(cpu.AVX2) {
		genericRMSNormBackward(dx, dy, x, gain, inv, c)
		return
	}
	n := whole(len(gain))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		rmsNormBackwardAVX512(&dx[0], &dy[0], &x[0], &gain[0], n, inv, c)
	default:
		rmsNormBackwardAVX2(&dx[0], &dy[0], &x[0], &gain[0], n, inv, c)
	}
	if n == len(gain) {
		return
	}
	var (
		dxT, dyT, xT, gainT [lane]float32
	)
	copy(dxT[:], dx[n:])
	copy(dyT[:], dy[n:])
	copy(xT[:], x[n:])
	copy(gainT[:], gain[n:])
	rmsNormBackward(dxT[:], dyT[:], xT[:], gainT[:], inv, c)
	copy(dx[n:], dxT[:])
}

func axpyMul(y []float32, s float32, a, b []float32) {
	if !has(cpu.AVX2) {
		genericAxpyMul(y, s, a, b)
		return
	}
	n := whole(len(b))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		axpyMulAVX512(&y[0], &a[0], &b[0], n, s)
	default:
		axpyMulAVX2(&y[0], &a[0], &b[0], n, s)
	}
	if n == len(b) {
		return
	}
	var (
		yT, aT, bT [lane]float32
	)
	copy(yT[:], y[n:])
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	axpyMul(yT[:], s, aT[:], bT[:])
	copy(y[n:], yT[:])
}

func rope(lo, hi, cos, sin []float32) {
	if !has(cpu.AVX2) {
		genericRope(lo, hi, cos, sin)
		return
	}
	n := whole(len(sin))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		ropeAVX512(&lo[0], &hi[0], &cos[0], &sin[0], n)
	default:
		ropeAVX2(&lo[0], &hi[0], &cos[0], &sin[0], n)
	}
	if n == len(sin) {
		return
	}
	var (
		loT, hiT, cosT, sinT [lane]float32
	)
	copy(loT[:], lo[n:])
	copy(hiT[:], hi[n:])
	copy(cosT[:], cos[n:])
	copy(sinT[:], sin[n:])
	rope(loT[:], hiT[:], cosT[:], sinT[:])
	copy(lo[n:], loT[:])
	copy(hi[n:], hiT[:])
}

func swiGLU(y, gate, up []float32) {
	if !has(cpu.AVX2) {
		genericSwiGLU(y, gate, up)
		return
	}
	n := whole(len(up))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		swiGLUAVX512(&y[0], &gate[0], &up[0], n)
	default:
		swiGLUAVX2(&y[0], &gate[0], &up[0], n)
	}
	if n == len(up) {
		return
	}
	var (
		yT, gateT, upT [lane]float32
	)
	copy(gateT[:], gate[n:])
	copy(upT[:], up[n:])
	swiGLU(yT[:], gateT[:], upT[:])
	copy(y[n:], yT[:])
}

func swiGLUBackward(dgate, dup, dy, gate, up []float32) {
	if !has(cpu.AVX2) {
		genericSwiGLUBackward(dgate, dup, dy, gate, up)
		return
	}
	n := whole(len(up))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		swiGLUBackwardAVX512(&dgate[0], &dup[0], &dy[0], &gate[0], &up[0], n)
	default:
		swiGLUBackwardAVX2(&dgate[0], &dup[0], &dy[0], &gate[0], &up[0], n)
	}
	if n == len(up) {
		return
	}
	var (
		dgateT, dupT, dyT, gateT, upT [lane]float32
	)
	copy(dyT[:], dy[n:])
	copy(gateT[:], gate[n:])
	copy(upT[:], up[n:])
	swiGLUBackward(dgateT[:], dupT[:], dyT[:], gateT[:], upT[:])
	copy(dgate[n:], dgateT[:])
	copy(dup[n:], dupT[:])
}

func maxOf(x []float32) float32 {
	if !has(cpu.AVX2) {
		return genericMax(x)
	}
	n := whole(len(x))
	top := float32(math.Inf(-1))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		top = maxOfAVX512(&x[0], n)
	default:
		top = maxOfAVX2(&x[0], n)
	}
	if n == len(x) {
		return top
	}
	var (
		xT [lane]float32
	)
	for i := range xT {
		xT[i] = float32(math.Inf(-1))
	}
	copy(xT[:], x[n:])
	return max(top, maxOf(xT[:]))
}

func expSum(y, x []float32, shift float32) float32 {
	if !has(cpu.AVX2) {
		return genericExpSum(y, x, shift)
	}
	n := whole(len(x))
	var sum float32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		sum = expSumAVX512(&y[0], &x[0], n, shift)
	default:
		sum = expSumAVX2(&y[0], &x[0], n, shift)
	}
	if n == len(x) {
		return sum
	}
	var (
		yT, xT [lane]float32
	)
	for i := range xT {
		xT[i] = float32(math.Inf(-1))
	}
	copy(xT[:], x[n:])
	sum += expSum(yT[:], xT[:], shift)
	copy(y[n:], yT[:])
	return sum
}

func sumExp(x []float32, shift float32) float32 {
	if !has(cpu.AVX2) {
		return genericSumExp(x, shift)
	}
	n := whole(len(x))
	var sum float32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		sum = sumExpAVX512(&x[0], n, shift)
	default:
		sum = sumExpAVX2(&x[0], n, shift)
	}
	if n == len(x) {
		return sum
	}
	var (
		xT [lane]float32
	)
	for i := range xT {
		xT[i] = float32(math.Inf(-1))
	}
	copy(xT[:], x[n:])
	sum += sumExp(xT[:], shift)
	return sum
}

func add(y, a, b []float32) {
	if !has(cpu.AVX2) {
		genericAdd(y, a, b)
		return
	}
	n := whole(len(b))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		addAVX512(&y[0], &a[0], &b[0], n)
	default:
		addAVX2(&y[0], &a[0], &b[0], n)
	}
	if n == len(b) {
		return
	}
	var (
		yT, aT, bT [lane]float32
	)
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	add(yT[:], aT[:], bT[:])
	copy(y[n:], yT[:])
}

func addConst(y, x []float32, c float32) {
	if !has(cpu.AVX2) {
		genericAddConst(y, x, c)
		return
	}
	n := whole(len(x))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		addConstAVX512(&y[0], &x[0], n, c)
	default:
		addConstAVX2(&y[0], &x[0], n, c)
	}
	if n == len(x) {
		return
	}
	var (
		yT, xT [lane]float32
	)
	copy(xT[:], x[n:])
	addConst(yT[:], xT[:], c)
	copy(y[n:], yT[:])
}

func scale(y, x []float32, s float32) {
	if !has(cpu.AVX2) {
		genericScale(y, x, s)
		return
	}
	n := whole(len(x))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		scaleAVX512(&y[0], &x[0], n, s)
	default:
		scaleAVX2(&y[0], &x[0], n, s)
	}
	if n == len(x) {
		return
	}
	var (
		yT, xT [lane]float32
	)
	copy(xT[:], x[n:])
	scale(yT[:], xT[:], s)
	copy(y[n:], yT[:])
}

func axpby(y, x []float32, a, b float32) {
	if !has(cpu.AVX2) {
		genericAxpby(y, x, a, b)
		return
	}
	n := whole(len(x))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		axpbyAVX512(&y[0], &x[0], n, a, b)
	default:
		axpbyAVX2(&y[0], &x[0], n, a, b)
	}
	if n == len(x) {
		return
	}
	var (
		yT, xT [lane]float32
	)
	copy(yT[:], y[n:])
	copy(xT[:], x[n:])
	axpby(yT[:], xT[:], a, b)
	copy(y[n:], yT[:])
}

func gradScores(d, p []float32, delta, s float32) {
	if !has(cpu.AVX2) {
		genericGradScores(d, p, delta, s)
		return
	}
	n := whole(len(p))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		gradScoresAVX512(&d[0], &p[0], n, delta, s)
	default:
		gradScoresAVX2(&d[0], &p[0], n, delta, s)
	}
	if n == len(p) {
		return
	}
	var (
		dT, pT [lane]float32
	)
	copy(dT[:], d[n:])
	copy(pT[:], p[n:])
	gradScores(dT[:], pT[:], delta, s)
	copy(d[n:], dT[:])
}

func zeroSum(x []float32) float32 {
	if !has(cpu.AVX2) {
		return genericZeroSum(x)
	}
	n := whole(len(x))
	var sum float32
	switch {
	case n == 0:
	case has(cpu.AVX512):
		sum = zeroSumAVX512(&x[0], n)
	default:
		sum = zeroSumAVX2(&x[0], n)
	}
	if n == len(x) {
		return sum
	}
	var (
		xT [lane]float32
	)
	copy(xT[:], x[n:])
	sum += zeroSum(xT[:])
	return sum
}

func bf16FromF32(dst []uint16, src []float32) {
	if !has(cpu.AVX2) {
		genericBF16FromF32(dst, src)
		return
	}
	n := whole(len(src))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		bf16FromF32AVX512(&dst[0], &src[0], n)
	default:
		bf16FromF32AVX2(&dst[0], &src[0], n)
	}
	if n == len(src) {
		return
	}
	var (
		dstT [lane]uint16
		srcT [lane]float32
	)
	copy(srcT[:], src[n:])
	bf16FromF32(dstT[:], srcT[:])
	copy(dst[n:], dstT[:])
}

func f32FromBF16(dst []float32, src []uint16) {
	if !has(cpu.AVX2) {
		genericF32FromBF16(dst, src)
		return
	}
	n := whole(len(src))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		f32FromBF16AVX512(&dst[0], &src[0], n)
	default:
		f32FromBF16AVX2(&dst[0], &src[0], n)
	}
	if n == len(src) {
		return
	}
	var (
		dstT [lane]float32
		srcT [lane]uint16
	)
	copy(srcT[:], src[n:])
	f32FromBF16(dstT[:], srcT[:])
	copy(dst[n:], dstT[:])
}

func f16FromF32(dst []uint16, src []float32) {
	if !has(cpu.AVX2) {
		genericF16FromF32(dst, src)
		return
	}
	n := whole(len(src))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		f16FromF32AVX512(&dst[0], &src[0], n)
	default:
		f16FromF32AVX2(&dst[0], &src[0], n)
	}
	if n == len(src) {
		return
	}
	var (
		dstT [lane]uint16
		srcT [lane]float32
	)
	copy(srcT[:], src[n:])
	f16FromF32(dstT[:], srcT[:])
	copy(dst[n:], dstT[:])
}

func f32FromF16(dst []float32, src []uint16) {
	if !has(cpu.AVX2) {
		genericF32FromF16(dst, src)
		return
	}
	n := whole(len(src))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		f32FromF16AVX512(&dst[0], &src[0], n)
	default:
		f32FromF16AVX2(&dst[0], &src[0], n)
	}
	if n == len(src) {
		return
	}
	var (
		dstT [lane]float32
		srcT [lane]uint16
	)
	copy(srcT[:], src[n:])
	f32FromF16(dstT[:], srcT[:])
	copy(dst[n:], dstT[:])
}

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

func adamW(p, g, m, v []float32, k *adamConsts) {
	if !has(cpu.AVX2) {
		genericAdamW(p, g, m, v, k)
		return
	}
	n := whole(len(v))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		adamWAVX512(&p[0], &g[0], &m[0], &v[0], n, (*float32)(unsafe.Pointer(k)))
	default:
		adamWAVX2(&p[0], &g[0], &m[0], &v[0], n, (*float32)(unsafe.Pointer(k)))
	}
	if n == len(v) {
		return
	}
	var (
		pT, gT, mT, vT [lane]float32
	)
	copy(pT[:], p[n:])
	copy(gT[:], g[n:])
	copy(mT[:], m[n:])
	copy(vT[:], v[n:])
	adamW(pT[:], gT[:], mT[:], vT[:], k)
	copy(p[n:], pT[:])
	copy(m[n:], mT[:])
	copy(v[n:], vT[:])
}

func zip16(dst, a, b []uint16) {
	if !has(cpu.AVX2) {
		genericZip16(dst, a, b)
		return
	}
	n := whole(len(a))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		zip16AVX512(&dst[0], &a[0], &b[0], n)
	default:
		zip16AVX2(&dst[0], &a[0], &b[0], n)
	}
	if n == len(a) {
		return
	}
	var (
		dstT   [2 * lane]uint16
		aT, bT [lane]uint16
	)
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	zip16(dstT[:], aT[:], bT[:])
	copy(dst[2*n:], dstT[:])
}

func zipBF16(dst []uint16, a, b []float32) {
	if !has(cpu.AVX2) {
		genericZipBF16(dst, a, b)
		return
	}
	n := whole(len(a))
	switch {
	case n == 0:
	case has(cpu.AVX512):
		zipBF16AVX512(&dst[0], &a[0], &b[0], n)
	default:
		zipBF16AVX2(&dst[0], &a[0], &b[0], n)
	}
	if n == len(a) {
		return
	}
	var (
		dstT   [2 * lane]uint16
		aT, bT [lane]float32
	)
	copy(aT[:], a[n:])
	copy(bT[:], b[n:])
	zipBF16(dstT[:], aT[:], bT[:])
	copy(dst[2*n:], dstT[:])
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
