package jinja

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sortBy sorts stably and counts the work.
func (ev *evaluator) sortBy(idx []int, cmp func(a, b int) int) {
	sort.SliceStable(idx, func(i, j int) bool { return cmp(idx[i], idx[j]) < 0 })
}

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

type strMethod func(ev *evaluator, s Str, a *callArgs, line int) Value

var strMethods map[string]strMethod

func init() {
	stripper := func(left, right bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, ok := a.get(0, "chars")
			if !ok || v == nil {
				return strip(s, "", false, left, right)
			}
			return strip(s, ev.argStr(a, 0, "chars", line).S, true, left, right)
		}
	}
	splitter := func(f func(Str, *string, int) []Str) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			var sep *string
			parts := len(s.S) / 2
			if v, ok := a.get(0, "sep"); ok && v != nil {
				t := ev.argStr(a, 0, "sep", line).S
				if t == "" {
					ev.fail(line, "empty separator")
				}
				sep = &t
				parts = strings.Count(s.S, t)
			}
			limit := ev.optInt(a, 1, "maxsplit", -1, line)
			if limit >= 0 {
				parts = int(min(int64(parts), limit))
			}
			ev.work(line, parts)
			return ev.strs(f(s, sep, int(limit)), line)
		}
	}
	// affix is startswith and endswith, which take a string or a tuple.
	affix := func(has func(s, x string) bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if len(a.pos) < 1 || len(a.pos) > 3 {
				ev.fail(line, "one to three arguments are needed")
			}
			_, i, j, ok := ev.window(s, a, line)
			part := ""
			if ok {
				part = s.S[i:j]
			}
			if l, isList := a.pos[0].(*List); isList && l.kind == tuple {
				for _, x := range l.items {
					t, isStr := x.(Str)
					if !isStr {
						ev.fail(line, "the tuple must hold strings, not %s", typeName(x))
					}
					ev.work(line, 1+len(t.S)/32)
					if ok && has(part, t.S) {
						return true
					}
				}
				return false
			}
			return has(part, ev.argStr(a, 0, "prefix", line).S) && ok
		}
	}
	find := func(last, must bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			sub := ev.argStr(a, 0, "sub", line).S
			start, i, j, ok := ev.window(s, a, line)
			at := -1
			if ok && last {
				at = strings.LastIndex(s.S[i:j], sub)
			} else if ok {
				at = strings.Index(s.S[i:j], sub)
			}
			if at < 0 {
				if must {
					ev.fail(line, "substring not found")
				}
				return int64(-1)
			}
			return int64(start + utf8.RuneCountInString(s.S[i:i+at]))
		}
	}
	all := func(ok func(r rune) bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			for _, r := range s.S {
				if !ok(r) {
					return false
				}
			}
			return s.S != ""
		}
	}
	cased := func(bad func(r rune) bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			any := false
			for _, r := range s.S {
				if bad(r) {
					return false
				}
				any = any || unicode.IsUpper(r) || unicode.IsLower(r)
			}
			return any
		}
	}
	just := func(left, right bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			fill := Str{S: " ", safe: s.safe}
			if _, ok := a.get(1, "fillchar"); ok {
				fill = ev.argStr(a, 1, "fillchar", line)
				if s.safe {
					fill = ev.escape(fill)
				}
				if utf8.RuneCountInString(fill.S) != 1 {
					ev.fail(line, "the fill character must be one character")
				}
			}
			v, _ := a.get(0, "width")
			pad := ev.argInt(v, line) - int64(utf8.RuneCountInString(s.S))
			if pad <= 0 {
				return s
			}
			before, after := int64(0), pad
			if left && right {
				// CPython puts the odd one left if the width is odd too.
				before = pad/2 + pad&ev.argInt(v, line)&1
				after = pad - before
			} else if left {
				before, after = pad, 0
			}
			b := ev.builder(line)
			b.str(ev.repeat(fill, before, line).(Str))
			b.str(s)
			b.str(ev.repeat(fill, after, line).(Str))
			return b.done().as(s.safe)
		}
	}
	part := func(last bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			sep := ev.argStr(a, 0, "sep", line)
			if sep.S == "" {
				ev.fail(line, "empty separator")
			}
			i := strings.Index(s.S, sep.S)
			if last {
				i = strings.LastIndex(s.S, sep.S)
			}
			out := &List{kind: tuple}
			switch {
			case i >= 0:
				out.items = []Value{s.sub(0, i), s.sub(i, i+len(sep.S)), s.sub(i+len(sep.S), len(s.S))}
			case last:
				out.items = []Value{Str{safe: s.safe}, Str{safe: s.safe}, s}
			default:
				out.items = []Value{s, Str{safe: s.safe}, Str{safe: s.safe}}
			}
			return out
		}
	}
	mapper := func(f func(ev *evaluator, s Str) Str) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if len(a.pos)+len(a.names) > 0 {
				ev.fail(line, "no arguments are taken here")
			}
			return f(ev, s)
		}
	}
	strMethods = map[string]strMethod{
		"strip": stripper(true, true), "lstrip": stripper(true, false), "rstrip": stripper(false, true),
		"split": splitter(split), "rsplit": splitter(rsplit),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": find(false, false), "rfind": find(true, false), "index": find(false, true), "rindex": find(true, true),
		"upper":      mapper(eachRune(upper)),
		"lower":      mapper(eachRune(lower)),
		"casefold":   mapper(eachRune(casefold)),
		"capitalize": mapper(capitalize),
		"title":      mapper(title),
		"swapcase": mapper(eachRune(func(r rune) string {
			if unicode.IsUpper(r) {
				return lower(r)
			}
			return upper(r)
		})),
		"isascii": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return strings.IndexFunc(s.S, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
		},
		"isprintable": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return strings.IndexFunc(s.S, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) < 0
		},
		"isidentifier": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			for i, r := range s.S {
				if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)) {
					return false
				}
			}
			return s.S != ""
		},
		"istitle":    func(ev *evaluator, s Str, a *callArgs, line int) Value { return isTitle(s.S) },
		"expandtabs": expandTabs,
		"format_map": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, _ := a.get(0, "mapping")
			d, ok := v.(*Dict)
			if !ok {
				ev.fail(line, "format_map needs a mapping, not %s", typeName(v))
			}
			named := &callArgs{}
			for i, k := range d.keys {
				if k, ok := k.(Str); ok {
					named.names, named.vals = append(named.names, k.S), append(named.vals, d.vals[i])
				}
			}
			ev.work(line, len(d.keys))
			return ev.format(s, named, line)
		},
		"isdigit": all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber), "isdecimal": all(unicode.IsDigit),
		"isalpha": all(unicode.IsLetter), "isspace": all(pySpace),
		"isalnum": all(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": cased(unicode.IsLower), "islower": cased(unicode.IsUpper),
		"ljust": just(false, true), "rjust": just(true, false), "center": just(true, true),
		"partition": part(false), "rpartition": part(true),
		"splitlines": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return ev.strs(ev.splitLines(s, optBool(a, 0, "keepends", false), line), line)
		},
		"replace": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			repl := ev.argStr(a, 1, "new", line)
			if s.safe {
				repl = ev.escape(repl)
			}
			return ev.replace(s, ev.argStr(a, 0, "old", line), repl, int(ev.optInt(a, 2, "count", -1, line)), line).as(s.safe)
		},
		"count": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			sub := ev.argStr(a, 0, "sub", line).S
			_, i, j, ok := ev.window(s, a, line)
			if !ok {
				return int64(0)
			}
			return int64(strings.Count(s.S[i:j], sub))
		},
		"join": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, _ := a.get(0, "iterable")
			b := ev.builder(line)
			for i, x := range ev.iterate(v, line) {
				ev.work(line, 1)
				t, ok := x.(Str)
				if s.safe {
					t, ok = ev.escape(ev.toStr(x)), true
				}
				if !ok {
					ev.fail(line, "item %d to join is %s, not a string", i, typeName(x))
				}
				if i > 0 {
					b.str(s)
				}
				b.str(t)
			}
			return b.done().as(s.safe)
		},
		"removeprefix": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if p := ev.argStr(a, 0, "prefix", line).S; strings.HasPrefix(s.S, p) {
				return s.sub(len(p), len(s.S))
			}
			return s
		},
		"removesuffix": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if p := ev.argStr(a, 0, "suffix", line).S; strings.HasSuffix(s.S, p) {
				return s.sub(0, len(s.S)-len(p))
			}
			return s
		},
		"zfill": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, _ := a.get(0, "width")
			pad := ev.argInt(v, line) - int64(utf8.RuneCountInString(s.S))
			if pad <= 0 {
				return s
			}
			b := ev.builder(line)
			k := 0
			if s.S != "" && (s.S[0] == '-' || s.S[0] == '+') {
				k = 1
			}
			b.slice(s, 0, k)
			b.str(ev.repeat(Str{S: "0"}, pad, line).(Str))
			b.slice(s, k, len(s.S))
			return b.done().as(s.safe)
		},
		"format": func(ev *evaluator, s Str, a *callArgs, line int) Value { return ev.format(s, a, line) },
	}
}

