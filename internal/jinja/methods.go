package jinja

import (
	"slices"
)

// method is attribute name of x as Python has it; false if there is none.
func (ev *evaluator) method(x Value, name string, line int) (Value, bool) {
	switch x := x.(type) { // of these, values may be none
	case *namespace:
		return x.d.get(Str{S: name})
	case *List:
		if i := slices.Index(x.fields, name); i >= 0 {
			return x.items[i], true
		}
	case *loopVar:
		if name == "previtem" && x.i > 0 {
			return x.items[x.i-1], true
		}
		if name == "nextitem" && x.i < len(x.items)-1 {
			return x.items[x.i+1], true
		}
	}
	m := ev.method1(x, name, line)
	return m, m != nil
}

// method1 is method for all but namespaces, nil if there is none.
func (ev *evaluator) method1(x Value, name string, line int) Value {
	switch x := x.(type) {
	case Str:
		if m, ok := strMethods[name]; ok {
			return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
				ev.grown(line, len(x.S))
				return m(ev, x, a, line)
			})
		}
	case *Dict:
		return dictMethod(x, name)
	case *List:
		switch name {
		case "index", "count":
			if x.kind > rangeObj {
				return nil
			}
			return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
				v, _ := a.get(0, "")
				n := int64(0)
				for i, y := range x.items {
					if ev.equal(y, v, line) {
						if name == "index" {
							return int64(i)
						}
						n++
					}
				}
				if name == "index" {
					ev.fail(line, "the value is not in the list")
				}
				return n
			})
		case "copy":
			if x.kind == list {
				return fn(name, func(ev *evaluator, line int, a *callArgs) Value { return x })
			}
		case "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse":
			if x.kind == list {
				ev.fail(line, "a template may not change a list (%s)", name)
			}
		}
	case *loopVar:
		return x.attr(name)
	case *macro:
		switch name {
		case "name":
			return Str{S: x.def.name}
		case "arguments":
			l := &List{kind: tuple}
			for _, p := range x.def.params {
				l.items = append(l.items, Str{S: p})
			}
			return l
		}
	}
	return nil
}

func dictMethod(d *Dict, name string) Value {
	var call func(ev *evaluator, line int, a *callArgs) Value
	switch name {
	case "items":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			return &List{items: pairs(ev, d, line), kind: view, name: "dict_items"}
		}
	case "keys":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.work(line, len(d.keys))
			return &List{items: slices.Clone(d.keys), kind: view, name: "dict_keys"}
		}
	case "values":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.work(line, len(d.keys))
			return &List{items: slices.Clone(d.vals), kind: view, name: "dict_values"}
		}
	case "get":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			k, ok := a.get(0, "")
			if !ok {
				ev.fail(line, "get needs a key")
			}
			if v, ok := ev.get(d, k, line); ok {
				return v
			}
			v, _ := a.get(1, "default")
			return v
		}
	case "copy":
		call = func(ev *evaluator, line int, a *callArgs) Value { return d }
	case "pop", "popitem", "update", "setdefault", "clear":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.fail(line, "a template may not change a dictionary (%s)", name)
			return nil
		}
	default:
		return nil
	}
	return fn(name, call)
}

func pairs(ev *evaluator, d *Dict, line int) []Value {
	ev.work(line, 2*len(d.keys))
	out := make([]Value, len(d.keys))
	for i, k := range d.keys {
		out[i] = &List{items: []Value{k, d.vals[i]}, kind: tuple}
	}
	return out
}

func (l *loopVar) attr(name string) Value {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1)
	case "index0":
		return int64(l.i)
	case "revindex":
		return int64(n - l.i)
	case "revindex0":
		return int64(n - l.i - 1)
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return int64(n)
	case "depth":
		return int64(l.depth)
	case "depth0":
		return int64(l.depth - 1)
	case "previtem":
		return undefined{"there is no previous item"}
	case "nextitem":
		return undefined{"there is no next item"}
	case "cycle":
		i := l.i
		return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
			if len(a.pos) == 0 {
				ev.fail(line, "no items for cycling given")
			}
			return a.pos[i%len(a.pos)]
		})
	case "changed":
		return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
			now := &List{items: a.pos, kind: tuple}
			if l.started && ev.equal(l.changed, now, line) {
				return false
			}
			l.started, l.changed = true, now
			return true
		})
	}
	return nil
}
