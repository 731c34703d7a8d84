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
	parts := c.patterns(o, at, hi)
	if c.err != nil {
		return alt{}
	}
	// A limit that a part keeps anyway needs no counting.
	for _, p := range parts {
		least, most := lengths(p)
		if least >= lo {
			lo = 0
		}
		if most >= 0 && most <= hi {
			hi = -1
		}
	}
	switch {
	case len(parts) == 0:
		return c.stringExpr(lo, hi)
	case len(parts) == 1 && lo == 0 && hi < 0:
		return seq{lit(`"`), escaped(parts[0]), lit(`"`)}
	}
	e, err := both(parts, lo, hi)
	if err != nil {
		return c.fail(at, "%v", err)
	}
	return seq{lit(`"`), e, lit(`"`)}
}

// patterns are what a string has to match besides its length: the format and
// the pattern, several after allOf.
func (c *schemaCompiler) patterns(o *object, at string, hi int) []expr {
	var out []expr
	if v, ok := o.vals["format"]; ok {
		name, isText := v.(string)
		e, ok := c.format(name, hi)
		if !ok || !isText {
			c.fail(at, "the format %v is not supported", v)
			return nil
		}
		if e != nil {
			out = append(out, e)
		}
	}
	v, ok := o.vals["pattern"]
	if !ok {
		return out
	}
	list, several := v.(patternList)
	if !several {
		list = patternList{v}
	}
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			c.fail(at, "pattern must be a string")
			return nil
		}
		e, err := patternExpr(text)
		if err != nil {
			c.fail(at, "pattern %.200q: %v", text, err)
			return nil
		}
		out = append(out, e)
	}
	return out
}

// patternList is what the patterns of an allOf become.
type patternList []any

func patternExpr(text string) (expr, error) {
	re, err := parsePattern(text)
	if err != nil {
		return nil, err
	}
	return (&regexpWriter{}).whole(re, false, false)
}

// format is the expression of a format, nil for those that any string has. If
// its texts may be longer than hi it is one of shorter texts.
func (c *schemaCompiler) format(name string, hi int) (expr, bool) {
	if freeFormats[name] {
		return nil, true
	}
	p, ok := formats[name]
	if !ok {
		return nil, false
	}
	e, err := patternExpr(p)
	if _, most := lengths(e); err == nil && hi >= 0 && (most < 0 || most > hi) && shortFormats[name] != "" {
		e, err = patternExpr(shortFormats[name])
	}
	return e, err == nil
}

// shortFormats match the formats that may be long in up to some sixty
// characters.
var shortFormats = func() map[string]string {
	const (
		host = `[a-zA-Z0-9]{1,10}(?:-[a-zA-Z0-9]{1,5})?(?:\.[a-zA-Z0-9]{1,10})?`
		word = `[a-zA-Z0-9._~-]`
		path = `(?:/` + word + `{1,10}){0,3}`
	)
	out := map[string]string{
		"hostname": host, "email": `[a-zA-Z0-9]{1,10}(?:\.[a-zA-Z0-9]{1,10})?@` + host,
		"uri": `https?://` + host + path + `/?`, "uri-reference": `/` + word + `{0,10}` + path, "uri-template": `/` + word + `{0,10}` + path,
		"json-pointer": path, "byte": `(?:[A-Za-z0-9+/]{4}){0,15}`,
	}
	for intl, plain := range map[string]string{"iri": "uri", "iri-reference": "uri-reference", "idn-hostname": "hostname", "idn-email": "email"} {
		out[intl] = out[plain]
	}
	for k, v := range out {
		out[k] = "^(?:" + v + ")$"
	}
	return out
}()

// freeFormats say something about a string that no grammar needs to know, or
// belong to numbers (OpenAPI).
var freeFormats = map[string]bool{
	"password": true, "binary": true, "path": true, "file-path": true, "directory-path": true,
	"int32": true, "int64": true, "float": true, "double": true,
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
		hex   = `[0-9a-fA-F]`
		word  = `[a-zA-Z0-9._~-]`
	)
	uuid := func(version string) string {
		return hex + `{8}-` + hex + `{4}-` + version + hex + `{3}-[89abAB]` + hex + `{3}-` + hex + `{12}`
	}
	out := map[string]string{
		"date": date, "time": clock, "date-time": date + "T" + clock,
		"uuid":  hex + `{8}-` + hex + `{4}-` + hex + `{4}-` + hex + `{4}-` + hex + `{12}`,
		"uuid1": uuid("1"), "uuid3": uuid("3"), "uuid4": uuid("4"), "uuid5": uuid("5"),
		"duration":     `P(?:[0-9]{1,4}W|(?:[0-9]{1,4}Y)?(?:[0-9]{1,2}M)?[0-9]{1,4}D|[0-9]{1,4}Y(?:[0-9]{1,2}M)?|[0-9]{1,4}M|T(?:[0-9]{1,4}H(?:[0-9]{1,4}M(?:[0-9]{1,4}S)?)?|[0-9]{1,4}M(?:[0-9]{1,4}S)?|[0-9]{1,4}S))`,
		"byte":         `(?:[A-Za-z0-9+/]{4}){0,200}(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?`,
		"json-pointer": `(?:/` + word + `{0,60}){0,8}`, "relative-json-pointer": `(?:0|[1-9][0-9]{0,3})(?:#|(?:/` + word + `{0,60}){0,8})`,
		"uri-reference": `(?:/` + word + `{1,60}){1,8}/?(?:\?[a-zA-Z0-9._~=&-]{0,100})?`, "uri-template": `(?:/(?:` + word + `{1,60}|\{[a-zA-Z0-9_]{1,30}\})){1,8}`,
		"ipv4":     octet + `(?:\.` + octet + `){3}`,
		"ipv6":     group + `(?::` + group + `){7}|::(?:` + group + `(?::` + group + `){0,6})?`,
		"hostname": host,
		"email":    `[a-zA-Z0-9](?:[a-zA-Z0-9_+-]{0,30}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9]{1,20}){0,2}@` + host,
		"uri":      `https?://` + host + `(?::[1-9][0-9]{0,3})?(?:/[a-zA-Z0-9._~-]{1,60}){0,8}/?(?:\?[a-zA-Z0-9._~=&-]{0,100})?`,
	}
	for intl, plain := range map[string]string{"iri": "uri", "iri-reference": "uri-reference", "idn-hostname": "hostname", "idn-email": "email"} {
		out[intl] = out[plain]
	}
	for k, v := range out {
		out[k] = "^(?:" + v + ")$"
	}
	return out
}()