func casefold(r rune) string {
	if r == 'ß' {
		return "ss"
	}
	return lower(r)
}

// eachRune maps the characters of a string one by one.
func eachRune(f func(r rune) string) func(ev *evaluator, s Str) Str {
	return func(ev *evaluator, s Str) Str { return ev.runes(s, func(_ int, r rune) string { return f(r) }) }
}

// window reads the optional arguments start and end of find, count and their
// like: the first character and the bytes between; false if start is behind
// the string or its end.
func (ev *evaluator) window(s Str, a *callArgs, line int) (start, i, j int, ok bool) {
	if len(a.pos) < 2 {
		return 0, 0, len(s.S), true
	}
	off := s.offsets()
	ev.work(line, len(off)/8)
	n := int64(len(off) - 1)
	clamp := func(v int64) int64 {
		if v < 0 {
			v = max(0, v+n)
		}
		return v
	}
	from := clamp(ev.optInt(a, 1, "start", 0, line))
	to := min(n, clamp(ev.optInt(a, 2, "end", n, line)))
	if from > n || from > to {
		return 0, 0, 0, false
	}
	return int(from), off[from], off[to], true
}

// isTitle is str.istitle.
func isTitle(s string) bool {
	inWord, any := false, false
	for _, r := range s {
		up, low := unicode.IsUpper(r) || unicode.IsTitle(r), unicode.IsLower(r)
		if up && inWord || low && !inWord {
			return false
		}
		inWord = up || low
		any = any || inWord
	}
	return any
}

