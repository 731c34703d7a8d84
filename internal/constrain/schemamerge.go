package constrain

import (
	"fmt"
	"maps"
	"slices"
)

// merge is allOf and what stands beside it as one schema.
func (c *schemaCompiler) merge(o *object, all any, at string) any {
	list, ok := all.([]any)
	if !ok || len(list) == 0 {
		c.fail(at+"/allOf", "must be a list of at least one schema")
		return false
	}
	out := &object{vals: map[string]any{}}
	// What was made here may grow; what belongs to the document may not.
	merged := map[*object]bool{}
	owned := 0
	own := func(list []any) []any {
		if owned == len(list) && owned > 0 {
			return list
		}
		return slices.Clone(list)
	}
	put := func(k string, v any, at string) {
		have, ok := out.vals[k]
		switch {
		case !ok:
			out.keys = append(out.keys, k)
			out.vals[k] = v
		case annotation(k):
		case k == "required":
			a, aok := have.([]any)
			b, bok := v.([]any)
			if aok && bok {
				all := append(own(a), b...)
				out.vals[k], owned = all, len(all)
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
			m := a
			if !merged[a] {
				m = &object{keys: slices.Clone(a.keys), vals: maps.Clone(a.vals)}
				merged[m] = true
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
		case canonicalAny(have) == canonicalAny(v):
		case k == "pattern":
			list, ok := have.(patternList)
			if !ok {
				list = patternList{have}
			}
			out.vals[k] = append(slices.Clone(list), v)
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
