package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/tensor"
)

// Quantize stores the numbers in src as d: a whole number of blocks that fill
// dst exactly. importance, if not nil, has one weight ≥ 0 per element of src:
// the block types then minimize Σ importance·(src − stored)², without it the
// plain sum of squares. NF4 ignores it: its blocks are bitsandbytes' own,
// scaled by the absolute maximum.
//
// Numbers that d can't hold are errors: NaN and infinities in block types,
// finite numbers beyond the range of f16 in f16.
func Quantize(dst []byte, d tensor.DType, src, importance []float32) error {
	if err := sizes("quantize", d, len(src), len(dst)); err != nil {
		return err
	}
	if importance != nil && len(importance) != len(src) {
		return fmt.Errorf("quantize %v: %d importance weights for %d elements", d, len(importance), len(src))
	}
	switch d {
	case tensor.F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
		return nil
	case tensor.F16:
		for i, x := range src {
			h := tensor.F32ToF16(x)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(x), 0) {
				return fmt.Errorf("quantize f16: element %d is %v, beyond ±65504; choose bf16 or f32", i, x)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		return nil
	case tensor.BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], tensor.F32ToBF16(x))
		}
		return nil
	}
	encode := encoders[d]
	if encode == nil {
		return fmt.Errorf("quantize: %v can't be written", d)
	}
	n, size := d.BlockLen(), d.BlockSize()
	var ones [256]float32
	for i := range ones {
		ones[i] = 1
	}
	for at := 0; at < len(src); at += n {
		x, w := src[at:at+n], ones[:n]
		for i, v := range x {
			// Also false for NaN.
			if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
				return fmt.Errorf("quantize %v: element %d is %v", d, at+i, v)
			}
		}
		if importance != nil {
			w = importance[at : at+n]
			sum := float32(0)
			for i, v := range w {
				if !(v >= 0 && v <= math.MaxFloat32) {
					return fmt.Errorf("quantize %v: importance %d is %v", d, at+i, v)
				}
				sum += v
			}
			if sum == 0 {
				w = ones[:n] // a block that nobody asked about
			}
		}
		b := dst[at/n*size : (at/n+1)*size]
		clear(b)
		if !encode(b, x, w) {
			return fmt.Errorf("quantize %v: the block at element %d holds numbers beyond the range of its f16 scale", d, at)
		}
	}
	return nil
}

// encoders hold one function per block type. b is zeroed; w has one weight per
// element, not all zero. They return false if a scale overflows f16.
var encoders = [...]func(b []byte, x, w []float32) bool{
	tensor.Q4_0:   func(b []byte, x, w []float32) bool { return encodeSymmetric(b, x, w, 8) },
	tensor.Q5_0:   func(b []byte, x, w []float32) bool { return encodeSymmetric(b, x, w, 16) },
	tensor.Q4_1:   func(b []byte, x, w []float32) bool { return encodeAffine(b, x, w, 15) },
	tensor.Q5_1:   func(b []byte, x, w []float32) bool { return encodeAffine(b, x, w, 31) },
	tensor.Q8_0:   encodeQ8_0,
	tensor.Q2_K:   encodeQ2K,
	tensor.Q3_K:   encodeQ3K,
	tensor.Q4_K:   encodeQ4K,
	tensor.Q5_K:   encodeQ5K,
	tensor.Q6_K:   encodeQ6K,
	tensor.IQ4_NL: encodeIQ4NL,
	tensor.NF4:    encodeNF4,
}

// negligible is a largest magnitude at which every block type is all zeros: its
// scale would be below the smallest f16.
const negligible = 1e-9

// nearest rounds f to a whole number in [lo, hi], ties to even. Adding and
// taking away 1.5·2²³ leaves no fraction; the bounds are far below 2²².
func nearest(f, lo, hi float32) float32 {
	if f < lo {
		f = lo
	} else if f > hi {
		f = hi
	}
	return f + 12582912 - 12582912
}

// clampRound rounds f to a code in [lo, hi]; f may be huge.
func clampRound(f float32, lo, hi int) int {
	return int(nearest(f, float32(lo), float32(hi)))
}

// putHalf stores v as f16 and returns it as stored; ok is false on overflow.
func putHalf(b []byte, v float32) (stored float32, ok bool) {
	h := tensor.F32ToF16(v)
	binary.LittleEndian.PutUint16(b, h)
	return tensor.F16ToF32(h), h&0x7fff < 0x7c00
}

func toHalf(v float32) (stored float32, ok bool) {
	var b [2]byte
	return putHalf(b[:], v)
}

func largest(x []float32) (signed, abs float32) {
	for _, v := range x {
		if a := float32(math.Abs(float64(v))); a > abs {
			signed, abs = v, a
		}
	}
	return signed, abs
}

