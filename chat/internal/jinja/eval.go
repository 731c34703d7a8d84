package jinja

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Limits bound the work of one rendering, because templates come from
// strangers.
type Limits struct {
	Steps  int // evaluated nodes, items and bytes worked on
	Output int // bytes of output
	Calls  int // nested macro calls
}

// DefaultLimits are far beyond what a chat template needs, and stop a hostile
// one after about a second and at most a few hundred megabytes.
var DefaultLimits = Limits{Steps: 4 << 20, Output: 16 << 20, Calls: 100}

// maxRange is the longest range(), as in Jinja's sandbox.
const maxRange = 100000

// Error is a fault of a template, or of what it was given.
type Error struct {
	Line int
	Msg  string
	// Raised is set if the template itself called raise_exception.
	Raised bool
}

func (e *Error) Error() string {
	if e.Raised {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

func errorf(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...)}
}

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

// signal is how a statement ends early.
type signal uint8

const (
	goOn signal = iota
	breakLoop
	continueLoop
)

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
}

// fail gives up; Render recovers it.
func (ev *evaluator) fail(line int, format string, args ...any) {
	panic(errorf(line, format, args...))
}

// work counts n units against the limit.
func (ev *evaluator) work(line, n int) {
	if line > 0 {
		ev.line = line
	}
	ev.steps += n
	if ev.steps > ev.limits.Steps || ev.steps < 0 {
		ev.fail(line, "the template does more than %d steps of work", ev.limits.Steps)
	}
}

// grown counts a string of n bytes that was, or will be, made.
func (ev *evaluator) grown(line, n int) {
	ev.work(line, n/32)
	if n > ev.limits.Output {
		ev.fail(line, "a string is longer than %d bytes", ev.limits.Output)
	}
}

// added counts n bytes put to a string that is now total bytes long.
func (ev *evaluator) added(line, n, total int) {
	ev.bytes += n
	ev.work(line, ev.bytes/32)
	ev.bytes %= 32
	if total > ev.limits.Output {
		ev.fail(line, "a string or the output is longer than %d bytes", ev.limits.Output)
	}
}

// emit writes to the output, under the tag of the running message.
func (ev *evaluator) emit(line int, s Str) {
	ev.work(line, 1)
	if s.M == nil {
		ev.out.add(s.S, Mark{Tag: ev.tag, Generation: ev.generation})
		return
	}
	at := 0
	for _, m := range s.M {
		text := s.S[at:m.End]
		at = m.End
		if m.Tag == 0 {
			m.Tag = ev.tag
		}
		m.Generation = m.Generation || ev.generation
		ev.out.add(text, m)
	}
}

// capture runs f with another output and returns what it wrote.
func (ev *evaluator) capture(f func()) Str {
	saved := ev.out
	ev.out = &strBuilder{ev: ev}
	f()
	s := ev.out.done()
	ev.out = saved
	return s
}

func (ev *evaluator) block(body []node, sc *scope) signal {
	for _, n := range body {
		if s := ev.exec(n, sc); s != goOn {
			return s
		}
	}
	return goOn
}