// expandTabs is str.expandtabs.
func expandTabs(ev *evaluator, s Str, a *callArgs, line int) Value {
	size := int(min(max(0, ev.optInt(a, 0, "tabsize", 8, line)), int64(ev.limits.Output)))
	b := ev.builder(line)
	column := 0
	for i, r := range s.S {
		switch r {
		case '\t':
			if size > 0 {
				n := size - column%size
				ev.added(line, 0, len(b.b)+n)
				b.lit(strings.Repeat(" ", n))
				column += n
			}
			continue
		case '\n', '\r':
			column = 0
		default:
			column++
		}
		ev.work(line, 1)
		b.slice(s, i, i+utf8.RuneLen(r))
	}
	return b.done().as(s.safe)
}

func capitalize(ev *evaluator, s Str) Str {
	return ev.runes(s, func(at int, r rune) string {
		if at == 0 {
			return titleCase(r)
		}
		return lower(r)
	})
}

// title is str.title: a letter after a non-letter is upper case.
func title(ev *evaluator, s Str) Str {
	inWord := false
	return ev.runes(s, func(_ int, r rune) string {
		was := inWord
		inWord = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
		if was {
			return lower(r)
		}
		return titleCase(r)
	})
}

// filterTitle is the filter of that name: words begin after white space,
// hyphens and opening brackets only.
func filterTitle(ev *evaluator, s Str) Str {
	start := true
	return ev.runes(s.as(false), func(_ int, r rune) string {
		first := start
		start = r == '-' || pySpace(r) || r == '(' || r == '{' || r == '[' || r == '<'
		switch {
		case start:
			return string(r)
		case first:
			return upper(r)
		}
		return lower(r)
	})
}

// strs makes a list of strings.
func (ev *evaluator) strs(in []Str, line int) *List {
	ev.work(line, len(in))
	out := &List{items: make([]Value, len(in))}
	for i, s := range in {
		out.items[i] = s
	}
	return out
}

type filterFunc func(ev *evaluator, x Value, a *callArgs, line int) Value

var filters map[string]filterFunc

func (ev *evaluator) filter(name string, x Value, a *callArgs, line int) Value {
	f, ok := filters[name]
	if !ok {
		ev.fail(line, "no filter named %q", name)
	}
	ev.work(line, 1)
	return f(ev, x, a, line)
}

// path reads the attribute argument of filters: "a.b" or a number.
func (ev *evaluator) path(x Value, attr Value, line int) Value {
	return ev.pathOr(x, attr, nil, line)
}

// pathOr takes def, if it is not nil, for what is undefined on the way.
func (ev *evaluator) pathOr(x Value, attr, def Value, line int) Value {
	switch p := attr.(type) {
	case Str:
		for part := range strings.SplitSeq(p.S, ".") {
			var key Value = Str{S: part}
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				key = n
			}
			x = ev.item(x, key, line)
			if _, undef := x.(undefined); undef && def != nil {
				x = def
			}
		}
		return x
	case nil:
		return x
	}
	return ev.item(x, attr, line)
}