// searchSymmetric returns the scale d for which x ≈ d·q with codes q in [lo, hi]
// has a small weighted error. For given codes the best scale is
// Σwxq/Σwq²; the error falls by (Σwxq)²/Σwq². Scales that put the largest
// element at or a little off the end of the code range are tried, then the best
// is iterated: new codes, new scale.
func searchSymmetric(x, w []float32, lo, hi int) float32 {
	top, abs := largest(x)
	if abs < negligible {
		return 0
	}
	best, scale := float32(0), float32(0)
	flo, fhi := float32(lo), float32(hi)
	try := func(inv float32) {
		// Two sums each, so that one addition needn't wait for the other.
		var xq, qq, xq1, qq1 float32
		w := w[:len(x)]
		for i := 0; i+1 < len(x); i += 2 {
			v, v1 := x[i], x[i+1]
			q, q1 := nearest(v*inv, flo, fhi), nearest(v1*inv, flo, fhi)
			wq, wq1 := w[i]*q, w[i+1]*q1
			xq += wq * v
			qq += wq * q
			xq1 += wq1 * v1
			qq1 += wq1 * q1
		}
		xq, qq = xq+xq1, qq+qq1
		if qq > 0 && xq*xq > best*qq {
			best, scale = xq*xq/qq, xq/qq
		}
	}
	// Few codes gain from clipping or shrinking more.
	span, step := float32(-lo), float32(0.1)
	if lo >= -8 {
		step = 0.15
	}
	for k := float32(-12); k <= 12; k++ {
		try(-(span + k*step) / top)
	}
	// The largest element at the other end of an asymmetric range.
	for k := float32(-4); k <= 4; k++ {
		try((fhi + 2*k*step) / top)
	}
	for range 3 {
		before := best
		if scale != 0 {
			try(1 / scale)
		}
		if best <= before {
			break
		}
	}
	return scale
}

// errorSymmetric is Σw(x − d·q)² with the nearest codes.
func errorSymmetric(x, w []float32, d float32, lo, hi int) float32 {
	inv := float32(0)
	if d != 0 {
		inv = 1 / d
	}
	e, flo, fhi := float32(0), float32(lo), float32(hi)
	for i, v := range x {
		r := v - d*nearest(v*inv, flo, fhi)
		e += w[i] * r * r
	}
	return e
}

// encodeSymmetric packs Q4_0 (half 8) and Q5_0 (half 16).
func encodeSymmetric(b []byte, x, w []float32, half int) bool {
	d, ok := putHalf(b, searchSymmetric(x, w, -half, half-1))
	if d == 0 {
		binary.LittleEndian.PutUint16(b, 0)
	}
	var q [32]int
	for i, v := range x {
		q[i] = half
		if d != 0 {
			q[i] += clampRound(v/d, -half, half-1)
		}
	}
	packNibbles(b[2:], &q, half == 16)
	return ok
}

// packNibbles stores 32 codes as the 32-element types do: fifth bits first, if
// there are any, then low nibbles for elements 0–15 and high ones for 16–31.
func packNibbles(b []byte, q *[32]int, fifth bool) {
	if fifth {
		high := uint32(0)
		for i, c := range q {
			high |= uint32(c>>4) << i
		}
		binary.LittleEndian.PutUint32(b, high)
		b = b[4:]
	}
	for i := range 16 {
		b[i] = byte(q[i]&15 | q[i+16]&15<<4)
	}
}

// searchAffine returns d ≥ 0 and m for which x ≈ d·q + m with codes q in
// [0, top] has a small weighted error; m ≤ 0 if atMostZero. For given codes,
// d and m solve the two normal equations; ranges a little smaller and larger
// than that of x are tried, then the best is iterated.
func searchAffine(x, w []float32, top int, atMostZero bool, steps int) (d, m float32) {
	lo, hi := x[0], x[0]
	var sw, sx float32
	for i, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		sw += w[i]
		sx += w[i] * v
	}
	if atMostZero && lo > 0 {
		lo = 0
	}
	ftop := float32(top)
	if hi-lo < negligible {
		if atMostZero {
			return 0, min(lo, 0)
		}
		return 0, sx / sw
	}
	best := math.Inf(-1)
	// try takes codes from scale and minimum, and solves for better ones. With
	// the solution the error is Σwx² − (s·Σwxq + b·Σwx): the bracket is to grow.
	try := func(inv, base float32) {
		var sq, sqq, sxq, sq1, sqq1, sxq1 float32
		w := w[:len(x)]
		for i := 0; i+1 < len(x); i += 2 {
			v, v1 := x[i], x[i+1]
			q, q1 := nearest((v-base)*inv, 0, ftop), nearest((v1-base)*inv, 0, ftop)
			wq, wq1 := w[i]*q, w[i+1]*q1
			sq += wq
			sqq += wq * q
			sxq += wq * v
			sq1 += wq1
			sqq1 += wq1 * q1
			sxq1 += wq1 * v1
		}
		sq, sqq, sxq = sq+sq1, sqq+sqq1, sxq+sxq1
		det := sw*sqq - sq*sq
		if !(det > 0) {
			return
		}
		s := (sw*sxq - sx*sq) / det
		b := (sqq*sx - sq*sxq) / det
		if atMostZero && b > 0 {
			if b = 0; sqq > 0 {
				s = sxq / sqq
			}
		}
		if !(s > 0) {
			return
		}
		if g := float64(s)*float64(sxq) + float64(b)*float64(sx); g > best {
			best, d, m = g, s, b
		}
	}
	for k := range steps {
		// From a range with 1 code step less to one with 1 more.
		f := float32(k)/float32(max(steps-1, 1))*2 - 1
		try((ftop+f)/(hi-lo), lo)
	}
	for range 3 {
		before := best
		if d > 0 {
			try(1/d, m)
		}
		if !(best > before) {
			break
		}
	}
	if math.IsInf(best, -1) {
		// One weight carries everything: map the range plainly.
		return (hi - lo) / ftop, lo
	}
	return d, m
}

