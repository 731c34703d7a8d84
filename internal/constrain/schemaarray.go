package constrain

import "fmt"

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
		// Nothing after the tuple: by the schema, or as our choice.
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
