package jinja

import (
	"math"
	"time"
)

// scope holds names; a name that is not here is looked for in the parent.
type scope struct {
	vars   map[string]Value
	parent *scope
}

func (s *scope) set(name string, v Value) {
	if s.vars == nil {
		s.vars = map[string]Value{}
	}
	s.vars[name] = v
}

func (s *scope) child() *scope { return &scope{parent: s} }

type evaluator struct {
	limits Limits
	steps  int
	line   int // the last one seen, for errors without one
	bytes  int // added to strings, not yet counted as steps
	calls  int
	depth  int
	loops  int
	now    time.Time
	out    *strBuilder // the output, or what a macro or block is captured in
	tag    int32       // of the message whose loop is running
	bound  bool        // tag came from a loop over messages
	// generation is set inside a {% generation %} block.
	generation bool
	strict     bool // what is undefined may be asked about, and nothing else
}

func (ev *evaluator) lookup(name string, sc *scope) Value {
	for s := sc; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	if g, ok := globals[name]; ok {
		return g
	}
	return undefined{name}
}

func (ev *evaluator) eval(e expr, sc *scope) Value {
	ev.deeper(0)
	v := ev.eval1(e, sc)
	ev.depth--
	return v
}

func (ev *evaluator) eval1(e expr, sc *scope) Value {
	ev.work(0, 1)
	switch e := e.(type) {
	case *eConst:
		return e.v
	case *eName:
		return ev.lookup(e.name, sc)
	case *eList:
		l := &List{items: make([]Value, len(e.items))}
		if e.tuple {
			l.kind = tuple
		}
		for i, x := range e.items {
			l.items[i] = ev.eval(x, sc)
		}
		return l
	case *eDict:
		d := NewDict(0)
		for i, k := range e.keys {
			ev.put(d, ev.eval(k, sc), ev.eval(e.values[i], sc), e.line)
		}
		return d
	case *eUnary:
		return ev.unary(e, sc)
	case *eBinary:
		return ev.binary(e, sc)
	case *eConcat:
		b := ev.builder(0)
		for _, x := range e.items {
			b.str(ev.toStr(ev.eval(x, sc)))
		}
		return b.done()
	case *eCompare:
		return ev.comparison(e, sc)
	case *eCond:
		if ev.truth(ev.eval(e.test, sc)) {
			return ev.eval(e.yes, sc)
		}
		if e.no == nil {
			return undefined{"the inline if without else"}
		}
		return ev.eval(e.no, sc)
	case *eAttr:
		return ev.attr(ev.eval(e.x, sc), e.name, e.line)
	case *eItem:
		return ev.item(ev.eval(e.x, sc), ev.eval(e.index, sc), e.line)
	case *eSlice:
		return ev.slice(e, sc)
	case *eCall:
		fn := ev.eval(e.fn, sc)
		return ev.call(fn, ev.args(e.args, sc, e.line), e.line)
	case *eFilter:
		x := ev.eval(e.x, sc)
		return ev.filter(e.name, x, ev.args(e.args, sc, e.line), e.line)
	case *eTest:
		x := ev.eval(e.x, sc)
		return ev.test(e.name, x, ev.args(e.args, sc, e.line), e.line) != e.not
	}
	ev.fail(0, "an expression of unknown kind %T", e)
	return nil
}

func (ev *evaluator) unary(e *eUnary, sc *scope) Value {
	x := ev.eval(e.x, sc)
	if e.op == "not" {
		return !ev.truth(x)
	}
	switch v := ev.number(x, e.line, "bad operand for unary "+e.op).(type) {
	case int64:
		if e.op == "-" {
			if v == math.MinInt64 {
				ev.fail(e.line, "integer overflow")
			}
			return -v
		}
		return v
	case float64:
		if e.op == "-" {
			return -v
		}
		return v
	}
	return nil
}

// binary is an operator between two values; and and or evaluate the second one only if they need it.
func (ev *evaluator) binary(e *eBinary, sc *scope) Value {
	switch e.op {
	case "and":
		if x := ev.eval(e.x, sc); !ev.truth(x) {
			return x
		}
		return ev.eval(e.y, sc)
	case "or":
		if x := ev.eval(e.x, sc); ev.truth(x) {
			return x
		}
		return ev.eval(e.y, sc)
	}
	return ev.arith(e.op, ev.eval(e.x, sc), ev.eval(e.y, sc), e.line)
}

