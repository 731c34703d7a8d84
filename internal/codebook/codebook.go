// Package codebook owns the 256 values that the codes of 8-bit optimizer state stand for. Blocks, scales and files of such
// state are the devices' and package train's.
package codebook

import (
	"math"
	"sort"
)

// Block is the number of elements that share one scale.
const Block = 2048

// Values returns an ascending list of different values in [-1, 1] or [0, 1]: the dynamic tree quantization of Dettmers
// (2015). For each decade 10^-e there are evenly spaced fractions, more of them the larger the decade; 0 and 1 are exact.
func Values(signed bool) [256]float32 {
	var vs []float64
	for e := range 7 {
		n := 1 << e
		if !signed {
			n *= 2
		}
		for i := range n {
			f := 0.1 + 0.9*(float64(i)+0.5)/float64(n)
			v := f * math.Pow(10, float64(e-6))
			vs = append(vs, v)
			if signed {
				vs = append(vs, -v)
			}
		}
	}
	vs = append(vs, 0, 1)
	sort.Float64s(vs)
	var values [256]float32
	for i := range values {
		values[i] = float32(vs[i])
	}
	return values
}
