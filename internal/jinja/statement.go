package jinja

// signal is how a statement ends early.
type signal uint8

const (
	goOn signal = iota
	breakLoop
	continueLoop
)

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
			if ev.truth(ev.eval(t, sc)) {
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
			if ev.truth(ev.eval(n.cond, inner)) {
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
