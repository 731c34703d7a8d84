package constrain

import (
	"fmt"
	"maps"
	"slices"
)

// maxUnfolded bounds the schemas that distribute makes: references in branches
// are followed, and may multiply.
const maxUnfolded = 10_000

// distribute puts what stands beside anyOf or oneOf into each of its branches.
func (c *schemaCompiler) distribute(o *object, key string, list []any, at string) []any {
	if c.unfolded += len(list); c.unfolded > maxUnfolded {
		c.fail(at, "anyOf and oneOf beside other keywords unfold to more than %d schemas", maxUnfolded)
		return nil
	}
	rest := &object{vals: map[string]any{}}
	for _, k := range o.keys {
		if k != key && !annotation(k) {
			rest.keys = append(rest.keys, k)
			rest.vals[k] = o.vals[k]
		}
	}
	out := make([]any, len(list))
	for i, branch := range list {
		switch branch {
		case true:
			out[i] = rest
		case false:
			out[i] = false
		default:
			out[i] = c.merge(rest, []any{branch}, fmt.Sprintf("%s/%s/%d", at, key, i))
		}
	}
	return out
}

// merge is allOf and what stands beside it as one schema.
func (c *schemaCompiler) merge(o *object, all any, at string) any {
	list, ok := all.([]any)
	if !ok || len(list) == 0 {
		c.fail(at+"/allOf", "must be a list of at least one schema")
		return false
	}
	m := merger{c: c, out: &object{vals: map[string]any{}}, merged: map[*object]bool{}}
	for _, k := range o.keys {
		if k != "allOf" {
			m.put(k, o.vals[k], at)
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
		if len(list) == 1 && len(m.out.keys) == 0 {
			return s
		}
		for _, k := range part.keys {
			if k == "allOf" || k == "$ref" {
				c.fail(place, "%q inside allOf is not supported", k)
			}
			if k == "additionalProperties" {
				closed++
			}
			m.put(k, part.vals[k], place)
		}
	}
	if v, ok := o.vals["additionalProperties"]; ok && v != true {
		own, _ := o.vals["properties"].(*object)
		all, _ := m.out.vals["properties"].(*object)
		if all != nil && (own == nil || len(all.keys) > len(own.keys)) {
			c.fail(at, "additionalProperties beside allOf, anyOf or oneOf with properties of their own is not supported")
		}
	}
	// In a schema of its own, additionalProperties does not see the
	// properties of the other parts.
	if closed > 0 {
		c.fail(at, "additionalProperties inside allOf is not supported")
	}
	return m.out
}

// merger puts schemas together.
type merger struct {
	c   *schemaCompiler
	out *object
	// What was made here may grow; what belongs to the document may not.
	merged   map[*object]bool // properties
	required int              // length of the list that was made here
}

// put adds what a part says of key k.
func (m *merger) put(k string, v any, at string) {
	have, ok := m.out.vals[k]
	switch {
	case !ok:
		m.out.keys = append(m.out.keys, k)
		m.out.vals[k] = v
	case annotation(k):
	case k == "required":
		a, aok := have.([]any)
		b, bok := v.([]any)
		if !aok || !bok {
			m.c.fail(at, "required must be a list")
			return
		}
		if m.required != len(a) || m.required == 0 {
			a = slices.Clone(a)
		}
		all := append(a, b...)
		m.out.vals[k], m.required = all, len(all)
	case k == "properties":
		m.properties(have, v, at)
	case canonicalAny(have) == canonicalAny(v):
	case k == "pattern":
		list, ok := have.(patternList)
		if !ok {
			list = patternList{have}
		}
		m.out.vals[k] = append(slices.Clone(list), v)
	default:
		m.c.fail(at, "the parts of allOf disagree on %q, which is not supported", k)
	}
}

// properties adds the properties v to those that are there.
func (m *merger) properties(have, v any, at string) {
	a, aok := have.(*object)
	b, bok := v.(*object)
	if !aok || !bok {
		m.c.fail(at, "properties must be an object")
		return
	}
	all := a
	if !m.merged[a] {
		all = &object{keys: slices.Clone(a.keys), vals: maps.Clone(a.vals)}
		m.merged[all] = true
	}
	for _, p := range b.keys {
		if old, ok := all.vals[p]; ok {
			if canonicalAny(old) != canonicalAny(b.vals[p]) {
				m.c.fail(at, "the parts of allOf disagree on the property %q, which is not supported", p)
			}
			continue
		}
		all.keys = append(all.keys, p)
		all.vals[p] = b.vals[p]
	}
	m.out.vals["properties"] = all
}
