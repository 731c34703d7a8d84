package constrain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Schema compiles a JSON schema (draft 2020-12, and what older drafts name
// differently) to a grammar whose every match is a JSON text that validates.
//
// Supported: type, enum, const, properties, required, additionalProperties,
// items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
// format (date, time, date-time, uuid, email, ipv4, ipv6, hostname, uri),
// minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf (where
// the branches exclude each other), allOf (where the parts don't conflict),
// $ref inside the document, $defs, and all annotations. Anything else is an
// error that names the keyword and its place.
//
// Matches are a part of what validates: properties come in the schema's
// order, further ones only where additionalProperties asks for them, numbers
// have at most 15 digits before and after the point, white space is a blank
// or a line break with up to 20 blanks.
func Schema(schema []byte) (*Grammar, error) {
	if len(schema) > maxPattern {
		return nil, fmt.Errorf("constrain: a schema of %d bytes; the limit is %d", len(schema), maxPattern)
	}
	v, err := decode(schema)
	if err != nil {
		return nil, fmt.Errorf("constrain: schema: %w", err)
	}
	c := &schemaCompiler{root: v, index: map[string]int{}}
	c.rule("the schema", "root")
	e := c.schema(v, "#", 0)
	if c.err != nil {
		return nil, fmt.Errorf("constrain: schema: %w", c.err)
	}
	c.rules[0] = e
	for i, r := range c.rules {
		if r == nil {
			return nil, fmt.Errorf("constrain: schema: %s was never compiled", c.names[i])
		}
	}
	return compile(c.rules, c.names)
}

// JSON is the grammar of any JSON value.
func JSON() *Grammar {
	g, err := Schema([]byte("true"))
	if err != nil {
		panic(err) // a test compiles it
	}
	return g
}

// object is a JSON object that keeps the order of its keys.
type object struct {
	keys []string
	vals map[string]any
}

func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one JSON value, at byte %d", dec.InputOffset())
	}
	return v, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		out := []any{}
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err := dec.Token()
		return out, err
	case json.Delim('{'):
		o := &object{vals: map[string]any{}}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, twice := o.vals[key]; twice {
				return nil, fmt.Errorf("the key %q occurs twice, before byte %d", key, dec.InputOffset())
			}
			o.keys = append(o.keys, key)
			o.vals[key] = v
		}
		_, err := dec.Token()
		return o, err
	}
	return t, nil
}

// schemaCompiler makes grammar rules of schemas.
type schemaCompiler struct {
	root  any
	rules []expr
	names []string
	index map[string]int // rules by what they are for
	err   error
}

func (c *schemaCompiler) fail(at, format string, args ...any) expr {
	if c.err == nil {
		c.err = fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
	}
	return alt{}
}

// rule returns the number of the rule for key and whether it is new.
func (c *schemaCompiler) rule(name, key string) (int, bool) {
	if i, ok := c.index[key]; ok {
		return i, false
	}
	i := len(c.rules)
	c.index[key] = i
	c.rules, c.names = append(c.rules, nil), append(c.names, name)
	return i, true
}

// shared is a rule of the compiler's own, made once.
func (c *schemaCompiler) shared(name string, make func() expr) expr {
	i, fresh := c.rule(name, "shared "+name)
	if fresh {
		c.rules[i] = make()
	}
	return ref(i)
}

var annotations = map[string]bool{
	"title": true, "description": true, "default": true, "examples": true, "example": true, "$schema": true, "$id": true,
	"id": true, "$comment": true, "deprecated": true, "readOnly": true, "writeOnly": true, "$defs": true, "definitions": true,
}

// keywords by the type they speak of.
var keywords = map[string][]string{
	"object": {"properties", "required", "additionalProperties"},
	"array":  {"items", "prefixItems", "minItems", "maxItems"},
	"string": {"minLength", "maxLength", "pattern", "format"},
	"number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
}

