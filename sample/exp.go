package sample

import (
	"math"
)

// exp2table holds 2^(i/64).
var exp2table = func() (t [64]float32) {
	for i := range t {
		t[i] = float32(math.Exp2(float64(i) / 64))
	}
	return t
}()

// expf is e^x for x <= 0, within two units in the last place of a float32:
// x = (64k+i)·ln2/64 + r, and e^r by three terms of its series. Below -87, and
// of NaN, it is 0. It is short so that the compiler puts it into the loops.
func expf(x float32) float32 {
	if !(x > -87) {
		return 0
	}
	n := int32(x*(64*math.Log2E) - 0.5)
	// ln2/64 in two parts, the first of so few bits that n times it is exact.
	// The conversions forbid fused operations, so that all machines agree.
	r := x - float32(float32(n)*0x1.62p-7) - float32(float32(n)*(math.Ln2/64-0x1.62p-7))
	y := exp2table[n&63] * (1 + float32(r*(1+float32(r*(0.5+float32(r*(1.0/6)))))))
	return math.Float32frombits(math.Float32bits(y) + uint32(n>>6)<<23)
}
