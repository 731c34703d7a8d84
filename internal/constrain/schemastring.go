package constrain

import (
	"encoding/json"
	"math"
	"unicode"
)

// whole reads a non-negative integer keyword.
func (c *schemaCompiler) whole(o *object, key, at string, def int) int {
	v, ok := o.vals[key]
	if !ok {
		return def
	}
	n, ok := v.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil || f < 0 || f != math.Trunc(f) {
		c.fail(at, "%s must be a non-negative integer, not %v", key, v)
		return def
	}
	if f > maxRepeat {
		c.fail(at, "%s is %v; the limit is %d", key, f, maxRepeat)
		return def
	}
	return int(f)
}

// char is a character of a JSON string; an escape of half a surrogate pair is
// none.
func (c *schemaCompiler) char() expr {
	return c.shared("a character", func() expr {
		hex := class{'0', '9', 'A', 'F', 'a', 'f'}
		return alt{
			class{0x20, '"' - 1, '"' + 1, '\\' - 1, '\\' + 1, unicode.MaxRune},
			seq{lit(`\`), alt{
				class{'"', '"', '\\', '\\', '/', '/', 'b', 'b', 'f', 'f', 'n', 'n', 'r', 'r', 't', 't'},
				seq{lit("u"), alt{
					seq{class{'0', '9', 'A', 'C', 'E', 'F', 'a', 'c', 'e', 'f'}, hex, hex, hex},
					seq{class{'D', 'D', 'd', 'd'}, class{'0', '7'}, hex, hex},
				}},
			}},
		}
	})
}

func (c *schemaCompiler) stringExpr(lo, hi int) expr {
	return seq{lit(`"`), rep{c.char(), lo, hi}, lit(`"`)}
}

func (c *schemaCompiler) str(o *object, at string) expr {
	lo, hi := c.whole(o, "minLength", at, 0), c.whole(o, "maxLength", at, -1)
	if hi >= 0 && hi < lo {
		return c.fail(at, "maxLength %d is less than minLength %d", hi, lo)
	}
	pattern, hasPattern := o.vals["pattern"]
	format, hasFormat := o.vals["format"]
	if !hasPattern && !hasFormat {
		return c.stringExpr(lo, hi)
	}
	if hasPattern && hasFormat || lo > 0 || hi >= 0 {
		return c.fail(at, "pattern, format and minLength or maxLength together are not supported")
	}
	if hasFormat {
		name, _ := format.(string)
		p, ok := formats[name]
		if !ok {
			return c.fail(at, "the format %v is not supported", format)
		}
		pattern = p
	}
	text, ok := pattern.(string)
	if !ok {
		return c.fail(at, "pattern must be a string")
	}
	re, err := parseRegexp(text)
	if err != nil {
		return c.fail(at, "pattern: %v", err)
	}
	w := regexpWriter{inJSON: true}
	e, err := w.whole(re, false, false)
	if err != nil {
		return c.fail(at, "pattern %q: %v", text, err)
	}
	return seq{lit(`"`), e, lit(`"`)}
}

// Formats as regular expressions; each matches a part of what is valid.
var formats = func() map[string]string {
	const (
		date  = `[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))`
		clock = `(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])`
		octet = `(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
		label = `[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`
		host  = label + `(?:\.` + label + `){0,3}`
		group = `[0-9a-fA-F]{1,4}`
	)
	out := map[string]string{
		"date": date, "time": clock, "date-time": date + "T" + clock,
		"uuid":     `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
		"ipv4":     octet + `(?:\.` + octet + `){3}`,
		"ipv6":     group + `(?::` + group + `){7}|::(?:` + group + `(?::` + group + `){0,6})?`,
		"hostname": host,
		"email":    `[a-zA-Z0-9](?:[a-zA-Z0-9_+-]{0,30}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9]{1,20}){0,2}@` + host,
		"uri":      `https?://` + host + `(?::[1-9][0-9]{0,3})?(?:/[a-zA-Z0-9._~-]{1,60}){0,8}/?(?:\?[a-zA-Z0-9._~=&-]{0,100})?`,
	}
	for k, v := range out {
		out[k] = "^(?:" + v + ")$"
	}
	return out
}()
