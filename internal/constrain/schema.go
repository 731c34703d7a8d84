package constrain

import (
	"fmt"
	"slices"
	"strings"
)

// Schema compiles a JSON schema (draft 2020-12, and what older drafts name
// differently) to a grammar whose every match is a JSON text that validates.
//
// Supported: type, enum, const, properties, required, additionalProperties,
// items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
// format, minimum, maximum, exclusiveMinimum, exclusiveMaximum (as numbers or,
// in draft 4, booleans), anyOf, oneOf (where the branches exclude each other),
// allOf (where the parts don't conflict), $ref inside the document by pointer
// or $anchor, $defs, and all annotations, those of OpenAPI too. Anything else
// is an error that names the keyword and its place.
//
// A pattern is ECMAScript's, in Unicode mode; \d, \w, \s and the dot stand for
// what ECMAScript and Python agree on, their complements for what both leave
// out. Bounds of numbers are exact, up to 100 digits.
//
// Matches are a part of what validates: properties come in the schema's
// order, further ones only where additionalProperties asks for them, numbers
// have at most 15 digits before and after the point unless their bounds have
// more, white space is a blank or a line break with up to 20 blanks.
//
// A schema may have 1 MB, its patterns 64 kB each, its grammar 400,000 states.
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

// schemaCompiler makes grammar rules of schemas.
type schemaCompiler struct {
	root  any
	rules []expr
	names []string
	index map[string]int // rules by what they are for
	named map[string]any // schemas by $anchor, once they are looked for
	// unfolded counts the schemas made of branches and what stands beside them.
	unfolded int
	err      error
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
	"id": true, "$anchor": true, "$vocabulary": true, "$comment": true, "deprecated": true, "readOnly": true, "writeOnly": true, "$defs": true,
	"definitions": true, "contentMediaType": true, "contentEncoding": true, "contentSchema": true,
	// OpenAPI's and editors'. A discriminator only says what the branches do.
	"discriminator": true, "xml": true, "externalDocs": true, "nullable": true, "propertyOrdering": true, "markdownDescription": true,
	"enumNames": true, "enumDescriptions": true, "x-enum-varnames": true,
}

// annotation marks a keyword that constrains nothing.
func annotation(key string) bool { return annotations[key] || strings.HasPrefix(key, "x-") }

// keywords by the type they constrain.
var keywords = map[string][]string{
	"object": {"properties", "required", "additionalProperties"},
	"array":  {"items", "prefixItems", "minItems", "maxItems"},
	"string": {"minLength", "maxLength", "pattern", "format"},
	"number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
}

// speaksOf is the type that a keyword constrains, "" if it constrains none.
func speaksOf(key string, value any) string {
	switch value {
	case "int32", "int64", "float", "double": // OpenAPI's formats of numbers
		if key == "format" {
			return "number"
		}
	}
	for t, list := range keywords {
		if slices.Contains(list, key) {
			return t
		}
	}
	return ""
}

var combiners = []string{"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}

var allTypes = []string{"object", "array", "string", "number", "boolean", "null"}

// check reports the first keyword that is not supported.
func (c *schemaCompiler) check(o *object, at string) bool {
	for _, k := range o.keys {
		if annotation(k) || slices.Contains(combiners, k) || speaksOf(k, nil) != "" {
			continue
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
	if x, ok := c.combined(o, at, depth); ok {
		return x
	}
	if c.err != nil {
		return alt{}
	}
	types := c.types(o, at)
	var out alt
	for _, t := range types {
		out = append(out, c.typed(t, o, at, depth))
	}
	c.checkTypes(o, types, at)
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// combined is the expression of a schema that refers to others or lists its values; false if it has none of these keywords.
func (c *schemaCompiler) combined(o *object, at string, depth int) (expr, bool) {
	if all, ok := o.vals["allOf"]; ok {
		return c.schema(c.merge(o, all, at), at, depth+1), true
	}
	meaning := slices.DeleteFunc(slices.Clone(o.keys), annotation)
	for _, k := range []string{"anyOf", "oneOf"} {
		if list, ok := o.vals[k].([]any); ok && len(list) > 0 && len(meaning) > 1 {
			list = c.distribute(o, k, list, at)
			if c.err != nil {
				return alt{}, true
			}
			return c.branches(list, at+"/"+k, depth, k == "oneOf"), true
		}
	}
	for _, key := range []string{"$ref", "const", "enum", "anyOf", "oneOf"} {
		v, ok := o.vals[key]
		if !ok {
			continue
		}
		// "type" beside const or enum is common and harmless: it is checked.
		rest := slices.DeleteFunc(meaning, func(k string) bool {
			return k == key || k == "type" && (key == "const" || key == "enum")
		})
		if len(rest) > 0 {
			c.fail(at, "%q together with %q is not supported", key, rest)
		}
		return c.alone(key, v, o, at, depth), true
	}
	return nil, false
}

// alone is the expression of a keyword beside which no other has a meaning.
func (c *schemaCompiler) alone(key string, v any, o *object, at string, depth int) expr {
	switch key {
	case "$ref":
		return c.ref(v, at)
	case "const":
		return c.values([]any{v}, o, at+"/const")
	case "enum":
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return c.fail(at, "enum must be a list of at least one value")
		}
		return c.values(list, o, at+"/enum")
	}
	return c.branches(v, at+"/"+key, depth, key == "oneOf")
}

// checkTypes refuses a keyword of a type that the schema excludes: it says nothing, which is more often a mistake than meant.
func (c *schemaCompiler) checkTypes(o *object, types []string, at string) {
	for _, k := range o.keys {
		t := speaksOf(k, o.vals[k])
		if t != "" && !slices.Contains(types, t) && !(t == "number" && slices.Contains(types, "integer")) {
			c.fail(at, "%q speaks of type %s, which this schema excludes", k, t)
		}
	}
}

// types lists the types a schema allows; a schema without one is of the type
// its keywords constrain, or of any.
func (c *schemaCompiler) types(o *object, at string) []string {
	v, ok := o.vals["type"]
	if !ok {
		var out []string
		for _, t := range allTypes {
			if slices.ContainsFunc(o.keys, func(k string) bool { return speaksOf(k, o.vals[k]) == t }) {
				out = append(out, t)
			}
		}
		if f, ok := o.vals["format"].(string); ok && len(out) == 1 && out[0] == "number" && strings.HasPrefix(f, "int") {
			out[0] = "integer"
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
