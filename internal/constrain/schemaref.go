package constrain

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ref compiles what a $ref points to, once.
func (c *schemaCompiler) ref(v any, at string) expr {
	s, ok := v.(string)
	if !ok {
		return c.fail(at, "$ref must be a string, not %v", v)
	}
	target, place, err := c.resolve(s)
	if err != nil {
		return c.fail(at, "$ref %.200q %v", s, err)
	}
	i, fresh := c.rule(fmt.Sprintf("the schema %s", place), "ref "+place)
	if fresh {
		c.rules[i] = c.schema(target, place, 0)
	}
	return ref(i)
}

// resolve finds what a reference points to: a JSON pointer (RFC 6901) as a
// URI fragment, in which characters may be percent-encoded, or the name of an
// $anchor. place is the pointer with its escapes undone.
func (c *schemaCompiler) resolve(s string) (target any, place string, err error) {
	fragment, ok := strings.CutPrefix(s, "#")
	if root, isObject := c.root.(*object); !ok && isObject {
		// A document may call itself by its name.
		if id, isText := root.vals["$id"].(string); isText && strings.HasPrefix(s, strings.TrimSuffix(id, "#")) {
			fragment = strings.TrimPrefix(s, strings.TrimSuffix(id, "#"))
			fragment, ok = strings.CutPrefix(fragment, "#")
			ok = ok || fragment == ""
		}
	}
	if !ok {
		return nil, "", errors.New("leads out of the document: only references inside the document (#/…) are supported")
	}
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return nil, "", errors.New("is percent-encoded in a wrong way")
	}
	if pointer != "" && pointer[0] != '/' {
		target, ok := c.anchors()[pointer]
		if !ok {
			return nil, "", fmt.Errorf("points to nothing: no schema has the $anchor %.100q", pointer)
		}
		return target, "#" + pointer, nil
	}
	target = c.root
	for _, part := range strings.Split(pointer, "/")[1:] {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		ok := false
		switch t := target.(type) {
		case *object:
			target, ok = t.vals[part]
		case []any:
			n, err := strconv.Atoi(part)
			if ok = err == nil && n >= 0 && n < len(t) && strconv.Itoa(n) == part; ok {
				target = t[n]
			}
		}
		if !ok {
			return nil, "", errors.New("points to nothing")
		}
	}
	return target, "#" + pointer, nil
}

// anchors are the schemas by the name of their $anchor.
func (c *schemaCompiler) anchors() map[string]any {
	if c.named != nil {
		return c.named
	}
	c.named = map[string]any{}
	var find func(v any)
	find = func(v any) {
		switch v := v.(type) {
		case *object:
			if name, ok := v.vals["$anchor"].(string); ok {
				c.named[name] = v
			}
			for _, k := range v.keys {
				if k != "const" && k != "enum" && k != "default" && k != "examples" {
					find(v.vals[k])
				}
			}
		case []any:
			for _, x := range v {
				find(x)
			}
		}
	}
	find(c.root)
	return c.named
}

// deref is the object a schema is, through references; nil if there is none.
func (c *schemaCompiler) deref(v any) *object {
	for range maxDepth {
		o, ok := v.(*object)
		if !ok {
			return nil
		}
		s, ok := o.vals["$ref"].(string)
		if !ok {
			return o
		}
		var err error
		if v, _, err = c.resolve(s); err != nil {
			return nil
		}
	}
	return nil
}
