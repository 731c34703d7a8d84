package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// jsonOptions are the arguments of tojson.
type jsonOptions struct {
	ascii     bool
	indent    string
	pretty    bool
	comma     string
	colon     string
	sortKeys  bool
	errorLine int
}

// json writes v as Python's json.dumps does.
func (ev *evaluator) json(b *strBuilder, v Value, o *jsonOptions, level int) {
	ev.deeper(o.errorLine)
	defer func() { ev.depth-- }()
	ev.work(o.errorLine, 1)
	newline := func(level int) {
		if o.pretty {
			b.lit("\n" + strings.Repeat(o.indent, level))
		}
	}
	switch v := v.(type) {
	case nil:
		b.lit("null")
	case bool:
		b.lit(strconv.FormatBool(v))
	case int64:
		b.lit(strconv.FormatInt(v, 10))
	case float64:
		b.lit(jsonFloat(v))
	case bigInt:
		b.lit(string(v))
	case Str:
		ev.jsonString(b, v, o.ascii)
	case *List:
		if v.kind > tuple {
			ev.fail(o.errorLine, "%s is not JSON serializable", typeName(v))
		}
		if len(v.items) == 0 {
			b.lit("[]")
			return
		}
		b.lit("[")
		for i, x := range v.items {
			if i > 0 {
				b.lit(o.comma)
			}
			newline(level + 1)
			ev.json(b, x, o, level+1)
		}
		newline(level)
		b.lit("]")
	case *Dict:
		if len(v.keys) == 0 {
			b.lit("{}")
			return
		}
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if o.sortKeys {
			ev.sortBy(order, func(a, b int) int { return ev.order(v.keys[a], v.keys[b], o.errorLine) })
		}
		b.lit("{")
		for n, i := range order {
			if n > 0 {
				b.lit(o.comma)
			}
			newline(level + 1)
			key := Str{}
			switch k := v.keys[i].(type) {
			case Str:
				key = k
			case nil:
				key.S = "null"
			case bool:
				key.S = strconv.FormatBool(k)
			case int64:
				key.S = strconv.FormatInt(k, 10)
			case bigInt:
				key.S = string(k)
			case float64:
				key.S = jsonFloat(k)
			default:
				ev.fail(o.errorLine, "keys of JSON objects can't be %s", typeName(k))
			}
			ev.jsonString(b, key, o.ascii)
			b.lit(o.colon)
			ev.json(b, v.vals[i], o, level+1)
		}
		newline(level)
		b.lit("}")
	default:
		ev.fail(o.errorLine, "%s is not JSON serializable", typeName(v))
	}
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (ev *evaluator) jsonString(b *strBuilder, s Str, ascii bool) {
	b.lit(`"`)
	b.str(ev.runes(s, func(_ int, r rune) string {
		switch r {
		case '"', '\\':
			return `\` + string(r)
		case '\n':
			return `\n`
		case '\r':
			return `\r`
		case '\t':
			return `\t`
		case '\b':
			return `\b`
		case '\f':
			return `\f`
		}
		switch {
		case r < 0x20:
			return fmt.Sprintf(`\u%04x`, r)
		case r < 0x7f || !ascii:
			return string(r)
		case r >= 0x10000:
			r -= 0x10000
			return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r == 0x7f:
			return "\x7f"
		}
		return fmt.Sprintf(`\u%04x`, r)
	}))
	b.lit(`"`)
}
