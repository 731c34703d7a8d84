package jinja

import (
	"math"
)

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
	if v, ok := ev.sequenceArith(op, x, y, line); ok {
		return v
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
	return ev.floatArith(op, toFloat(x), toFloat(y), line)
}

// sequenceArith joins, repeats and formats strings and lists. It returns false where Python's types have no such operation.
func (ev *evaluator) sequenceArith(op string, x, y Value, line int) (Value, bool) {
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
				return sb.done().as(a.safe), true
			}
		case "%":
			return ev.percent(a, y, line), true
		case "*":
			if isInt(y) {
				return ev.repeat(a, int64(toFloat(y)), line), true
			}
		}
	case *List:
		if b, ok := y.(*List); ok && op == "+" && a.kind == b.kind && a.kind <= tuple {
			ev.work(line, len(a.items)+len(b.items))
			return &List{kind: a.kind, items: append(append(make([]Value, 0, len(a.items)+len(b.items)), a.items...), b.items...)}, true
		}
		if op == "*" && isInt(y) && a.kind <= tuple {
			return ev.repeatList(a, int64(toFloat(y)), line), true
		}
	}
	return nil, false
}

func (ev *evaluator) repeatList(l *List, n int64, line int) *List {
	if n > 0 && int64(len(l.items)) > int64(ev.limits.Steps)/n {
		ev.fail(line, "the repeated list is too long")
	}
	out := &List{kind: l.kind}
	for range max(n, 0) {
		ev.work(line, len(l.items)+1)
		out.items = append(out.items, l.items...)
	}
	return out
}

func (ev *evaluator) floatArith(op string, a, b float64, line int) Value {
	if b == 0 && (op == "/" || op == "//" || op == "%") || op == "**" && a == 0 && b < 0 {
		ev.fail(line, "division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	case "%":
		m := math.Mod(a, b)
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	}
	return math.Pow(a, b)
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
