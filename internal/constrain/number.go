package constrain

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

var digit = class{'0', '9'}

const (
	// digits is how many digits a number without bounds has before its point,
	// or after it, at most, and one with bounds both together unless the
	// bounds have more: what a float64 tells apart.
	digits = 15
	// maxDigits is how many a bound may have.
	maxDigits = 100
)

// decimal is a bound as its digits say it, without a sign: a whole part
// without leading and a fraction without trailing zeros.
type decimal struct {
	whole, frac string
	negative    bool
}

// parseDecimal reads a JSON number exactly; false if it has more than
// maxDigits digits before or after the point.
func parseDecimal(n json.Number) (decimal, bool) {
	text := strings.ToLower(string(n))
	text, exp, _ := strings.Cut(text, "e")
	if len(strings.TrimLeft(strings.TrimLeft(exp, "+-"), "0")) > 3 || len(text) > 4*maxDigits {
		if strings.Trim(text, "-0.") == "" { // zero times anything
			return decimal{whole: "0"}, true
		}
		return decimal{}, false
	}
	if exp != "" {
		exp = "e" + exp
	}
	r, ok := new(big.Rat).SetString(text + exp)
	if !ok {
		return decimal{}, false
	}
	if r.IsInt() && len(r.Num().String()) > maxDigits {
		return decimal{}, false
	}
	whole, frac, _ := strings.Cut(new(big.Rat).Abs(r).FloatString(maxDigits+1), ".")
	frac = strings.TrimRight(frac, "0")
	if len(whole) > maxDigits || len(frac) > maxDigits {
		return decimal{}, false
	}
	d := decimal{whole: whole, frac: frac, negative: r.Sign() < 0}
	return d, d.rat().Cmp(r) == 0 // the fraction may be longer
}

func (d decimal) rat() *big.Rat {
	r, _ := new(big.Rat).SetString(d.whole + "." + d.frac + "0")
	if d.negative {
		r.Neg(r)
	}
	return r
}

func (d decimal) String() string {
	s := d.whole
	if d.frac != "" {
		s += "." + d.frac
	}
	if d.negative {
		s = "-" + s
	}
	return s
}

// bound is a limit of a number.
type bound struct {
	at   decimal
	open bool // exclusive
	has  bool
}

// bounds reads the four keywords that limit a number. Draft 4 and OpenAPI 3.0
// write the exclusive ones as booleans beside the others.
func (c *schemaCompiler) bounds(o *object, at string) (lo, hi bound) {
	read := func(key string, open bool, b *bound, sign int) {
		v, ok := o.vals[key]
		if !ok {
			return
		}
		if flag, isFlag := v.(bool); isFlag && open {
			b.open = b.open || flag && b.has
			return
		}
		n, ok := v.(json.Number)
		if !ok {
			c.fail(at, "%s must be a number, not %v", key, v)
			return
		}
		d, ok := parseDecimal(n)
		if !ok {
			c.fail(at, "%s %.40s is beyond %d digits before or after the point", key, n, maxDigits)
			return
		}
		if cmp := 0; b.has {
			cmp = sign * d.rat().Cmp(b.at.rat())
			if cmp < 0 || cmp == 0 && !open {
				return
			}
		}
		*b = bound{d, open, true}
	}
	read("minimum", false, &lo, 1)
	read("exclusiveMinimum", true, &lo, 1)
	read("maximum", false, &hi, -1)
	read("exclusiveMaximum", true, &hi, -1)
	return lo, hi
}

// int32Range and int64Range are what OpenAPI's formats of integers mean.
var (
	int32Range = [2]string{"-2147483648", "2147483647"}
	int64Range = [2]string{"-9223372036854775808", "9223372036854775807"}
)

func (c *schemaCompiler) integer(o *object, at string) expr {
	lo, hi := c.bounds(o, at)
	if f, ok := o.vals["format"]; ok {
		r := map[any][2]string{"int32": int32Range, "int64": int64Range}[f]
		for i, b := range []*bound{&lo, &hi} {
			d, _ := parseDecimal(json.Number(r[i]))
			if r[i] != "" && (!b.has || (b.at.rat().Cmp(d.rat()) < 0) == (i == 0)) {
				*b = bound{at: d, has: true}
			}
		}
	}
	from, to := freeBounds(lo, hi)
	return c.shared(fmt.Sprintf("an integer from %s to %s", from, to), func() expr { return intRange(from, to) })
}

// freeBounds are the whole numbers within bounds. A side without one ends
// where numbers have 15 digits, or one more than the other side.
func freeBounds(lo, hi bound) (from, to *big.Int) {
	size := digits
	for _, b := range []bound{lo, hi} {
		if b.has && len(b.at.whole) >= size {
			size = len(b.at.whole) + 1
		}
	}
	most := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(size)), nil), big.NewInt(1))
	from, to = new(big.Int).Neg(most), most
	if lo.has {
		from = floor(lo.at)
		if lo.at.frac != "" || lo.open {
			from.Add(from, big.NewInt(1))
		}
	}
	if hi.has {
		to = floor(hi.at)
		if hi.at.frac == "" && hi.open {
			to.Sub(to, big.NewInt(1))
		}
	}
	return from, to
}

// floor is the largest whole number that is not above d.
func floor(d decimal) *big.Int {
	n, _ := new(big.Int).SetString(d.whole, 10)
	if d.negative {
		n.Neg(n)
		if d.frac != "" {
			n.Sub(n, big.NewInt(1))
		}
	}
	return n
}

