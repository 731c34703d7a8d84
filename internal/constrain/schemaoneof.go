package constrain

import (
	"fmt"
	"slices"
)

func (c *schemaCompiler) branches(v any, at string, depth int, exclusive bool) expr {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return c.fail(at, "must be a list of at least one schema")
	}
	var out alt
	for i, s := range list {
		out = append(out, c.schema(s, fmt.Sprintf("%s/%d", at, i), depth+1))
	}
	if exclusive && c.err == nil {
		c.exclusive(list, at)
	}
	return out
}

// maxPairs bounds the pairs of branches that are compared one by one.
const maxPairs = 50_000

// exclusive checks that no value matches two branches of a oneOf. What most
// schemas have takes one pass: constants, or objects with a property that
// tells them apart. The rest is compared in pairs.
func (c *schemaCompiler) exclusive(list []any, at string) {
	if c.apart(list, func(v any) ([]string, bool) {
		if o := c.deref(v); o != nil {
			return constants(o)
		}
		return nil, false
	}) || c.discriminated(list) {
		return
	}
	if n := len(list); n*(n-1)/2 > maxPairs {
		c.fail(at, "it does not show that the %d branches exclude each other; use anyOf, or give all of them a required property with different constants", n)
		return
	}
	for i := range list {
		for j := range i {
			if !c.disjoint(list[i], list[j], 0) {
				c.fail(at, "branches %d and %d may match the same value; use anyOf, or give them different types or a property with different constants", j, i)
				return
			}
		}
	}
}

// apart reports whether all branches have constants, each its own.
func (c *schemaCompiler) apart(list []any, of func(v any) ([]string, bool)) bool {
	owner := map[string]int{}
	for i, v := range list {
		consts, ok := of(v)
		if !ok {
			return false
		}
		for _, s := range consts {
			if j, taken := owner[s]; taken && j != i {
				return false
			}
			owner[s] = i
		}
	}
	return true
}

// discriminated reports whether all branches are objects with a required
// property whose constants tell them apart.
func (c *schemaCompiler) discriminated(list []any) bool {
	property := func(v any, name string) ([]string, bool) {
		o := c.deref(v)
		if o == nil || o.vals["type"] != "object" {
			return nil, false
		}
		props, ok := o.vals["properties"].(*object)
		if !ok || !slices.Contains(required(o), name) {
			return nil, false
		}
		p := c.deref(props.vals[name])
		if p == nil {
			return nil, false
		}
		return constants(p)
	}
	first := c.deref(list[0])
	if first == nil {
		return false
	}
	tried := 0
	for _, name := range required(first) {
		if _, ok := property(list[0], name); !ok {
			continue
		}
		if tried++; tried > 20 {
			break
		}
		if c.apart(list, func(v any) ([]string, bool) { return property(v, name) }) {
			return true
		}
	}
	return false
}

// disjoint reports whether no value can match both schemas, as far as types,
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
	xNeeds, yNeeds := required(x), required(y)
	// A closed object has none of the properties that it does not declare.
	closed := func(o, props *object, needs []string) bool {
		return o.vals["additionalProperties"] == false &&
			slices.ContainsFunc(needs, func(k string) bool { _, ok := props.vals[k]; return !ok })
	}
	if closed(x, p, yNeeds) || closed(y, q, xNeeds) {
		return true
	}
	for _, k := range xNeeds {
		if slices.Contains(yNeeds, k) && p.vals[k] != nil && q.vals[k] != nil && c.disjoint(p.vals[k], q.vals[k], depth+1) {
			return true
		}
	}
	return false
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
