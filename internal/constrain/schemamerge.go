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
	if v, ok := o.vals["additionalProperties"]; ok && v != true {
		own, _ := o.vals["properties"].(*object)
		all, _ := out.vals["properties"].(*object)
		if all != nil && (own == nil || len(all.keys) > len(own.keys)) {
			c.fail(at, "additionalProperties beside allOf, anyOf or oneOf with properties of their own is not supported")
		}
	}
	// In a schema of its own, additionalProperties does not see the
	// properties of the other parts.
	if closed > 0 {
		c.fail(at, "additionalProperties inside allOf is not supported")
	}
	return out
}
