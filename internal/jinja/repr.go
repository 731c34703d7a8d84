package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// toStr is Python's str().
func (ev *evaluator) toStr(v Value) Str {
	switch v := v.(type) {
	case Str:
		return v
	case undefined:
		ev.defined(v, 0)
		return Str{}
	}
	b := ev.builder(0)
	ev.repr(&b, v)
	return b.done()
}

// escape is the string as HTML: & < > and quotes written as entities. Markup
// is left alone.
func (ev *evaluator) escape(s Str) Str {
	if s.safe {
		return s
	}
	return ev.runes(s, func(_ int, r rune) string {
		switch r {
		case '&':
			return "&amp;"
		case '<':
			return "&lt;"
		case '>':
			return "&gt;"
		case '\'':
			return "&#39;"
		case '"':
			return "&#34;"
		}
		return string(r)
	}).as(true)
}

// repr is Python's repr().
func (ev *evaluator) repr(b *strBuilder, v Value) {
	ev.deeper(0)
	defer func() { ev.depth-- }()
	ev.work(0, 1)
	switch v := v.(type) {
	case nil:
		b.lit("None")
	case bool:
		if v {
			b.lit("True")
		} else {
			b.lit("False")
		}
	case int64:
		b.lit(strconv.FormatInt(v, 10))
	case float64:
		b.lit(floatRepr(v))
	case bigInt:
		b.lit(string(v))
	case Str:
		if v.safe {
			b.lit("Markup(")
			defer b.lit(")")
		}
		b.str(ev.strRepr(v.as(false)))
	case undefined:
		b.lit("Undefined")
	case *List:
		open, end := "[", "]"
		switch v.kind {
		case tuple:
			open, end = "(", ")"
			if len(v.items) == 1 {
				end = ",)"
			}
		case view:
			open, end = v.name+"([", "])"
		case rangeObj:
			b.lit(rangeRepr(v.items))
			return
		case generator:
			b.lit("<generator object>")
			return
		}
		b.lit(open)
		for i, x := range v.items {
			if i > 0 {
				b.lit(", ")
			}
			ev.repr(b, x)
		}
		b.lit(end)
	case *Dict:
		b.lit("{")
		for i, k := range v.keys {
			if i > 0 {
				b.lit(", ")
			}
			ev.repr(b, k)
			b.lit(": ")
			ev.repr(b, v.vals[i])
		}
		b.lit("}")
	case *namespace:
		b.lit("<Namespace ")
		ev.repr(b, v.d)
		b.lit(">")
	case *loopVar:
		b.lit(fmt.Sprintf("<LoopContext %d/%d>", v.i+1, len(v.items)))
	case *macro:
		b.lit("<Macro '" + v.def.name + "'>")
	default:
		b.lit("<function>")
	}
}

// rangeRepr is repr() of a range.
func rangeRepr(items []Value) string {
	if len(items) == 0 {
		return "range(0, 0)"
	}
	first, last := items[0].(int64), items[len(items)-1].(int64)
	step := int64(1)
	if len(items) > 1 {
		step = items[1].(int64) - first
	}
	if step == 1 {
		return fmt.Sprintf("range(%d, %d)", first, last+step)
	}
	return fmt.Sprintf("range(%d, %d, %d)", first, last+step, step)
}

// floatRepr is repr() of a Python float: the shortest digits that read back.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mant, exp, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exp)
	if n < -4 || n >= 16 {
		if len(exp) == 2 {
			exp = exp[:1] + "0" + exp[1:]
		}
		return mant + "e" + exp
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func (ev *evaluator) strRepr(s Str) Str {
	quote := "'"
	if strings.Contains(s.S, "'") && !strings.Contains(s.S, `"`) {
		quote = `"`
	}
	b := ev.builder(0)
	b.lit(quote)
	b.str(ev.runes(s, func(_ int, r rune) string {
		switch {
		case string(r) == quote || r == '\\':
			return `\` + string(r)
		case r == '\n':
			return `\n`
		case r == '\r':
			return `\r`
		case r == '\t':
			return `\t`
		case r < 0x20 || r == 0x7f:
			return fmt.Sprintf(`\x%02x`, r)
		case r < 0x7f || unicode.IsPrint(r):
			return string(r)
		case r < 0x100:
			return fmt.Sprintf(`\x%02x`, r)
		case r < 0x10000:
			return fmt.Sprintf(`\u%04x`, r)
		}
		return fmt.Sprintf(`\U%08x`, r)
	}))
	b.lit(quote)
	return b.done()
}