// errorAffine is Σw(x − d·q − m)² with the nearest codes in [0, top].
func errorAffine(x, w []float32, d, m, top float32) float32 {
	inv := float32(0)
	if d != 0 {
		inv = 1 / d
	}
	e := float32(0)
	for i, v := range x {
		r := v - (d*nearest((v-m)*inv, 0, top) + m)
		e += w[i] * r * r
	}
	return e
}

// encodeAffine packs Q4_1 (top 15) and Q5_1 (top 31).
func encodeAffine(b []byte, x, w []float32, top int) bool {
	rawD, rawM := searchAffine(x, w, top, false, 20)
	d, ok1 := putHalf(b, rawD)
	m, ok2 := putHalf(b[2:], rawM)
	var q [32]int
	if d != 0 {
		for i, v := range x {
			q[i] = clampRound((v-m)/d, 0, top)
		}
	}
	packNibbles(b[4:], &q, top == 31)
	return ok1 && ok2
}

func encodeQ8_0(b []byte, x, w []float32) bool {
	_, abs := largest(x)
	if abs < negligible {
		return true
	}
	plain, ok := toHalf(abs / 127)
	d := plain
	if refined, ok := toHalf(searchSymmetric(x, w, -127, 127)); ok && refined != 0 &&
		errorSymmetric(x, w, refined, -127, 127) < errorSymmetric(x, w, plain, -127, 127) {
		d = refined
	}
	putHalf(b, d)
	if d == 0 {
		return ok
	}
	for i, v := range x {
		b[2+i] = byte(int8(clampRound(v/d, -127, 127)))
	}
	return ok
}

// iq4Nearest holds, for every half unit from −128 on, the level of IQ4_NL next
// to it: the borders between levels are whole or half numbers.
var iq4Nearest = func() (t [512]uint8) {
	for i := range t {
		v := float32(i)/2 - 128 + 0.25
		for q, level := range iq4Values {
			if math.Abs(float64(v-float32(level))) < math.Abs(float64(v-float32(iq4Values[t[i]]))) {
				t[i] = uint8(q)
			}
		}
	}
	return t
}()

// nearestIQ4 returns the level of IQ4_NL next to v.
func nearestIQ4(v float32) int {
	if !(v >= -128) { // NaN, too
		return 0
	} else if v > 127 {
		return 15
	}
	return int(iq4Nearest[int(2*(v+128))])
}

func encodeIQ4NL(b []byte, x, w []float32) bool {
	top, abs := largest(x)
	if abs < negligible {
		// A level of zero does not exist; the scale is zero.
		return true
	}
	best, scale := float32(0), float32(0)
	try := func(inv float32) {
		var xq, qq float32
		for i, v := range x {
			q := float32(iq4Values[nearestIQ4(v*inv)])
			wq := w[i] * q
			xq += wq * v
			qq += wq * q
		}
		if qq > 0 && xq*xq > best*qq {
			best, scale = xq*xq/qq, xq/qq
		}
	}
	for k := -9; k <= 9; k++ {
		try((float32(iq4Values[0]) + float32(k)*1.5) / top)
		try((float32(iq4Values[15]) + float32(k)*1.5) / top)
	}
	for range 3 {
		before := best
		if scale != 0 {
			try(1 / scale)
		}
		if best <= before {
			break
		}
	}
	d, ok := putHalf(b, scale)
	if d == 0 {
		binary.LittleEndian.PutUint16(b, 0)
		return ok
	}
	for i := range 16 {
		b[2+i] = byte(nearestIQ4(x[i]/d) | nearestIQ4(x[i+16]/d)<<4)
	}
	return ok
}

func encodeNF4(b []byte, x, _ []float32) bool {
	_, abs := largest(x)
	binary.LittleEndian.PutUint32(b, math.Float32bits(abs))
	inv := float32(0)
	if abs > 0 {
		inv = 1 / abs
	}
	code := func(v float32) byte {
		v *= inv
		// The borders are halfway between neighboring levels.
		q := byte(0)
		for q < 15 && v > (nf4Values[q]+nf4Values[q+1])/2 {
			q++
		}
		return q
	}
	for i := range 32 {
		b[4+i] = code(x[2*i])<<4 | code(x[2*i+1])
	}
	return true
}
