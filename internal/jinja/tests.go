package jinja

import (
	"strings"
)

// test is x is name(a).
func (ev *evaluator) test(name string, x Value, a *callArgs, line int) bool {
	if kind, ok := kindTests[name]; ok {
		return kind(x)
	}
	arg := func() Value {
		v, ok := a.get(0, "")
		if !ok {
			ev.fail(line, "test %q needs an argument", name)
		}
		return v
	}
	switch name {
	case "sameas":
		y := arg()
		switch x.(type) {
		case nil, bool, *List, *Dict, *namespace, *macro:
			return x == y
		}
		return ev.equal(x, y, line) && typeName(x) == typeName(y)
	case "eq", "equalto", "==":
		return ev.equal(x, arg(), line)
	case "ne", "!=":
		return !ev.equal(x, arg(), line)
	case "lt", "lessthan", "<":
		return ev.order(x, arg(), line) < 0
	case "le", "<=":
		return ev.order(x, arg(), line) <= 0
	case "gt", "greaterthan", ">":
		return ev.order(x, arg(), line) > 0
	case "ge", ">=":
		return ev.order(x, arg(), line) >= 0
	case "in":
		return ev.contains(arg(), x, line)
	case "odd":
		return ev.equal(ev.arith("%", x, int64(2), line), int64(1), line)
	case "even":
		return ev.equal(ev.arith("%", x, int64(2), line), int64(0), line)
	case "divisibleby":
		return ev.equal(ev.arith("%", x, arg(), line), int64(0), line)
	case "lower":
		return truth(strMethods["islower"](ev, ev.toStr(x), a, line))
	case "upper":
		return truth(strMethods["isupper"](ev, ev.toStr(x), a, line))
	case "escaped":
		s, ok := x.(Str)
		return ok && s.safe
	case "filter":
		s, ok := x.(Str)
		_, have := filters[s.S]
		return ok && have
	case "test":
		s, ok := x.(Str)
		return ok && knownTests[s.S]
	}
	ev.fail(line, "no test named %q", name)
	return false
}

// kindTests look at what kind of value theirs is.
var kindTests = map[string]func(x Value) bool{
	"defined":   func(x Value) bool { return !is[undefined](x) },
	"undefined": is[undefined],
	"none":      func(x Value) bool { return x == nil },
	"boolean":   is[bool],
	"true":      func(x Value) bool { return x == true },
	"false":     func(x Value) bool { return x == false },
	"integer":   func(x Value) bool { return is[int64](x) || is[bigInt](x) },
	"float":     is[float64],
	"number":    func(x Value) bool { return is[bigInt](x) || isNumber(x) },
	"string":    is[Str],
	"mapping":   is[*Dict],
	"iterable": func(x Value) bool {
		switch x.(type) {
		case Str, *List, *Dict, undefined, *loopVar:
			return true
		}
		return false
	},
	"sequence": func(x Value) bool {
		switch v := x.(type) {
		case Str, *Dict, undefined:
			return true
		case *List:
			return v.kind <= rangeObj
		}
		return false
	},
	"callable": func(x Value) bool {
		switch x.(type) {
		case *function, *macro, *loopVar, undefined:
			return true
		}
		return false
	},
}

func is[T Value](x Value) bool {
	_, ok := x.(T)
	return ok
}

var knownTests = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq("defined undefined none boolean true false integer float number string mapping iterable " +
		"sequence callable sameas eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in odd even divisibleby " +
		"lower upper escaped filter test") {
		knownTests[name] = true
	}
}
