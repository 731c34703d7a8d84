package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// pick is select, reject, selectattr and rejectattr.
func pick(byAttr, keep bool) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		if !truth(x) { // none, zero and false give nothing here, as in map
			return &List{kind: generator}
		}
		pos := a.pos
		var attr Value
		if byAttr {
			if len(pos) == 0 {
				ev.fail(line, "missing the attribute's name")
			}
			attr, pos = pos[0], pos[1:]
		}
		test := func(v Value) bool { return truth(v) }
		if len(pos) > 0 {
			name, ok := pos[0].(Str)
			if !ok {
				ev.fail(line, "the name of a test must be a string")
			}
			rest := &callArgs{pos: pos[1:], names: a.names, vals: a.vals}
			test = func(v Value) bool { return ev.test(name.S, v, rest, line) }
		}
		out := &List{kind: generator}
		for _, v := range ev.iterate(x, line) {
			ev.work(line, 1)
			if test(ev.path(v, attr, line)) == keep {
				out.items = append(out.items, v)
			}
		}
		return out
	}
}

// extreme is min and max.
func extreme(sign int) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		attr, _ := a.get(1, "attribute")
		sensitive := optBool(a, 0, "case_sensitive", false)
		var best, bestKey Value
		any := false
		for i, v := range ev.iterate(x, line) {
			any = true
			k := ev.fold(ev.path(v, attr, line), sensitive)
			if i == 0 || sign*ev.order(k, bestKey, line) > 0 {
				best, bestKey = v, k
			}
		}
		if !any {
			return undefined{"the extreme of an empty sequence"}
		}
		return best
	}
}

func filterLength(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := x.(type) {
	case Str:
		return int64(utf8.RuneCountInString(v.S))
	case *List:
		if v.kind != generator {
			return int64(len(v.items))
		}
	case *Dict:
		return int64(len(v.keys))
	case undefined:
		ev.defined(v, line)
		return int64(0)
	}
	ev.fail(line, "%s has no length", typeName(x))
	return nil
}

func filterJoin(ev *evaluator, x Value, a *callArgs, line int) Value {
	var sep Str
	if v, ok := a.get(0, "d"); ok {
		sep = ev.toStr(v)
	}
	attr, _ := a.get(1, "attribute")
	b := ev.builder(line)
	for i, v := range ev.iterate(x, line) {
		ev.work(line, 1)
		if i > 0 {
			b.str(sep)
		}
		b.str(ev.toStr(ev.path(v, attr, line)))
	}
	return b.done()
}

func filterMap(ev *evaluator, x Value, a *callArgs, line int) Value {
	out := &List{kind: generator}
	if !truth(x) {
		return out
	}
	if attr, ok := a.get(-1, "attribute"); ok {
		def, _ := a.get(-1, "default")
		for _, v := range ev.iterate(x, line) {
			ev.work(line, 1)
			out.items = append(out.items, ev.pathOr(v, attr, def, line))
		}
		return out
	}
	if len(a.pos) == 0 {
		ev.fail(line, "map needs a filter's name or attribute=…")
	}
	name, ok := a.pos[0].(Str)
	if !ok {
		ev.fail(line, "the name of a filter must be a string")
	}
	rest := &callArgs{pos: a.pos[1:], names: a.names, vals: a.vals}
	for _, v := range ev.iterate(x, line) {
		out.items = append(out.items, ev.filter(name.S, v, rest, line))
	}
	return out
}

// groupFields are the names of a group's two parts.
var groupFields = []string{"grouper", "list"}

func filterGroupBy(ev *evaluator, x Value, a *callArgs, line int) Value {
	attr, _ := a.get(0, "attribute")
	def, _ := a.get(1, "default")
	sensitive := optBool(a, 2, "case_sensitive", false)
	get := func(v Value) Value { return ev.pathOr(v, attr, def, line) }
	key := func(v Value) Value { return ev.fold(get(v), sensitive) }
	out := NewList()
	var last *List
	var lastKey Value
	for _, v := range ev.sorted(ev.iterate(x, line), key, false, line) {
		k := key(v)
		if last == nil || !ev.equal(k, lastKey, line) {
			last, lastKey = NewList(), k
			out.items = append(out.items, &List{items: []Value{get(v), last}, kind: tuple, fields: groupFields})
		}
		last.items = append(last.items, v)
	}
	return out
}

