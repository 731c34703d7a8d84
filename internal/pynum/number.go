package pynum

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Number is a Python int or float. The zero value is the int 0.
type Number struct {
	whole *big.Int // nil in a float, and in the zero value
	f     float64
	float bool
}

// Int is a Python int.
func Int(n int64) Number { return Number{whole: big.NewInt(n)} }

// Float is a Python float.
func Float(f float64) Number { return Number{f: f, float: true} }

// ErrOverflow is Python's OverflowError: an int is too large for the float that an operation needs.
var ErrOverflow = errors.New("a number is too large for a double")

// maxDigits is the length of an int, in digits, beyond which Python refuses to read it.
const maxDigits = 4300

// ParseNumber reads a number of digits with at most one point behind the first of them, as ast.literal_eval does: an int
// without a point, which must not begin with 0 unless it is 0; a float with one. Digits are ASCII's.
func ParseNumber(text string) (Number, error) {
	before, after, point := strings.Cut(text, ".")
	if before == "" || strings.Trim(before+after, "0123456789") != "" {
		return Number{}, fmt.Errorf("%q is not a number", text)
	}
	if point {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) { // too large is infinite, as in Python
			return Number{}, err
		}
		return Float(f), nil
	}
	if len(text) > maxDigits {
		return Number{}, fmt.Errorf("an int of %d digits; Python reads up to %d", len(text), maxDigits)
	}
	if text[0] == '0' && strings.Trim(text, "0") != "" {
		return Number{}, fmt.Errorf("%q: an int of Python has no zeros before it", text)
	}
	n, _ := new(big.Int).SetString(text, 10)
	return Number{whole: n}, nil
}

// IsInt reports whether the number is an int.
func (n Number) IsInt() bool { return !n.float }

func (n Number) int() *big.Int {
	if n.whole == nil {
		return new(big.Int)
	}
	return n.whole
}

// Float64 is float(n); infinite for an int that is too large.
func (n Number) Float64() float64 {
	if n.float {
		return n.f
	}
	f, _ := new(big.Rat).SetInt(n.int()).Float64()
	return f
}

// String is repr(n).
func (n Number) String() string {
	if n.float {
		return FloatRepr(n.f)
	}
	return n.int().String()
}

// JSON is the number as a value that package pyjson writes: a *big.Int or a float64.
func (n Number) JSON() any {
	if n.float {
		return n.f
	}
	return n.int()
}

// MeanOf is statistics.mean: the exact mean, rounded once. It is an int if all numbers are and the mean is whole, else a
// float. No numbers are an error, as is a mean that is too large for a float (ErrOverflow).
func MeanOf(ns []Number) (Number, error) {
	if len(ns) == 0 {
		return Number{}, errors.New("the mean of no numbers")
	}
	sum, ints, special := new(big.Rat), true, 0.0
	for _, n := range ns {
		ints = ints && !n.float
		term := new(big.Rat)
		switch {
		case !n.float:
			term.SetInt(n.int())
		case term.SetFloat64(n.f) == nil:
			special += n.f // infinities and NaN follow IEEE addition
			continue
		}
		sum.Add(sum, term)
	}
	if special != 0 {
		return Float(special), nil
	}
	sum.Quo(sum, new(big.Rat).SetInt64(int64(len(ns))))
	if ints && sum.IsInt() {
		return Number{whole: new(big.Int).Set(sum.Num())}, nil
	}
	f, _ := sum.Float64()
	if math.IsInf(f, 0) {
		return Number{}, ErrOverflow
	}
	return Float(f), nil
}

// HalfSum is (a + b) / 2, which is always a float. An int that is too large for one is ErrOverflow.
func HalfSum(a, b Number) (Number, error) {
	if a.float || b.float {
		x, y := a.Float64(), b.Float64()
		if !a.float && math.IsInf(x, 0) || !b.float && math.IsInf(y, 0) {
			return Number{}, ErrOverflow
		}
		return Float((x + y) / 2), nil
	}
	sum := new(big.Rat).SetFrac(new(big.Int).Add(a.int(), b.int()), big.NewInt(2))
	f, _ := sum.Float64()
	if math.IsInf(f, 0) {
		return Number{}, ErrOverflow
	}
	return Float(f), nil
}
