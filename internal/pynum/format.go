package pynum

import (
	"math"
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
