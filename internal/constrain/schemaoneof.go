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
