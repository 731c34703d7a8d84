package constrain

import (
	"fmt"
	"strconv"
	"strings"
)

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