func ends(last bool) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		items := ev.iterate(x, line)
		if len(items) == 0 {
			return undefined{"no item in an empty sequence"}
		}
		if last {
			if l, ok := x.(*List); ok && l.kind == generator {
				ev.fail(line, "a generator can't be reversed")
			}
			return items[len(items)-1]
		}
		return items[0]
	}
}

func filterBatch(ev *evaluator, x Value, a *callArgs, line int) Value {
	v, _ := a.get(0, "linecount")
	n := ev.argInt(v, line)
	if n < 1 {
		ev.fail(line, "batches of %d items", n)
	}
	fill, hasFill := a.get(1, "fill_with")
	out := &List{kind: generator}
	for c := range slices.Chunk(ev.iterate(x, line), int(min(n, 1<<30))) {
		b := NewList(c...)
		if hasFill && fill != nil {
			b.items = slices.Clone(c)
			for int64(len(b.items)) < n {
				ev.work(line, 1)
				b.items = append(b.items, fill)
			}
		}
		out.items = append(out.items, b)
	}
	return out
}

func filterDictsort(ev *evaluator, x Value, a *callArgs, line int) Value {
	d, ok := x.(*Dict)
	if !ok {
		ev.fail(line, "dictsort needs a dictionary, not %s", typeName(x))
	}
	sensitive := optBool(a, 0, "case_sensitive", false)
	pos := 0
	if v, ok := a.get(1, "by"); ok {
		switch ev.toStr(v).S {
		case "key":
		case "value":
			pos = 1
		default:
			ev.fail(line, "dictsort by key or value")
		}
	}
	key := func(v Value) Value { return ev.fold(v.(*List).items[pos], sensitive) }
	return NewList(ev.sorted(pairs(ev, d, line), key, optBool(a, 2, "reverse", false), line)...)
}

func filterItems(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := x.(type) {
	case undefined:
		return &List{kind: generator}
	case *Dict:
		return &List{items: pairs(ev, v, line), kind: generator}
	}
	ev.fail(line, "items needs a mapping, not %s", typeName(x))
	return nil
}

func filterList(ev *evaluator, x Value, a *callArgs, line int) Value {
	items := ev.iterate(x, line)
	ev.work(line, len(items))
	return NewList(slices.Clone(items)...)
}

func filterReverse(ev *evaluator, x Value, a *callArgs, line int) Value {
	if s, ok := x.(Str); ok {
		off := s.offsets()
		ev.work(line, len(s.S)/8)
		b := ev.builder(line)
		for i := len(off) - 2; i >= 0; i-- {
			b.slice(s, off[i], off[i+1])
		}
		return b.done().as(s.safe)
	}
	items := slices.Clone(ev.iterate(x, line))
	ev.work(line, len(items))
	slices.Reverse(items)
	return &List{items: items, kind: generator}
}

func filterSort(ev *evaluator, x Value, a *callArgs, line int) Value {
	attr, _ := a.get(2, "attribute")
	sensitive := optBool(a, 1, "case_sensitive", false)
	key := func(v Value) Value {
		s, ok := attr.(Str)
		if !ok || !strings.Contains(s.S, ",") {
			return ev.fold(ev.path(v, attr, line), sensitive)
		}
		k := NewList()
		for part := range strings.SplitSeq(s.S, ",") {
			k.items = append(k.items, ev.fold(ev.path(v, Str{S: part}, line), sensitive))
		}
		return k
	}
	return NewList(ev.sorted(ev.iterate(x, line), key, optBool(a, 0, "reverse", false), line)...)
}

func filterSum(ev *evaluator, x Value, a *callArgs, line int) Value {
	attr, _ := a.get(0, "attribute")
	var sum Value = int64(0)
	if v, ok := a.get(1, "start"); ok {
		sum = v
	}
	for _, v := range ev.iterate(x, line) {
		sum = ev.arith("+", sum, ev.path(v, attr, line), line)
	}
	return sum
}

func filterUnique(ev *evaluator, x Value, a *callArgs, line int) Value {
	attr, _ := a.get(1, "attribute")
	sensitive := optBool(a, 0, "case_sensitive", false)
	seen := map[any]bool{}
	out := &List{kind: generator}
	for _, v := range ev.iterate(x, line) {
		ev.work(line, 1)
		k := ev.fold(ev.path(v, attr, line), sensitive)
		if s, ok := k.(Str); ok {
			ev.work(line, len(s.S)/32)
		}
		h, ok := hash(k)
		if !ok {
			ev.fail(line, "%s can't be compared by unique", typeName(v))
		}
		if !seen[h] {
			seen[h] = true
			out.items = append(out.items, v)
		}
	}
	return out
}