func (ev *evaluator) exec(n node, sc *scope) signal {
	ev.work(0, 1)
	switch n := n.(type) {
	case *nData:
		ev.emit(0, Str{S: n.text})
	case *nOutput:
		ev.emit(0, ev.toStr(ev.eval(n.expr, sc)))
	case *nIf:
		for i, t := range n.tests {
			if truth(ev.eval(t, sc)) {
				return ev.block(n.bodies[i], sc)
			}
		}
		return ev.block(n.els, sc)
	case *nFor:
		return ev.loop(n, sc)
	case *nSet:
		v := ev.eval(n.value, sc)
		// {% set message = messages[i] %} in a loop over numbers says whose
		// turn it is as a loop over messages would.
		if d, ok := v.(*Dict); ok && d.tag != 0 && !ev.bound && ev.loops > 0 {
			ev.tag = d.tag
		}
		ev.assign(n.target, v, sc, n.line)
	case *nSetBlock:
		inner := sc.child()
		var v Value = ev.capture(func() { ev.block(n.body, inner) })
		if n.filter != nil {
			v = ev.chain(n.filter, v, sc)
		}
		ev.assign(n.target, v, sc, 0)
	case *nWith:
		vals := make([]Value, len(n.values))
		for i, e := range n.values {
			vals[i] = ev.eval(e, sc)
		}
		inner := sc.child()
		for i, t := range n.targets {
			ev.assign(t, vals[i], inner, 0)
		}
		return ev.block(n.body, inner)
	case *nMacro:
		sc.set(n.name, &macro{n, sc})
	case *nCall:
		fn := ev.eval(n.call.fn, sc)
		a := ev.args(n.call.args, sc, n.call.line)
		a.names, a.vals = append(a.names, "caller"), append(a.vals, &macro{n.macro, sc})
		ev.emit(n.call.line, ev.toStr(ev.call(fn, a, n.call.line)))
	case *nFilterBlock:
		v := ev.capture(func() { ev.block(n.body, sc.child()) })
		ev.emit(n.filter.line, ev.toStr(ev.chain(n.filter, v, sc)))
	case *nGeneration:
		outer := ev.generation
		ev.generation = true
		ev.block(n.body, sc.child())
		ev.generation = outer
	case *nBreak:
		return breakLoop
	case *nContinue:
		return continueLoop
	}
	return goOn
}

func (ev *evaluator) loop(n *nFor, sc *scope) signal {
	return ev.loopOver(n, sc, ev.iterate(ev.eval(n.iter, sc), n.line), 1)
}