// comparison is a chain such as a < b <= c.
func (ev *evaluator) comparison(e *eCompare, sc *scope) Value {
	x := ev.eval(e.first, sc)
	for i, op := range e.ops {
		y := ev.eval(e.rest[i], sc)
		if !ev.compare(op, x, y, e.line) {
			return false
		}
		x = y
	}
	return true
}

// chain applies the filters of a filter block or block assignment to v.
func (ev *evaluator) chain(f *eFilter, v Value, sc *scope) Value {
	if inner, ok := f.x.(*eFilter); ok && inner != nil {
		v = ev.chain(inner, v, sc)
	}
	return ev.filter(f.name, v, ev.args(f.args, sc, f.line), f.line)
}

func (ev *evaluator) args(a args, sc *scope, line int) *callArgs {
	out := &callArgs{}
	for _, e := range a.pos {
		out.pos = append(out.pos, ev.eval(e, sc))
	}
	for i, name := range a.names {
		out.names = append(out.names, name)
		out.vals = append(out.vals, ev.eval(a.values[i], sc))
	}
	if a.star != nil {
		items := ev.iterate(ev.eval(a.star, sc), line)
		ev.work(line, len(items))
		out.pos = append(out.pos, items...)
	}
	if a.stars != nil {
		d, ok := ev.eval(a.stars, sc).(*Dict)
		if !ok {
			ev.fail(line, "the argument after ** must be a mapping")
		}
		for i, k := range d.keys {
			s, ok := k.(Str)
			if !ok {
				ev.fail(line, "keywords must be strings")
			}
			out.names, out.vals = append(out.names, s.S), append(out.vals, d.vals[i])
		}
	}
	return out
}

func (ev *evaluator) call(fn Value, a *callArgs, line int) Value {
	switch fn := fn.(type) {
	case *function:
		ev.work(line, 1)
		return fn.call(ev, line, a)
	case *macro:
		return ev.callMacro(fn, a, line)
	case *loopVar:
		if fn.again == nil {
			ev.fail(line, "only a loop marked recursive can be called")
		}
		if len(a.pos) != 1 {
			ev.fail(line, "a recursive loop is called with one sequence")
		}
		return fn.again(ev.iterate(a.pos[0], line))
	case undefined:
		ev.fail(line, "%s is undefined", fn.what)
	}
	ev.fail(line, "%s can't be called", typeName(fn))
	return nil
}

func (ev *evaluator) callMacro(m *macro, a *callArgs, line int) Value {
	ev.enterCall(line)
	d := m.def
	sc := m.scope.child()
	given := map[string]Value{}
	for i, n := range a.names {
		given[n] = a.vals[i]
	}
	for i, name := range d.params {
		if i < len(a.pos) {
			if _, twice := given[name]; twice {
				ev.fail(line, "macro %q got two values for %q", d.name, name)
			}
			sc.set(name, a.pos[i])
			continue
		}
		if v, ok := given[name]; ok {
			sc.set(name, v)
			delete(given, name)
		} else if k := i - (len(d.params) - len(d.defaults)); k >= 0 {
			sc.set(name, ev.eval(d.defaults[k], sc))
		} else {
			sc.set(name, undefined{"parameter " + name})
		}
	}
	caller, hasCaller := given["caller"]
	if d.caller {
		delete(given, "caller")
		if !hasCaller {
			caller = undefined{"caller"}
		}
		sc.set("caller", caller)
	}
	if d.kwargs {
		kw := NewDict(0)
		for _, n := range a.names {
			if v, ok := given[n]; ok {
				kw.Set(n, v)
			}
		}
		sc.set("kwargs", kw)
	} else {
		for _, n := range a.names {
			if _, ok := given[n]; ok {
				ev.fail(line, "macro %q takes no keyword argument %q", d.name, n)
			}
		}
	}
	rest := a.pos[min(len(d.params), len(a.pos)):]
	if d.varargs {
		sc.set("varargs", &List{items: rest, kind: tuple})
	} else if len(rest) > 0 {
		ev.fail(line, "macro %q takes not more than %d arguments", d.name, len(d.params))
	}
	loops := ev.loops
	s := ev.capture(func() { ev.block(d.body, sc) })
	ev.loops = loops
	ev.calls--
	return s
}