// fold is the key of a case-insensitive comparison.
func (ev *evaluator) fold(v Value, sensitive bool) Value {
	if s, ok := v.(Str); ok && !sensitive {
		return Str{S: eachRune(lower)(ev, s).S}
	}
	return v
}

func (ev *evaluator) sorted(items []Value, key func(Value) Value, reverse bool, line int) []Value {
	ev.work(line, len(items))
	keys := make([]Value, len(items))
	idx := make([]int, len(items))
	for i, x := range items {
		keys[i], idx[i] = key(x), i
	}
	ev.sortBy(idx, func(a, b int) int {
		c := ev.order(keys[a], keys[b], line)
		if reverse {
			return -c
		}
		return c
	})
	out := make([]Value, len(items))
	for i, k := range idx {
		out[i] = items[k]
	}
	return out
}

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

// onStr is a filter that first makes a string of its value.
func onStr(f func(ev *evaluator, s Str) Str) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value { return f(ev, ev.toStr(x)) }
}

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
		return int64(0)
	}
	ev.fail(line, "%s has no length", typeName(x))
	return nil
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

func filterIndent(ev *evaluator, x Value, a *callArgs, line int) Value {
	pad := Str{S: "    "}
	if v, ok := a.get(0, "width"); ok {
		if s, ok := v.(Str); ok {
			pad = s
		} else {
			pad = ev.repeat(Str{S: " "}, ev.argInt(v, line), line).(Str)
		}
	}
	first, blank := optBool(a, 1, "first", false), optBool(a, 2, "blank", false)
	s, ok := x.(Str)
	if !ok {
		ev.fail(line, "indent needs a string, not %s", typeName(x))
	}
	if s.safe {
		pad = pad.as(true) // Jinja takes its indentation for Markup then
	}
	b := ev.builder(line)
	b.str(s)
	b.lit("\n")
	lines := ev.splitLines(b.done(), false, line)
	b = ev.builder(line)
	for i, l := range lines {
		if i > 0 {
			b.lit("\n")
		}
		if i == 0 && first || i > 0 && (blank || l.S != "") {
			b.str(pad)
		}
		b.str(l)
	}
	return b.done().as(s.safe)
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

func filterTruncate(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch x.(type) {
	case nil, bool, int64, float64:
		ev.fail(line, "%s has no length", typeName(x))
	}
	s := ev.toStr(x)
	length := ev.optInt(a, 0, "length", 255, line)
	end := Str{S: "..."}
	if v, ok := a.get(2, "end"); ok {
		end = ev.toStr(v)
	}
	leeway := ev.optInt(a, 3, "leeway", 5, line)
	off := s.offsets()
	n := int64(utf8.RuneCountInString(end.S))
	if length < n || leeway < 0 {
		ev.fail(line, "truncate: length %d is less than that of the end", length)
	}
	if int64(len(off)-1) <= length+leeway {
		return s
	}
	cut := s.sub(0, off[length-n])
	if !optBool(a, 1, "killwords", false) {
		if i := strings.LastIndexByte(cut.S, ' '); i >= 0 {
			cut = cut.sub(0, i)
		}
	}
	if s.safe {
		end = ev.escape(end)
	}
	b := ev.builder(line)
	b.str(cut)
	b.str(end)
	return b.done().as(s.safe)
}

func init() {
	escape := onStr(func(ev *evaluator, s Str) Str { return ev.escape(s) })
	ends := func(last bool) filterFunc {
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
	filters = map[string]filterFunc{
		"abs": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"attr": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			name := ev.argStr(a, 0, "name", line).S
			if u, ok := x.(undefined); ok {
				ev.fail(line, "%s is undefined, so it has no attribute %q", u.what, name)
			}
			if m, ok := ev.method(x, name, line); ok {
				return m
			}
			return undefined{"attribute " + name}
		},
		"batch": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"capitalize": onStr(capitalize),
		"center": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			w := ev.optInt(a, 0, "width", 80, line)
			return strMethods["center"](ev, ev.toStr(x), &callArgs{pos: []Value{w}}, line)
		},
		"count":   filterLength,
		"d":       filterDefault,
		"default": filterDefault,
		"dictsort": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"e":           escape,
		"escape":      escape,
		"forceescape": onStr(func(ev *evaluator, s Str) Str { return ev.escape(s.as(false)) }),
		"first":       ends(false),
		"float":       filterFloat,
		"format": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			var arg Value = &List{items: a.pos, kind: tuple}
			if len(a.names) > 0 {
				if len(a.pos) > 0 {
					ev.fail(line, "format takes positional or keyword arguments, not both")
				}
				arg = ev.dict(&callArgs{names: a.names, vals: a.vals}, line)
			}
			return ev.percent(ev.toStr(x), arg, line)
		},
		"groupby": filterGroupBy,
		"indent":  filterIndent,
		"int":     filterInt,
		"items": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			switch v := x.(type) {
			case undefined:
				return &List{kind: generator}
			case *Dict:
				return &List{items: pairs(ev, v, line), kind: generator}
			}
			ev.fail(line, "items needs a mapping, not %s", typeName(x))
			return nil
		},
		"join":   filterJoin,
		"last":   ends(true),
		"length": filterLength,
		"list": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			items := ev.iterate(x, line)
			ev.work(line, len(items))
			return NewList(slices.Clone(items)...)
		},
		"lower":  onStr(eachRune(lower)),
		"map":    filterMap,
		"max":    extreme(1),
		"min":    extreme(-1),
		"reject": pick(false, false), "rejectattr": pick(true, false),
		"select": pick(false, true), "selectattr": pick(true, true),
		"replace": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			old, ok := a.get(0, "old")
			repl, ok2 := a.get(1, "new")
			if !ok || !ok2 {
				ev.fail(line, "replace needs an old and a new string")
			}
			return ev.replace(ev.toStr(x), ev.toStr(old), ev.toStr(repl), int(ev.optInt(a, 2, "count", -1, line)), line)
		},
		"reverse": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"round": filterRound,
		"safe":  onStr(func(_ *evaluator, s Str) Str { return s.as(true) }),
		"sort": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"string": func(ev *evaluator, x Value, a *callArgs, line int) Value { return ev.toStr(x) },
		"sum": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			attr, _ := a.get(0, "attribute")
			var sum Value = int64(0)
			if v, ok := a.get(1, "start"); ok {
				sum = v
			}
			for _, v := range ev.iterate(x, line) {
				sum = ev.arith("+", sum, ev.path(v, attr, line), line)
			}
			return sum
		},
		"title":  onStr(filterTitle),
		"tojson": filterToJSON,
		"trim": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			s := ev.toStr(x)
			ev.grown(line, len(s.S))
			v, ok := a.get(0, "chars")
			if !ok || v == nil {
				return strip(s, "", false, true, true)
			}
			return strip(s, ev.argStr(a, 0, "chars", line).S, true, true, true)
		},
		"truncate": filterTruncate,
		"unique": func(ev *evaluator, x Value, a *callArgs, line int) Value {
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
		},
		"upper": onStr(eachRune(upper)),
		"wordcount": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			s := ev.toStr(x)
			ev.grown(line, len(s.S))
			n, inWord := int64(0), false
			for _, r := range s.S {
				was := inWord
				inWord = r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
				if inWord && !was {
					n++
				}
			}
			return n
		},
		"slice": filterSlice, "striptags": filterStripTags, "urlencode": filterURLEncode,
		"filesizeformat": filterFileSize, "xmlattr": filterXMLAttr,
	}
}

