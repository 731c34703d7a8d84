package constrain

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// values is one of a list of constants.
func (c *schemaCompiler) values(list []any, o *object, at string) expr {
	var types []string
	if _, ok := o.vals["type"]; ok {
		types = c.types(o, at)
	}
	var out alt
	for _, v := range list {
		if types != nil && !slices.ContainsFunc(types, func(t string) bool { return isType(v, t) }) {
			continue // can't match the type beside it
		}
		out = append(out, c.value(v))
	}
	return out
}

func isType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case json.Number:
		if t == "integer" {
			r, ok := new(big.Float).SetString(string(v))
			return ok && r.IsInt()
		}
		return t == "number"
	case []any:
		return t == "array"
	}
	return t == "object"
}

// value is a constant, with free white space between its parts.
func (c *schemaCompiler) value(v any) expr {
	switch v := v.(type) {
	case *object:
		out := seq{lit("{"), c.ws()}
		for i, k := range v.keys {
			if i > 0 {
				out = append(out, lit(","), c.ws())
			}
			out = append(out, lit(quote(k)+":"), c.ws(), c.value(v.vals[k]), c.ws())
		}
		return append(out, lit("}"))
	case []any:
		out := seq{lit("["), c.ws()}
		for i, x := range v {
			if i > 0 {
				out = append(out, lit(","), c.ws())
			}
			out = append(out, c.value(x), c.ws())
		}
		return append(out, lit("]"))
	case string:
		return lit(quote(v))
	case json.Number:
		return lit(string(v))
	case nil:
		return lit("null")
	}
	return lit(fmt.Sprint(v))
}

// quote is a JSON string with as few escapes as JSON needs.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < 0x20 || r == '"' || r == '\\' {
			b.WriteString(jsonEscape(r))
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ws is white space between tokens: none, a blank, or a line break and up to
// 20 blanks.
func (c *schemaCompiler) ws() expr {
	return c.shared("white space", func() expr {
		return alt{seq{}, lit(" "), seq{lit("\n"), rep{class{' ', ' '}, 0, 20}}}
	})
}

func (c *schemaCompiler) anyValue() expr {
	return c.shared("a value", func() expr {
		any := &object{vals: map[string]any{}}
		value := ref(c.index["shared a value"])
		member := seq{c.stringExpr(0, -1), c.ws(), lit(":"), c.ws(), value, c.ws()}
		item := seq{value, c.ws()}
		list := func(open string, x expr, end string) expr {
			return seq{lit(open), c.ws(), rep{seq{x, rep{seq{lit(","), c.ws(), x}, 0, -1}}, 0, 1}, lit(end)}
		}
		return alt{
			list("{", member, "}"), list("[", item, "]"), c.stringExpr(0, -1),
			c.number(any, "#"), lit("true"), lit("false"), lit("null"),
		}
	})
}
