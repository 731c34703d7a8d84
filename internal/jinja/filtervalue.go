package jinja

import (
	"math"
	"strconv"
	"strings"
)

func filterDefault(ev *evaluator, x Value, a *callArgs, line int) Value {
	_, undef := x.(undefined)
	if undef || optBool(a, 1, "boolean", false) && !truth(x) {
		if v, ok := a.get(0, "default_value"); ok {
			return v
		}
		return Str{}
	}
	return x
}

func filterInt(ev *evaluator, x Value, a *callArgs, line int) Value {
	def, ok := a.get(0, "default")
	if !ok {
		def = int64(0)
	}
	switch v := x.(type) {
	case int64, bool:
		return ev.number(v, line, "")
	case float64:
		if math.IsNaN(v) || math.Abs(v) >= 1<<62 {
			return def
		}
		return int64(v)
	case Str:
		base := int(ev.optInt(a, 1, "base", 10, line))
		s := strings.ReplaceAll(strings.TrimFunc(v.S, pySpace), "_", "")
		if base != 10 {
			s = strings.ToLower(s)
			for b, p := range map[int]string{16: "0x", 8: "0o", 2: "0b"} {
				if b == base {
					s = strings.TrimPrefix(s, p)
				}
			}
		}
		if n, err := strconv.ParseInt(s, max(2, min(base, 36)), 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f)
		}
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	return def
}

func filterFloat(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := x.(type) {
	case int64, bool, float64:
		return toFloat(v)
	case Str:
		if f, err := strconv.ParseFloat(strings.TrimFunc(v.S, pySpace), 64); err == nil {
			return f
		}
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	if def, ok := a.get(0, "default"); ok {
		return def
	}
	return 0.0
}

func filterRound(ev *evaluator, x Value, a *callArgs, line int) Value {
	prec := ev.optInt(a, 0, "precision", 0, line)
	method := "common"
	if v, ok := a.get(1, "method"); ok {
		method = ev.toStr(v).S
	}
	n := ev.number(x, line, "round needs a number")
	if prec < -300 || prec > 300 {
		ev.fail(line, "precision %d is out of range", prec)
	}
	switch method {
	case "common":
		if _, ok := n.(int64); ok && prec >= 0 {
			return n
		}
		// Python rounds the exact decimal value, halves to even.
		f := toFloat(n)
		if prec >= 0 {
			r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(prec), 64), 64)
			if err == nil {
				return r
			}
			return f
		}
		p := math.Pow(10, float64(-prec))
		r := math.RoundToEven(f/p) * p
		if _, ok := n.(int64); ok {
			return int64(r)
		}
		return r
	case "ceil", "floor":
		p := math.Pow(10, float64(prec))
		if method == "ceil" {
			return math.Ceil(toFloat(n)*p) / p
		}
		return math.Floor(toFloat(n)*p) / p
	}
	ev.fail(line, "method must be common, ceil or floor")
	return nil
}

func filterToJSON(ev *evaluator, x Value, a *callArgs, line int) Value {
	o := &jsonOptions{comma: ", ", colon: ": ", errorLine: line}
	o.ascii = optBool(a, 0, "ensure_ascii", false)
	if v, ok := a.get(1, "indent"); ok && v != nil {
		o.pretty, o.comma = true, ","
		if s, ok := v.(Str); ok {
			o.indent = s.S
		} else {
			o.indent = strings.Repeat(" ", int(max(0, min(ev.argInt(v, line), 1000))))
		}
	}
	if v, ok := a.get(2, "separators"); ok && v != nil {
		pair := ev.iterate(v, line)
		if len(pair) != 2 {
			ev.fail(line, "separators must be two strings")
		}
		o.comma, o.colon = ev.toStr(pair[0]).S, ev.toStr(pair[1]).S
	}
	o.sortKeys = optBool(a, 3, "sort_keys", false)
	b := ev.builder(line)
	ev.json(&b, x, o, 0)
	return b.done()
}

func filterAbs(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := ev.number(x, line, "abs needs a number").(type) {
	case int64:
		if v == math.MinInt64 {
			ev.fail(line, "integer overflow")
		}
		return max(v, -v)
	case float64:
		return math.Abs(v)
	}
	return nil
}

func filterAttr(ev *evaluator, x Value, a *callArgs, line int) Value {
	name := ev.argStr(a, 0, "name", line).S
	if u, ok := x.(undefined); ok {
		ev.fail(line, "%s is undefined, so it has no attribute %q", u.what, name)
	}
	if m, ok := ev.method(x, name, line); ok {
		return m
	}
	return undefined{"attribute " + name}
}