// intRange is the decimal integers from lo to hi.
func intRange(lo, hi *big.Int) expr {
	var out alt
	if lo.Cmp(hi) > 0 {
		return out
	}
	zero, one := new(big.Int), big.NewInt(1)
	if lo.Sign() < 0 {
		near := new(big.Int).Neg(hi)
		if near.Cmp(one) < 0 {
			near = one
		}
		out = append(out, seq{lit("-"), natRange(near, new(big.Int).Neg(lo))})
	}
	if hi.Sign() >= 0 {
		if lo.Sign() < 0 {
			lo = zero
		}
		out = append(out, natRange(lo, hi))
	}
	return out
}

// natRange is the natural numbers from lo to hi, split by their lengths.
func natRange(lo, hi *big.Int) expr {
	var out alt
	a, last := lo.String(), hi.String()
	for lo.Cmp(hi) <= 0 && len(a) <= len(last) {
		b := strings.Repeat("9", len(a))
		if len(a) == len(last) {
			b = last
		}
		out = append(out, sameLength(a, b))
		a = "1" + strings.Repeat("0", len(a))
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
	from, to := freeBounds(lo, hi)
	if !lo.has {
		lo = bound{at: decimal{whole: new(big.Int).Abs(from).String(), negative: true}}
	}
	if !hi.has {
		hi = bound{at: decimal{whole: to.String(), negative: to.Sign() < 0}}
	}
	return c.shared(fmt.Sprintf("a number from %v to %v", lo, hi), func() expr { return numberRange(lo, hi) })
}

// numberRange is the decimal numbers between bounds.
func numberRange(lo, hi bound) expr {
	var out alt
	zero := decimal{whole: "0"}
	if lo.at.negative || lo.at == zero && !lo.open {
		// The negative side, mirrored; -0 counts as 0.
		a := bound{at: zero, open: hi.at == zero && hi.open}
		if hi.at.negative {
			a = hi
		}
		out = append(out, seq{lit("-"), decimals(a, lo)})
	}
	if !hi.at.negative {
		a := lo
		if a.at.negative {
			a = bound{at: zero}
		}
		out = append(out, decimals(a, hi))
	}
	return out
}

// decimals is the decimal numbers between bounds, of which only the absolute
// values count.
func decimals(lo, hi bound) expr {
	a, b := lo.at, hi.at
	// So many digits after the point that a float64 tells neighbors apart,
	// but not fewer than the bounds have.
	left := digits
	for _, x := range []bound{lo, hi} {
		if x.has {
			left = min(left, digits-len(strings.TrimLeft(x.at.whole, "0")))
		}
	}
	left = max(left, len(a.frac), len(b.frac))
	low, _ := new(big.Int).SetString(a.whole, 10)
	high, _ := new(big.Int).SetString(b.whole, 10)
	switch low.Cmp(high) {
	case 1:
		return alt{}
	case 0:
		return seq{lit(a.whole), fraction(a.frac, lo.open, b.frac, hi.open, true, left)}
	}
	out := alt{
		seq{lit(a.whole), fraction(a.frac, lo.open, "", false, false, left)},
		seq{lit(b.whole), fraction("", false, b.frac, hi.open, true, left)},
	}
	low.Add(low, big.NewInt(1))
	if high.Sub(high, big.NewInt(1)); low.Cmp(high) <= 0 {
		out = append(out, seq{natRange(low, high), fraction("", false, "", false, false, left)})
	}
	return out
}

// fraction is a point and up to left digits, or nothing, whose value lies
// between 0.lo and, if capped, 0.hi.
func fraction(lo string, lopen bool, hi string, hopen, capped bool, left int) expr {
	var out alt
	if lo == "" && !lopen && !(capped && hi == "" && hopen) {
		out = append(out, seq{})
	}
	if left > 0 {
		// A point needs a digit after it: the first one is written apart.
		out = append(out, seq{lit("."), fractionDigits(lo, lopen, hi, hopen, capped, left, true)})
	}
	return out
}

// fractionDigits is up to left digits, at least one if need, whose value as a
// fraction lies between 0.lo and, if capped, 0.hi.
func fractionDigits(lo string, lopen bool, hi string, hopen, capped bool, left int, need bool) expr {
	if lo == "" && !lopen && !capped {
		least := 0
		if need {
			least = 1
		}
		return rep{digit, least, left}
	}
	var out alt
	if !need && lo == "" && !lopen && !(capped && hi == "" && hopen) {
		out = append(out, seq{}) // nothing more: zero
	}
	if left == 0 || capped && hi == "" && hopen {
		return out
	}
	head := func(s string) (rune, string) {
		if s == "" {
			return '0', ""
		}
		return rune(s[0]), s[1:]
	}
	a, loRest := head(lo)
	b, hiRest := rune('9'+1), ""
	if capped {
		b, hiRest = head(hi)
	}
	next := func(c rune, lo string, lopen bool, hi string, hopen, capped bool) {
		out = append(out, seq{class{c, c}, fractionDigits(lo, lopen, hi, hopen, capped, left-1, false)})
	}
	switch {
	case a > b:
		return out
	case a == b:
		next(a, loRest, lopen, hiRest, hopen, true)
		return out
	}
	next(a, loRest, lopen, "", false, false)
	if a+1 < b {
		out = append(out, seq{class{a + 1, min(b-1, '9')}, rep{digit, 0, left - 1}})
	}
	if b <= '9' {
		next(b, "", false, hiRest, hopen, true)
	}
	return out
}