func (ev *evaluator) test(name string, x Value, a *callArgs, line int) bool {
	arg := func() Value {
		v, ok := a.get(0, "")
		if !ok {
			ev.fail(line, "test %q needs an argument", name)
		}
		return v
	}
	switch name {
	case "defined":
		_, undef := x.(undefined)
		return !undef
	case "undefined":
		_, undef := x.(undefined)
		return undef
	case "none":
		return x == nil
	case "boolean":
		_, ok := x.(bool)
		return ok
	case "true":
		return x == true
	case "false":
		return x == false
	case "integer":
		switch x.(type) {
		case int64, bigInt:
			return true
		}
		return false
	case "float":
		_, ok := x.(float64)
		return ok
	case "number":
		_, big := x.(bigInt)
		return big || isNumber(x)
	case "string":
		_, ok := x.(Str)
		return ok
	case "mapping":
		_, ok := x.(*Dict)
		return ok
	case "iterable":
		switch x.(type) {
		case Str, *List, *Dict, undefined, *loopVar:
			return true
		}
		return false
	case "sequence":
		switch v := x.(type) {
		case Str, *Dict, undefined:
			return true
		case *List:
			return v.kind <= rangeObj
		}
		return false
	case "callable":
		switch x.(type) {
		case *function, *macro, *loopVar, undefined:
			return true
		}
		return false
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

var knownTests = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq("defined undefined none boolean true false integer float number string mapping iterable " +
		"sequence callable sameas eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in odd even divisibleby " +
		"lower upper escaped filter test") {
		knownTests[name] = true
	}
}
