package constrain

import (
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

func (c *schemaCompiler) object(o *object, at string, depth int) expr {
	props := &object{vals: map[string]any{}}
	if v, ok := o.vals["properties"]; ok {
		p, ok := v.(*object)
		if !ok {
			return c.fail(at, "properties must be an object")
		}
		props = p
	}
	if v, ok := o.vals["required"]; ok {
		list, isList := v.([]any)
		if !isList || len(required(o)) != len(list) {
			return c.fail(at, "required must be a list of strings")
		}
	}
	extra, hasExtra := o.vals["additionalProperties"]
	var extraExpr expr
	if hasExtra && extra != false {
		extraExpr = c.schema(extra, at+"/additionalProperties", depth+1)
	}
	type member struct {
		e    expr
		must bool
	}
	var members []member
	need := required(o)
	must := make(map[string]bool, len(need))
	for _, k := range need {
		must[k] = true
	}
	for _, k := range props.keys {
		e := seq{lit(quote(k) + ":"), c.ws(), c.schema(props.vals[k], at+"/properties/"+k, depth+1), c.ws()}
		members = append(members, member{e, must[k]})
	}
	known := slices.Clone(props.keys)
	have := make(map[string]bool, len(known))
	for _, k := range known {
		have[k] = true
	}
	for _, k := range need {
		if have[k] {
			continue
		}
		have[k] = true
		known = append(known, k)
		e := c.anyValue()
		if hasExtra {
			if extra == false {
				return c.fail(at, "the property %q is required, but neither declared nor allowed", k)
			}
			e = extraExpr
		}
		members = append(members, member{seq{lit(quote(k) + ":"), c.ws(), e, c.ws()}, true})
	}
	// Two rules for each place: what may follow where no member stands before
	// (no comma), and where one does.
	first, rest := c.fresh(at), c.fresh(at)
	head := first
	comma := seq{lit(","), c.ws()}
	for _, m := range members {
		nextFirst, nextRest := c.fresh(at), c.fresh(at)
		a := alt{seq{m.e, ref(nextRest)}}
		b := alt{seq{comma, m.e, ref(nextRest)}}
		if !m.must {
			a = append(a, ref(nextFirst))
			b = append(b, ref(nextRest))
		}
		c.rules[first], c.rules[rest] = a, b
		first, rest = nextFirst, nextRest
	}
	c.rules[first], c.rules[rest] = seq{}, seq{}
	if extraExpr != nil {
		i := c.fresh(at)
		c.rules[i] = seq{c.otherKey(known, at), lit(":"), c.ws(), extraExpr, c.ws()}
		c.rules[first] = rep{seq{ref(i), rep{seq{comma, ref(i)}, 0, -1}}, 0, 1}
		c.rules[rest] = rep{seq{comma, ref(i)}, 0, -1}
	}
	return seq{lit("{"), c.ws(), ref(head), lit("}")}
}

// fresh is a new rule of the schema at a place.
func (c *schemaCompiler) fresh(at string) int {
	i, _ := c.rule("the object at "+at, fmt.Sprintf("part %d", len(c.rules)))
	return i
}

// maxKeys bounds the bytes of the names that a further one must not be.
const maxKeys = 100_000

// otherKey is a string that is none of the keys. It has no escapes, so that a
// key has one spelling.
func (c *schemaCompiler) otherKey(keys []string, at string) expr {
	size := 0
	for _, k := range keys {
		size += len(k)
	}
	if size > maxKeys {
		return c.fail(at, "additionalProperties beside declared ones with names of more than %d bytes", maxKeys)
	}
	plain := class{0x20, '"' - 1, '"' + 1, '\\' - 1, '\\' + 1, unicode.MaxRune}
	var follow func(keys []string, depth int) expr
	// follow is what may come after a prefix that the keys (their rests)
	// share, with the closing quote.
	follow = func(keys []string, depth int) expr {
		next := map[rune][]string{}
		ended := false
		for _, k := range keys {
			if k == "" {
				ended = true
				continue
			}
			r, n := utf8.DecodeRuneInString(k)
			next[r] = append(next[r], k[n:])
		}
		var out alt
		if !ended {
			out = append(out, lit(`"`))
		}
		taken := class{0, 0x1f, '"', '"', '\\', '\\'}
		for r, rests := range next {
			taken = append(taken, r, r)
			if r < 0x20 || r == '"' || r == '\\' {
				continue // such a key can't be spelled without escapes
			}
			i := c.fresh("a further key")
			c.rules[i] = follow(rests, depth+1)
			out = append(out, seq{class{r, r}, ref(i)})
		}
		return append(out, seq{complement(taken), rep{plain, 0, -1}, lit(`"`)})
	}
	return seq{lit(`"`), follow(keys, 0)}
}
