package jinja

import (
	"fmt"
	"math"
)

// sliceBound is the value of a bound of a slice; false if there is none.
func (ev *evaluator) sliceBound(e expr, sc *scope, line int) (int, bool) {
	if e == nil {
		return 0, false
	}
	switch v := ev.eval(e, sc).(type) {
	case nil:
		return 0, false
	case int64:
		return int(max(min(v, math.MaxInt32), math.MinInt32)), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	ev.fail(line, "slice indices must be integers or none")
	return 0, false
}

// sliceBounds are the bounds of a slice as written.
type sliceBounds struct {
	start, stop, step int
	hasStart, hasStop bool
}

// indices lists the positions of a sequence of n, as Python's slice.indices does.
func (s *sliceBounds) indices(n int) []int {
	lo, hi := 0, n
	if s.step < 0 {
		lo, hi = -1, n-1
	}
	clamp := func(v int, has bool, def int) int {
		if !has {
			return def
		}
		if v < 0 {
			v += n
		}
		return max(lo, min(v, hi))
	}
	a, b := clamp(s.start, s.hasStart, lo), clamp(s.stop, s.hasStop, hi)
	if s.step < 0 {
		a, b = clamp(s.start, s.hasStart, hi), clamp(s.stop, s.hasStop, lo)
	}
	var out []int
	for i := a; s.step > 0 && i < b || s.step < 0 && i > b; i += s.step {
		out = append(out, i)
	}
	return out
}

func (ev *evaluator) slice(e *eSlice, sc *scope) Value {
	x := ev.eval(e.x, sc)
	s := sliceBounds{step: 1}
	s.start, s.hasStart = ev.sliceBound(e.start, sc, e.line)
	s.stop, s.hasStop = ev.sliceBound(e.stop, sc, e.line)
	if step, ok := ev.sliceBound(e.step, sc, e.line); ok {
		s.step = step
	}
	if s.step == 0 {
		ev.fail(e.line, "slice step cannot be zero")
	}
	indices := func(n int) []int {
		at := s.indices(n)
		ev.work(e.line, len(at))
		return at
	}
	switch v := x.(type) {
	case Str:
		off := v.offsets()
		ev.work(e.line, len(off)/8)
		idx := indices(len(off) - 1)
		if s.step == 1 {
			if len(idx) == 0 {
				return Str{safe: v.safe}
			}
			return v.sub(off[idx[0]], off[idx[len(idx)-1]+1])
		}
		b := ev.builder(e.line)
		for _, i := range idx {
			b.slice(v, off[i], off[i+1])
		}
		return b.done().as(v.safe)
	case *List:
		if v.kind <= rangeObj {
			idx := indices(len(v.items))
			out := &List{kind: v.kind, items: make([]Value, len(idx))}
			for k, i := range idx {
				out.items[k] = v.items[i]
			}
			return out
		}
	case undefined:
		ev.fail(e.line, "%s is undefined", v.what)
	}
	ev.fail(e.line, "%s can't be sliced", typeName(x))
	return nil
}

// iterate lists what a loop over v runs through.
func (ev *evaluator) iterate(v Value, line int) []Value {
	switch v := v.(type) {
	case *List:
		items := v.items
		if v.kind == generator {
			v.items = nil
		}
		return items
	case *Dict:
		return v.keys
	case Str:
		ev.work(line, len(v.S))
		off := v.offsets()
		out := make([]Value, len(off)-1)
		for i := range out {
			out[i] = v.sub(off[i], off[i+1]).as(false)
		}
		return out
	case undefined:
		ev.defined(v, line)
		return nil
	}
	ev.fail(line, "%s is not iterable", typeName(v))
	return nil
}

// get is d[key]; a long key costs work.
func (ev *evaluator) get(d *Dict, key Value, line int) (Value, bool) {
	if s, ok := key.(Str); ok {
		ev.work(line, len(s.S)/32)
	}
	return d.get(key)
}

// put sets d[key].
func (ev *evaluator) put(d *Dict, key, v Value, line int) {
	if s, ok := key.(Str); ok {
		ev.work(line, len(s.S)/32)
	}
	if !d.set(key, v) {
		ev.fail(line, "%s can't be a key", typeName(key))
	}
}

// item is x[index]: an item, else an attribute, else undefined.
func (ev *evaluator) item(x, index Value, line int) Value {
	switch v := x.(type) {
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	case *Dict:
		if r, ok := ev.get(v, index, line); ok {
			return r
		}
	case *List:
		if v.kind <= rangeObj && isInt(index) {
			i := int64(toFloat(index))
			if i < 0 {
				i += int64(len(v.items))
			}
			if i >= 0 && i < int64(len(v.items)) {
				return v.items[i]
			}
			return undefined{"list item"}
		}
	case Str:
		if isInt(index) {
			off := v.offsets()
			ev.work(line, len(off)/8)
			i, n := int64(toFloat(index)), int64(len(off)-1)
			if i < 0 {
				i += n
			}
			if i >= 0 && i < n {
				return v.sub(off[i], off[i+1])
			}
			return undefined{"string item"}
		}
	}
	if s, ok := index.(Str); ok {
		if m, ok := ev.method(x, s.S, line); ok {
			return m
		}
		return undefined{fmt.Sprintf("item %q of %s", s.S, typeName(x))}
	}
	return undefined{"item of " + typeName(x)}
}

// attr is x.name: an attribute, else an item, else undefined.
func (ev *evaluator) attr(x Value, name string, line int) Value {
	if u, ok := x.(undefined); ok {
		ev.fail(line, "%s is undefined, so it has no attribute %q", u.what, name)
	}
	if m, ok := ev.method(x, name, line); ok {
		return m
	}
	if d, ok := x.(*Dict); ok {
		if v, ok := d.get(Str{S: name}); ok {
			return v
		}
	}
	return undefined{fmt.Sprintf("attribute %q of %s", name, typeName(x))}
}
