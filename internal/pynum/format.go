package pynum

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// FloatRepr returns repr(x) of a Python float: the shortest digits that read
// back as x, with ".0" when integral, and an exponent below 1e-4 and from
// 1e16 on.
func FloatRepr(x float64) string {
	switch {
	case math.IsNaN(x):
		return "nan"
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	}
	if abs := math.Abs(x); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Percent returns Python's format(x, ".1%"): x times 100 in floating point,
// correctly rounded to one decimal.
func Percent(x float64) string {
	return strconv.FormatFloat(x*100, 'f', 1, 64) + "%"
}

// Mean is Python's statistics.mean for floats: the exact rational sum divided
// by the count, rounded once. It is NaN for no numbers and follows IEEE
// addition when a number is not finite.
func Mean(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	sum := new(big.Rat)
	for _, x := range xs {
		term := new(big.Rat)
		if term.SetFloat64(x) == nil {
			plain := 0.0
			for _, y := range xs {
				plain += y
			}
			return plain
		}
		sum.Add(sum, term)
	}
	mean, _ := sum.Quo(sum, big.NewRat(int64(len(xs)), 1)).Float64()
	return mean
}
