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
	switch v := v.(type) {
	case Str:
		ev.jsonString(b, v, o.ascii)
	case *List:
		ev.jsonList(b, v, o, level)
	case *Dict:
		ev.jsonDict(b, v, o, level)
	default:
		text, ok := jsonScalar(v)
		if !ok {
			ev.fail(o.errorLine, "%s is not JSON serializable", typeName(v))
		}
		b.lit(text)
	}
}

// jsonScalar writes nothing, a truth value or a number.
func jsonScalar(v Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "null", true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return jsonFloat(v), true
	case bigInt:
		return string(v), true
	}
	return "", false
}

// newline begins a line of a pretty text.
func (o *jsonOptions) newline(b *strBuilder, level int) {
	if o.pretty {
		b.lit("\n" + strings.Repeat(o.indent, level))
	}
}

func (ev *evaluator) jsonList(b *strBuilder, l *List, o *jsonOptions, level int) {
	if l.kind > tuple {
		ev.fail(o.errorLine, "%s is not JSON serializable", typeName(l))
	}
	if len(l.items) == 0 {
		b.lit("[]")
		return
	}
	b.lit("[")
	for i, x := range l.items {
		if i > 0 {
			b.lit(o.comma)
		}
		o.newline(b, level+1)
		ev.json(b, x, o, level+1)
	}
	o.newline(b, level)
	b.lit("]")
}

func (ev *evaluator) jsonDict(b *strBuilder, d *Dict, o *jsonOptions, level int) {
	if len(d.keys) == 0 {
		b.lit("{}")
		return
	}
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if o.sortKeys {
		ev.sortBy(order, func(x, y int) int { return ev.order(d.keys[x], d.keys[y], o.errorLine) })
	}
	b.lit("{")
	for n, i := range order {
		if n > 0 {
			b.lit(o.comma)
		}
		o.newline(b, level+1)
		key, ok := d.keys[i].(Str)
		if !ok {
			if key.S, ok = jsonScalar(d.keys[i]); !ok {
				ev.fail(o.errorLine, "keys of JSON objects can't be %s", typeName(d.keys[i]))
			}
		}
		ev.jsonString(b, key, o.ascii)
		b.lit(o.colon)
		ev.json(b, d.vals[i], o, level+1)
	}
	o.newline(b, level)
	b.lit("}")
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