var combiners = []string{"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}

var allTypes = []string{"object", "array", "string", "number", "boolean", "null"}

// check reports the first keyword that is not supported.
func (c *schemaCompiler) check(o *object, at string) bool {
next:
	for _, k := range o.keys {
		if annotations[k] || slices.Contains(combiners, k) {
			continue
		}
		for _, list := range keywords {
			if slices.Contains(list, k) {
				continue next
			}
		}
		c.fail(at, "the keyword %q is not supported", k)
		return false
	}
	return true
}

// schema is the expression of one schema; at is its place in the document.
func (c *schemaCompiler) schema(v any, at string, depth int) expr {
	if c.err != nil {
		return alt{}
	}
	if depth > maxDepth/4 {
		return c.fail(at, "nested deeper than %d levels", maxDepth/4)
	}
	o, ok := v.(*object)
	if !ok {
		switch v {
		case true:
			return c.anyValue()
		case false:
			return alt{}
		}
		return c.fail(at, "a schema must be an object or a boolean, not %v", v)
	}
	if !c.check(o, at) {
		return alt{}
	}
	meaning := slices.DeleteFunc(slices.Clone(o.keys), func(k string) bool { return annotations[k] })
	alone := func(key string) bool {
		if _, ok := o.vals[key]; !ok {
			return false
		}
		// "type" beside const or enum is common and harmless: it is checked.
		rest := slices.DeleteFunc(slices.Clone(meaning), func(k string) bool {
			return k == key || k == "type" && (key == "const" || key == "enum")
		})
		if len(rest) > 0 {
			c.fail(at, "%q together with %q is not supported", key, rest)
		}
		return true
	}
	if all, ok := o.vals["allOf"]; ok {
		return c.schema(c.merge(o, all, at), at, depth+1)
	}
	switch {
	case alone("$ref"):
		return c.ref(o.vals["$ref"], at)
	case alone("const"):
		return c.values([]any{o.vals["const"]}, o, at+"/const")
	case alone("enum"):
		list, ok := o.vals["enum"].([]any)
		if !ok || len(list) == 0 {
			return c.fail(at, "enum must be a list of at least one value")
		}
		return c.values(list, o, at+"/enum")
	case alone("anyOf"):
		return c.branches(o.vals["anyOf"], at+"/anyOf", depth, false)
	case alone("oneOf"):
		return c.branches(o.vals["oneOf"], at+"/oneOf", depth, true)
	}
	if c.err != nil {
		return alt{}
	}
	types := c.types(o, at)
	var out alt
	for _, t := range types {
		out = append(out, c.typed(t, o, at, depth))
	}
	// A keyword of a type that the schema excludes says nothing, which is
	// more often a mistake than meant.
	for t, list := range keywords {
		for _, k := range list {
			if _, ok := o.vals[k]; ok && !slices.Contains(types, t) && !(t == "number" && slices.Contains(types, "integer")) {
				c.fail(at, "%q speaks of type %s, which this schema excludes", k, t)
			}
		}
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// types lists the types a schema allows; a schema without one is of the type
// its keywords speak of, or of any.
func (c *schemaCompiler) types(o *object, at string) []string {
	v, ok := o.vals["type"]
	if !ok {
		var out []string
		for _, t := range allTypes {
			if slices.ContainsFunc(keywords[t], func(k string) bool { _, ok := o.vals[k]; return ok }) {
				out = append(out, t)
			}
		}
		if len(out) == 0 {
			return allTypes
		}
		return out
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, x := range list {
		s, ok := x.(string)
		if !ok || s != "integer" && !slices.Contains(allTypes, s) {
			c.fail(at, "%v is no type", x)
		}
		out = append(out, s)
	}
	if slices.Contains(out, "number") {
		out = slices.DeleteFunc(out, func(s string) bool { return s == "integer" })
	}
	return out
}

func (c *schemaCompiler) typed(t string, o *object, at string, depth int) expr {
	switch t {
	case "null":
		return lit("null")
	case "boolean":
		return alt{lit("true"), lit("false")}
	case "string":
		return c.str(o, at)
	case "integer":
		return c.integer(o, at)
	case "number":
		return c.number(o, at)
	case "array":
		return c.array(o, at, depth)
	}
	return c.object(o, at, depth)
}

// ref compiles what a $ref points to, once.
func (c *schemaCompiler) ref(v any, at string) expr {
	s, ok := v.(string)
	if !ok || s != "#" && !strings.HasPrefix(s, "#/") {
		return c.fail(at, "$ref %v: only references inside the document (#/…) are supported", v)
	}
	i, fresh := c.rule(fmt.Sprintf("the schema %s", s), "ref "+s)
	if !fresh {
		return ref(i)
	}
	target := c.root
	for _, part := range strings.Split(s, "/")[1:] {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch t := target.(type) {
		case *object:
			if target, ok = t.vals[part]; !ok {
				return c.fail(at, "$ref %q points to nothing", s)
			}
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(t) {
				return c.fail(at, "$ref %q points to nothing", s)
			}
			target = t[n]
		default:
			return c.fail(at, "$ref %q points to nothing", s)
		}
	}
	c.rules[i] = c.schema(target, s, 0)
	return ref(i)
}

func (c *schemaCompiler) branches(v any, at string, depth int, exclusive bool) expr {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return c.fail(at, "must be a list of at least one schema")
	}
	var out alt
	for i, s := range list {
		out = append(out, c.schema(s, fmt.Sprintf("%s/%d", at, i), depth+1))
	}
	if exclusive {
		for i := range list {
			for j := range i {
				if !c.disjoint(list[i], list[j], 0) {
					return c.fail(at, "branches %d and %d may match the same value; use anyOf, or give them different types or a property with different constants", j, i)
				}
			}
		}
	}
	return out
}

// disjoint says whether no value can match both schemas, as far as types,
// constants and required constant properties show.
func (c *schemaCompiler) disjoint(a, b any, depth int) bool {
	x, y := c.deref(a), c.deref(b)
	if a == false || b == false {
		return true
	}
	if x == nil || y == nil || depth > 4 {
		return false
	}
	if v, ok := constants(x); ok {
		if w, ok := constants(y); ok {
			return !slices.ContainsFunc(v, func(s string) bool { return slices.Contains(w, s) })
		}
	}
	kinds := func(o *object) []string {
		if v, ok := constants(o); ok {
			var out []string
			for _, s := range v {
				out = append(out, map[byte]string{'{': "object", '[': "array", '"': "string", 't': "boolean", 'f': "boolean", 'n': "null"}[s[0]])
				if out[len(out)-1] == "" {
					out[len(out)-1] = "number"
				}
			}
			return out
		}
		if _, ok := o.vals["type"]; !ok {
			return nil
		}
		out := (&schemaCompiler{}).types(o, "")
		for i, t := range out {
			if t == "integer" {
				out[i] = "number"
			}
		}
		return out
	}
	s, t := kinds(x), kinds(y)
	if s == nil || t == nil {
		return false
	}
	if !slices.ContainsFunc(s, func(k string) bool { return slices.Contains(t, k) }) {
		return true
	}
	if !slices.Equal(s, []string{"object"}) || !slices.Equal(t, []string{"object"}) {
		return false
	}
	// Objects: a property that both require, with schemas that exclude each
	// other.
	p, _ := x.vals["properties"].(*object)
	q, _ := y.vals["properties"].(*object)
	if p == nil || q == nil {
		return false
	}
	for _, k := range required(x) {
		if slices.Contains(required(y), k) && p.vals[k] != nil && q.vals[k] != nil && c.disjoint(p.vals[k], q.vals[k], depth+1) {
			return true
		}
	}
	return false
}

// deref is the object a schema is, through references; nil if there is none.
func (c *schemaCompiler) deref(v any) *object {
	for range 20 {
		o, ok := v.(*object)
		if !ok {
			return nil
		}
		s, ok := o.vals["$ref"].(string)
		if !ok {
			return o
		}
		v = c.root
		for _, part := range strings.Split(s, "/")[1:] {
			t, ok := v.(*object)
			if !ok {
				return nil
			}
			v = t.vals[strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")]
		}
	}
	return nil
}

// constants are the values that const or enum allow, as canonical JSON.
func constants(o *object) ([]string, bool) {
	if v, ok := o.vals["const"]; ok {
		return []string{canonical(v)}, true
	}
	if list, ok := o.vals["enum"].([]any); ok {
		var out []string
		for _, v := range list {
			out = append(out, canonical(v))
		}
		return out, true
	}
	return nil, false
}

func required(o *object) []string {
	list, _ := o.vals["required"].([]any)
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// canonical is one text for equal JSON values.
func canonical(v any) string {
	switch v := v.(type) {
	case *object:
		keys := slices.Sorted(slices.Values(v.keys))
		var b strings.Builder
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(quote(k) + ":" + canonical(v.vals[k]) + ",")
		}
		return b.String() + "}"
	case []any:
		var b strings.Builder
		b.WriteByte('[')
		for _, x := range v {
			b.WriteString(canonical(x) + ",")
		}
		return b.String() + "]"
	case json.Number:
		if len(v) < 100 && !strings.ContainsAny(string(v), "eE") {
			if r, ok := new(big.Rat).SetString(string(v)); ok {
				return r.RatString()
			}
		}
		return string(v)
	case string:
		return quote(v)
	}
	return fmt.Sprint(v) // true, false
}

// merge is allOf and what stands beside it as one schema.
func (c *schemaCompiler) merge(o *object, all any, at string) any {
	list, ok := all.([]any)
	if !ok || len(list) == 0 {
		c.fail(at+"/allOf", "must be a list of at least one schema")
		return false
	}
	out := &object{vals: map[string]any{}}
	put := func(k string, v any, at string) {
		have, ok := out.vals[k]
		switch {
		case !ok:
			out.keys = append(out.keys, k)
			out.vals[k] = v
		case annotations[k] || canonicalAny(have) == canonicalAny(v):
		case k == "required":
			a, aok := have.([]any)
			b, bok := v.([]any)
			if aok && bok {
				out.vals[k] = append(slices.Clone(a), b...)
				return
			}
			c.fail(at, "required must be a list")
		case k == "properties":
			a, aok := have.(*object)
			b, bok := v.(*object)
			if !aok || !bok {
				c.fail(at, "properties must be an object")
				return
			}
			m := &object{keys: slices.Clone(a.keys), vals: map[string]any{}}
			for _, p := range a.keys {
				m.vals[p] = a.vals[p]
			}
			for _, p := range b.keys {
				if old, ok := m.vals[p]; ok {
					if canonicalAny(old) != canonicalAny(b.vals[p]) {
						c.fail(at, "the parts of allOf disagree on the property %q, which is not supported", p)
					}
					continue
				}
				m.keys = append(m.keys, p)
				m.vals[p] = b.vals[p]
			}
			out.vals[k] = m
		default:
			c.fail(at, "the parts of allOf disagree on %q, which is not supported", k)
		}
	}
	for _, k := range o.keys {
		if k != "allOf" {
			put(k, o.vals[k], at)
		}
	}
	closed := 0
	for i, s := range list {
		place := fmt.Sprintf("%s/allOf/%d", at, i)
		part := c.deref(s)
		if part == nil {
			c.fail(place, "a part of allOf must be an object")
			return false
		}
		if len(list) == 1 && len(out.keys) == 0 {
			return s
		}
		for _, k := range part.keys {
			if k == "allOf" || k == "$ref" {
				c.fail(place, "%q inside allOf is not supported", k)
			}
			if k == "additionalProperties" {
				closed++
			}
			put(k, part.vals[k], place)
		}
	}
	// In a schema of its own, additionalProperties does not see the
	// properties of the other parts.
	if closed > 0 {
		c.fail(at, "additionalProperties inside allOf is not supported")
	}
	return out
}

func canonicalAny(v any) string {
	if v == nil {
		return "null"
	}
	return canonical(v)
}

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

func (c *schemaCompiler) array(o *object, at string, depth int) expr {
	lo, hi := c.whole(o, "minItems", at, 0), c.whole(o, "maxItems", at, -1)
	var prefix []any
	if v, ok := o.vals["prefixItems"]; ok {
		if prefix, ok = v.([]any); !ok {
			return c.fail(at, "prefixItems must be a list")
		}
	}
	rest, hasRest := o.vals["items"]
	if list, ok := rest.([]any); ok { // the older spelling of prefixItems
		if prefix != nil {
			return c.fail(at, "items as a list beside prefixItems")
		}
		prefix, hasRest = list, false
	}
	if hasRest && rest == false || !hasRest && len(prefix) > 0 && hi < 0 && lo <= len(prefix) {
		// Nothing behind the tuple: by the schema, or as our choice.
		if hi < 0 || hi > len(prefix) {
			hi = len(prefix)
		}
	}
	if hi >= 0 && hi < lo {
		return c.fail(at, "at most %d items are possible, but minItems is %d", hi, lo)
	}
	item := func(i int) expr {
		if i < len(prefix) {
			return seq{c.schema(prefix[i], fmt.Sprintf("%s/prefixItems/%d", at, i), depth+1), c.ws()}
		}
		return nil
	}
	var more expr
	if hi < 0 || hi > len(prefix) {
		e := c.anyValue()
		if hasRest {
			e = c.schema(rest, at+"/items", depth+1)
		}
		i, _ := c.rule("the items of "+at, fmt.Sprintf("items %d", len(c.rules)))
		c.rules[i] = seq{e, c.ws()}
		more = ref(i)
	}
	comma := seq{lit(","), c.ws()}
	// Items from i on, given that i of them stand before.
	var tail func(i int) expr
	tail = func(i int) expr {
		var next expr
		switch {
		case i == hi:
			return seq{}
		case i >= len(prefix):
			// The rest is a repetition.
			left := -1
			if hi >= 0 {
				left = hi - i
			}
			if i > 0 {
				return rep{seq{comma, more}, max(0, lo-i), left}
			}
			if left > 0 {
				left--
			}
			all := seq{more, rep{seq{comma, more}, max(0, lo-1), left}}
			if lo == 0 {
				return rep{all, 0, 1}
			}
			return all
		}
		next = seq{item(i), tail(i + 1)}
		if i > 0 {
			next = seq{comma, item(i), tail(i + 1)}
		}
		if i < lo {
			return next
		}
		return rep{next, 0, 1}
	}
	if len(prefix) > maxDepth/4 {
		return c.fail(at, "more than %d prefixItems", maxDepth/4)
	}
	return seq{lit("["), c.ws(), tail(0), lit("]")}
}

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
	for _, k := range props.keys {
		e := seq{lit(quote(k) + ":"), c.ws(), c.schema(props.vals[k], at+"/properties/"+k, depth+1), c.ws()}
		members = append(members, member{e, slices.Contains(need, k)})
	}
	known := slices.Clone(props.keys)
	for _, k := range need {
		if slices.Contains(known, k) {
			continue
		}
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
		c.rules[i] = seq{c.otherKey(known), lit(":"), c.ws(), extraExpr, c.ws()}
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

// otherKey is a string that is none of the keys. It has no escapes, so that a
// key has one spelling.
func (c *schemaCompiler) otherKey(keys []string) expr {
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
				continue // such a key can't be spelt without escapes
			}
			i := c.fresh("a further key")
			c.rules[i] = follow(rests, depth+1)
			out = append(out, seq{class{r, r}, ref(i)})
		}
		return append(out, seq{complement(taken), rep{plain, 0, -1}, lit(`"`)})
	}
	return seq{lit(`"`), follow(keys, 0)}
}