// loopOver runs the loop over items; depth counts the levels of a recursive
// one from 1.
func (ev *evaluator) loopOver(n *nFor, sc *scope, items []Value, depth int) signal {
	ev.work(n.line, len(items))
	if n.cond != nil {
		kept := make([]Value, 0, len(items))
		for _, x := range items {
			inner := sc.child()
			ev.assign(n.target, x, inner, n.line)
			if truth(ev.eval(n.cond, inner)) {
				kept = append(kept, x)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		return ev.block(n.els, sc.child())
	}
	tag, bound := ev.tag, ev.bound
	ev.loops++
	lv := &loopVar{items: items, depth: depth}
	if n.recursive {
		lv.again = func(items []Value) Value {
			ev.enterCall(n.line)
			s := ev.capture(func() { ev.loopOver(n, sc, items, depth+1) })
			ev.calls--
			return s
		}
	}
	for i, x := range items {
		ev.work(n.line, 4) // a scope and its map
		lv.i = i
		inner := sc.child()
		ev.assign(n.target, x, inner, n.line)
		inner.set("loop", lv)
		if d, ok := x.(*Dict); ok && d.tag != 0 {
			ev.tag, ev.bound = d.tag, true
		}
		if ev.block(n.body, inner) == breakLoop {
			break
		}
	}
	ev.loops--
	ev.tag, ev.bound = tag, bound
	return goOn
}

func (ev *evaluator) assign(t target, v Value, sc *scope, line int) {
	switch t := t.(type) {
	case *tName:
		sc.set(t.name, v)
	case *tAttr:
		ns, ok := ev.lookup(t.name, sc).(*namespace)
		if !ok {
			ev.fail(line, "cannot assign attribute %q on %s, which is no namespace", t.attr, t.name)
		}
		if t.attr[0] == '_' {
			ev.fail(line, "the attribute %q of a namespace begins with an underscore", t.attr)
		}
		ns.d.set(Str{S: t.attr}, v)
	case *tTuple:
		items := ev.iterate(v, line)
		if len(items) != len(t.items) {
			ev.fail(line, "cannot unpack %d values into %d names", len(items), len(t.items))
		}
		for i, x := range t.items {
			ev.assign(x, items[i], sc, line)
		}
	}
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

// maxEval bounds the depth of evaluation and of nested values: a Go stack may
// not overflow.
const maxEval = 5000

func (ev *evaluator) deeper(line int) {
	ev.depth++
	if ev.depth > maxEval {
		ev.fail(line, "nested deeper than %d levels", maxEval)
	}
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
		x := ev.eval(e.x, sc)
		if e.op == "not" {
			return !truth(x)
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
	case *eBinary:
		switch e.op {
		case "and":
			if x := ev.eval(e.x, sc); !truth(x) {
				return x
			}
			return ev.eval(e.y, sc)
		case "or":
			if x := ev.eval(e.x, sc); truth(x) {
				return x
			}
			return ev.eval(e.y, sc)
		}
		return ev.arith(e.op, ev.eval(e.x, sc), ev.eval(e.y, sc), e.line)
	case *eConcat:
		b := ev.builder(0)
		for _, x := range e.items {
			b.str(ev.toStr(ev.eval(x, sc)))
		}
		return b.done()
	case *eCompare:
		x := ev.eval(e.first, sc)
		for i, op := range e.ops {
			y := ev.eval(e.rest[i], sc)
			if !ev.compare(op, x, y, e.line) {
				return false
			}
			x = y
		}
		return true
	case *eCond:
		if truth(ev.eval(e.test, sc)) {
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

// enterCall counts a nested call of a macro or a recursive loop.
func (ev *evaluator) enterCall(line int) {
	ev.calls++
	if ev.calls > ev.limits.Calls {
		ev.fail(line, "macros or recursive loops call each other deeper than %d levels", ev.limits.Calls)
	}
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

func (ev *evaluator) slice(e *eSlice, sc *scope) Value {
	x := ev.eval(e.x, sc)
	bound := func(e2 expr) (int, bool) {
		if e2 == nil {
			return 0, false
		}
		switch v := ev.eval(e2, sc).(type) {
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
		ev.fail(e.line, "slice indices must be integers or none")
		return 0, false
	}
	start, hasStart := bound(e.start)
	stop, hasStop := bound(e.stop)
	step, hasStep := bound(e.step)
	if !hasStep {
		step = 1
	}
	if step == 0 {
		ev.fail(e.line, "slice step cannot be zero")
	}
	// indices lists the positions of a sequence of n, as slice.indices does.
	indices := func(n int) []int {
		lo, hi := 0, n
		if step < 0 {
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
		a, b := clamp(start, hasStart, lo), clamp(stop, hasStop, hi)
		if step < 0 {
			a, b = clamp(start, hasStart, hi), clamp(stop, hasStop, lo)
		}
		var out []int
		for i := a; step > 0 && i < b || step < 0 && i > b; i += step {
			out = append(out, i)
		}
		ev.work(e.line, len(out))
		return out
	}
	switch v := x.(type) {
	case Str:
		off := v.offsets()
		ev.work(e.line, len(off)/8)
		idx := indices(len(off) - 1)
		if step == 1 {
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
		return nil
	}
	ev.fail(line, "%s is not iterable", typeName(v))
	return nil
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

// number is v as int64 or float64; bools count.
func (ev *evaluator) number(v Value, line int, msg string) Value {
	switch v := v.(type) {
	case int64, float64:
		return v
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case bigInt:
		ev.fail(line, "integer overflow: %s has more than 64 bits", v)
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	ev.fail(line, "%s: %s", msg, typeName(v))
	return nil
}

func isNumber(v Value) bool {
	switch v.(type) {
	case int64, float64, bool:
		return true
	}
	return false
}

func toFloat(v Value) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

func (ev *evaluator) arith(op string, x, y Value, line int) Value {
	for _, v := range []Value{x, y} {
		if u, ok := v.(undefined); ok {
			ev.fail(line, "%s is undefined", u.what)
		}
	}
	switch a := x.(type) {
	case Str:
		switch op {
		case "+":
			if b, ok := y.(Str); ok {
				if a.safe || b.safe {
					a, b = ev.escape(a), ev.escape(b)
				}
				sb := ev.builder(line)
				sb.str(a)
				sb.str(b)
				return sb.done().as(a.safe)
			}
		case "%":
			return ev.percent(a, y, line)
		case "*":
			if isInt(y) {
				return ev.repeat(a, int64(toFloat(y)), line)
			}
		}
	case *List:
		if b, ok := y.(*List); ok && op == "+" && a.kind == b.kind && a.kind <= tuple {
			ev.work(line, len(a.items)+len(b.items))
			return &List{kind: a.kind, items: append(append(make([]Value, 0, len(a.items)+len(b.items)), a.items...), b.items...)}
		}
		if op == "*" && isInt(y) && a.kind <= tuple {
			n := int64(toFloat(y))
			if n > 0 && int64(len(a.items)) > int64(ev.limits.Steps)/n {
				ev.fail(line, "the repeated list is too long")
			}
			out := &List{kind: a.kind}
			for range max(n, 0) {
				ev.work(line, len(a.items)+1)
				out.items = append(out.items, a.items...)
			}
			return out
		}
	}
	if op == "*" && isInt(x) {
		switch y.(type) {
		case Str, *List:
			return ev.arith(op, y, x, line)
		}
	}
	if !isNumber(x) || !isNumber(y) {
		ev.fail(line, "unsupported operands for %s: %s and %s", op, typeName(x), typeName(y))
	}
	x, y = ev.number(x, line, ""), ev.number(y, line, "")
	a, aInt := x.(int64)
	b, bInt := y.(int64)
	if aInt && bInt && op != "/" && !(op == "**" && b < 0) {
		return ev.intArith(op, a, b, line)
	}
	f, g := toFloat(x), toFloat(y)
	if g == 0 && (op == "/" || op == "//" || op == "%") || op == "**" && f == 0 && g < 0 {
		ev.fail(line, "division by zero")
	}
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "/":
		return f / g
	case "//":
		return math.Floor(f / g)
	case "%":
		m := math.Mod(f, g)
		if m != 0 && (m < 0) != (g < 0) {
			m += g
		}
		return m
	}
	return math.Pow(f, g)
}

func isInt(v Value) bool {
	switch v.(type) {
	case int64, bool:
		return true
	}
	return false
}

func (ev *evaluator) intArith(op string, a, b int64, line int) Value {
	over := func() { ev.fail(line, "integer overflow in %d %s %d", a, op, b) }
	switch op {
	case "+":
		c := a + b
		if (c > a) != (b > 0) && b != 0 {
			over()
		}
		return c
	case "-":
		c := a - b
		if (c < a) != (b > 0) && b != 0 {
			over()
		}
		return c
	case "*":
		return mulInt(a, b, over)
	case "//", "%":
		if b == 0 {
			ev.fail(line, "integer division or modulo by zero")
		}
		if a == math.MinInt64 && b == -1 {
			over()
		}
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) {
			q, r = q-1, r+b
		}
		if op == "%" {
			return r
		}
		return q
	}
	c := int64(1)
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			c = mulInt(c, a, over)
		}
		if b > 1 {
			a = mulInt(a, a, over)
		}
	}
	return c
}

func mulInt(a, b int64, over func()) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	c := a * b
	if c/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		over()
	}
	return c
}

func (ev *evaluator) repeat(s Str, n int64, line int) Value {
	if n <= 0 {
		return Str{safe: s.safe}
	}
	if int64(len(s.S)) > int64(ev.limits.Output)/n {
		ev.fail(line, "the repeated string is longer than %d bytes", ev.limits.Output)
	}
	ev.work(line, int(n))
	b := ev.builder(line)
	for range n {
		b.str(s)
	}
	return b.done().as(s.safe)
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

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		return "a boolean"
	case int64, bigInt:
		return "an integer"
	case float64:
		return "a float"
	case Str:
		return "a string"
	case *List:
		return [...]string{"a list", "a tuple", "a range", "a dictionary view", "a generator"}[v.kind]
	case *Dict:
		return "a dictionary"
	case *namespace:
		return "a namespace"
	case undefined:
		return "undefined"
	case *loopVar:
		return "the loop variable"
	}
	return "a function"
}
