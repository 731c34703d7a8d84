package jinja

import (
	"strings"
)

// truth is Python's bool() of a value that must be defined in a strict template.
func (ev *evaluator) truth(v Value) bool {
	ev.defined(v, 0)
	return truth(v)
}

// defined fails in a strict template if v is undefined.
func (ev *evaluator) defined(v Value, line int) {
	if u, ok := v.(undefined); ok && ev.strict {
		ev.fail(max(line, ev.line), "%s is undefined", u.what)
	}
}

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Str:
		return v.S != ""
	case *List:
		return v.kind == generator || len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

func (ev *evaluator) compare(op string, x, y Value, line int) bool {
	switch op {
	case "==":
		return ev.equal(x, y, line)
	case "!=":
		return !ev.equal(x, y, line)
	case "in":
		return ev.contains(y, x, line)
	case "not in":
		return !ev.contains(y, x, line)
	}
	c := ev.order(x, y, line)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (ev *evaluator) equal(x, y Value, line int) bool {
	ev.work(line, 1)
	ev.defined(x, line)
	ev.defined(y, line)
	switch a := x.(type) {
	case nil:
		return y == nil
	case undefined:
		_, ok := y.(undefined)
		return ok
	case bool, int64, float64:
		if !isNumber(y) {
			return false
		}
		ai, aok := ev.number(x, line, "").(int64)
		bi, bok := ev.number(y, line, "").(int64)
		if aok && bok {
			return ai == bi
		}
		return toFloat(x) == toFloat(y)
	case Str:
		b, ok := y.(Str)
		if !ok || len(a.S) != len(b.S) {
			return false
		}
		ev.work(line, len(a.S)/32)
		return a.S == b.S
	case *List:
		b, ok := y.(*List)
		if !ok || a.kind != b.kind || len(a.items) != len(b.items) {
			return false
		}
		ev.deeper(line)
		defer func() { ev.depth-- }()
		for i := range a.items {
			if !ev.equal(a.items[i], b.items[i], line) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := y.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		ev.deeper(line)
		defer func() { ev.depth-- }()
		for i, k := range a.keys {
			v, ok := ev.get(b, k, line)
			if !ok || !ev.equal(a.vals[i], v, line) {
				return false
			}
		}
		return true
	}
	return x == y // functions and the like: the same object
}

// order compares for <, sort, min and max.
func (ev *evaluator) order(x, y Value, line int) int {
	ev.work(line, 1)
	if isNumber(x) && isNumber(y) {
		a, aok := ev.number(x, line, "").(int64)
		b, bok := ev.number(y, line, "").(int64)
		if aok && bok {
			switch {
			case a < b:
				return -1
			case a > b:
				return 1
			}
			return 0
		}
		switch f, g := toFloat(x), toFloat(y); {
		case f < g:
			return -1
		case f > g:
			return 1
		}
		return 0
	}
	switch a := x.(type) {
	case Str:
		if b, ok := y.(Str); ok {
			ev.work(line, min(len(a.S), len(b.S))/32)
			return strings.Compare(a.S, b.S)
		}
	case *List:
		if b, ok := y.(*List); ok && a.kind == b.kind && a.kind <= tuple {
			for i := range min(len(a.items), len(b.items)) {
				if !ev.equal(a.items[i], b.items[i], line) {
					ev.deeper(line) // not undone: an order of lists is rare
					return ev.order(a.items[i], b.items[i], line)
				}
			}
			return len(a.items) - len(b.items)
		}
	case undefined:
		ev.fail(line, "%s is undefined", a.what)
	}
	if b, ok := y.(undefined); ok {
		ev.fail(line, "%s is undefined", b.what)
	}
	ev.fail(line, "%s and %s can't be ordered", typeName(x), typeName(y))
	return 0
}

func (ev *evaluator) contains(in, x Value, line int) bool {
	switch c := in.(type) {
	case Str:
		s, ok := x.(Str)
		if !ok {
			if u, ok := x.(undefined); ok {
				ev.fail(line, "%s is undefined", u.what)
			}
			ev.fail(line, "'in <string>' needs a string on the left, not %s", typeName(x))
		}
		ev.work(line, len(c.S)/4)
		return strings.Contains(c.S, s.S)
	case *Dict:
		if _, ok := hash(x); !ok {
			ev.fail(line, "%s can't be a key", typeName(x))
		}
		_, ok := ev.get(c, x, line)
		return ok
	}
	for _, v := range ev.iterate(in, line) {
		if ev.equal(v, x, line) {
			return true
		}
	}
	return false
}
