package constrain

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

var digit = class{'0', '9'}

// digits is how many digits a number without bounds may have before its
// point, and behind it: what a float64 holds exactly.
const digits = 15

// bound is a limit of a number.
type bound struct {
	at   float64
	open bool // exclusive
	has  bool
}

// bounds reads the four keywords that limit a number.
func (c *schemaCompiler) bounds(o *object, at string) (lo, hi bound) {
	read := func(key string, open bool, b *bound, tighter func(x, y float64) bool) {
		v, ok := o.vals[key]
		if !ok {
			return
		}
		n, ok := v.(json.Number)
		f, err := n.Float64()
		if !ok || err != nil {
			c.fail(at, "%s must be a number, not %v", key, v)
			return
		}
		if !b.has || tighter(f, b.at) || f == b.at && open {
			*b = bound{f, open, true}
		}
	}
	up := func(x, y float64) bool { return x > y }
	down := func(x, y float64) bool { return x < y }
	read("minimum", false, &lo, up)
	read("exclusiveMinimum", true, &lo, up)
	read("maximum", false, &hi, down)
	read("exclusiveMaximum", true, &hi, down)
	return lo, hi
}

// most is the largest integer a bound may be: beyond it float64 has gaps.
const most = 999_999_999_999_999

func (c *schemaCompiler) integer(o *object, at string) expr {
	lo, hi := c.bounds(o, at)
	from, to := int64(-most), int64(most)
	if lo.has {
		f := math.Ceil(lo.at)
		if lo.open && f == lo.at {
			f++
		}
		if f > most {
			return c.fail(at, "a minimum of %v is beyond %d", lo.at, int64(most))
		}
		from = int64(max(f, -most))
	}
	if hi.has {
		f := math.Floor(hi.at)
		if hi.open && f == hi.at {
			f--
		}
		if f < -most {
			return c.fail(at, "a maximum of %v is beyond %d", hi.at, int64(-most))
		}
		to = int64(min(f, most))
	}
	return intRange(from, to)
}

// intRange is the decimal integers from lo to hi.
func intRange(lo, hi int64) expr {
	var out alt
	if lo > hi {
		return out
	}
	if lo < 0 {
		out = append(out, seq{lit("-"), natRange(max(1, -hi), -lo)})
	}
	if hi >= 0 {
		out = append(out, natRange(max(0, lo), hi))
	}
	return out
}

// natRange is the natural numbers from lo to hi, split by their lengths.
func natRange(lo, hi int64) expr {
	var out alt
	for lo <= hi {
		s := strconv.FormatInt(lo, 10)
		end := min(hi, int64(math.Pow10(len(s)))-1)
		out = append(out, sameLength(s, strconv.FormatInt(end, 10)))
		lo = end + 1
	}
	return out
}

// sameLength is the digit strings from lo to hi, which are equally long.
func sameLength(lo, hi string) expr {
	n := len(lo) - 1
	a, b := rune(lo[0]), rune(hi[0])
	zeros, nines := strings.Repeat("0", n), strings.Repeat("9", n)
	switch {
	case n == 0:
		return class{a, b}
	case lo[1:] == zeros && hi[1:] == nines:
		return seq{class{a, b}, rep{digit, n, n}}
	case a == b:
		return seq{class{a, a}, sameLength(lo[1:], hi[1:])}
	}
	var out alt
	if lo[1:] != zeros {
		out = append(out, seq{class{a, a}, sameLength(lo[1:], nines)})
		a++
	}
	last := b
	if hi[1:] != nines {
		last--
	}
	if a <= last {
		out = append(out, seq{class{a, last}, rep{digit, n, n}})
	}
	if last < b {
		out = append(out, seq{class{b, b}, sameLength(zeros, hi[1:])})
	}
	return out
}

func (c *schemaCompiler) number(o *object, at string) expr {
	lo, hi := c.bounds(o, at)
	if !lo.has && !hi.has {
		return c.shared("a number", func() expr {
			return seq{
				rep{lit("-"), 0, 1},
				alt{lit("0"), seq{class{'1', '9'}, rep{digit, 0, digits - 1}}},
				rep{seq{lit("."), rep{digit, 1, digits}}, 0, 1},
				rep{seq{class{'e', 'e', 'E', 'E'}, rep{class{'+', '+', '-', '-'}, 0, 1}, rep{digit, 1, 2}}, 0, 1},
			}
		})
	}
	for _, b := range []*bound{&lo, &hi} {
		if b.has && (b.at != math.Trunc(b.at) || math.Abs(b.at) > most) {
			return c.fail(at, "a bound of %v on type number is not supported; only integers up to %d are", b.at, int64(most))
		}
	}
	if !lo.has {
		lo = bound{at: -most}
	}
	if !hi.has {
		hi = bound{at: most}
	}
	var out alt
	if lo.at < 0 || lo.at == 0 && !lo.open {
		// The negative side, mirrored; -0 counts as 0.
		a, b := bound{at: 0, open: true}, bound{at: -lo.at, open: lo.open}
		if hi.at < 0 {
			a = bound{at: -hi.at, open: hi.open}
		}
		out = append(out, seq{lit("-"), decimals(a, b)})
	}
	if hi.at >= 0 {
		a := lo
		if a.at < 0 {
			a = bound{}
		}
		out = append(out, decimals(a, hi))
	}
	return out
}

// decimals is the decimal numbers between natural bounds.
func decimals(lo, hi bound) expr {
	a, b := int64(lo.at), int64(hi.at)
	some := func(min int) expr { return rep{digit, min, digits} }
	var out alt
	if a < b {
		// a itself and what begins with it.
		begin := lit(strconv.FormatInt(a, 10))
		if lo.open {
			out = append(out, seq{begin, lit("."), rep{lit("0"), 0, 6}, class{'1', '9'}, rep{digit, 0, 8}})
		} else {
			out = append(out, seq{begin, rep{seq{lit("."), some(1)}, 0, 1}})
		}
		if a+1 < b {
			out = append(out, seq{natRange(a+1, b-1), rep{seq{lit("."), some(1)}, 0, 1}})
		}
	}
	if !hi.open && (a < b || a == b && !lo.open) {
		out = append(out, seq{lit(strconv.FormatInt(b, 10)), rep{seq{lit("."), rep{lit("0"), 1, digits}}, 0, 1}})
	}
	return out
}
