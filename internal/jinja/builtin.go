package jinja

import (
	"math"
	"strings"
)

func fn(name string, call func(ev *evaluator, line int, a *callArgs) Value) *function {
	return &function{name, call}
}

func makeGlobals() map[string]Value {
	return map[string]Value{
		"range": fn("range", func(ev *evaluator, line int, a *callArgs) Value {
			v := [3]int64{0, 0, 1}
			switch len(a.pos) {
			case 1:
				v[1] = ev.argInt(a.pos[0], line)
			case 2, 3:
				for i, x := range a.pos {
					v[i] = ev.argInt(x, line)
				}
			default:
				ev.fail(line, "range takes one to three integers")
			}
			if v[2] == 0 {
				ev.fail(line, "range step must not be zero")
			}
			out := &List{kind: rangeObj}
			for i := v[0]; v[2] > 0 && i < v[1] || v[2] < 0 && i > v[1]; i += v[2] {
				if len(out.items) >= maxRange {
					ev.fail(line, "range of more than %d numbers", maxRange)
				}
				out.items = append(out.items, i)
				if v[2] > 0 && i > math.MaxInt64-v[2] || v[2] < 0 && i < math.MinInt64-v[2] {
					break
				}
			}
			ev.work(line, len(out.items))
			return out
		}),
		"dict":   fn("dict", func(ev *evaluator, line int, a *callArgs) Value { return ev.dict(a, line) }),
		"cycler": fn("cycler", cycler),
		"joiner": fn("joiner", joiner),
		"namespace": fn("namespace", func(ev *evaluator, line int, a *callArgs) Value {
			d := ev.dict(a, line)
			for _, k := range d.keys {
				if s, ok := k.(Str); ok && strings.HasPrefix(s.S, "_") {
					ev.fail(line, "the attribute %q of a namespace begins with an underscore", s.S)
				}
			}
			return &namespace{d}
		}),
		"raise_exception": fn("raise_exception", func(ev *evaluator, line int, a *callArgs) Value {
			msg := Str{}
			if v, ok := a.get(0, "message"); ok {
				msg = ev.toStr(v)
			}
			panic(&Error{Line: line, Msg: msg.S, Raised: true})
		}),
		"strftime_now": fn("strftime_now", func(ev *evaluator, line int, a *callArgs) Value {
			f := ev.argStr(a, 0, "format", line)
			return Str{S: strftime(ev.now, f.S)}
		}),
	}
}

// cycler is an object that goes through its items again and again.
func cycler(ev *evaluator, line int, a *callArgs) Value {
	if len(a.pos) == 0 {
		ev.fail(line, "no items for cycling given")
	}
	d, at := NewDict(0), 0
	d.Set("current", a.pos[0])
	move := func(to func() int, result func() Value) *function {
		return fn("next", func(ev *evaluator, line int, _ *callArgs) Value {
			v := result()
			at = to()
			d.Set("current", a.pos[at])
			return v
		})
	}
	d.Set("next", move(func() int { return (at + 1) % len(a.pos) }, func() Value { return a.pos[at] }))
	d.Set("reset", move(func() int { return 0 }, func() Value { return nil }))
	return &namespace{d}
}

// joiner is a function that gives its separator from the second call on.
func joiner(ev *evaluator, line int, a *callArgs) Value {
	var sep Value = Str{S: ", "}
	if v, ok := a.get(0, "sep"); ok {
		sep = v
	}
	used := false
	return fn("joiner", func(ev *evaluator, line int, _ *callArgs) Value {
		if !used {
			used = true
			return Str{}
		}
		return sep
	})
}

func (ev *evaluator) dict(a *callArgs, line int) *Dict {
	d := NewDict(0)
	if len(a.pos) > 1 {
		ev.fail(line, "dict takes one positional argument")
	}
	if len(a.pos) == 1 {
		if src, ok := a.pos[0].(*Dict); ok {
			for i, k := range src.keys {
				d.set(k, src.vals[i])
			}
		} else {
			for _, pair := range ev.iterate(a.pos[0], line) {
				kv := ev.iterate(pair, line)
				if len(kv) != 2 {
					ev.fail(line, "dict needs pairs of a key and a value")
				}
				ev.put(d, kv[0], kv[1], line)
			}
		}
	}
	for i, n := range a.names {
		d.Set(n, a.vals[i])
	}
	ev.work(line, len(d.keys))
	return d
}

func (ev *evaluator) argInt(v Value, line int) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case bool:
		return int64(toFloat(v))
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	ev.fail(line, "an integer is needed, not %s", typeName(v))
	return 0
}

// argStr is a required string argument.
func (ev *evaluator) argStr(a *callArgs, i int, name string, line int) Str {
	v, ok := a.get(i, name)
	if !ok {
		ev.fail(line, "missing argument %q", name)
	}
	s, ok := v.(Str)
	if !ok {
		ev.fail(line, "argument %q must be a string, not %s", name, typeName(v))
	}
	return s
}

// optInt is an optional integer argument; none counts as not given.
func (ev *evaluator) optInt(a *callArgs, i int, name string, def int64, line int) int64 {
	v, ok := a.get(i, name)
	if !ok || v == nil {
		return def
	}
	return ev.argInt(v, line)
}

func optBool(a *callArgs, i int, name string, def bool) bool {
	if v, ok := a.get(i, name); ok {
		return truth(v)
	}
	return def
}
