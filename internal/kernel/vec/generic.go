package vec

import (
	"encoding/binary"
	"math"
	"unsafe"

	"leolm/tensor"
)

// The plain-Go reference of every operation.

// Constants of expf: e^x = 2^n · e^r with n = round(x/ln 2), |r| ≤ ln2/2, ln 2
// split in two so that n·ln2Hi is exact, and a minimax polynomial of e^r.
const (
	// Below, results are 0: just above where they would become subnormal. With a subnormal factor an operation takes
	// Intel's cores a hundred cycles, and attention has many.
	expMin = -87.3365
	expMax = 89 // above, every result is +Inf
	log2E  = 1.44269504088896341
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	expC2  = 0.5
	expC3  = 1.6666665459e-1
	expC4  = 4.1665795894e-2
	expC5  = 8.3334519073e-3
	expC6  = 1.3981999507e-3
	expC7  = 1.9875691500e-4
	// Adding and subtracting 1.5·2²³ rounds to an integer.
	roundMagic = 12582912.0
)

func expf(x float32) float32 {
	if x != x {
		return x
	}
	if x < expMin {
		return 0
	}
	x = min(x, expMax)
	n := float32(x*log2E+roundMagic) - roundMagic
	r := x - n*ln2Hi
	r -= n * ln2Lo
	p := float32(expC7)
	p = p*r + expC6
	p = p*r + expC5
	p = p*r + expC4
	p = p*r + expC3
	p = p*r + expC2
	p = p*(r*r) + r + 1
	// 2ⁿ may have no exponent of its own: scale in two steps.
	e := int32(n)
	half := e >> 1
	return p * pow2(half) * pow2(e-half)
}

func pow2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

func genericMulScaled(y, x, gain []float32, s float32) {
	for i, v := range x {
		y[i] = v * s * gain[i]
	}
}

func genericDot(a, b []float32) float32 {
	// Sixteen partial sums, as the vector kernels have.
	var s [16]float32
	for i, v := range a {
		s[i%16] += v * b[i]
	}
	return sum16(&s)
}

func genericDot3(a, b, c []float32) float32 {
	var s [16]float32
	for i, v := range a {
		s[i%16] += v * b[i] * c[i]
	}
	return sum16(&s)
}

func sum16(s *[16]float32) float32 {
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			s[i] += s[i+w]
		}
	}
	return s[0]
}

func genericRMSNormBackward(dx, dy, x, gain []float32, inv, c float32) {
	for i, v := range x {
		dx[i] += inv*dy[i]*gain[i] - c*v
	}
}

func genericAxpyMul(y []float32, s float32, a, b []float32) {
	for i, v := range a {
		y[i] += v * b[i] * s
	}
}

func genericRope(lo, hi, cos, sin []float32) {
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = a*c - b*s
		hi[i] = b*c + a*s
	}
}

func genericSwiGLU(y, gate, up []float32) {
	for i, g := range gate {
		y[i] = g / (1 + expf(-g)) * up[i]
	}
}

func genericSwiGLUBackward(dgate, dup, dy, gate, up []float32) {
	for i, g := range gate {
		d, u := dy[i], up[i]
		s := 1 / (1 + expf(-g))
		dup[i] = d * (g * s)
		dgate[i] = d * u * (s + g*s*(1-s))
	}
}

func genericMax(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func genericExpSum(y, x []float32, shift float32) float32 {
	var s [16]float32
	for i, v := range x {
		e := expf(v - shift)
		y[i] = e
		s[i%16] += e
	}
	return sum16(&s)
}

func genericSumExp(x []float32, shift float32) float32 {
	var s [16]float32
	for i, v := range x {
		s[i%16] += expf(v - shift)
	}
	return sum16(&s)
}

func genericAdd(y, a, b []float32) {
	for i, v := range a {
		y[i] = v + b[i]
	}
}

func genericAddConst(y, x []float32, c float32) {
	for i, v := range x {
		y[i] = v + c
	}
}

func genericScale(y, x []float32, s float32) {
	for i, v := range x {
		y[i] = v * s
	}
}

func genericAxpby(y, x []float32, a, b float32) {
	for i, v := range x {
		y[i] = y[i]*b + v*a
	}
}

func genericGradScores(d, p []float32, delta, s float32) {
	for i, v := range p {
		d[i] = (d[i] - delta) * v * s
	}
}

// genericZeroSum is Σ x·0, which is NaN exactly if an element is not finite.
func genericZeroSum(x []float32) (s float32) {
	for _, v := range x {
		s += v * 0
	}
	return s
}

func genericBF16FromF32(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = tensor.F32ToBF16(v)
	}
}

func genericF32FromBF16(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = tensor.BF16ToF32(v)
	}
}

func genericF16FromF32(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = tensor.F32ToF16(v)
	}
}

func genericF32FromF16(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = tensor.F16ToF32(v)
	}
}

func genericQuantizeQ8(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[Q8Block:], src[32:] {
		var top float32
		for _, v := range src[:32] {
			top = max(top, float32(math.Abs(float64(v))))
		}
		d := top / 127
		half := tensor.F32ToF16(d)
		var id float32
		if half != 0 {
			id = 1 / d
		}
		binary.LittleEndian.PutUint16(dst, half)
		for i, v := range src[:32] {
			dst[2+i] = byte(int8(math.RoundToEven(float64(v * id))))
		}
	}
}

func genericDequantizeQ8(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[Q8Block:] {
		d := tensor.F16ToF32(binary.LittleEndian.Uint16(src))
		for i := range dst[:32] {
			dst[i] = d * float32(int8(src[2+i]))
		}
	}
}

func genericAdamW(p, g, m, v []float32, k *adamConsts) {
	for i := range p {
		gi := g[i] * k.gradScale
		m[i] += k.mix1 * (gi - m[i])
		v[i] = k.beta2*v[i] + k.mix2*gi*gi
		d := float32(math.Sqrt(float64(v[i])))*k.root + k.eps
		p[i] = p[i]*k.decay - k.step*m[i]/d
	}
}

func genericZip16(dst, a, b []uint16) {
	for i, v := range a {
		dst[2*i], dst[2*i+1] = v, b[i]
	}
}

func genericZipBF16(dst []uint16, a, b []float32) {
	for i, v := range a {
		dst[2*i], dst[2*i+1] = tensor.F32ToBF16(v), tensor.F32ToBF16(b[i])
	}
}

// genericTranspose moves words: distances are in bytes.
func genericTranspose(dst unsafe.Pointer, ldd int, src unsafe.Pointer, lds, rows, cols int) {
	for i := range rows {
		row := unsafe.Slice((*uint32)(unsafe.Add(src, i*lds)), cols)
		d := unsafe.Add(dst, i*4)
		for j, w := range row {
			*(*uint32)(unsafe.Add(d, j*ldd)) = w
		}
	}
}
